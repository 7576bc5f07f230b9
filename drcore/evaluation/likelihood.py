"""Likelihood of the cumulative logistic model and its gradient."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from drcore.evaluation.scored import Scored
from drcore.model.calibration import GradeCalibration

__all__ = ["most_likely"]

Values = NDArray[np.float64]

_NEAR = (0.5, 0.5, 0.2)
"""Standard deviations around a parent: of a cut and of the widening, in grades, and of the
logarithm of the width."""
_BOUNDS = [(-2.0, 3.0), *[(0.05, 3.0)] * 3, (0.05, 3.0)]


def most_likely(
    scored: Scored, weight: Values, parent: GradeCalibration | None = None
) -> tuple[Values, float, float]:
    """Fit the model of `GradeCalibration` to grades.

    Args:
        scored: graded photographs.
        weight: float64 (N,), how much each counts; the sum is a number of photographs.
        parent: calibration that few photographs stay near: the likelihood is multiplied by normal
            densities around its cuts, the logarithm of its width and its widening.

    Returns:
        Cuts float64 (4,), width and widening.
    """
    # Scores of a single scale have no spread, and teach nothing of it.
    widest = 3.0 if scored.spread.any() else 0.0
    start = np.array([1.0, 0.4, 1.0, 0.8, 0.35, min(0.1, widest)])

    def cost(values: Values) -> tuple[float, Values]:
        cuts = np.cumsum(values[:4])
        loss, along = _loss(scored, weight, cuts, values[4], values[5])
        if parent is not None:
            away, more = _distance(parent, cuts, values[4], values[5])
            loss, along = loss + away, along + more
        # A cut is the sum of the steps up to it.
        along[:4] = np.cumsum(along[:4][::-1])[::-1]
        return loss / len(scored), along / len(scored)

    bounds = [*_BOUNDS, (0.0, widest)]
    found = minimize(cost, start, jac=True, method="L-BFGS-B", bounds=bounds).x
    return np.cumsum(found[:4]), float(found[4]), float(found[5])


def _loss(
    scored: Scored, weight: Values, cuts: Values, width: float, widening: float
) -> tuple[float, Values]:
    """Minus the weighted log likelihood, and its gradient by cuts, width and widening (6,)."""
    index, grade = np.arange(len(scored)), scored.truth
    scale = (width + widening * scored.spread)[:, None]
    steps = (scored.score[:, None] - cuts) / scale
    above = np.pad(0.5 * (1 + np.tanh(steps / 2)), ((0, 0), (1, 1)))
    above[:, 0] = 1.0  # P(grade >= 0); the last column, P(grade >= 5), is 0
    own = np.maximum(above[index, grade] - above[index, grade + 1], 1e-12)
    slope = above * (1 - above)
    along = np.zeros_like(above)  # of the log likelihood by the steps
    along[index, grade] = slope[index, grade] / own
    along[index, grade + 1] -= slope[index, grade + 1] / own
    inner = along[:, 1:5] * (weight[:, None] / scale)
    by_scale = (inner * steps).sum(axis=1)
    gradient = [*inner.sum(axis=0), by_scale.sum(), (by_scale * scored.spread).sum()]
    return -float((weight * np.log(own)).sum()), np.array(gradient)


def _distance(
    parent: GradeCalibration, cuts: Values, width: float, widening: float
) -> tuple[float, Values]:
    """Minus the logarithm of the densities around a parent up to a constant, and its gradient."""
    by_cuts = (cuts - np.array(parent.cuts)) / _NEAR[0]
    by_width = math.log(width / parent.width) / _NEAR[1]
    by_widening = (widening - parent.widening) / _NEAR[2]
    away = (float((by_cuts**2).sum()) + by_width**2 + by_widening**2) / 2
    gradient = [*(by_cuts / _NEAR[0]), by_width / _NEAR[1] / width, by_widening / _NEAR[2]]
    return away, np.array(gradient)
