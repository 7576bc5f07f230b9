"""What a reader must know before relying on the model's result of a photograph, in sentences."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

from drcore.icdr import FULL_NAMES, REFERABLE

if TYPE_CHECKING:
    from drcore.grading.report import GradeReport

__all__ = [
    "NEAR", "cautions", "map_sentence", "model_sentence", "near_threshold_sentence",
    "network_grades", "set_sentence",
]  # fmt: skip

NEAR = 0.15
"""Distance of a score from a threshold, in grades, that is called near."""


def cautions(report: GradeReport) -> list[str]:
    """Return warnings, the gravest first.

    Args:
        report: graded or ungradable.

    Returns:
        Sentences of our own words.
    """
    told = [] if report.grade is None else _doubts(report)
    note = report.field_of_view.note if report.field_of_view is not None else ""
    return [*told, *([note] if note else [])]


def _doubts(report: GradeReport) -> list[str]:
    told = []
    away = report.score - report.thresholds[REFERABLE - 1]
    if report.referable_sensitive and not report.referable:
        told.append("Would be referred at the high-sensitivity setting.")
    if -NEAR < away < 0:
        told.append(f"Borderline: score {-away:.2f} below the referral threshold.")
    elif 0 <= away < NEAR:
        told.append(f"Borderline: score {away:.2f} above the referral threshold.")
    if _nearest_threshold(report) != REFERABLE - 1 and (near := near_threshold_sentence(report)):
        told.append(near)
    if report.scores:
        each, spread = network_grades(report)
        told.append(f"The networks disagree: {each}." if spread else f"Networks: {each}.")
    return told


def near_threshold_sentence(report: GradeReport) -> str:
    """Say so if the score is near the next grade; empty elsewhere."""
    nearest = _nearest_threshold(report)
    if abs(report.thresholds[nearest] - report.score) >= NEAR:
        return ""
    return f"Near the grade {nearest}/{nearest + 1} threshold."


def network_grades(report: GradeReport) -> tuple[str, int]:
    """Return the grade of each network in words, and how far they are apart."""
    grades = {size: bisect_right(report.thresholds, s) for size, s in report.scores.items()}
    each = ", ".join(f"{size} px \u2192 {grade}" for size, grade in sorted(grades.items()))
    return each, max(grades.values()) - min(grades.values()) if grades else 0


def _nearest_threshold(report: GradeReport) -> int:
    return min(range(4), key=lambda i: abs(report.thresholds[i] - report.score))


def set_sentence(report: GradeReport) -> str:
    """Say which grades are possible; empty where that was not calibrated."""
    if not report.grade_set or report.probabilities is None:
        return ""
    low, high = report.grade_set[0], report.grade_set[-1]
    chance = _percent(sum(report.probabilities[REFERABLE:]))
    referable = f"Model probability of grade 2 or more: {chance}."
    if low == high:
        return f"{referable} 90 % prediction set: grade {low}."
    return f"{referable} 90 % prediction set: grades {low}\u2013{high}."


def map_sentence(report: GradeReport) -> str:
    """Say what the heat map shows."""
    if report.placed > 0:
        return "Heat map: areas that raised the model's score (not lesion outlines)"
    return "Heat map: score within healthy range; no area stands out"


def model_sentence(report: GradeReport) -> str:
    """Say what the model makes of a photograph, such as "Model: grade 3 (Severe ...)"."""
    if report.grade is None:
        return "Model: ungradable"
    return f"Model: grade {report.grade} ({FULL_NAMES[report.grade]})"


def _percent(share: float) -> str:
    percent = round(100 * share)
    return "< 1 %" if percent < 1 else "> 99 %" if percent > 99 else f"{percent} %"
