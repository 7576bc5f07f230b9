"""Focusing moves evidence onto what stands out, nearby, and changes no sum."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from drcore.maps.fusion import covered_mean
from drcore.maps.refinement import neighbourhoods_of, refine

DETAIL = 512


def disc(size: int) -> np.ndarray:
    """Coverage of a round field of view."""
    fine = np.zeros((size * 8, size * 8), np.float32)
    cv2.circle(fine, (size * 4, size * 4), size * 4 - 8, 1.0, -1)
    return cv2.resize(fine, (size, size), interpolation=cv2.INTER_AREA)


def neutral() -> np.ndarray:
    return np.full((DETAIL, DETAIL), 128, np.uint8)


def cell_map(*cells: tuple[int, int, float], size: int = 32) -> np.ndarray:
    ram = np.zeros((size, size), np.float32)
    for row, column, value in cells:
        ram[row, column] = value
    return ram


def focused(ram: np.ndarray, contrast: np.ndarray, size: int = DETAIL) -> np.ndarray:
    return refine(ram, disc(ram.shape[0]), contrast, disc(size))


@pytest.mark.parametrize("size", [128, 256, 512])
@pytest.mark.parametrize("cells", [16, 32])
def test_the_mean_over_the_retina_stays(size: int, cells: int) -> None:
    rng = np.random.default_rng(size + cells)
    ram = rng.normal(1, 3, (cells, cells)).astype(np.float32)
    contrast = np.clip(rng.normal(128, 20, (DETAIL, DETAIL)), 0, 255).astype(np.uint8)
    result = focused(ram, contrast, size)
    assert result.shape == (size, size)
    assert covered_mean(result, disc(size)) == pytest.approx(
        covered_mean(ram, disc(cells)), abs=1e-4
    )


def test_evidence_goes_to_the_spot_in_the_hot_cell_and_to_no_other_spot() -> None:
    contrast = neutral()
    here, elsewhere = (14 * 16 + 5, 14 * 16 + 11), (22 * 16 + 8, 8 * 16 + 8)
    for x, y in (here, elsewhere):
        cv2.circle(contrast, (x, y), 2, 40, -1)
    result = focused(cell_map((14, 14, 10.0)), contrast)
    row, column = np.unravel_index(result.argmax(), result.shape)
    assert np.hypot(column - here[0], row - here[1]) <= 2
    # What stands out where the network saw nothing stays nothing.
    assert abs(result[elsewhere[1], elsewhere[0]]) < 0.2


def test_bright_and_dark_lesions_count_alike() -> None:
    peaks = []
    for value in (128 - 60, 128 + 60):
        contrast = neutral()
        cv2.circle(contrast, (16 * 16 + 8, 16 * 16 + 8), 3, value, -1)
        peaks.append(focused(cell_map((16, 16, 8.0)), contrast).max())
    assert peaks[0] == pytest.approx(peaks[1], rel=1e-3)


def test_without_contrast_the_map_is_as_smooth_as_before() -> None:
    ram = cell_map((10, 20, 6.0), (11, 20, 3.0))
    plain = cv2.resize(ram, (DETAIL, DETAIL), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_allclose(focused(ram, neutral()), plain, atol=0.1)


def test_a_flat_map_has_nothing_to_share_out() -> None:
    rng = np.random.default_rng(0)
    contrast = np.clip(rng.normal(128, 30, (DETAIL, DETAIL)), 0, 255).astype(np.uint8)
    result = focused(np.full((32, 32), 1.5, np.float32), contrast)
    np.testing.assert_allclose(result, 1.5, atol=1e-4)


def test_what_speaks_against_disease_stays_where_it_was() -> None:
    contrast = neutral()
    cv2.circle(contrast, (16 * 16 + 8, 16 * 16 + 8), 3, 60, -1)
    ram = cell_map((16, 16, -4.0))
    plain = cv2.resize(ram, (DETAIL, DETAIL), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_allclose(focused(ram, contrast), plain, atol=0.05)


def test_evidence_moves_no_further_than_its_neighbourhood() -> None:
    rng = np.random.default_rng(3)
    contrast = np.clip(rng.normal(128, 25, (DETAIL, DETAIL)), 0, 255).astype(np.uint8)
    result = focused(cell_map((16, 16, 10.0)), contrast)
    far = np.ones((DETAIL, DETAIL), bool)
    far[14 * 16 : 19 * 16, 14 * 16 : 19 * 16] = False
    assert np.abs(result[far]).max() < 0.1


def test_a_fine_map_keeps_its_evidence_in_its_cells() -> None:
    assert [neighbourhoods_of(cells) for cells in (16, 32, 64, 128)] == [16, 16, 64, 128]
    contrast = neutral()
    cv2.circle(contrast, (31 * 8 + 4, 29 * 8 + 4), 3, 20, -1)  # in the right one of two hot cells
    ram = cell_map((29, 28, 9.0), (29, 31, 9.0), size=64)
    left = {}
    for neighbourhoods in (16, 64):
        fine = refine(ram, disc(64), contrast, disc(DETAIL), neighbourhoods)
        left[neighbourhoods] = fine[28 * 8 : 31 * 8, 27 * 8 : 30 * 8].sum() / 64
        assert covered_mean(fine, disc(DETAIL)) == pytest.approx(
            covered_mean(ram, disc(64)), abs=1e-4
        )
    assert left[64] == pytest.approx(9, rel=0.2)
    assert left[16] < 0.6 * left[64]


def test_no_retina_and_no_contrast_are_no_division() -> None:
    none = np.zeros((32, 32), np.float32)
    with np.errstate(all="raise"):
        result = refine(none, none, neutral(), np.zeros((DETAIL, DETAIL), np.float32))
        assert np.isfinite(result).all()
        assert np.isfinite(focused(none, neutral())).all()


def test_a_coarser_input_gives_a_coarser_focus() -> None:
    contrast = neutral()
    cv2.circle(contrast, (16 * 16 + 8, 16 * 16 + 8), 2, 20, -1)
    ram = cell_map((16, 16, 10.0))
    peaks = [focused(ram, contrast, size).max() for size in (128, 256, 512)]
    assert peaks[0] < peaks[1] < peaks[2]
