"""What the score of the other eye adds to the score of an eye."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from drcore.agreement.statistics import bootstrap_interval, quadratic_weighted_kappa
from drcore.errors import DrcoreError
from training.evaluation.thresholds import grade_with

__all__ = ["blend_gain", "fit_share"]

FOLDS = 10


def fit_share(score: NDArray[np.float64], truth: NDArray[np.int64]) -> float:
    """Fit how much of the other eye's score goes in, by least squares.

    Args:
        score: float64 (P, 2), grades, both eyes of each patient.
        truth: int64 (P, 2), reference grades.

    Returns:
        0-0.5; 0.5 is the mean of both eyes.
    """
    difference = (score[:, ::-1] - score).ravel()
    power = float(difference @ difference)
    if power == 0:
        return 0.0
    return float(np.clip(difference @ (truth - score).ravel() / power, 0.0, 0.5))


def blend_gain(
    score: NDArray[np.float64],
    truth: NDArray[np.int64],
    thresholds: Sequence[float],
    *,
    seed: int = 0,
) -> dict[str, object]:
    """Measure what the other eye adds, each patient judged with a share fitted on others.

    Args:
        score: float64 (P, 2), grades, both eyes of each patient.
        truth: int64 (P, 2), reference grades.
        thresholds: the four thresholds between the grades, the same for both.

    Returns:
        Patients, quadratic weighted kappa "alone" and "blended", the mean square error of both,
        the "gain" in kappa with its 95 % "interval" over patients, and the "shares" fitted.

    Raises:
        DrcoreError: fewer patients than folds.
    """
    if len(score) < FOLDS:
        raise DrcoreError(
            f"There are {len(score)} patients with two gradable eyes; {FOLDS} are needed."
        )
    fold = np.random.default_rng(seed).permutation(len(score)) % FOLDS
    blended, shares = score.copy(), []
    for number in range(FOLDS):
        here = fold == number
        share = fit_share(score[~here], truth[~here])
        blended[here] = (1 - share) * score[here] + share * score[here, ::-1]
        shares.append(round(share, 3))
    alone_grade, blended_grade = (grade_with(thresholds, s.ravel()) for s in (score, blended))
    reference, patient = truth.ravel(), np.repeat(np.arange(len(score)), 2)

    def gain(i: NDArray[np.int64]) -> float:
        kappas = (
            quadratic_weighted_kappa(reference[i], grade[i])
            for grade in (blended_grade, alone_grade)
        )
        return next(kappas) - next(kappas)

    everyone = np.arange(len(reference))
    return {
        "patients": len(score),
        "alone": quadratic_weighted_kappa(reference, alone_grade),
        "blended": quadratic_weighted_kappa(reference, blended_grade),
        "mean_square_error": [float(np.mean((s - truth) ** 2)) for s in (score, blended)],
        "gain": gain(everyone),
        "interval": bootstrap_interval(gain, len(reference), groups=patient),
        "shares": shares,
    }
