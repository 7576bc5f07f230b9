"""Tiles of the finest scale and what is known of their cells."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from training.finest_scale.squares import FINE, OUTSIDE, UNKNOWN, FineSquare, FineSquares
from training.finest_scale.tiles import (
    TileChanges,
    cell_labels,
    change_tone,
    draw_tile,
    find_dots,
    paste,
)


@pytest.fixture
def squares() -> FineSquares:
    rng = np.random.default_rng(0)
    contrast = np.full((1, FINE, FINE, 3), 128, np.uint8)
    masks = np.zeros((1, FINE, FINE), np.uint8)
    yy, xx = np.mgrid[:FINE, :FINE]
    masks[0][np.hypot(yy - 511.5, xx - 511.5) > 500] = OUTSIDE
    for x, y in rng.integers(300, 700, (5, 2)):
        spot = np.hypot(yy - y, xx - x) < 3.5
        contrast[0][spot] = 60
        masks[0][spot] = 1
    row = FineSquare(Path("one.jpg"), "made", "train", "one", None, Path("one_mask.png"), 1)
    return FineSquares([row], contrast, masks, np.array([1024]))


def test_a_tile_around_a_dot_shows_it_where_its_mask_says(squares: FineSquares) -> None:
    dots = find_dots(squares, [0])
    assert len(dots.places) == 5
    assert len(dots.spots) == 5
    rng = np.random.default_rng(1)
    for index, x, y in dots.places:
        tile = draw_tile(squares, int(index), (float(x), float(y)), 320, TileChanges(), rng)
        inside = tile.mask == 1
        assert inside.any()
        assert tile.contrast[inside][:, 1].mean() < 90
        assert tile.contrast[tile.mask == 0][:, 1].mean() > 120


def test_tone_keeps_shape_and_mean(squares: FineSquares) -> None:
    rng = np.random.default_rng(2)
    tile = draw_tile(squares, 0, None, 320, TileChanges(), rng)
    for _ in range(20):
        changed = change_tone(tile.contrast, TileChanges(), rng, sharp=True)
        assert changed.shape == (320, 320, 3)
        assert abs(float(changed.mean()) - 128) < 5


def test_pasted_dots_are_lesions_of_their_cells(squares: FineSquares) -> None:
    spots = find_dots(squares, [0]).spots
    rng = np.random.default_rng(3)
    blank = FineSquares(
        squares.rows, np.full((1, FINE, FINE, 3), 128, np.uint8),
        np.where(squares.masks == OUTSIDE, squares.masks, UNKNOWN), squares.widths,
    )  # fmt: skip
    tile = draw_tile(blank, 0, (512.0, 512.0), 320, TileChanges(), rng)
    before, _ = cell_labels(tile.mask, healthy=True)
    paste(tile, spots, rng, 3)
    after, weight = cell_labels(tile.mask & ~np.uint8(UNKNOWN), healthy=True)
    assert before.sum() == 0
    assert 1 <= after.sum() <= 12
    assert weight[after > 0].all()
    assert tile.contrast[(tile.mask & 1) > 0][:, 1].mean() < 100


def test_cells_that_nobody_knows_weigh_nothing() -> None:
    mask = np.full((64, 64), UNKNOWN, np.uint8)
    assert cell_labels(mask, healthy=False)[1].sum() == 0
    assert cell_labels(mask, healthy=True)[1].sum() == 16
    mask[:, :32] = OUTSIDE
    assert cell_labels(mask, healthy=True)[1].sum() == 8


def test_exudates_alone_are_left_out_and_blood_counts_less() -> None:
    mask = np.zeros((32, 32), np.uint8)
    mask[4:12, 4:12] = 4
    mask[16:32, 16:32] = 2
    mask[2:6, 18:22] = 1
    label, weight = cell_labels(mask, healthy=False)
    assert label.tolist() == [[0, 1], [0, 1]]
    assert weight[0].tolist() == [0, 1]
    assert weight[1].tolist() == pytest.approx([1, 0.3])


def test_other_sensors_leave_grey_contrast_as_it_is() -> None:
    rng = np.random.default_rng(7)
    still = TileChanges(gain=0, colour=0, coarse=0, compression=0, blur=0, noise=0, mix=0.3)
    grey = np.repeat(rng.integers(60, 200, (32, 32, 1), np.uint8), 3, axis=2)
    assert np.abs(change_tone(grey, still, rng, sharp=True).astype(int) - grey).max() <= 1
    coloured = rng.integers(60, 200, (32, 32, 3), np.uint8)
    assert np.abs(change_tone(coloured, still, rng, sharp=True).astype(int) - coloured).max() > 5


def test_sharpening_raises_a_spot() -> None:
    rng = np.random.default_rng(8)
    sharp = TileChanges(gain=0, colour=0, coarse=0, compression=0, blur=0, noise=0, sharpen=1.0)
    tile = np.full((32, 32, 3), 128, np.uint8)
    tile[14:18, 14:18] = 90
    assert change_tone(tile, sharp, rng, sharp=True)[15, 15].mean() < 85


def test_exudates_are_lesions_where_they_count() -> None:
    mask = np.zeros((64, 64), np.uint8)
    mask[4:12, 4:12] = 4
    label, weight = cell_labels(mask, healthy=False)
    assert (label[0, 0], weight[0, 0]) == (0, 0)
    label, weight = cell_labels(mask, healthy=False, bright=0.3)
    assert (label[0, 0], weight[0, 0]) == (1, pytest.approx(0.3))
    assert (label[2, 2], weight[2, 2]) == (0, 1)


def test_an_archive_compresses_the_photograph_and_not_its_contrast() -> None:
    rng = np.random.default_rng(4)
    still = TileChanges(gain=0, colour=0, coarse=0, blur=0, noise=0, compression=1)
    tile = np.full((64, 64, 3), 128, np.uint8)
    for row, column in rng.integers(4, 56, (6, 2)):
        tile[row : row + 3, column : column + 3] = 104  # six levels of the photograph
    spots = tile < 128
    depth = {}
    for archive in (0.0, 1.0):
        changes = replace(still, archive=archive, quality=(20, 40))
        changed = change_tone(tile, changes, rng, sharp=True).astype(int)
        depth[archive] = 128 - changed[spots].mean()
        assert abs(changed.mean() - tile.mean()) < 3
    assert depth[0.0] > 12
    assert depth[1.0] < 0.6 * depth[0.0]
