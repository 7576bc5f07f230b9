"""How the fixed colours and outlines of heat maps come out on photographs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from drcore.errors import DrcoreError
from drcore.grading.grader import Grader
from drcore.grading.report import GradeReport
from drcore.maps.overlay import DENSITY_RANGE
from drcore.maps.region import LEVELS
from training.data.labels import Labelled

__all__ = ["DISEASED", "map_scale"]

DISEASED = (2, 3)
"""Grades on which the scale may not saturate."""

_QUANTILES = (0.5, 0.9, 1.0)


def map_scale(
    grader: Grader, rows: Sequence[Labelled], *, quiet: bool = False
) -> dict[str, dict[str, Any]]:
    """Measure saturation and outlines of the fused map, as the viewer and documents show it.

    Args:
        rows: photographs of any grades.

    Returns:
        By reference grade, with "diseased" for `DISEASED`: photographs; share of the retina at or
        beyond the end of the colours, over all and the largest of a photograph; share of
        photographs with an outline, of all and of those that the model gives grade 0; of those
        with outlines, quantiles (0.5, 0.9, 1) of the number of regions, and of the share of what
        raises the score that lies within them.

    Raises:
        DrcoreError: a photograph cannot be read.
    """
    measured = []
    reports = grader.grade_many(row.path for row in rows)
    for row, report in tqdm(
        zip(rows, reports, strict=True), total=len(rows), unit="photograph", disable=quiet
    ):
        if report.status == "failed":
            raise DrcoreError(f"{row.path.name} cannot be measured: {report.reason}")
        measured.append(_measured(row.grade, report))
    table = np.array(measured, np.float64).reshape(len(measured), 6)
    groups = {str(grade): table[:, 0] == grade for grade in sorted({row.grade for row in rows})}
    groups["diseased"] = np.isin(table[:, 0], DISEASED)
    scale = {"range": list(DENSITY_RANGE), "outlines": list(LEVELS)}
    return {"scale": scale, **{name: _summary(table[of]) for name, of in groups.items()}}


def _measured(truth: int, report: GradeReport) -> tuple[float, ...]:
    """Reference, model's grade, cells of retina and at the end, regions, share within them."""
    evidence = report.evidence()
    retina = evidence.density[np.isfinite(evidence.density)]
    return (
        truth, np.nan if report.grade is None else report.grade, retina.size,
        float((retina >= DENSITY_RANGE[1]).sum()), len(evidence.regions),
        sum(region.share for region in evidence.regions),
    )  # fmt: skip


def _summary(table: NDArray[np.float64]) -> dict[str, Any]:
    if not len(table):
        return {"photographs": 0}
    _, given, retina, at_end, regions, within = table.T
    outlined = regions > 0
    healthy = given == 0
    return {
        "photographs": len(table),
        "saturated": float(at_end.sum() / retina.sum()),
        "saturated_most": float((at_end / retina).max()),
        "outlined": float(outlined.mean()),
        "outlined_of_model_grade_0": float(outlined[healthy].mean()) if healthy.any() else None,
        "regions": _quantiles(regions[outlined]),
        "within": _quantiles(within[outlined]),
    }


def _quantiles(values: NDArray[np.float64]) -> list[float]:
    return np.quantile(values, _QUANTILES).round(3).tolist() if len(values) else []
