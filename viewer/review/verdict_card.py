"""The result card: the model's result on one photograph, as HTML."""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING

from drcore.export.cautions import cautions, referral_sentence
from drcore.eye import EYE_NAMES
from drcore.grading.statements import (
    grade_range,
    map_sentence,
    operating_point,
    outcome,
    outcome_words,
    percent,
    referable_words,
    source_words,
)  # fmt: skip
from drcore.icdr import FULL_NAMES
from viewer.ui import palette
from viewer.ui.assets import style_tag

if TYPE_CHECKING:
    from drcore.grading.report import GradeReport

DMO = "DMO not assessed \u2013 check the macula yourself."

_STYLES = {"referable": "yes", "borderline": "borderline", "no": "no", "ungradable": "none"}

_TOP = 4.0
"""End of the score's scale, in grades."""


def card(report: GradeReport, laser: str = "") -> str:
    """Return the card of a report as HTML without scripts; untrusted text is escaped.

    All sentences come before the charts, the gravest first; `laser` is what
    `drcore.export.cautions.laser_sentence` says.
    """
    if report.status == "failed":
        return _wrap(
            report,
            '<p class="outcome none"><b>Image could not be read</b></p>',
            f'<p class="reason">{escape(report.reason)}</p>',
        )
    parts = [_outcome_line(report)]
    if report.grade is not None:
        parts.append(_grade_line(report, report.grade))
        told = cautions(report)[1 if referral_sentence(report) else 0 :]  # it stands above
        told += [laser, DMO, map_sentence(report)]
        if 0 < report.shown < 1:
            told.append("Score only slightly above the healthy range; map at reduced strength.")
        told.append(operating_point(report))
    else:
        parts.append(f'<p class="reason">{escape(report.reason)}</p>')
        told = [*cautions(report), "Score shown for information only \u2013 not a grade."]
        told += [laser, DMO, map_sentence(report)]
    told.append(eye_sentence(report))
    parts.append(f"<ul>{''.join(f'<li>{escape(words)}</li>' for words in told if words)}</ul>")
    parts += [_score_bar(report), _probabilities(report) if report.grade is not None else ""]
    return _wrap(report, *parts)


def set_sentence(report: GradeReport) -> str:
    """State the 90 % prediction set; empty without calibration."""
    if not report.grade_set:
        return ""
    plural = "" if len(report.grade_set) == 1 else "s"
    return f"90 % prediction set: grade{plural} {grade_range(report)}"


def eye_sentence(report: GradeReport) -> str:
    """Say whose eye it is, when it was examined and where that was read.

    Holds untrusted text, to be escaped; empty where nothing is known.
    """
    eye = report.laterality
    facts = {
        "eye": f"{EYE_NAMES[eye]} ({eye})" if eye else "",
        "patient": f"patient {report.patient}" if report.patient else "",
        "date": f"examined {report.exam_date}" if report.exam_date else "",
    }
    told = ", ".join(filter(None, facts.values()))
    source = source_words(report.identity_source, {what for what, text in facts.items() if text})
    if not told:
        return f"{source[0].upper()}{source[1:]}." if source else ""
    return f"{told[0].upper()}{told[1:]}{f' ({source})' if source else ''}."


def _outcome_line(report: GradeReport) -> str:
    sentences = [referable_words(report)]
    if report.grade is not None:
        sentences.append(referral_sentence(report))
    small = "".join(f"<small>{escape(sentence)}</small>" for sentence in sentences if sentence)
    text = f"<b>{outcome_words(report)}</b>{small}"
    return f'<p class="outcome {_STYLES[outcome(report)]}">{text}</p>'


def _grade_line(report: GradeReport, grade: int) -> str:
    text, colour, ink = palette.GRADES[grade]
    return (
        f'<div class="grade"><span class="digit" style="background:{colour};color:{ink}">{text}'
        f"</span><span><small>ICDR grade {grade_range(report)}</small><b>{FULL_NAMES[grade]}</b>"
        "</span></div>"
    )


def _probabilities(report: GradeReport) -> str:
    """A bar for each grade, those of the prediction set marked; empty without calibration."""
    if report.probabilities is None:
        return ""
    possible = set(report.grade_set or ())
    rows = "".join(
        f'<tr class="{"in" if grade in possible else "out"}"><td>Grade {chip[0]}</td>'
        f'<td class="bar"><i style="width:{100 * p:.1f}%;background:{chip[1]}"></i></td>'
        f"<td>{escape(percent(p))}</td></tr>"
        for grade, (p, chip) in enumerate(zip(report.probabilities, palette.GRADES, strict=True))
    )
    return (
        f"{style_tag('review/verdict_card.css')}"
        f'<table class="chances" aria-label="Probability of each grade">'
        f"{rows}</table><p>{set_sentence(report)}</p>"
    )


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


def _wrap(report: GradeReport, *parts: str) -> str:
    return (
        '<div class="verdict" tabindex="0" role="group" aria-label="Result" '
        f'data-image="{report.sha256}">{"".join(parts)}</div>'
    )
