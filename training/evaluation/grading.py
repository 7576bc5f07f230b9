"""Agreement of a bundle with the grades of a data set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from drcore.evaluation.metrics import agreement_figures
from drcore.evaluation.scored import Scored
from drcore.grading.grader import Grader
from training.data.labels import Labelled
from training.evaluation.scoring import score_photographs

__all__ = ["evaluate", "evaluate_scored", "table"]


def evaluate(grader: Grader, rows: Sequence[Labelled], *, quiet: bool = False) -> dict[str, Any]:
    """Grade photographs the way a user would, from the file, and compare with their labels.

    Photographs that the gradability check would turn away are graded by their score all the same
    (and counted), so that accuracy cannot be bought by refusing the hard ones.

    Returns:
        By "dataset/split" and scale ("128", "256", "512", "fused"), what `agreement_figures` gives.
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
            entry[scale] = agreement_figures(
                scored.truth[chosen], score, given, scored.patient[chosen]
            )
        result["sets"][group] = entry
    return result


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


def _interval(value: float, bounds: Sequence[float]) -> str:
    return f"{value:.3f} ({bounds[0]:.3f}-{bounds[1]:.3f})"
