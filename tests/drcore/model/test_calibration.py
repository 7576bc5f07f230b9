"""Probabilities that behave, sets without gaps, and no trust in what a manifest says of them."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from drcore.errors import DrcoreError
from drcore.model.calibration import GradeCalibration, nonconformity, spread_of

SURE = GradeCalibration(
    cuts=(0.8, 1.4, 2.4, 3.3), width=0.3, widening=0.2,
    coverage=0.9, level=0.8, sensitive=1.1,
)  # fmt: skip


def test_spread_is_highest_less_lowest() -> None:
    assert spread_of([1.0, 2.5, 0.5]) == 2.0
    assert spread_of({128: 1.5}.values()) == 0.0


def test_probabilities_sum_to_one_at_any_score() -> None:
    score = np.array([-1e6, -3.0, 0.0, 1.7, 4.2, 1e6])
    shares = SURE.probabilities(score, np.array([0.0, 0.1, 2.0, 0.0, 5.0, 0.0]))
    assert shares.shape == (6, 5)
    assert np.allclose(shares.sum(axis=1), 1, atol=1e-12)
    assert (shares >= 0).all()
    assert shares[0].argmax() == 0
    assert shares[-1].argmax() == 4


def test_probability_of_a_higher_grade_rises_with_the_score() -> None:
    shares = SURE.probabilities(np.linspace(-1, 5, 200), 0.3)
    above = 1 - np.cumsum(shares, axis=1)[:, :-1]
    assert (np.diff(above, axis=0) > 0).all()


def test_at_a_cut_both_sides_are_even() -> None:
    for k, cut in enumerate(SURE.cuts):
        assert SURE.probabilities(cut, 0.7)[: k + 1].sum() == pytest.approx(0.5)


def test_disagreeing_scales_make_it_less_sure() -> None:
    assert SURE.probabilities(0.0, 0.0).max() > SURE.probabilities(0.0, 1.5).max() + 0.02
    stubborn = replace(SURE, widening=0.0)
    assert np.array_equal(stubborn.probabilities(0.0, 0.0), stubborn.probabilities(0.0, 1.5))


@pytest.mark.parametrize("grade", range(5))
def test_sets_hold_the_grade_and_have_no_gaps(grade: int) -> None:
    rng = np.random.default_rng(grade)
    for _ in range(200):
        p = rng.dirichlet(np.full(5, 0.4))
        found = replace(SURE, level=float(rng.random())).grade_set(p, grade)
        assert grade in found
        assert found == tuple(range(found[0], found[-1] + 1))


def test_sets_grow_with_the_level_and_hold_what_is_probable() -> None:
    p = [0.05, 0.15, 0.5, 0.26, 0.04]
    assert replace(SURE, level=0.0).grade_set(p, 2) == (2,)
    assert replace(SURE, level=0.75).grade_set(p, 2) == (2, 3)
    assert replace(SURE, level=0.86).grade_set(p, 2) == (1, 2, 3)
    assert replace(SURE, level=1.0).grade_set(p, 2) == (0, 1, 2, 3, 4)
    # An improbable grade between the given one and a probable one comes along.
    assert replace(SURE, level=0.5).grade_set([0.3, 0.05, 0.65, 0.0, 0.0], 0) == (0, 1, 2)


def test_reluctance_never_falls_away_from_the_grade() -> None:
    rng = np.random.default_rng(0)
    for _ in range(100):
        grade = int(rng.integers(5))
        values = nonconformity(rng.dirichlet(np.ones(5)), grade)
        assert values[grade] == 0
        assert (np.diff(values[grade:]) >= 0).all()
        assert (np.diff(values[: grade + 1]) <= 0).all()


@pytest.mark.parametrize(
    "change",
    [
        {"cuts": (0.8, 0.8, 2.4, 3.3)},
        {"cuts": (3.3, 2.4, 1.4, 0.8)},
        {"cuts": (0.8, 1.4, 2.4)},
        {"cuts": (0.8, 1.4, 2.4, math.nan)},
        {"cuts": (0.8, 1.4, 2.4, 1e300)},
        {"width": 0.0},
        {"width": -1.0},
        {"width": math.nan},
        {"widening": -0.1},
        {"widening": math.inf},
        {"coverage": 0.0},
        {"coverage": 1.0},
        {"level": 1.01},
        {"level": math.nan},
        {"sensitive": math.nan},
        {"sensitive": -math.inf},
    ],
    ids=str,
)
def test_numbers_that_make_no_model_are_refused(change: dict) -> None:
    with pytest.raises(DrcoreError, match="certainty"):
        replace(SURE, **change)
