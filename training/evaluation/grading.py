"""Agreement of a bundle with the grades of a data set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drcore.agreement.statistics import (
    bootstrap_interval,
    confusion_matrix,
    quadratic_weighted_kappa,
    roc_auc,
)
from drcore.grading.grader import Grader
from drcore.icdr import REFERABLE
from training.data.labels import Labelled
from training.evaluation.scored import Scored, score_photographs

__all__ = ["evaluate", "evaluate_scored", "figures", "table"]


def evaluate(grader: Grader, rows: Sequence[Labelled], *, quiet: bool = False) -> dict[str, Any]:
    """Grade photographs the way a user would, from the file, and compare with their labels.

    Photographs that the gradability check would turn away are graded by their score all the same
    (and counted), so that accuracy cannot be bought by refusing the hard ones.

    Returns:
        By "dataset/split" and scale ("128", "256", "512", "fused"), the figures of `figures`.
    """
    return evaluate_scored(grader, score_photographs(grader, rows, quiet=quiet))


def evaluate_scored(grader: Grader, scored: Scored) -> dict[str, Any]:
    """Compare scores with labels; see `evaluate`.

    Args:
        grader: whose scales and thresholds are used.
        scored: its scores.
    """
    groups = np.array([f"{d}/{s}" for d, s in zip(scored.dataset, scored.split, strict=True)])
    scores = {"fused": scored.score}
    scores |= {str(s): scored.scales[:, i] for i, s in enumerate(grader.scales)}
    result: dict[str, Any] = {"model": grader.version, "sets": {}}
    for group in sorted(set(groups)):
        chosen = groups == group
        entry: dict[str, Any] = {
            "photographs": int(chosen.sum()),
            "called_ungradable": int((~scored.gradable[chosen]).sum()),
        }
        for scale, values in scores.items():
            score = values[chosen]
            given = np.array([grader.grade_of(float(value)) for value in score])
            entry[scale] = figures(scored.truth[chosen], score, given, scored.patient[chosen])
        result["sets"][group] = entry
    return result


def figures(
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


def table(result: dict[str, Any]) -> str:
    """Lay out the result of `evaluate` as text, one line a set and scale, then the matrices.

    Args:
        result: what `evaluate` returned.
    """
    lines = [
        f"{result['model']}",
        f"{'set':<18}{'n':>5} {'scale':<6} {'kappa (95 %)':<20} {'acc':>5} "
        f"{'AUC >=2 (95 %)':<20} {'sens':>5} {'spec':>5} {'MAE':>5}",
    ]
    for group, entry in result["sets"].items():
        for scale in sorted(k for k in entry if isinstance(entry[k], dict)):
            f = entry[scale]
            lines.append(
                f"{group:<18}{entry['photographs']:>5} {scale:<6} "
                f"{_interval(f['kappa'], f['kappa_interval']):<20} {f['accuracy']:>5.3f} "
                f"{_interval(f['referable_auc'], f['referable_auc_interval']):<20} "
                f"{f['referable_sensitivity']:>5.3f} {f['referable_specificity']:>5.3f} "
                f"{f['mean_absolute_error']:>5.2f}"
            )
    for group, entry in result["sets"].items():
        lines += [
            "",
            f"{group}, fused; row: reference, column: given; "
            f"{entry['called_ungradable']} of {entry['photographs']} would be called ungradable",
        ]
        lines += ["".join(f"{count:>6}" for count in row) for row in entry["fused"]["confusion"]]
    return "\n".join(lines)


def _share(hit: NDArray[np.bool_], of: NDArray[np.bool_]) -> float:
    return float(hit[of].mean()) if of.any() else float("nan")


def _interval(value: float, bounds: Sequence[float]) -> str:
    return f"{value:.3f} ({bounds[0]:.3f}-{bounds[1]:.3f})"
