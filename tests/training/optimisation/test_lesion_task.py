"""Lesions as a second task: the right cells are told, clean photographs are refused, calm pays."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from drcore.preprocessing.network_input import Preprocessing
from training.data.labels import Labelled
from training.data.lesion_masks import read_lesions
from training.data.lesion_squares import (
    LesionBatch,
    LesionSquares,
    lesion_batches,
    photographs_to_learn_from,
)
from training.optimisation.lesion_task import LesionHead, lesion_loss
from training.recipe import Augmentation
from training.synthetic.recipe import MASK_FLAGS

CPU = torch.device("cpu")
STILL = Augmentation(
    rotation=0, zoom=1, shift=0, flip=0, gamma=0, gain=0, colour=0, blur=0, coarse=0, noise=0
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three photographs with masks: one in the training split, one to validate, one clean."""
    (tmp_path / "lesions").mkdir()
    y, x = np.mgrid[:400, :400]
    inside = (x - 200) ** 2 + (y - 200) ** 2 < 190**2
    for i in range(3):
        picture = np.where(inside[..., None], (90, 60, 30), 0).astype(np.uint8)
        flags = np.zeros((400, 400), np.uint8)
        picture[100:140, 220:260] = (40, 10, 10)
        flags[100:140, 220:260] = MASK_FLAGS["haemorrhages"]
        cv2.imwrite(str(tmp_path / "lesions" / f"{i}.jpg"), picture[..., ::-1])
        cv2.imwrite(str(tmp_path / "lesions" / f"{i}_mask.png"), flags)
    with (tmp_path / "lesions.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["image", "split", "annotated", "same_as"])
        table.writerow(["0", "train", "MA HE", "a.jpg"])
        table.writerow(["1", "train", "MA HE", "b.jpg"])
        table.writerow(["2", "train", "MA HE", ""])
    return tmp_path


def rows(splits: Mapping[str, str]) -> list[Labelled]:
    return [Labelled(Path(name), 2, "idrid", split, name) for name, split in splits.items()]


def test_only_pictures_of_the_training_split_are_learnt_from(folder: Path) -> None:
    given = rows({"a.jpg": "train", "b.jpg": "val"})
    chosen = photographs_to_learn_from(folder / "lesions.csv", given)
    assert [p.name for p in chosen] == ["0"]


def test_clean_photographs_are_refused(folder: Path) -> None:
    everything = read_lesions(folder / "lesions.csv", {"a.jpg": "train", "b.jpg": "val"})
    with pytest.raises(ValueError, match="2 serve to measure"):
        LesionSquares.build(everything, Preprocessing())
    with pytest.raises(ValueError, match="0 photographs"):
        LesionSquares.build([], Preprocessing())


def test_cells_say_how_much_of_them_is_lesion(folder: Path) -> None:
    chosen = photographs_to_learn_from(
        folder / "lesions.csv", rows({"a.jpg": "train", "b.jpg": "val"})
    )
    squares = LesionSquares.build(chosen, Preprocessing())
    assert squares.known.tolist() == [[True, True, False, False]]
    batches = lesion_batches(squares, CPU, 2, 256, 32, Preprocessing(), STILL, (1, 0))
    batch = next(batches)
    assert batch.pixels.shape == (2, 3, 256, 256)
    assert batch.amount.shape == (2, 4, 32, 32)
    share = (batch.amount[0] ** 2).numpy()
    assert share[[0, 2, 3]].max() == 0
    # 40 x 40 of a field of view 380 wide, seen in a square of 32 cells.
    assert share[1].sum() == pytest.approx((40 * 32 / 380) ** 2, rel=0.06)
    row, column = np.unravel_index(np.argmax(share[1]), (32, 32))
    assert abs((row + 0.5) / 32 - (120 - 10) / 380) < 1.5 / 32
    assert abs((column + 0.5) / 32 - (240 - 10) / 380) < 1.5 / 32


def test_lesions_move_with_their_photograph(folder: Path) -> None:
    chosen = photographs_to_learn_from(
        folder / "lesions.csv", rows({"a.jpg": "train", "b.jpg": "val"})
    )
    squares = LesionSquares.build(chosen, Preprocessing())
    moving = Augmentation(gamma=0, gain=0, colour=0, blur=0, coarse=0, noise=0)
    for batch in islice(
        lesion_batches(squares, CPU, 2, 128, 32, Preprocessing(), moving, (1, 0)), 4
    ):
        dark = 128 - batch.pixels.float().mean(1)
        seen = torch.nn.functional.avg_pool2d(dark[:, None], 4)[:, 0]
        inside = batch.amount[:, 1] > 0.9
        assert inside.any()
        assert seen[inside].mean() > 30
        assert seen[inside].mean() > 10 * seen[batch.amount[:, 1] == 0].abs().mean()


def made_batch() -> LesionBatch:
    amount = torch.zeros(1, 4, 8, 8)
    amount[0, 1, 2, 2] = 1
    known = torch.tensor([[1.0, 1.0, 0.0, 0.0]])
    return LesionBatch(
        torch.zeros(1, 3, 64, 64, dtype=torch.uint8), torch.ones(1, 8, 8), amount, known
    )


def test_what_was_not_looked_for_costs_nothing() -> None:
    batch, ram = made_batch(), torch.zeros(1, 8, 8)
    odds = torch.full((1, 4, 8, 8), -6.0)
    odds[0, 1, 2, 2] = 6
    right = lesion_loss(odds, ram, batch)
    odds[0, 3] = 9
    assert lesion_loss(odds, ram, batch) == right
    odds[0, 0] = 9
    assert lesion_loss(odds, ram, batch) > right + 1


def test_a_map_may_speak_at_lesions_and_beside_them_alone() -> None:
    batch, odds = made_batch(), torch.full((1, 4, 8, 8), -6.0)
    silent = lesion_loss(odds, torch.zeros(1, 8, 8), batch)
    at_lesion = torch.zeros(1, 8, 8)
    at_lesion[0, 1:4, 1:4] = 50
    assert lesion_loss(odds, at_lesion, batch) == silent
    elsewhere = torch.zeros(1, 8, 8)
    elsewhere[0, 6, 6] = -50
    assert lesion_loss(odds, elsewhere, batch) > silent


def test_the_head_begins_with_few_lesions_everywhere() -> None:
    odds = LesionHead(7)(torch.randn(2, 7, 5, 5))
    assert odds.shape == (2, 4, 5, 5)
    assert (torch.sigmoid(odds) < 0.06).all()
