"""Kappa, ROC area and bootstrap against formulas written out, and by hand."""

from __future__ import annotations

import numpy as np
import pytest

from drcore.agreement.statistics import (
    bootstrap_interval,
    bootstrap_matrices,
    confusion_matrix,
    kappa_of_matrices,
    percentile_interval,
    quadratic_weighted_kappa,
    roc_auc,
    wilson_interval,
)
from drcore.errors import DrcoreError


def grades(seed: int, count: int = 60) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    reference = rng.choice(5, count, p=(0.4, 0.15, 0.25, 0.1, 0.1))
    return reference, np.clip(reference + rng.choice(3, count) - 1, 0, 4)


def test_confusion_matrix_counts_reference_in_rows():
    counts = confusion_matrix([0, 0, 4, 2], [0, 1, 4, 1])
    assert counts.shape == (5, 5)
    assert counts[0, 0] == counts[0, 1] == counts[4, 4] == counts[2, 1] == 1
    assert counts.sum() == 4
    assert confusion_matrix([], []).sum() == 0


@pytest.mark.parametrize(
    ("reference", "given"),
    [([0, 5], [0, 0]), ([0, 0], [0, 5]), ([0, 0], [0, -1]), ([0, 1, 2], [0, 1]), ([0, 1, 2], [1])],
    ids=["reference too high", "given too high", "negative", "lengths differ", "one for all"],
)
def test_grades_that_cannot_be_paired_are_refused(reference, given):
    with pytest.raises(DrcoreError, match="grades cannot be compared"):
        confusion_matrix(reference, given)


def test_kappa_by_hand():
    # One pair in four disagrees, by 16. Margins: reference 0 twice, 4 twice; given 0 three times,
    # 4 once. By chance 2 * 1 / 4 + 2 * 3 / 4 = 2 pairs would disagree, by 16 each.
    assert quadratic_weighted_kappa([0, 0, 4, 4], [0, 0, 0, 4]) == pytest.approx(1 - 16 / (2 * 16))
    # Neighbours instead: same table, so the same kappa; the weights cancel.
    assert quadratic_weighted_kappa([0, 0, 1, 1], [0, 0, 0, 1]) == pytest.approx(0.5)
    # Three grades: (0, 1) and (2, 1) disagree by 1 each. Margins 2, 1, 1 and 1, 3, 0: by chance
    # (2*3 + 1*1 + 1*3) / 4 pairs disagree by 1 and 1*1 / 4 by 4, in all 14 / 4.
    kappa = quadratic_weighted_kappa([0, 0, 1, 2], [0, 1, 1, 1])
    assert kappa == pytest.approx(1 - 2 / (14 / 4))


def test_kappa_at_its_ends():
    assert quadratic_weighted_kappa([0, 1, 2, 3, 4], [0, 1, 2, 3, 4]) == 1
    assert quadratic_weighted_kappa([0, 4], [4, 0]) == pytest.approx(-1)
    assert np.isnan(quadratic_weighted_kappa([], []))
    assert np.isnan(quadratic_weighted_kappa([2, 2], [2, 2]))


@pytest.mark.parametrize("seed", range(5))
def test_kappa_is_the_formula_over_all_pairs(seed):
    reference, given = grades(seed)
    observed = np.mean((reference - given) ** 2)
    chance = np.mean([(a - b) ** 2 for a in reference for b in given])
    assert quadratic_weighted_kappa(reference, given) == pytest.approx(1 - observed / chance)


@pytest.mark.parametrize("seed", range(5))
def test_auc_is_how_often_a_positive_is_above(seed):
    rng = np.random.default_rng(seed)
    truth = rng.random(40) < 0.4
    score = np.round(rng.normal(truth, 1.0), 1)  # rounded: ties happen
    pairs = [(a > b) + 0.5 * (a == b) for a in score[truth] for b in score[~truth]]
    assert roc_auc(truth, score) == pytest.approx(np.mean(pairs))


def test_auc_at_its_ends():
    assert roc_auc([False, True], [0.1, 0.9]) == 1
    assert roc_auc([False, True], [0.9, 0.1]) == 0
    assert roc_auc([False, True, True], [1, 1, 1]) == 0.5
    assert np.isnan(roc_auc([True, True], [0.1, 0.9]))
    assert np.isnan(roc_auc([], []))


def mean_of(values: np.ndarray):
    return lambda drawn: float(values[drawn].mean())


def test_bootstrap_is_seeded_and_holds_the_statistic():
    values = np.random.default_rng(0).normal(3, 1, 200)
    low, high = bootstrap_interval(mean_of(values), 200, draws=300, seed=7)
    assert (low, high) == bootstrap_interval(mean_of(values), 200, draws=300, seed=7)
    assert (low, high) != bootstrap_interval(mean_of(values), 200, draws=300, seed=8)
    assert low < values.mean() < high
    # 95 % of a mean: about 1.96 standard errors to either side.
    assert high - low == pytest.approx(2 * 1.96 * values.std() / np.sqrt(200), rel=0.2)
    narrow = bootstrap_interval(mean_of(values), 200, draws=300, seed=7, level=0.5)
    assert low < narrow[0] < narrow[1] < high


def test_groups_are_drawn_together():
    # Ten patients with twenty equal photographs each: the interval is that of ten observations.
    values = np.repeat(np.random.default_rng(0).normal(0, 1, 10), 20)
    patients = np.repeat([f"p{i}" for i in range(10)], 20)
    single = bootstrap_interval(mean_of(values), 200, draws=300)
    grouped = bootstrap_interval(mean_of(values), 200, groups=patients, draws=300)
    assert grouped[1] - grouped[0] > 2.5 * (single[1] - single[0])

    def whole_groups(drawn: np.ndarray) -> float:
        counts = np.bincount(drawn, minlength=200).reshape(10, 20)
        assert (counts == counts[:, :1]).all()
        return float(len(drawn))

    assert bootstrap_interval(whole_groups, 200, groups=patients, draws=5) == (200, 200)


def test_bootstrap_without_an_answer_is_nan():
    assert np.isnan(bootstrap_interval(lambda _: float("nan"), 10, draws=5)).all()
    assert np.isnan(bootstrap_interval(lambda drawn: float(len(drawn)), 0, draws=5)).all()
    rare = bootstrap_interval(
        lambda drawn: float("nan") if 0 in drawn else 1.0, 5, draws=50, seed=1
    )
    assert rare == (1.0, 1.0)


def test_kappa_of_many_matrices_is_that_of_each():
    pairs = [grades(seed) for seed in range(4)]
    matrices = [confusion_matrix(*pair) for pair in pairs] + [np.zeros((5, 5))]
    found = kappa_of_matrices(matrices)
    assert found[:4] == pytest.approx([quadratic_weighted_kappa(*pair) for pair in pairs])
    assert np.isnan(found[4])


def test_matrices_are_drawn_by_patient_as_the_plain_bootstrap_does():
    reference, given = grades(3, 120)
    patients = [f"p{i // 2}" for i in range(120)]  # both eyes
    drawn = bootstrap_matrices(reference, given, patients, draws=400, seed=5)
    assert (drawn == bootstrap_matrices(reference, given, patients, draws=400, seed=5)).all()
    assert (drawn.sum(axis=(1, 2)) == 120).all()
    fast = percentile_interval(kappa_of_matrices(drawn))
    plain = bootstrap_interval(
        lambda i: quadratic_weighted_kappa(reference[i], given[i]),
        120, groups=patients, draws=400, seed=9,
    )  # fmt: skip
    assert fast == pytest.approx(plain, abs=0.04)
    assert fast[0] < quadratic_weighted_kappa(reference, given) < fast[1]
    assert bootstrap_matrices([], [], [], draws=3).sum() == 0
    with pytest.raises(DrcoreError, match="cannot be compared"):
        bootstrap_matrices([0, 5], [0, 0], [0, 1])


@pytest.mark.parametrize(
    ("hits", "count", "low", "high"),
    # Newcombe 1998, table I.
    [
        (81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718),
    ],
)  # fmt: skip
def test_wilson_interval_is_newcombes(hits, count, low, high):
    assert wilson_interval(hits, count) == pytest.approx((low, high), abs=5e-5)
    assert wilson_interval(count - hits, count) == pytest.approx((1 - high, 1 - low), abs=5e-5)
    assert np.isnan(wilson_interval(0, 0)).all()
