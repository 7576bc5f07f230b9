"""The grade as the median of the probabilities, beside thresholds that were chosen for kappa."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from drcore.agreement.statistics import quadratic_weighted_kappa
from drcore.evaluation.calibration_fit import fit_probabilities
from drcore.evaluation.scored import Scored, folds
from drcore.icdr import REFERABLE
from training.evaluation.thresholds import fit_thresholds, grade_with

__all__ = ["decision_rules"]


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
