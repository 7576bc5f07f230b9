"""The verdict card: what the model says of one photograph, in a clinician's words, as HTML."""

from __future__ import annotations

import math
from bisect import bisect_right
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from drcore.eye import EYE_NAMES
from drcore.icdr import FULL_NAMES, REFERABLE
from viewer.ui import palette

if TYPE_CHECKING:
    from drcore.grading.report import GradeReport

__all__ = [
    "BORDER",
    "agreement_sentence",
    "border_sentence",
    "card",
    "eye_sentence",
    "placement_sentence",
    "referral_sentence",
    "set_sentence",
]

BORDER = 0.15
"""A score nearer than this to a threshold, in grades, is called close to the border."""

_STYLE = Path(__file__).with_name("verdict_card.css").read_text(encoding="utf-8")

_TOP = 4.0
"""End of the score's scale, in grades."""


def card(report: GradeReport) -> str:
    """Return the card of a report.

    Args:
        report: any; untrusted text in it is escaped.

    Returns:
        HTML without scripts: gradability first, then grade, referral, probabilities, score,
        agreement, eye.
    """
    if report.status == "failed":
        return _wrap(
            _gate("This photograph could not be read", good=False),
            f'<p class="reason">{escape(report.reason)}</p>',
        )
    parts = []
    if report.grade is not None:
        text, colour, ink = palette.GRADES[report.grade]
        referable = bool(report.referable)
        parts += [
            _gate("Fit for grading", good=True),
            '<div class="grade">'
            f'<span class="digit" style="background:{colour};color:{ink}">{text}</span>'
            f"<span><small>ICDR grade {text}</small><b>{FULL_NAMES[report.grade]}</b></span></div>",
            f'<p class="referable {"yes" if referable else "no"}"><b>'
            + ("Referable" if referable else "Not referable")
            + f"</b> \u2013 grade {'2 or more' if referable else '0 or 1'}"
            + f"<small>{referral_sentence(report)}</small></p>",
        ]
    else:
        parts += [
            _gate("Not fit for grading: no grade is given", good=False),
            f'<p class="reason">{escape(report.reason)}</p>',
        ]
    parts.append(_score_bar(report))
    if report.grade is not None:
        parts.append(_probabilities(report))
        parts.append(f"<p>{agreement_sentence(report)} {border_sentence(report)}</p>")
        if report.placed < 1:
            parts.append(f"<p>{placement_sentence(report)}</p>")
    else:
        parts.append("<p>The score is shown for completeness; do not read it as a grade.</p>")
    eye = eye_sentence(report)
    if eye:
        parts.append(f"<p>{escape(eye)}</p>")
    if report.field_of_view is not None and report.field_of_view.note:
        parts.append(f"<p>{escape(report.field_of_view.note)}</p>")
    parts.append('<p class="limits">Diabetic macular oedema is not graded.</p>')
    return _wrap(*parts)


def agreement_sentence(report: GradeReport) -> str:
    """Say whether the three image sizes come to the same grade."""
    grades = {size: bisect_right(report.thresholds, s) for size, s in report.scores.items()}
    if len(set(grades.values())) <= 1:
        return "All image sizes agree."
    told = ", ".join(f"{size} px: {grade}" for size, grade in sorted(grades.items()))
    spread = max(grades.values()) - min(grades.values())
    advice = " Look closely." if spread > 1 else ""
    return f"The image sizes disagree on the grade ({told}).{advice}"


def referral_sentence(report: GradeReport) -> str:
    """Say how close the call between referable and not was; of a report with a grade."""
    line = report.thresholds[REFERABLE - 1]
    if abs(report.score - line) < BORDER:
        return "A close call."
    if report.referable_sensitive and not report.referable:
        return "A more cautious setting, which misses fewer eyes, would refer it."
    return ""


def set_sentence(report: GradeReport) -> str:
    """Say which grades cannot be ruled out; empty where nobody has calibrated that."""
    if not report.grade_set:
        return ""
    low, high = report.grade_set[0], report.grade_set[-1]
    if low == high:
        return f"Other grades than {low} are unlikely."
    joined = f"{low} or {high}" if high - low == 1 else f"{low} to {high}"
    return f"Grade {joined} is possible: such a range holds the right grade 9 times in 10."


def placement_sentence(report: GradeReport) -> str:
    """Say why the map points at no place, or only faintly; of a report with `placed` below 1."""
    if report.placed > 0:
        return "The score is little above that of healthy eyes: the map is drawn faint."
    return "Healthy eyes have scores like this: the map points at no place."


def border_sentence(report: GradeReport) -> str:
    """Say so where the score is close to the next grade; empty elsewhere."""
    nearest = min(range(4), key=lambda i: abs(report.thresholds[i] - report.score))
    if abs(report.thresholds[nearest] - report.score) >= BORDER:
        return ""
    return f"Close to the border between grades {nearest} and {nearest + 1}."


def eye_sentence(report: GradeReport) -> str:
    """Say whose eye it is, as far as that is known; untrusted text, to be escaped."""
    eye = report.laterality
    if eye is None:
        return ""
    patient = f", patient {report.patient}" if report.patient else ""
    return f"{EYE_NAMES[eye]} ({eye}){patient}."


def _gate(text: str, *, good: bool) -> str:
    kind, sign = ("good", "\u2713") if good else ("bad", "!")
    return f'<p class="gate {kind}"><span>{sign}</span>{text}</p>'


def _probabilities(report: GradeReport) -> str:
    """A bar for each grade, those that cannot be ruled out marked; empty without calibration."""
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
        f'<style>{_STYLE}</style><table class="chances" aria-label="Probability of each grade">'
        f"{rows}</table><p>{set_sentence(report)}</p>"
    )


def _share(probability: float) -> str:
    """A probability in whole per cent, never surer than it is."""
    percent = round(100 * probability)
    if percent < 1:
        return "&lt; 1 %"
    return "&gt; 99 %" if percent > 99 else f"{percent} %"


def _score_bar(report: GradeReport) -> str:
    """The score on 0-4 with the thresholds; one tick below for each image size."""
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
