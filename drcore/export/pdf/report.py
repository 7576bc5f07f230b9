"""A report of one visit as PDF: both eyes, what readers decided and what the model says."""

from __future__ import annotations

import io
import threading
from typing import TYPE_CHECKING, Any, Literal

from drcore import __version__, logs
from drcore.errors import PhotographError, SourceError
from drcore.export.case import Case, eye_order
from drcore.export.cautions import cautions, laser_sentence
from drcore.export.deidentification import Disclosure
from drcore.export.final_grade import moment_words, reader_name, signature, status_words
from drcore.export.pdf import summary
from drcore.export.pdf.fonts import BOLD, REGULAR, marked_up, register, scripts_of, undrawn
from drcore.export.pdf.script import is_complex
from drcore.export.pictures import illustrate
from drcore.eye import EYE_NAMES
from drcore.grading.statements import (
    map_sentence,
    model_sentence,
    origin_words,
    outcome_words,
    referable_words,
)  # fmt: skip
from drcore.icdr import NOTICE
from drcore.text import clean_name

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from drcore.grading.report import GradeReport
    from drcore.reviews.decision import Decision

__all__ = ["Page", "patient_pdf"]

Page = Literal["A4", "Letter"]

_SIZES: dict[Page, tuple[float, float]] = {"A4": (595.28, 841.89), "Letter": (612.0, 792.0)}
_MM = 72 / 25.4
_MARGIN = 15 * _MM
_FOOT = 19 * _MM
_PAD = 6
"""Points by which reportlab's frames are smaller than their margins say."""
_TALLEST: dict[Page, float] = {"A4": 52 * _MM, "Letter": 42 * _MM}
"""Height of the pictures: both eyes fit on the first page."""
_MOST_MARKS = 40
_drawing = threading.Lock()
"""Fonts are shared between documents: one document at a time."""


def patient_pdf(
    cases: Sequence[Case],
    *,
    made_at: datetime,
    privacy: Disclosure | None = None,
    patient_name: str = "",
    page: Page = "A4",
    caution: str = "",
) -> bytes:
    """Write the report of one visit of a patient.

    Args:
        cases: photographs of one visit; failed ones are listed without pictures.
        made_at: date of the report, with a time zone, in which all times are given.
        privacy: identifiers to include; everything but names by default.
        patient_name: from the DICOM header; printed only where `privacy` allows names.
        page: size of the paper.
        caution: see `drcore.agreement.visits.Visit.caution`.

    Returns:
        A PDF file, the readers' result before the model's; the same bytes for the same arguments.
        The notice stands on every page.

    Raises:
        SourceError: there is no photograph, or reportlab is not installed.
    """
    if not cases:
        raise SourceError("There is nothing to report: choose at least one photograph.")
    privacy = privacy or Disclosure()
    register()
    from reportlab import rl_config
    from reportlab.platypus import SimpleDocTemplate

    rl_config.useA85 = 0  # plain bytes: the file is a quarter smaller
    size = _SIZES[page]
    width = size[0] - 2 * _MARGIN
    shown = eye_order(privacy.apply(case) for case in cases)
    patient = _patient_label(shown, privacy)
    with undrawn() as missing:
        name = patient_name if privacy.with_names else ""
        story = [
            *_front(shown, patient, name, made_at, width, caution, hidden=privacy.deidentified)
        ]
        for case in shown:
            story += _photograph(case, privacy, made_at, width, _TALLEST[page])
    story += _missing_words(missing)
    file = io.BytesIO()
    with _drawing:
        document = SimpleDocTemplate(
            file, pagesize=size, invariant=1, title="Diabetic retinopathy report",
            author=f"drcore {__version__}", lang="en",
            leftMargin=_MARGIN - _PAD, rightMargin=_MARGIN - _PAD, topMargin=_MARGIN,
            bottomMargin=_FOOT,
        )  # fmt: skip
        document.build(story, canvasmaker=_numbered(shown[0].report, patient, made_at, size))
    return file.getvalue()


def _patient_label(cases: Sequence[Case], privacy: Disclosure) -> str:
    if privacy.deidentified:
        return "De-identified"
    return next((c.report.patient for c in cases if c.report.patient), "") or "not recorded"


def _numbered(
    report: GradeReport, patient: str, made_at: datetime, size: tuple[float, float]
) -> Any:
    """A canvas that puts notice, patient, model, date and page number on each page."""
    from reportlab.lib.colors import HexColor
    from reportlab.pdfgen.canvas import Canvas

    class Numbered(Canvas):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            self._pages: list[dict[str, Any]] = []

        def showPage(self) -> None:  # noqa: N802 - reportlab's name
            self._pages.append(dict(self.__dict__))
            self._startPage()  # type: ignore[attr-defined]

        def save(self) -> None:
            for number, state in enumerate(self._pages, start=1):
                self.__dict__.update(state)
                self._foot(f"Page {number} of {len(self._pages)}")
                if number > 1:
                    self._head()
                super().showPage()
            super().save()

        def _head(self) -> None:
            line = _words(
                f"Diabetic retinopathy report, patient ID {marked_up(patient, 90)}", muted=True
            )
            line.wrap(size[0] - 2 * _MARGIN, _MARGIN)
            line.drawOn(self, _MARGIN, size[1] - 12 * _MM)

        def _foot(self, page: str) -> None:
            wide = size[0] - 2 * _MARGIN
            self.setFillColor(HexColor("#f6e7bd"))
            self.rect(_MARGIN, 10.5 * _MM, wide, 6 * _MM, stroke=0, fill=1)
            self.setFillColor(HexColor("#1d1503"))
            self.setFont(REGULAR, 6.6)
            self.drawCentredString(size[0] / 2, 12.6 * _MM, NOTICE)
            self.setFillColor(HexColor("#5b6570"))
            told = (f"Model {report.model_version}", f"drcore {__version__}", moment_words(made_at))
            self.drawString(_MARGIN, 6.8 * _MM, " \u00b7 ".join(told))
            self.drawRightString(size[0] - _MARGIN, 6.8 * _MM, page)

    return Numbered


def _front(
    cases: Sequence[Case],
    patient: str,
    name: str,
    made_at: datetime,
    width: float,
    caution: str,
    *,
    hidden: bool,
) -> list[Any]:
    """Title, whose report it is, and the patient's grade."""
    from reportlab.platypus import Spacer, Table

    facts = [("Patient ID", patient + _origins(cases, "patient"))]
    facts += [("Name", name)] if name else []
    exam_date = cases[0].report.exam_date
    unknown = "de-identified" if hidden else "date not recorded"
    facts += [
        ("Examination", f"{exam_date}{_origins(cases, 'date')}" if exam_date else unknown),
        ("Created", moment_words(made_at)),
        ("Model", cases[0].report.model_version),
    ]
    title = _words(f'<font name="{BOLD}" size="15">Diabetic retinopathy report</font>')
    told = [[_words(label, muted=True), _words(marked_up(value, 160))] for label, value in facts]
    head = Table(
        [[title, Table(told, colWidths=[22 * _MM, 0.5 * width - 22 * _MM], style=_TIGHT)]],
        colWidths=[0.5 * width, 0.5 * width],
        style=[*_TIGHT, ("VALIGN", (0, 0), (-1, -1), "TOP"), ("BOTTOMPADDING", (0, 0), (0, 0), 6)],
    )
    rows = [
        ("Final result (worse eye)", f"<b>{summary.final_sentence(cases, made_at)}</b>"),
        ("Model (worse eye)", summary.model_sentence(cases)),
    ]
    rows += [("Operating point", summary.operating_points(cases))]
    readers = summary.readers_sentence(cases)
    rows += [("Readers", readers)] * bool(readers)
    rows += [("Examination", f"<b>{caution}</b>")] * bool(caution)
    table = Table(
        [[_words(label, muted=True), _words(text)] for label, text in rows],
        colWidths=[38 * _MM, width - 38 * _MM],
        style=[
            *_TIGHT, ("LINEABOVE", (0, 0), (-1, 0), 0.7, "#1d2329"),
            ("LINEBELOW", (0, -1), (-1, -1), 0.7, "#1d2329"),
            ("TOPPADDING", (0, 0), (-1, -1), 2.5), ("BOTTOMPADDING", (0, 0), (-1, -1), 2.5),
            ("VALIGN", (0, 0), (-1, -1), "TOP"),
        ],
    )  # fmt: skip
    return [head, Spacer(1, 2 * _MM), table, Spacer(1, 3 * _MM)]


def _origins(cases: Sequence[Case], what: str) -> str:
    """Where patient or date of the photographs were read, in brackets; empty where unknown."""
    told = (origin_words(case.report.identity_source, what) for case in cases)
    words = "; ".join(dict.fromkeys(filter(None, told)))
    return f" ({words})" if words else ""


def _photograph(
    case: Case, privacy: Disclosure, made_at: datetime, width: float, tallest: float
) -> list[Any]:
    """One photograph: heading, pictures, the model's and the readers' words, marks."""
    from reportlab.platypus import KeepTogether, Spacer, Table

    report = case.report
    eye = report.laterality
    side = f"{EYE_NAMES[eye]} ({eye})" if eye else "Laterality not recorded"
    origin = origin_words(report.identity_source, "eye") if eye else ""
    heading = Table(
        [[_words(f'<font name="{BOLD}" size="10">{side}</font> '
                 f"<font color='#5b6570'>{origin}</font>"),
          _words(marked_up(clean_name(report.name), 90), muted=True, right=True)]],
        colWidths=[0.35 * width, 0.65 * width],
        style=[*_TIGHT, ("BACKGROUND", (0, 0), (-1, -1), "#e9edf0"),
               ("LEFTPADDING", (0, 0), (0, 0), 4), ("RIGHTPADDING", (-1, 0), (-1, 0), 4),
               ("TOPPADDING", (0, 0), (-1, -1), 2), ("BOTTOMPADDING", (0, 0), (-1, -1), 3)],
    )  # fmt: skip
    if report.status == "failed":
        return [
            KeepTogether([heading, _words(f"Could not be read: {marked_up(report.reason, 400)}")]),
            Spacer(1, 4 * _MM),
        ]
    marks = list(enumerate((mark for _, mark in case.marks[:_MOST_MARKS]), start=1))
    pictures = _plate(case, privacy, marks, width, tallest)
    words = Table(
        [
            [
                _model_words(report),
                [*_map_words(case, 0.44 * width), *_reader_words(case, privacy, made_at)],
            ]
        ],
        colWidths=[0.54 * width, 0.46 * width],
        style=[*_TIGHT, ("VALIGN", (0, 0), (-1, -1), "TOP"), ("RIGHTPADDING", (0, 0), (0, 0), 10)],
    )
    below = _mark_words(marks, len(case.marks), privacy)
    return [
        KeepTogether(
            [heading, *_final_words(case, made_at), *pictures, Spacer(1, 1 * _MM), words, *below]
        ),
        Spacer(1, 4 * _MM),
    ]


def _plate(
    case: Case, privacy: Disclosure, marks: list[Any], width: float, tallest: float
) -> list[Any]:
    from drcore.export.pdf.plate import PhotographPlate

    try:
        pictures = illustrate(case, privacy)
    except PhotographError as error:
        return [_words(marked_up(str(error), 400), muted=True)]
    return [PhotographPlate(pictures, marks, case.report, width, tallest)]


def _final_words(case: Case, made_at: datetime) -> list[Any]:
    """The readers' result, who and when: first of all that is said of a photograph."""
    from reportlab.platypus import Spacer

    reading = case.reading
    told = status_words(reading)
    if not reading.readings and reading.final is None:
        told = told.upper()
    who = f" \u2013 {signature(reading, made_at)}" if reading.final is not None else ""
    markup = f'<font name="{BOLD}" size="9.5">{marked_up(told, 300)}</font>{marked_up(who, 300)}'
    return [Spacer(1, 1.2 * _MM), _words(markup, after=3.5)]


def _model_words(report: GradeReport) -> list[Any]:
    """The model's result: referral first, then grade and score, then every warning."""
    warnings = [_words(marked_up(text, 400)) for text in cautions(report)]
    chance = referable_words(report)
    heading = _words(f"<b>Model: {outcome_words(report)}. {chance}{'.' if chance else ''}</b>")
    if report.grade is None:
        return [
            heading,
            _words(f"Image quality: {marked_up(report.reason, 300)}"),
            _words(f"Score {report.score:.2f} (information only)"),
            *warnings,
        ]
    parts = " / ".join(f"{threshold:.2f}" for threshold in report.thresholds)
    return [
        heading,
        _words(f"{model_sentence(report)}."),
        _words(f"Score {report.score:.2f} (thresholds {parts}). Image quality: gradable."),
        *warnings,
    ]


def _map_words(case: Case, width: float) -> list[Any]:
    """Probabilities, what the heat map shows, and laser scars where readers marked them."""
    from drcore.export.pdf.plate import ProbabilityBars

    report = case.report
    bars = []
    if report.probabilities is not None:
        bars = [ProbabilityBars(report.probabilities, report.grade_set or (), width)]
    laser = laser_sentence(report, (mark for _, mark in case.marks))
    told = [_words(marked_up(text, 400)) for text in (map_sentence(report), laser) if text]
    return [*bars, *told]


def _reader_words(case: Case, privacy: Disclosure, made_at: datetime) -> list[Any]:
    words = [_words("<b>Readers</b>" if case.last_decisions else "")]
    for decision in case.last_decisions[:4]:
        when = moment_words(decision.decided_at.astimezone(made_at.tzinfo))
        who = "Arbiter " if decision.role == "arbiter" else ""
        reader = marked_up(f"{who}{reader_name(decision)}", 80)
        words.append(_words(f"{reader}: {_said(decision)} <font color='#5b6570'>{when}</font>"))
        if decision.findings is not None:
            words.append(_words(marked_up(decision.findings.words, 500), muted=True))
        if decision.note and privacy.with_notes:
            words.append(_words(f"\u201c{marked_up(decision.note, 500)}\u201d", muted=True))
    more = len(case.last_decisions) - 4
    if more > 0:
        words.append(_words(f"plus {more} more reader{'s' if more > 1 else ''}", muted=True))
    return words


def _said(decision: Decision) -> str:
    model = "ungradable" if decision.machine_grade is None else f"{decision.machine_grade}"
    said = "ungradable" if decision.grade is None else f"grade {decision.grade}"
    return f"<b>{said}</b> (model {model})"


def _mark_words(marks: list[Any], count: int, privacy: Disclosure) -> list[Any]:
    if not marks:
        return []
    told = []
    for number, mark in marks:
        note = f", {marked_up(mark.note, 120)}" if mark.note and privacy.with_notes else ""
        reader = f" ({marked_up(mark.reader, 60)})" if mark.reader else ""
        told.append(f"<b>{number}</b> {mark.lesion}{reader}{note}")
    if count > len(marks):
        told.append(f"and {count - len(marks)} more")
    return [_words(f'<font name="{BOLD}">Marks:</font> {"; ".join(told)}.')]


def _missing_words(letters: set[str]) -> list[Any]:
    """Say in the report and in the log what could not be drawn; the log gets scripts alone."""
    if not letters:
        return []
    scripts = scripts_of(letters)
    logs.event("letters not drawn", "warning", scripts=scripts, letters=len(letters))
    return [
        _words(
            f"Not drawn: {len(letters)} {'letter' if len(letters) == 1 else 'letters'} for which "
            f"drcore has no font ({scripts}). They stand as their numbers in Unicode: [U+...].",
            muted=True,
        )
    ]


_TIGHT = [
    ("LEFTPADDING", (0, 0), (-1, -1), 0), ("RIGHTPADDING", (0, 0), (-1, -1), 0),
    ("TOPPADDING", (0, 0), (-1, -1), 0.5), ("BOTTOMPADDING", (0, 0), (-1, -1), 0.5),
]  # fmt: skip


def _words(markup: str, *, muted: bool = False, right: bool = False, after: float = 0) -> Any:
    """A paragraph; what is not ours in it went through `marked_up`."""
    from reportlab.lib.colors import HexColor
    from reportlab.lib.enums import TA_LEFT, TA_RIGHT
    from reportlab.lib.styles import ParagraphStyle
    from reportlab.platypus import Paragraph

    style = ParagraphStyle(
        "words", fontName=REGULAR, fontSize=7.8, leading=10.4, splitLongWords=1,
        textColor=HexColor("#5b6570" if muted else "#14181c"), spaceAfter=after,
        alignment=TA_RIGHT if right else TA_LEFT, shaping=int(any(map(is_complex, markup))),
    )  # fmt: skip
    return Paragraph(
        markup.replace("<b>", f'<font name="{BOLD}">').replace("</b>", "</font>"), style
    )
