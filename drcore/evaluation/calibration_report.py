"""A calibration in words and figures."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
from numpy.typing import NDArray

from drcore.agreement.statistics import quadratic_weighted_kappa
from drcore.evaluation.calibration_fit import Judged, fit_probabilities
from drcore.evaluation.intervals import Statistic, patient_intervals
from drcore.evaluation.metrics import expected_calibration_error
from drcore.evaluation.scored import Scored, folds
from drcore.icdr import REFERABLE

__all__ = ["calibration_errors", "judged_statistics", "report"]


def report(scored: Scored, judged: Judged) -> str:
    """Lay out the figures of certainty, with 95 % bootstrap intervals over patients."""
    groups = np.array([f"{d}/{s}" for d, s in zip(scored.dataset, scored.split, strict=True)])
    lines = []
    for group in [*sorted(set(groups.tolist())), "all"]:
        chosen = np.flatnonzero((groups == group) | (group == "all"))
        part = scored.where(chosen)
        got = Judged(*(getattr(judged, f.name)[chosen] for f in fields(Judged)))
        lines += [f"{group} ({len(part)} photographs)", *_lines(part, got)]
    return "\n".join(lines)


def judged_statistics(truth: NDArray[np.int64], judged: Judged) -> dict[str, Statistic]:
    """Return what is measured of a calibration.

    Args:
        truth: int64 (N,), reference grades.
        judged: the same photographs.

    Returns:
        Functions of the indices of photographs, by name.
    """
    covered = judged.sets[np.arange(len(truth)), truth].astype(float)
    size = judged.sets.sum(axis=1).astype(float)
    referable, called = truth >= REFERABLE, judged.grade >= REFERABLE

    def share(hit: NDArray[np.bool_], of: NDArray[np.bool_]) -> Statistic:
        return lambda i: float(hit[i][of[i]].mean()) if of[i].any() else float("nan")

    return {
        "quadratic weighted kappa": lambda i: quadratic_weighted_kappa(truth[i], judged.grade[i]),
        "exact agreement": lambda i: float((truth[i] == judged.grade[i]).mean()),
        "expected calibration error": lambda i: expected_calibration_error(
            judged.probabilities[i], truth[i]
        ),
        "log likelihood a photograph": lambda i: float(
            np.log(np.maximum(judged.probabilities[i, truth[i]], 1e-12)).mean()
        ),
        "coverage of the set": lambda i: float(covered[i].mean()),
        "grades in the set": lambda i: float(size[i].mean()),
        "sensitivity, default": share(called, referable),
        "specificity, default": share(~called, ~referable),
        "sensitivity, sensitive": share(judged.sensitive, referable),
        "specificity, sensitive": share(~judged.sensitive, ~referable),
    }


def _lines(scored: Scored, judged: Judged) -> list[str]:
    rng = np.random.default_rng(0)
    chance = [
        expected_calibration_error(judged.probabilities, _drawn(judged.probabilities, rng))
        for _ in range(200)
    ]
    index = np.arange(len(scored))
    figures = judged_statistics(scored.truth, judged)
    intervals = patient_intervals(figures, scored.patient)
    lines = []
    for name, statistic in figures.items():
        low, high = intervals[name]
        text = f"  {name:<28}{statistic(index):>7.3f} ({low:.3f} to {high:.3f})"
        if name == "expected calibration error":
            text += f"; {np.mean(chance):.3f} if every probability were right"
        lines.append(text)
    return lines


def _drawn(probabilities: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw a reference grade for each photograph from its probabilities."""
    places = rng.random(len(probabilities))[:, None]
    reached = (np.cumsum(probabilities, axis=1) < places).sum(axis=1)
    return np.asarray(np.minimum(reached, 4), np.int64)


def calibration_errors(scored: Scored, partitions: int = 10) -> dict[str, NDArray[np.float64]]:
    """Cross-validate the calibration error over several partitions into folds.

    How the patients fall into folds moves the error by about as much as the error is large, so
    the figure of a single partition is luck.

    Returns:
        float64 (partitions,), 0-1, for each dataset.
    """
    names = sorted(set(scored.dataset.tolist()))
    errors = np.empty((len(names), partitions))
    for number in range(partitions):
        shares = np.empty((len(scored), 5))
        for inside, outside in folds(scored, seed=number + 1):
            model = fit_probabilities(scored.where(inside))
            shares[outside] = model.probabilities(scored.score[outside], scored.spread[outside])
        for row, name in zip(errors, names, strict=True):
            chosen = scored.dataset == name
            row[number] = expected_calibration_error(shares[chosen], scored.truth[chosen])
    return dict(zip(names, errors, strict=True))
