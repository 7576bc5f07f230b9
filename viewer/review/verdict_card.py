"""The result card: the model's result on one photograph, as HTML."""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING

from drcore.export.cautions import NEAR, near_threshold_sentence, network_grades
from drcore.eye import EYE_NAMES
from drcore.icdr import FULL_NAMES, REFERABLE
from viewer.ui import palette
from viewer.ui.assets import style_tag

if TYPE_CHECKING:
    from drcore.grading.report import GradeReport

_TOP = 4.0
"""End of the score's scale, in grades."""


def card(report: GradeReport) -> str:
    """Return the card of a report as HTML without scripts; untrusted text is escaped."""
    if report.status == "failed":
        return _wrap(
            '<p class="outcome none"><b>Image could not be read</b></p>',
            f'<p class="reason">{escape(report.reason)}</p>',
        )
    parts = [_outcome_line(report)]
    view = report.field_of_view
    remarks = [view.note if view else ""]
    if report.grade is not None:
        remarks += [agreement_sentence(report), near_threshold_sentence(report)]
        if report.grade < REFERABLE:
            remarks.append("Grades 0 and 1 are hard to distinguish for this model.")
        if report.placed < 1:
            remarks.append(placement_sentence(report))
        parts.append(_grade_line(report, report.grade))
    else:
        parts.append(f'<p class="reason">{escape(report.reason)}</p>')
        remarks.append("Score shown for information only \u2013 not a grade.")
    parts.append(f"<p>{escape(' '.join(filter(None, remarks)))}</p>")
    parts += [_score_bar(report), _probabilities(report) if report.grade is not None else ""]
    eye = eye_sentence(report)
    parts.append(f"<p>{escape(eye)}</p>" if eye else "")
    parts.append('<p class="limits">DMO not assessed \u2013 check the macula yourself.</p>')
    return _wrap(*parts)


def outcome(report: GradeReport) -> tuple[str, str]:
    """Return the referral outcome of a report that did not fail, and its style."""
    if report.grade is None:
        return "Ungradable: refer or repeat the photograph", "none"
    if report.referable:
        return "Referable DR", "yes"
    if report.referable_sensitive:
        return "Borderline: needs a reader", "borderline"
    return "No referable DR", "no"


def probability_sentence(report: GradeReport) -> str:
    """State the probability of referable DR; empty without calibration."""
    if report.probabilities is None:
        return ""
    share = _share(sum(report.probabilities[REFERABLE:]))
    return f"Probability of grade \u2265 {REFERABLE}: {share}"


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


def set_sentence(report: GradeReport) -> str:
    """State the 90 % prediction set; empty without calibration."""
    if not report.grade_set:
        return ""
    low, high = report.grade_set[0], report.grade_set[-1]
    return f"90 % prediction set: grade{'' if low == high else 's'} {_range(low, high)}"


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
        f"Grade {grade} is the median of these probabilities; grade {most} is the most probable "
        "single grade."
    )


def agreement_sentence(report: GradeReport) -> str:
    """State the grade of each network."""
    each, spread = network_grades(report)
    if not spread:
        return f"Networks: {each}."
    return f"The networks disagree: {each}.{' Review carefully.' if spread > 1 else ''}"


def placement_sentence(report: GradeReport) -> str:
    """Say why the heat map is flat or faint; of a report with `placed` below 1."""
    if report.placed > 0:
        return "Score only slightly above the healthy range; heat map shown at reduced strength."
    return "Score within the range of healthy eyes; no area stands out."


def eye_sentence(report: GradeReport) -> str:
    """Name eye and patient as far as they are known; untrusted text, to be escaped."""
    eye = report.laterality
    if eye is None:
        return ""
    patient = f", patient {report.patient}" if report.patient else ""
    return f"{EYE_NAMES[eye]} ({eye}){patient}."


def _outcome_line(report: GradeReport) -> str:
    text, kind = outcome(report)
    sentences = [probability_sentence(report)]
    if report.grade is not None:
        sentences.append(referral_sentence(report))
    small = "".join(f"<small>{sentence}</small>" for sentence in sentences if sentence)
    return f'<p class="outcome {kind}"><b>{text}</b>{small}</p>'


def _grade_line(report: GradeReport, grade: int) -> str:
    text, colour, ink = palette.GRADES[grade]
    possible = report.grade_set or (grade,)
    low, high = possible[0], possible[-1]
    return (
        f'<div class="grade"><span class="digit" style="background:{colour};color:{ink}">{text}'
        f"</span><span><small>ICDR grade {_range(low, high)}</small><b>{FULL_NAMES[grade]}</b>"
        "</span></div>"
    )


def _range(low: int, high: int) -> str:
    return str(low) if low == high else f"{low}\u2013{high}"


def _probabilities(report: GradeReport) -> str:
    """A bar for each grade, those of the prediction set marked; empty without calibration."""
    if report.probabilities is None:
        return ""
    possible = set(report.grade_set or ())
    rows = "".join(
        f'<tr class="{"in" if grade in possible else "out"}"><td>Grade {chip[0]}</td>'
        f'<td class="bar"><i style="width:{100 * p:.1f}%;background:{chip[1]}"></i></td>'
        f"<td>{_share(p)}</td></tr>"
        for grade, (p, chip) in enumerate(zip(report.probabilities, palette.GRADES, strict=True))
    )
    return (
        f"{style_tag('review/verdict_card.css')}"
        f'<table class="chances" aria-label="Probability of each grade">'
        f"{rows}</table><p>{set_sentence(report)}</p><p>{median_sentence(report)}</p>"
    )


def _share(probability: float) -> str:
    """A probability in whole per cent, never rounded to 0 or 100."""
    percent = round(100 * probability)
    if percent < 1:
        return "&lt; 1 %"
    return "&gt; 99 %" if percent > 99 else f"{percent} %"


def _score_bar(report: GradeReport) -> str:
    """The score on 0-4 with the thresholds; one tick below for each network."""
    edges = (0.0, *report.thresholds, _TOP)
    zones = "".join(
        f'<i style="left:{_percent(low)};width:{_percent(high - low)};background:{chip[1]}">'
        f"{chip[0]}</i>"
        for low, high, chip in zip(edges[:-1], edges[1:], palette.GRADES, strict=True)
    )
    marks = "".join(
        f'<s style="left:{_percent(value)}" title="threshold {value:.2f}"></s>'
        for value in report.thresholds
    )
    rows = "".join(
        f'<tr><td>{size} px</td><td class="track">'
        f'<u style="left:{_percent(score)}"></u></td><td>{_number(score)}</td></tr>'
        for size, score in sorted(report.scores.items())
    )
    muted = "" if report.grade is not None else " muted"
    return (
        f'<div class="score{muted}"><table>'
        f'<tr><td>Score</td><td class="scale">{zones}{marks}'
        f'<em style="left:{_percent(report.score)}"></em></td>'
        f"<td><b>{_number(report.score)}</b></td></tr>{rows}</table></div>"
    )


def _percent(value: float) -> str:
    if math.isnan(value):
        return "0%"
    return f"{min(max(value, 0.0), _TOP) / _TOP * 100:.2f}%"


def _number(value: float) -> str:
    return "\u2013" if math.isnan(value) else f"{value:.2f}"


def _wrap(*parts: str) -> str:
    return f'<div class="verdict">{"".join(parts)}</div>'
