"""Fusing activation maps, and bringing them to more cells."""

from __future__ import annotations

import numpy as np
import pytest

from drcore.errors import DrcoreError
from drcore.maps.fusion import FUSION_RULES, covered_mean, fuse, resample


def disc_coverage(cells: int, cut: float = 0.0) -> np.ndarray:
    fine = (np.arange(cells * 16) + 0.5) / (cells * 8) - 1
    inside = (np.hypot(fine[:, None], fine[None]) <= 1) & (fine[:, None] > -1 + cut)
    return inside.reshape(cells, 16, cells, 16).mean(axis=(1, 3)).astype(np.float32)


def maps(count: int = 3, cells: int = 16, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.normal(i, 1 + i, (cells, cells)).astype(np.float32) for i in range(count)]


COVERAGE = disc_coverage(16)


def test_covered_mean_weighs_cells_by_their_retina():
    ram = np.array([[1, 2], [3, 10]], np.float32)
    coverage = np.array([[1, 0.5], [0, 0.5]], np.float32)
    assert covered_mean(ram, coverage) == pytest.approx((1 + 1 + 5) / 2)
    assert covered_mean(ram, np.zeros((2, 2), np.float32)) == 0


@pytest.mark.parametrize("count", [1, 2, 3])
def test_mean_of_the_mean_is_the_mean_of_the_means(count):
    chosen = maps(count)
    fused = fuse(chosen, COVERAGE)
    assert fused.dtype == np.float32
    means = [covered_mean(ram, COVERAGE) for ram in chosen]
    assert covered_mean(fused, COVERAGE) == pytest.approx(np.mean(means), abs=1e-5)
    assert np.allclose(fused, sum(ram.astype(float) for ram in chosen) / count, atol=1e-5)


def test_max_is_the_highest_claim():
    chosen = maps()
    fused = fuse(chosen, COVERAGE, "max")
    assert (fused == np.maximum(np.maximum(*chosen[:2]), chosen[2])).all()


def test_minmax_sum_and_product_by_hand():
    a = np.array([[0, 1], [2, 4]], np.float32)
    b = np.array([[10, 20], [30, 20]], np.float32)
    full = np.ones((2, 2), np.float32)
    assert np.allclose(fuse([a, b], full, "minmax_sum"), [[0, 0.75], [1.5, 1.5]])
    assert np.allclose(fuse([a, b], full, "product"), [[0, 0.125], [0.5, 0.5]])


def test_cells_without_retina_have_no_say_in_the_stretching():
    a = np.array([[0, 1], [2, -1000]], np.float32)
    coverage = np.array([[1, 1], [1, 0]], np.float32)
    assert np.allclose(fuse([a], coverage, "minmax_sum"), [[0, 0.5], [1, 0]])


@pytest.mark.parametrize("rule", FUSION_RULES)
@pytest.mark.parametrize(
    "chosen",
    [
        [np.full((16, 16), 2.5, np.float32)] * 3,
        [np.zeros((16, 16), np.float32), *maps(1)],
        [np.full((16, 16), 1e-30, np.float32)],
        [np.full((16, 16), -3e4, np.float32), np.full((16, 16), 3e4, np.float32)],
    ],
    ids=["flat", "one flat", "tiny", "large"],
)
def test_flat_maps_give_no_nan(rule, chosen):
    with np.errstate(all="raise", under="ignore"):
        fused = fuse(chosen, COVERAGE, rule)
    assert np.isfinite(fused).all()
    assert fused.shape == (16, 16)
    assert fused.dtype == np.float32


@pytest.mark.parametrize("rule", FUSION_RULES)
def test_no_retina_gives_no_nan(rule):
    assert np.isfinite(fuse(maps(), np.zeros((16, 16), np.float32), rule)).all()


@pytest.mark.parametrize("rule", FUSION_RULES)
def test_order_of_the_scales_does_not_matter_and_inputs_stay(rule):
    chosen = maps()
    before = [ram.copy() for ram in chosen]
    first, second = fuse(chosen, COVERAGE, rule), fuse(chosen[::-1], COVERAGE, rule)
    assert np.allclose(first, second, atol=1e-6)
    first += 1
    assert all(np.array_equal(ram, old) for ram, old in zip(chosen, before, strict=True))


def test_nothing_to_fuse_and_unknown_rule_are_refused():
    with pytest.raises(DrcoreError, match="choose at least one scale"):
        fuse([], COVERAGE)
    with pytest.raises(DrcoreError, match=r"Unknown fusion rule 'median': choose mean, max"):
        fuse(maps(), COVERAGE, "median")


@pytest.mark.parametrize("cut", [0.0, 0.3])
@pytest.mark.parametrize(("cells", "wanted"), [(16, 32), (16, 28), (28, 32), (32, 16)])
def test_resampling_keeps_the_mean_over_the_retina(cells, wanted, cut):
    rows, columns = np.mgrid[:cells, :cells].astype(np.float32) / cells
    steep = np.exp(3 * columns) + 5 * (rows > 0.8)  # steepest along the rim
    coverage, fine_coverage = disc_coverage(cells, cut), disc_coverage(wanted, cut)
    fine = resample(steep.astype(np.float32), coverage, fine_coverage)
    assert fine.shape == (wanted, wanted)
    assert fine.dtype == np.float32
    before, after = covered_mean(steep, coverage), covered_mean(fine, fine_coverage)
    assert after == pytest.approx(before, abs=1e-4)


def test_resampling_keeps_places():
    ram = np.zeros((16, 16), np.float32)
    ram[4, 11] = 1
    fine = resample(ram, disc_coverage(16), disc_coverage(32))
    weight = fine - np.median(fine)
    rows, columns = np.mgrid[:32, :32] + 0.5
    assert (weight * rows).sum() / weight.sum() == pytest.approx(2 * 4.5, abs=1e-3)
    assert (weight * columns).sum() / weight.sum() == pytest.approx(2 * 11.5, abs=1e-3)


def test_map_of_the_right_size_is_not_touched():
    ram = maps(1)[0]
    assert np.array_equal(resample(ram, COVERAGE, COVERAGE), ram)
