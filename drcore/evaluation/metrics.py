"""Figures of a model on labelled photographs."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from drcore.agreement.statistics import (
    bootstrap_interval,
    confusion_matrix,
    quadratic_weighted_kappa,
    roc_auc,
)
from drcore.icdr import REFERABLE

__all__ = ["agreement_figures", "expected_calibration_error"]


def agreement_figures(
    truth: NDArray[np.int64],
    score: NDArray[np.float64],
    given: NDArray[np.int64],
    patients: NDArray[np.str_] | None = None,
    draws: int = 1000,
) -> dict[str, Any]:
    """Return the figures of one set of photographs.

    Args:
        truth: int (N,), reference grades 0-4.
        score: float (N,), continuous severity.
        given: int (N,), the model's grades 0-4.
        patients: str (N,), keys that the bootstrap draws together.

    Returns:
        Quadratic weighted kappa and referable AUC with 95 % intervals, accuracy, referable
        sensitivity and specificity, mean absolute error of the score, confusion matrix
        (row: reference).
    """
    positive, called = truth >= REFERABLE, given >= REFERABLE

    def kappa(i: NDArray[np.int64]) -> float:
        return quadratic_weighted_kappa(truth[i], given[i])

    def auc(i: NDArray[np.int64]) -> float:
        return roc_auc(positive[i], score[i])

    everything = np.arange(len(truth))
    return {
        "kappa": kappa(everything),
        "kappa_interval": bootstrap_interval(kappa, len(truth), groups=patients, draws=draws),
        "accuracy": float((truth == given).mean()),
        "referable_auc": auc(everything),
        "referable_auc_interval": bootstrap_interval(auc, len(truth), groups=patients, draws=draws),
        "referable_sensitivity": _share(called, positive),
        "referable_specificity": _share(~called, ~positive),
        "mean_absolute_error": float(np.abs(truth - score).mean()),
        "confusion": confusion_matrix(truth, given).tolist(),
    }


def expected_calibration_error(
    probabilities: NDArray[np.float64], truth: NDArray[np.int64], bins: int = 10
) -> float:
    """Mean distance between how sure and how often right the most probable grade is.

    Photographs are sorted into bins of equal width by the highest of their probabilities (Guo et
    al. 2017, equation 3). Chance alone makes it larger than 0 on few photographs.

    Args:
        probabilities: float (N, 5), sum 1.
        truth: int (N,), 0-4.
        bins: number of bins over 0-1.

    Returns:
        0-1, NaN for no photographs.
    """
    if len(truth) == 0:
        return float("nan")
    sure = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == truth
    place = np.minimum((sure * bins).astype(int), bins - 1)
    gaps = np.bincount(place, right - sure, minlength=bins)
    return float(np.abs(gaps).sum() / len(truth))


def _share(hit: NDArray[np.bool_], of: NDArray[np.bool_]) -> float:
    return float(hit[of].mean()) if of.any() else float("nan")
