"""Figures of a model on labelled photographs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drcore.agreement.statistics import (
    bootstrap_interval,
    confusion_matrix,
    quadratic_weighted_kappa,
    roc_auc,
    wilson_interval,
)
from drcore.evaluation.intervals import DRAWS, Statistic, patient_intervals
from drcore.evaluation.outcomes import Outcomes
from drcore.icdr import REFERABLE

__all__ = [
    "TITLES", "Figure", "Reliability", "agreement_figures", "confusion_of",
    "expected_calibration_error", "outcome_figures", "reliability_of",
]  # fmt: skip

TITLES = {
    "gradable": "Gradable share",
    "kappa": "Quadratic weighted kappa",
    "accuracy": "Exact agreement",
    "auc": "Referable AUC",
    "sensitivity": "Sensitivity, default",
    "specificity": "Specificity, default",
    "sensitivity_sensitive": "Sensitivity, sensitive",
    "specificity_sensitive": "Specificity, sensitive",
    "sensitivity_with_ungradable": "Sensitivity, default, ungradable referred",
    "specificity_with_ungradable": "Specificity, default, ungradable referred",
    "calibration_error": "Calibration error",
    "coverage": "Coverage of the grade set",
    "set_size": "Grades in the set",
}
"""What the figures of `outcome_figures` are called."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure with its 95 % bootstrap interval over patients; NaN where it has no value.

    Attributes:
        name: key of `TITLES`.
        value: of all photographs that it is about.
        low, high: ends of the interval.
        photographs: that it is about.
    """

    name: str
    value: float
    low: float
    high: float
    photographs: int


@dataclass(frozen=True, slots=True)
class Reliability:
    """Photographs with about the same probability of referable disease.

    Attributes:
        predicted: mean probability, 0-1.
        observed: share that is referable, 0-1.
        low, high: 95 % Wilson interval of that share.
        photographs: number.
    """

    predicted: float
    observed: float
    low: float
    high: float
    photographs: int


def outcome_figures(outcomes: Outcomes, draws: int = DRAWS) -> list[Figure]:
    """Return the figures of a model on labelled photographs.

    Kappa, accuracy, calibration error, coverage and size of the sets are of graded photographs
    whose label is one grade; AUC, sensitivity and specificity of graded photographs. The figures
    "ungradable referred" are of all photographs that could be read.

    Args:
        outcomes: of the photographs.
        draws: resamples of the patients.

    Returns:
        The figures, in the order of `TITLES`; those without any photograph are NaN.
    """
    found = []
    for kind, chosen in _about(outcomes).items():
        part = outcomes.where(chosen)
        statistics = _STATISTICS[kind](part)
        intervals = patient_intervals(statistics, part.patient, draws=draws)
        everything = np.arange(len(part))
        for name, statistic in statistics.items():
            value = statistic(everything) if len(part) else float("nan")
            found.append(Figure(name, value, *intervals[name], len(part)))
    return sorted(found, key=lambda figure: list(TITLES).index(figure.name))


def confusion_of(outcomes: Outcomes) -> NDArray[np.int64]:
    """Return the confusion matrix (5, 5) of graded photographs whose label is one grade."""
    part = outcomes.where(outcomes.graded & outcomes.exact)
    return confusion_matrix(part.low, part.grade)


def reliability_of(outcomes: Outcomes, bins: int = 10) -> list[Reliability]:
    """Return how often photographs are referable, by the probability that the model gave.

    Args:
        outcomes: of the photographs; those without probabilities do not count.
        bins: of as many photographs each as can be.

    Returns:
        Rising probabilities, at most `bins`.
    """
    part = outcomes.where(np.isfinite(outcomes.probabilities[:, 0]))
    p = part.probabilities[:, REFERABLE:].sum(axis=1)
    found = []
    for chosen in np.array_split(np.argsort(p, kind="stable"), min(bins, max(len(p) // 5, 1))):
        if len(chosen):
            hits = int(part.referable[chosen].sum())
            low, high = wilson_interval(hits, len(chosen))
            mean = float(p[chosen].mean())
            found.append(Reliability(mean, hits / len(chosen), low, high, len(chosen)))
    return found


def _about(outcomes: Outcomes) -> dict[str, NDArray[np.bool_]]:
    """Return which photographs each kind of figure is about."""
    calibrated = np.isfinite(outcomes.probabilities[:, 0])
    read = outcomes.status != "failed"
    graded = outcomes.graded
    return {
        "read": read,
        "exact": graded & outcomes.exact,
        "graded": graded,
        "calibrated": graded & calibrated,
        "calibrated exact": graded & calibrated & outcomes.exact,
    }


def _of_read(part: Outcomes) -> dict[str, Statistic]:
    called = part.called | ~part.graded
    return {
        "gradable": lambda i: float(part.graded[i].mean()),
        "sensitivity_with_ungradable": lambda i: _share(called[i], part.referable[i]),
        "specificity_with_ungradable": lambda i: _share(~called[i], ~part.referable[i]),
    }


def _of_exact(part: Outcomes) -> dict[str, Statistic]:
    return {
        "kappa": lambda i: quadratic_weighted_kappa(part.low[i], part.grade[i]),
        "accuracy": lambda i: float((part.low[i] == part.grade[i]).mean()),
    }


def _of_graded(part: Outcomes) -> dict[str, Statistic]:
    return {
        "auc": lambda i: roc_auc(part.referable[i], part.score[i]),
        "sensitivity": lambda i: _share(part.called[i], part.referable[i]),
        "specificity": lambda i: _share(~part.called[i], ~part.referable[i]),
    }


def _of_calibrated(part: Outcomes) -> dict[str, Statistic]:
    return {
        "sensitivity_sensitive": lambda i: _share(part.sensitive[i], part.referable[i]),
        "specificity_sensitive": lambda i: _share(~part.sensitive[i], ~part.referable[i]),
    }


def _of_calibrated_exact(part: Outcomes) -> dict[str, Statistic]:
    covered = (part.set_low <= part.low) & (part.low <= part.set_high)
    size = part.set_high - part.set_low + 1
    return {
        "calibration_error": lambda i: expected_calibration_error(
            part.probabilities[i], part.low[i]
        ),
        "coverage": lambda i: float(covered[i].mean()),
        "set_size": lambda i: float(size[i].mean()),
    }


_STATISTICS = {
    "read": _of_read,
    "exact": _of_exact,
    "graded": _of_graded,
    "calibrated": _of_calibrated,
    "calibrated exact": _of_calibrated_exact,
}


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
