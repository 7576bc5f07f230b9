"""A patient's report as PDF: both eyes, what the model says of them and what readers decided."""

from __future__ import annotations

import io
import threading
from typing import TYPE_CHECKING, Any, Literal

from drcore import __version__
from drcore.agreement.patient_grade import PatientGrade, Reading, patient_grade
from drcore.errors import PhotographError, SourceError
from drcore.export.case import Case, eye_order
from drcore.export.deidentification import Disclosure
from drcore.export.pdf.fonts import BOLD, REGULAR, marked_up, register
from drcore.export.pictures import illustrate
from drcore.eye import EYE_NAMES
from drcore.icdr import FULL_NAMES, NOTICE
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
_TALLEST: dict[Page, float] = {"A4": 62 * _MM, "Letter": 51 * _MM}
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
) -> bytes:
    """Write a patient's report.

    Args:
        cases: photographs of one patient; failed ones are listed without pictures.
        made_at: date of the report, with a time zone, in which all times are given.
        privacy: what may be told; nothing is left out but names where left out.
        patient_name: from the DICOM header; printed only where `privacy` allows names.
        page: size of the paper.

    Returns:
        A PDF file; the same bytes for the same arguments. The notice stands on every page.

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
    story = [*_front(shown, patient, patient_name if privacy.with_names else "", made_at, width)]
    for case in shown:
        story += _photograph(case, privacy, made_at, width, _TALLEST[page])
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
    return next((c.report.patient for c in cases if c.report.patient), "") or "Not known"


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
                f"Diabetic retinopathy report, patient {marked_up(patient, 90)}", muted=True
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
            told = (
                f"Model {report.model_version} \u00b7 drcore {__version__} \u00b7 {_time(made_at)}"
            )
            self.drawString(_MARGIN, 6.8 * _MM, told)
            self.drawRightString(size[0] - _MARGIN, 6.8 * _MM, page)

    return Numbered


def _front(
    cases: Sequence[Case], patient: str, name: str, made_at: datetime, width: float
) -> list[Any]:
    """Title, whose report it is, and the patient's grade."""
    from reportlab.platypus import Spacer, Table

    facts = [("Patient", patient)] + ([("Name", name)] if name else [])
    facts += [
        ("Report of", _time(made_at)),
        ("Model", cases[0].report.model_version),
    ]
    title = _words(f'<font name="{BOLD}" size="15">Diabetic retinopathy report</font>')
    told = [[_words(label, muted=True), _words(marked_up(value, 160))] for label, value in facts]
    head = Table(
        [[title, Table(told, colWidths=[18 * _MM, 0.5 * width - 18 * _MM], style=_TIGHT)]],
        colWidths=[0.5 * width, 0.5 * width],
        style=[*_TIGHT, ("VALIGN", (0, 0), (-1, -1), "TOP"), ("BOTTOMPADDING", (0, 0), (0, 0), 6)],
    )
    rows = [[_words(text) for text in ("", f'<font name="{BOLD}">Model</font>',
                                       f'<font name="{BOLD}">Readers</font>')]]  # fmt: skip
    rows.append(
        [
            _words(f'<font name="{BOLD}">Patient</font> (worse eye)'),
            _words(_patient_sentence(patient_grade(map(_model_reading, cases)))),
            _words(_readers_sentence(cases)),
        ]
    )
    summary = Table(
        rows,
        colWidths=[0.2 * width, 0.42 * width, 0.38 * width],
        style=[
            *_TIGHT, ("LINEABOVE", (0, 0), (-1, 0), 0.7, "#1d2329"),
            ("LINEBELOW", (0, -1), (-1, -1), 0.7, "#1d2329"),
            ("TOPPADDING", (0, 0), (-1, -1), 2.5), ("BOTTOMPADDING", (0, 0), (-1, -1), 2.5),
            ("VALIGN", (0, 0), (-1, -1), "TOP"),
        ],
    )  # fmt: skip
    return [head, Spacer(1, 2 * _MM), summary, Spacer(1, 3 * _MM)]


def _model_reading(case: Case) -> Reading:
    report = case.report
    return Reading(report.laterality, report.grade, seen=report.status != "failed")


def _patient_sentence(patient: PatientGrade) -> str:
    gaps = f" Incomplete: {'; '.join(patient.gaps)}." if patient.gaps else ""
    if patient.grade is None:
        return f"No grade.{gaps}"
    refer = {True: " Referable.", False: " Not referable.", None: ""}[patient.referable]
    return f"Grade {patient.grade}: {FULL_NAMES[patient.grade]}.{refer}{gaps}"


def _readers_sentence(cases: Sequence[Case]) -> str:
    """The worse eye by each reader who decided on any photograph."""
    readers: dict[str, None] = {}
    for case in cases:
        readers |= dict.fromkeys(decision.reader for decision in case.last_decisions)
    if not readers:
        return "Not reviewed."
    told = []
    for reader in list(readers)[:4]:
        own = [next((d for d in c.last_decisions if d.reader == reader), None) for c in cases]
        grades = [d.grade for d in own if d is not None and d.grade is not None]
        done = sum(d is not None for d in own)
        grade = f"grade {max(grades)}" if grades else "ungradable"
        part = "" if done == len(cases) else f" ({done} of {len(cases)} photographs)"
        told.append(f"{marked_up(reader or 'Reader not named', 60)}: {grade}{part}")
    return "<br/>".join(told)


def _photograph(
    case: Case, privacy: Disclosure, made_at: datetime, width: float, tallest: float
) -> list[Any]:
    """One photograph: heading, pictures, the model's and the readers' words, marks."""
    from reportlab.platypus import KeepTogether, Spacer, Table

    report = case.report
    eye = report.laterality
    side = f"{EYE_NAMES[eye]} ({eye})" if eye else "Eye not named"
    heading = Table(
        [[_words(f'<font name="{BOLD}" size="10">{side}</font>'),
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
        [[_model_words(report, 0.56 * width), _reader_words(case, privacy, made_at)]],
        colWidths=[0.58 * width, 0.42 * width],
        style=[*_TIGHT, ("VALIGN", (0, 0), (-1, -1), "TOP"), ("LEFTPADDING", (1, 0), (1, 0), 8)],
    )
    below = _mark_words(marks, len(case.marks), privacy)
    return [
        KeepTogether([heading, Spacer(1, 1.5 * _MM), *pictures, Spacer(1, 1 * _MM), words, *below]),
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


def _model_words(report: GradeReport, width: float) -> list[Any]:
    from drcore.export.pdf.plate import ProbabilityBars

    if report.grade is None:
        return [
            _words(f'<font name="{BOLD}" size="9.5">Ungradable</font>', after=2),
            _words(f"Quality: {marked_up(report.reason, 300)}"),
            _words(f"Score {report.score:.2f}, shown for completeness; not to be read as a grade."),
            *_field_words(report),
        ]
    name = FULL_NAMES[report.grade]
    refer = "Referable (grade 2 or more)" if report.referable else "Not referable (grade 0 or 1)"
    parts = ", ".join(f"{threshold:.2f}" for threshold in report.thresholds)
    words = [
        _words(f'<font name="{BOLD}" size="9.5">Grade {report.grade}: {name}</font>', after=2),
        _words(f"<b>{refer}.</b> Quality: fit for grading."),
        _words(f"Score {report.score:.2f}; the grade changes at {parts}."),
        *_field_words(report),
    ]
    if report.probabilities is not None:
        words.append(ProbabilityBars(report.probabilities, report.grade_set or (), 0.9 * width))
    if report.grade_set:
        words.append(_words(_set_sentence(report.grade_set)))
    return words


def _set_sentence(grades: tuple[int, ...]) -> str:
    if len(grades) == 1:
        return f"Other grades than {grades[0]} are unlikely."
    joined = f"{grades[0]} {'or' if len(grades) == 2 else 'to'} {grades[-1]}"
    return f"Grade {joined} is possible: such a range holds the right grade 9 times in 10."


def _field_words(report: GradeReport) -> list[Any]:
    note = report.field_of_view.note if report.field_of_view is not None else ""
    return [_words(marked_up(note, 300))] if note else []


def _reader_words(case: Case, privacy: Disclosure, made_at: datetime) -> list[Any]:
    heading = _words(f'<font name="{BOLD}">Reader</font>')
    if not case.last_decisions:
        return [heading, _words("Not reviewed by a reader.", muted=True)]
    words = [heading]
    for decision in case.last_decisions[:4]:
        when = _time(decision.decided_at.astimezone(made_at.tzinfo))
        reader = marked_up(decision.reader or "Reader not named", 80)
        words.append(_words(f"{reader}: {_said(decision)} <font color='#5b6570'>{when}</font>"))
        if decision.note and privacy.with_notes:
            words.append(_words(f"\u201c{marked_up(decision.note, 500)}\u201d", muted=True))
    more = len(case.last_decisions) - 4
    if more > 0:
        words.append(_words(f"and {more} more reader{'s' if more > 1 else ''}", muted=True))
    return words


def _said(decision: Decision) -> str:
    if decision.action == "ungradable":
        return "<b>ungradable</b>."
    agreed = "agrees with the model" if decision.action == "agree" else "differs from the model"
    return f"<b>grade {decision.grade}</b>, {agreed}."


def _mark_words(marks: list[Any], count: int, privacy: Disclosure) -> list[Any]:
    if not marks:
        return []
    told = []
    for number, mark in marks:
        note = f" ({marked_up(mark.note, 120)})" if mark.note and privacy.with_notes else ""
        reader = f", {marked_up(mark.reader, 60)}" if mark.reader else ""
        place = f"x {mark.x0:.0f}, y {mark.y0:.0f} px"
        told.append(f"<b>{number}</b> {mark.lesion} at {place}{reader}{note}")
    if count > len(marks):
        told.append(f"and {count - len(marks)} more")
    return [_words(f'<font name="{BOLD}">Marks</font> \u00a0{"; ".join(told)}.')]


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
        alignment=TA_RIGHT if right else TA_LEFT,
    )  # fmt: skip
    return Paragraph(
        markup.replace("<b>", f'<font name="{BOLD}">').replace("</b>", "</font>"), style
    )


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M %Z}".strip()
