"""The result of one photograph, by the model and by readers, as one JSON object."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from drcore import __version__
from drcore.export.cautions import laser_sentence
from drcore.export.deidentification import Disclosure
from drcore.export.final_grade import final_findings, final_values
from drcore.grading.statements import (
    map_sentence,
    outcome,
    regions_of,
)  # fmt: skip
from drcore.icdr import NOTICE, REFERABLE
from drcore.maps.region import LEVELS
from drcore.reviews.tables import decisions_json, marks_json

if TYPE_CHECKING:
    from drcore.agreement.adjudication import ReadingStatus
    from drcore.export.case import Case

__all__ = ["result", "result_json"]


def result(case: Case, privacy: Disclosure | None = None) -> dict[str, Any]:
    """Return the result of a photograph, ready for JSON.

    Args:
        case: any, a failed one too.
        privacy: identifiers to include.

    Returns:
        Numbers are numbers, what is unknown is null, lengths are in pixels of the original.
    """
    case = (privacy or Disclosure()).apply(case)
    report = case.report
    fov, quality = report.field_of_view, report.quality
    return {
        "image": report.name,
        "sha256": report.sha256 or None,
        "final": final_values(case.reading) | {"findings": _findings(case.reading)},
        "status": report.status,
        "reason": report.reason or None,
        "grade": report.grade,
        "grade_name": report.grade_name,
        "referable": report.referable,
        "referable_sensitive": report.referable_sensitive,
        "referral": None if report.status == "failed" else outcome(report),
        "p_referable": report.probability_referable,
        "operating_point": {
            "referable_from": report.thresholds[REFERABLE - 1],
            "borderline_from": report.sensitive_threshold,
        },
        "heat_map": _heat_map(case),
        "score": _number(report.score),
        "scores": {str(size): _number(score) for size, score in report.scores.items()},
        "thresholds": list(report.thresholds),
        "margin": report.margin,
        "probabilities": report.probabilities and list(report.probabilities),
        "grade_set": report.grade_set and list(report.grade_set),
        "laterality": report.laterality,
        "patient": report.patient,
        "exam_date": report.exam_date,
        "identity_source": report.identity_source or None,
        "burned_in": report.burned_in,
        "width": report.width or None,
        "height": report.height or None,
        "field_of_view": None if fov is None else asdict(fov),
        "quality": None if quality is None else asdict(quality),
        "model_version": report.model_version,
        "drcore": __version__,
        "decisions": json.loads(decisions_json(case.decisions)),
        "marks": json.loads(marks_json(case.marks)),
        "notice": NOTICE,
    }


def _heat_map(case: Case) -> dict[str, Any] | None:
    """What the heat map says: in words, and each outlined region."""
    report = case.report
    if report.status == "failed":
        return None
    laser = laser_sentence(report, (mark for _, mark in case.marks))
    return {
        "words": map_sentence(report),
        "laser_scars": laser or None,
        "field_degrees": report.field_degrees,
        "outlined_from": LEVELS[0],
        "regions": [{**asdict(region), "place": region.place} for region in regions_of(report)],
    }


def result_json(case: Case, privacy: Disclosure | None = None) -> str:
    """Return the result of a photograph as JSON.

    Args:
        case: any, a failed one too.
        privacy: identifiers to include.

    Returns:
        One object; ends in a line break.
    """
    return json.dumps(_finite(result(case, privacy)), ensure_ascii=False, indent=1) + "\n"


def _findings(reading: ReadingStatus) -> dict[str, Any] | None:
    findings = final_findings(reading)
    return None if findings is None else {"form": findings.form, **findings.values}


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _finite(value: Any) -> Any:
    """Put null where a measurement is not a number: JSON has none."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float):
        return _number(value)
    return value.item() if hasattr(value, "item") else value
