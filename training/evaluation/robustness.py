"""Robustness of the score to another camera, light or archive."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drcore.agreement.statistics import bootstrap_interval, quadratic_weighted_kappa, roc_auc
from drcore.errors import DrcoreError
from drcore.grading.grader import Grader
from drcore.icdr import REFERABLE
from drcore.results.columns import Row
from training.data.labels import Labelled

__all__ = ["UNTOUCHED", "measure", "table"]

UNTOUCHED = "untouched"


def measure(
    grader: Grader, rows: Mapping[str, Sequence[Row]], labels: Sequence[Labelled]
) -> dict[str, Any]:
    """Measure what changes do to the score.

    Args:
        grader: that graded the photographs.
        rows: of results by change, "untouched" first; photographs that have all are used.
        labels: with the reference grades.

    Returns:
        By change, "untouched" first and "mean" of the changes last: squared error, quadratic
        weighted kappa and referable AUC of the fused score, mean absolute difference of the score
        from that of the untouched photograph, the share whose grade is another, and the share
        called ungradable (their scores count all the same); of the squared error also by how much
        it grew, with the 95 % interval over patients.

    Raises:
        DrcoreError: a photograph cannot be graded.
    """
    by_image = {name: {row["image"]: row for row in given} for name, given in rows.items()}
    chosen = [row for row in labels if all(row.path.name in found for found in by_image.values())]
    wanted = [[found[row.path.name] for found in by_image.values()] for row in chosen]
    for cells in wanted:
        for name, row in zip(by_image, cells, strict=True):
            if row["status"] == "failed":
                raise DrcoreError(f"{row['image']}, {name}: {row['reason']}")
    scores = np.array([[float(row["score"]) for row in cells] for cells in wanted])
    refused = np.array([[row["status"] == "ungradable" for row in cells] for cells in wanted])
    truth = np.array([row.grade for row in chosen])
    patients = np.array([f"{row.dataset} {row.patient}" for row in chosen])
    given = np.vectorize(grader.grade_of, otypes=[int])(scores)
    figures = {
        name: _figures(truth, patients, scores[:, [i, 0]], given[:, [i, 0]], refused[:, i])
        for i, name in enumerate(by_image)
    }
    figures["mean"] = {
        key: float(np.mean([figures[name][key] for name in list(by_image)[1:]]))
        for key in figures[UNTOUCHED]
        if not key.endswith("_interval")
    }
    return {"model": grader.version, "photographs": len(chosen), "changes": figures}


def _figures(
    truth: NDArray[np.int64],
    patients: NDArray[np.str_],
    scores: NDArray[np.float64],
    grades: NDArray[np.int64],
    refused: NDArray[np.bool_],
) -> dict[str, Any]:
    """Figures of one change; scores and grades (N, 2) are those after and before it."""
    (score, before), (given, given_before) = scores.T, grades.T
    error = (score - truth) ** 2
    grown = error - (before - truth) ** 2

    def growth(i: NDArray[np.int64]) -> float:
        return float(grown[i].mean())

    return {
        "squared_error": float(error.mean()),
        "grown": growth(np.arange(len(truth))),
        "grown_interval": bootstrap_interval(growth, len(truth), groups=patients),
        "kappa": quadratic_weighted_kappa(truth, given),
        "referable_auc": roc_auc(truth >= REFERABLE, score),
        "moved": float(np.abs(score - before).mean()),
        "other_grade": float((given != given_before).mean()),
        "ungradable": float(refused.mean()),
    }


def table(result: dict[str, Any]) -> str:
    """Lay out the result of `measure` as text.

    Args:
        result: what `measure` returned.
    """
    lines = [
        f"{result['model']}: {result['photographs']} photographs, grades and data sets alike",
        f"{'change':<19}{'squared error':>14}{'grown by (95 %)':>25}{'kappa':>7}{'AUC':>7}"
        f"{'moved by':>10}{'other grade':>13}{'ungradable':>12}",
    ]
    for name, entry in result["changes"].items():
        interval = entry.get("grown_interval")
        span = f" ({interval[0]:.3f} to {interval[1]:.3f})" if interval and entry["moved"] else ""
        lines.append(
            f"{name:<19}{entry['squared_error']:>14.3f}{entry['grown']:>7.3f}{span:>18}"
            f"{entry['kappa']:>7.3f}{entry['referable_auc']:>7.3f}{entry['moved']:>10.2f}"
            f"{entry['other_grade']:>13.2f}{entry['ungradable']:>12.2f}"
        )
    return "\n".join(lines)
