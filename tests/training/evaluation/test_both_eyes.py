"""The other eye is used as far as it helps, judged on patients it was not fitted on."""

from __future__ import annotations

import numpy as np
import pytest

from drcore.errors import DrcoreError
from training.evaluation.both_eyes import blend_gain, fit_share

PLAIN = (0.5, 1.5, 2.5, 3.5)


def eyes(alike: float, noise: float, patients: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """Scores and grades; `alike` is how much of the severity both eyes share, 0-1."""
    rng = np.random.default_rng(4)
    shared, own = rng.uniform(0, 4, (patients, 1)), rng.uniform(0, 4, (patients, 2))
    truth = np.round(alike * shared + (1 - alike) * own).astype(np.int64)
    return truth + rng.normal(0, noise, (patients, 2)), truth


def test_equal_eyes_with_noise_are_averaged() -> None:
    score, truth = eyes(1.0, 0.8)
    assert fit_share(score, truth) == pytest.approx(0.5, abs=0.05)
    result = blend_gain(score, truth, PLAIN)
    assert result["gain"] > 0.02
    assert result["interval"][0] > 0
    assert result["blended"] - result["alone"] == pytest.approx(result["gain"])


def test_exact_scores_take_nothing_from_the_other_eye() -> None:
    score, truth = eyes(0.3, 0.0)
    assert fit_share(score.astype(float), truth) == 0
    result = blend_gain(score.astype(float), truth, PLAIN)
    assert result["gain"] == 0


def test_eyes_that_never_differ_give_no_division_by_nothing() -> None:
    assert fit_share(np.ones((5, 2)), np.ones((5, 2), np.int64)) == 0


def test_too_few_patients_are_refused() -> None:
    with pytest.raises(DrcoreError, match="3 patients"):
        blend_gain(np.ones((3, 2)), np.ones((3, 2), np.int64), PLAIN)
