"""What parts of a map add: exact, per disc area, outlined at levels that never change."""

from __future__ import annotations

import numpy as np
import pytest

from drcore.maps.evidence import Evidence, disc_areas, find_evidence
from drcore.maps.fusion import covered_mean
from drcore.maps.region import LEVELS


def disc(size: int, radius: float = 1.0) -> np.ndarray:
    at = (np.arange(size) + 0.5) / size * 2 - 1
    return (np.hypot(*np.meshgrid(at, at)) <= radius).astype(np.float32)


def spot(size: int, x: float, y: float, radius: float, height: float) -> np.ndarray:
    """A disc of `height` grades; places and radius from -1 to 1 over the square."""
    at = (np.arange(size) + 0.5) / size * 2 - 1
    u, v = np.meshgrid(at, at)
    return np.where(np.hypot(u - x, v - y) <= radius, np.float32(height), np.float32(0))


def two_spots(size: int = 512) -> Evidence:
    ram = spot(size, -0.5, -0.4, 1 / 7, 40) + spot(size, 0.5, 0.3, 1 / 7, 10) - 0.05
    return find_evidence(np.asarray(ram, np.float32), disc(size))


@pytest.mark.parametrize("size", [16, 100, 128, 300, 512, 1024])
def test_the_map_sums_to_what_its_cells_add(size):
    rng = np.random.default_rng(size)
    coverage = disc(size) * rng.uniform(0.2, 1, (size, size)).astype(np.float32)
    ram = rng.normal(0.3, 9, (size, size)).astype(np.float32)
    found = find_evidence(ram, coverage)
    assert found.adds.sum() == pytest.approx(covered_mean(ram, coverage), abs=1e-5)
    told = sum(region.adds for region in found.regions)
    outside = found.adds[found.labels == 0].sum()
    assert told + outside == pytest.approx(found.adds.sum(), abs=1e-9)
    positive = np.maximum(ram, 0)
    assert found.raising == pytest.approx(covered_mean(positive, coverage), abs=1e-4)


def test_a_field_of_45_degrees_is_seven_disc_diameters_wide():
    assert disc_areas(disc(512)) == pytest.approx(49, rel=0.01)
    assert disc_areas(disc(512), 90) == pytest.approx(4 * 49, rel=0.01)
    half = disc(512)
    half[:256] = 0
    assert disc_areas(half) == pytest.approx(24.5, rel=0.01)


def test_a_region_says_what_it_adds_where_and_how_large_it_is():
    first, second = two_spots().regions
    # Of 49 disc areas one holds 40 grades: it adds 40 / 49, and the other a quarter of that.
    assert first.adds == pytest.approx(40 / 49, rel=0.05)
    assert second.adds == pytest.approx(10 / 49, rel=0.05)
    assert first.share == pytest.approx(0.8, abs=0.03)
    assert 0.9 < second.disc_areas < first.disc_areas < 2
    assert (first.right, first.down) == pytest.approx((-0.5 * 3.5, -0.4 * 3.5), abs=0.05)
    assert first.place == "upper left, 2.2 disc diameters from the centre"
    assert second.place == "lower right, 2.0 disc diameters from the centre"
    middle = find_evidence(spot(512, 0, 0.05, 0.1, 30), disc(512)).regions[0]
    assert middle.place == "centre"


def test_outlines_are_absolute():
    alone = find_evidence(spot(512, -0.5, -0.4, 1 / 7, 10), disc(512))
    louder = find_evidence(
        np.maximum(spot(512, -0.5, -0.4, 1 / 7, 10), spot(512, 0.5, 0.3, 0.2, 400)), disc(512)
    )
    (region,) = alone.regions
    assert louder.regions[1] == pytest.approx(region) or louder.regions[1].adds == region.adds
    left = np.s_[:, :60]
    np.testing.assert_array_equal(alone.averaged[left], louder.averaged[left])
    np.testing.assert_array_equal(alone.labels[left] > 0, louder.labels[left] > 0)
    assert ((alone.averaged >= LEVELS[0]) == (alone.labels > 0)).all()


def test_a_flat_or_faint_map_has_no_outline():
    coverage = disc(512)
    assert not find_evidence(np.full((512, 512), 1.2, np.float32), coverage).regions
    rng = np.random.default_rng(1)
    noise = rng.normal(0, 3, (512, 512)).astype(np.float32)  # cancels over a neighbourhood
    found = find_evidence(noise, coverage)
    assert not found.regions
    assert not found.labels.any()


def test_the_same_lesion_is_as_dense_in_every_field():
    """Twice as wide a field has four times the disc areas; a map's mean weighs by the field."""
    narrow = find_evidence(spot(512, 0, 0, 2 / 7, 10), disc(512))
    wide = find_evidence(spot(512, 0, 0, 1 / 7, 40), disc(512), degrees=90)
    assert np.nanmax(narrow.density) == pytest.approx(np.nanmax(wide.density), rel=0.01)
    assert narrow.regions[0].adds == pytest.approx(wide.regions[0].adds, rel=0.05)
    assert narrow.regions[0].disc_areas == pytest.approx(wide.regions[0].disc_areas, rel=0.05)


def test_without_retina_there_is_nothing():
    found = find_evidence(np.ones((64, 64), np.float32), np.zeros((64, 64), np.float32))
    assert found.regions == ()
    assert np.isnan(found.density).all()
    assert found.adds.sum() == 0
