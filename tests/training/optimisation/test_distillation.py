"""A bundle that teaches: quieter targets, the same for whoever resumes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from drcore.errors import DrcoreError
from drcore.model.bundle import bundled_folder, load_bundle
from drcore.preprocessing.network_input import Preprocessing
from training.data.augmentation_gpu import device_batches
from training.data.labels import Labelled
from training.data.resident import ResidentSquares
from training.data.squares import SoftTargets, Squares, SquareSet
from training.optimisation import distillation
from training.optimisation.checkpoints import RunError
from training.optimisation.distillation import distilled_targets, on_the_scale_of_grades
from training.optimisation.predict import predict
from training.optimisation.trainer import train
from training.recipe import RECIPES

GRADES = [0, 3, 1, 4, 2, 0, 2, 4]


@pytest.fixture
def squares() -> Squares:
    """Eight squares of noise, the last two for validation, from two cameras."""
    rng = np.random.default_rng(5)
    rows = [
        Labelled(Path(f"{i}.jpg"), grade, "ab"[i % 2], "train" if i < 6 else "val", str(i))
        for i, grade in enumerate(GRADES)
    ]
    pixels = rng.integers(60, 200, (8, 512, 512, 3), dtype=np.uint8)
    return Squares(rows, pixels, np.full((8, 128, 128), 255, np.uint8))


def test_each_dataset_gets_its_own_line() -> None:
    grade = np.array([0.0, 2, 4, 1, 3, 2])
    dataset = np.array(["a", "a", "a", "b", "b", "b"])
    # The teacher scores b lower and flatter: the lines undo that.
    score = np.where(dataset == "a", grade + 1, 0.1 * grade - 2)
    assert on_the_scale_of_grades(score, grade, dataset) == pytest.approx(grade)
    same = on_the_scale_of_grades(np.zeros(6), grade, dataset)
    assert same.tolist() == [2.0] * 6  # who says nothing says the mean


def test_targets_are_between_the_grade_and_the_teacher(
    tiny_bundle, squares: Squares, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    soft_targets = distilled_targets(tiny_bundle, squares, Preprocessing(), 0.25, keep=tmp_path)
    assert soft_targets.teacher == "random 1"
    assert soft_targets.targets[6:].tolist() == GRADES[6:]  # nobody teaches what is measured
    score = sum(
        tiny_bundle.fusion[size] * predict(network, squares, np.arange(6), Preprocessing())
        for size, network in tiny_bundle.networks.items()
    )
    grade, dataset = np.array(GRADES[:6], float), np.array(list("ababab"))
    said = on_the_scale_of_grades(np.asarray(score), grade, dataset)
    assert soft_targets.targets[:6] == pytest.approx(0.75 * grade + 0.25 * said)
    assert np.abs(soft_targets.targets[:6] - grade).max() > 0.05

    # A resumed run asks the folder, not the networks.
    monkeypatch.setattr(distillation, "predict", lambda *_, **__: pytest.fail("scored again"))
    again = distilled_targets(tiny_bundle, squares, Preprocessing(), 0.25, keep=tmp_path)
    assert again.targets.tolist() == soft_targets.targets.tolist()


def test_a_bundle_that_looks_finer_than_squares_reads_the_files(
    sample_images: Path, squares: Squares, tmp_path: Path
) -> None:
    photograph = next(sample_images.glob("*.jpg"))
    rows = [replace(row, path=photograph) for row in squares.rows]
    bundle = load_bundle(bundled_folder())
    found = distilled_targets(bundle, replace(squares, rows=rows), Preprocessing(), 1.0)
    # One photograph under all names: the line through one score is the mean grade of a camera.
    for camera in "ab":
        own = [i for i in range(6) if squares.rows[i].dataset == camera]
        assert found.targets[own] == pytest.approx(np.mean([GRADES[i] for i in own]))
    gone = replace(squares, rows=[replace(row, path=tmp_path / "gone.jpg") for row in rows])
    with pytest.raises(DrcoreError, match=r"gone\.jpg cannot be taught"):
        distilled_targets(bundle, gone, Preprocessing(), 1.0)


def test_targets_reach_the_batches(squares: Squares) -> None:
    taught = replace(squares, soft_targets=SoftTargets(np.arange(8) + 0.5, "t 1"))
    for where, wanted in ((squares, GRADES), (taught, [i + 0.5 for i in range(8)])):
        data = SquareSet(where, range(8), 128, 8, Preprocessing())
        assert [float(data[i][2]) for i in range(8)] == wanted
        there = ResidentSquares(where.pixels, torch.device("cpu"), masks=where.masks)
        batches = device_batches(where, there, range(8), 3, 128, 8, Preprocessing())
        assert torch.cat([grades for _, _, grades in batches]).tolist() == wanted


def test_a_taught_recipe_wants_its_teacher_and_keeps_to_it(
    squares: Squares, tmp_path: Path
) -> None:
    recipe = replace(RECIPES["tiny-128"], epochs=1, batch=4, taught=0.5)
    with pytest.raises(RunError, match="has a teacher"):
        train(recipe, squares, tmp_path, device="cpu", workers=0, quiet=True)
    targets = np.array(GRADES, float)
    one, other = (
        replace(squares, soft_targets=SoftTargets(targets, name)) for name in ("t 1", "t 2")
    )
    train(recipe, one, tmp_path, device="cpu", workers=0, quiet=True)
    with pytest.raises(RunError, match="taught by t 1, not by t 2"):
        train(recipe, other, tmp_path, device="cpu", workers=0, quiet=True)
