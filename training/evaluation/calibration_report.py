"""A calibration in words and figures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields

import numpy as np
from numpy.typing import NDArray

from drcore.agreement.statistics import bootstrap_interval, quadratic_weighted_kappa
from drcore.icdr import REFERABLE
from training.evaluation.calibration import Judged, fit_probabilities
from training.evaluation.scored import Scored, folds
from training.evaluation.thresholds import fit_thresholds, grade_with

__all__ = ["calibration_errors", "decision_rules", "expected_calibration_error", "report"]

Statistic = Callable[[NDArray[np.int64]], float]
"""Of the observations with these indices."""


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


def _lines(scored: Scored, judged: Judged) -> list[str]:
    truth, index = scored.truth, np.arange(len(scored))
    covered = judged.sets[index, truth].astype(float)
    size = judged.sets.sum(axis=1).astype(float)
    referable = truth >= REFERABLE
    called = judged.grade >= REFERABLE
    rng = np.random.default_rng(0)
    chance = [
        expected_calibration_error(judged.probabilities, _drawn(judged.probabilities, rng))
        for _ in range(200)
    ]

    def share(hit: NDArray[np.bool_], of: NDArray[np.bool_]) -> Statistic:
        return lambda i: float(hit[i][of[i]].mean()) if of[i].any() else float("nan")

    figures: dict[str, Statistic] = {
        "quadratic weighted kappa": lambda i: quadratic_weighted_kappa(truth[i], judged.grade[i]),
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
    lines = []
    for name, statistic in figures.items():
        low, high = bootstrap_interval(statistic, len(scored), groups=scored.patient)
        text = f"  {name:<28}{statistic(index):>7.3f} ({low:.3f} to {high:.3f})"
        if name == "expected calibration error":
            text += f"; {np.mean(chance):.3f} if every probability were right"
        lines.append(text)
    return lines


def _drawn(probabilities: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw a reference grade for each photograph from its probabilities."""
    places = rng.random(len(probabilities))[:, None]
    return np.minimum((np.cumsum(probabilities, axis=1) < places).sum(axis=1), 4).astype(np.int64)


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


def decision_rules(val: Scored, test: Scored, partitions: int = 3) -> str:
    """Compare the median of the probabilities with thresholds that were chosen for kappa.

    Args:
        val: fitted on, each patient judged by a fit without them; mean over the partitions.
        test: judged by a fit on all of `val`.
        partitions: into folds.

    Returns:
        A table with kappa, accuracy, sensitivity and specificity of both rules for each set.
    """
    rules: dict[str, Callable[[Scored], Sequence[float]]] = {
        "median": lambda s: fit_probabilities(s).cuts,
        "thresholds": lambda s: fit_thresholds(s.score, s.truth, s.dataset, s.patient),
    }
    columns = f"{'kappa':>7}{'exact':>7}{'sens.':>7}{'spec.':>7}"
    lines = [f"{'':<18}{'median':<28}{'thresholds for kappa':<28}", f"{'':<18}{columns}{columns}"]
    found: dict[str, list[NDArray[np.float64]]] = {}
    for fit in rules.values():
        given = []
        for seed in range(1, partitions + 1):
            grade = np.empty(len(val), np.int64)
            for inside, outside in folds(val, seed):
                grade[outside] = grade_with(fit(val.where(inside)), val.score[outside])
            given.append(grade)
        for name in sorted(set(val.dataset.tolist())):
            chosen = val.dataset == name
            each = [_agreement(val.truth[chosen], grade[chosen]) for grade in given]
            found.setdefault(f"{name}/val", []).append(np.mean(each, axis=0))
        for name in sorted(set(test.dataset.tolist())):
            chosen = test.dataset == name
            judged = grade_with(fit(val), test.score[chosen])
            found.setdefault(f"{name}/test", []).append(_agreement(test.truth[chosen], judged))
    for name, figures in found.items():
        lines.append(f"{name:<18}" + "".join(f"{value:>7.3f}" for value in np.concatenate(figures)))
    return "\n".join(lines)


def _agreement(truth: NDArray[np.int64], given: NDArray[np.int64]) -> NDArray[np.float64]:
    """Kappa, exact agreement, sensitivity and specificity for referable disease."""
    referable, called = truth >= REFERABLE, given >= REFERABLE
    return np.array([
        quadratic_weighted_kappa(truth, given), (truth == given).mean(),
        called[referable].mean(), (~called)[~referable].mean(),
    ])  # fmt: skip
