"""What a reader must know before relying on the model's result of a photograph, in sentences."""

from __future__ import annotations

import math
from bisect import bisect_right
from typing import TYPE_CHECKING

from drcore.grading.statements import (
    MILD_IS_HARD,
    map_sentence,
    operating_point,
    outcome_words,
    referable_words,
)  # fmt: skip
from drcore.icdr import REFERABLE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from drcore.grading.report import GradeReport
    from drcore.reviews.mark import Mark

__all__ = [
    "NEAR", "cautions", "laser_sentence", "median_sentence", "model_remarks",
    "near_threshold_sentence", "network_grades", "networks_sentence", "referral_sentence",
    "set_sentence",
]  # fmt: skip

NEAR = 0.15
"""Distance of a score from a threshold, in grades, that is called near."""


def cautions(report: GradeReport) -> list[str]:
    """Return warnings, the gravest first: the referral, the networks, the picture, the grade.

    Args:
        report: graded or ungradable.

    Returns:
        Sentences of our own words.
    """
    view = report.field_of_view.note if report.field_of_view is not None else ""
    if report.grade is None:
        return [view] if view else []
    networks, spread = networks_sentence(report)
    away = _nearest_threshold(report) != REFERABLE - 1
    told = [
        referral_sentence(report),
        networks if spread else "",
        view,
        near_threshold_sentence(report) if away else "",
        MILD_IS_HARD if report.grade < REFERABLE else "",
        median_sentence(report),
        "" if spread else networks,
    ]
    return [sentence for sentence in told if sentence]


def referral_sentence(report: GradeReport) -> str:
    """Say how close the score is to the referral threshold; of a report with a grade."""
    distance = report.score - report.thresholds[REFERABLE - 1]
    if 0 <= distance < NEAR:
        return f"Score {distance:.2f} above the referral threshold."
    if -NEAR < distance < 0:
        return (
            f"Score {-distance:.2f} below the referral threshold \u2013 treat as referable until "
            "read."
        )
    if report.referable_sensitive and not report.referable:
        return "Would be referred at the high-sensitivity setting."
    return ""


def median_sentence(report: GradeReport) -> str:
    """Say why the grade is not the most probable one, where it is the median; else empty."""
    chances, grade = report.probabilities, report.grade
    if chances is None or grade is None:
        return ""
    most = max(range(len(chances)), key=lambda i: chances[i])
    is_median = sum(chances[grade:]) >= 0.5 > sum(chances[grade + 1 :])
    if most == grade or not is_median:
        return ""
    return (
        f"Grade {grade} is the median of the probabilities; grade {most} is the most probable "
        "single grade."
    )


def networks_sentence(report: GradeReport) -> tuple[str, int]:
    """State the grade of each network, and return how far they are apart."""
    each, spread = network_grades(report)
    if not each or not spread:
        return (f"Networks: {each}." if each else ""), 0
    return f"The networks disagree: {each}.{' Review carefully.' if spread > 1 else ''}", spread


def near_threshold_sentence(report: GradeReport) -> str:
    """Say so if the score is near the next grade; empty elsewhere."""
    nearest = _nearest_threshold(report)
    if abs(report.thresholds[nearest] - report.score) >= NEAR:
        return ""
    return f"Near the grade {nearest}/{nearest + 1} threshold."


def network_grades(report: GradeReport) -> tuple[str, int]:
    """Return the grade of each network in words, and how far they are apart."""
    words, least, most = [], [0], [4]
    for size, score in sorted(report.scores.items()):
        grade = bisect_right(report.thresholds, _if_all_said(report, score))
        # At the highest grade that it can give, a network says no more than "at least this".
        ceiling = report.ceilings.get(size, math.inf)
        highest = bisect_right(report.thresholds, _if_all_said(report, ceiling))
        words.append(f"{size} px \u2192 {grade}{' or more' if grade == highest < 4 else ''}")
        least.append(grade)
        most.append(4 if grade == highest else grade)
    return ", ".join(words), max(0, max(least) - min(most))


def _if_all_said(report: GradeReport, score: float) -> float:
    """Fused score, which the thresholds are of, if each network said so, within its ceiling."""
    return sum(
        weight * min(score, report.ceilings.get(size, math.inf))
        for size, weight in report.fusion.items()
        if weight
    )


def _nearest_threshold(report: GradeReport) -> int:
    return min(range(4), key=lambda i: abs(report.thresholds[i] - report.score))


def set_sentence(report: GradeReport) -> str:
    """Say which grades are possible; empty where that was not calibrated."""
    if not report.grade_set or report.probabilities is None:
        return ""
    low, high = report.grade_set[0], report.grade_set[-1]
    grades = f"grade {low}" if low == high else f"grades {low}\u2013{high}"
    return f"{referable_words(report)}. 90 % prediction set: {grades}."


def model_remarks(report: GradeReport, laser: str = "") -> list[str]:
    """Return what documents without a layout of their own say of the model's result.

    Args:
        report: graded or ungradable.
        laser: of `laser_sentence`.

    Returns:
        Sentences: referral, operating point, warnings, heat map.
    """
    chance = set_sentence(report) or referable_words(report)
    told = [
        f"Model: {outcome_words(report)}. {chance}".strip(),
        operating_point(report), *cautions(report), map_sentence(report), laser,
    ]  # fmt: skip
    return [sentence for sentence in told if sentence]


def laser_sentence(report: GradeReport, marks: Iterable[Mark]) -> str:
    """Say what areas that readers marked as laser scars add to the score; empty without them."""
    scars = [mark for mark in marks if mark.lesion == "laser scar"]
    if not scars:
        return ""
    who = ", ".join(sorted({mark.reader for mark in scars}))
    evidence = report.evidence()
    adds = evidence.within([(mark.x0, mark.y0, mark.x1, mark.y1) for mark in scars])
    return (
        f"Laser scars (marked by {who}): the model may take them for disease. Marked areas add "
        f"{adds:.2f} to the score of {report.score:.2f}."
    )
