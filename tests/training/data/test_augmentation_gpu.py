"""Batches made on the device are those that are made one photograph after the other."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from drcore.preprocessing.network_input import Preprocessing
from training.data.augmentation_gpu import device_batches, jpeg_batch
from training.data.labels import Labelled
from training.data.resident import ResidentSquares
from training.data.squares import Squares, SquareSet
from training.recipe import Augmentation

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def squares() -> Squares:
    """Three smooth pictures with spots, round, of which one is cut off above."""
    rng = np.random.default_rng(5)
    y, x = np.mgrid[:512, :512]
    inside = (x - 255.5) ** 2 + (y - 255.5) ** 2 < 250**2
    pixels = np.zeros((3, 512, 512, 3), np.uint8)
    masks = np.zeros((3, 128, 128), np.uint8)
    for i in range(3):
        smooth = cv2.GaussianBlur(rng.random((512, 512, 3), np.float32), (0, 0), 9)
        smooth = 40 + 160 * (smooth - smooth.min()) / (smooth.max() - smooth.min())
        for row, column in rng.integers(100, 400, (20, 2)):
            cv2.circle(smooth, (int(column), int(row)), 4, (90, 20, 20), -1)
        shown = inside & (y > 60) if i == 2 else inside
        pixels[i] = smooth * shown[..., None]
        retina = shown.astype(np.uint8) * 255
        masks[i] = cv2.resize(retina, (128, 128), interpolation=cv2.INTER_AREA)
    rows = [Labelled(Path(f"{i}.png"), i, "made", "train", str(i)) for i in range(3)]
    return Squares(rows, pixels, masks)


def resident(squares: Squares, keep: NDArray[np.int64] | None = None) -> ResidentSquares:
    return ResidentSquares(squares.pixels, CPU, masks=squares.masks, keep=keep)


def apart(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    """Mean difference in grey levels."""
    return float(np.abs(one.astype(float) - other.astype(float)).mean())


@pytest.mark.parametrize(("size", "cells"), [(512, 32), (256, 32), (128, 16)])
@pytest.mark.parametrize(
    "augmentation",
    [
        None,
        Augmentation(blur=0, coarse=0, noise=0),
        Augmentation(blur=1, coarse=0, noise=0),
        Augmentation(blur=0, coarse=1, noise=0),
        Augmentation(blur=0.5, coarse=0.5, noise=0, compression=0.8),
    ],
    ids=["as they are", "moved", "blurred", "coarse", "compressed"],
)
def test_they_are_those_of_processors(
    squares: Squares, size: int, cells: int, augmentation: Augmentation | None
) -> None:
    preparation = Preprocessing()
    order = [2, 0, 1, 0]
    one_by_one = SquareSet(squares, order, size, cells, preparation, augmentation, (7, 3))
    made = device_batches(
        squares, resident(squares), order, 3, size, cells, preparation, augmentation, (7, 3)
    )
    contrast, coverage, grade = (torch.cat(part) for part in zip(*made, strict=True))
    assert contrast.dtype == torch.uint8
    for i in range(len(order)):
        pixels, cover, truth = one_by_one[i]
        # Levels of contrast are four times those of the photograph.
        assert apart(contrast[i].numpy(), pixels.numpy()) < 3.5
        np.testing.assert_allclose(coverage[i].numpy(), cover.numpy(), atol=0.02)
        assert grade[i] == truth


def test_they_can_hold_some_photographs_alone(squares: Squares) -> None:
    whole = device_batches(squares, resident(squares), [2, 1], 2, 128, 16, Preprocessing())
    part = device_batches(
        squares, resident(squares, np.array([1, 2])), [2, 1], 2, 128, 16, Preprocessing()
    )
    for one, other in zip(next(whole), next(part), strict=True):
        assert torch.equal(one, other)


def test_noise_is_as_strong_as_drawn(squares: Squares) -> None:
    calm = Augmentation(blur=0, coarse=0, noise=0)
    noisy = Augmentation(blur=0, coarse=0, noise=1, noise_sigma=6)
    there = resident(squares)

    def shown(augmentation: Augmentation) -> torch.Tensor:
        batches = device_batches(
            squares, there, [0] * 4, 4, 256, 32, Preprocessing(gain=1), augmentation, (1, 1)
        )
        return next(iter(batches))[0].float()

    inside = shown(noisy)[..., 100:156, 100:156] - shown(calm)[..., 100:156, 100:156]
    by_photograph = inside.std(dim=(1, 2, 3))
    assert (by_photograph < 6.3).all()
    assert by_photograph.max() > 2


@pytest.mark.parametrize("quality", [30, 60, 92])
def test_jpeg_is_that_of_libjpeg(squares: Squares, quality: int) -> None:
    square = np.array(squares.pixels[0][100:350, 120:353])  # no whole number of blocks
    _, stored = cv2.imencode(".jpg", square[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    expected = cv2.imdecode(stored, cv2.IMREAD_COLOR)[..., ::-1]
    given = torch.from_numpy(square.transpose(2, 0, 1).copy()).float()[None]
    came = jpeg_batch(given, [quality])[0].numpy().transpose(1, 2, 0)
    lost = apart(square, expected)
    assert apart(came.astype(np.uint8), expected) < 0.4 * lost + 0.3


def test_a_seed_gives_the_same_batch_again(squares: Squares) -> None:
    there = resident(squares)
    args = ([0, 1, 2], 3, 128, 16, Preprocessing(), Augmentation(), (4, 2))
    first, again = (
        next(device_batches(squares, there, *args)),
        next(device_batches(squares, there, *args)),
    )
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    other = next(device_batches(squares, there, *args[:-1], (4, 3)))
    assert not torch.equal(first[0], other[0])
