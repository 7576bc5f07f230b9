"""Rows of photographs and headings of patients, as the browser needs them for the list."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from viewer.ui.palette import FAILED, GRADES, PENDING, UNGRADABLE, Chip, chip_of

if TYPE_CHECKING:
    from drcore.agreement.adjudication import ReadingStatus
    from drcore.agreement.patient_grade import EyeGrade
    from drcore.reviews.decision import Decision
    from viewer.worklist.entry import Entry
    from viewer.worklist.ordering import PatientStudy
    from viewer.worklist.reading import Choice
    from viewer.worklist.worklist import Worklist

_WHO = {"arbiter": "Arbiter", "agreement": "Readers", "reader": "Reader"}

HIDDEN: Chip = ("", "#00000000", "inherit")
"""Of a photograph whose result a masked reader must not know."""


def list_rows(worklist: Worklist) -> list[dict[str, Any]]:
    """Return the rows of the list as shown; names are untrusted and only ever set as text."""
    headings = _headings(worklist) if worklist.arrangement.by_patient else {}
    rows = []
    above = None
    for entry in worklist.entries:
        heading, hidden = headings.get(entry.key), entry.key in worklist.hidden
        chip, by = _chip(entry, hidden=hidden)
        draft = worklist.reading.draft(entry.key).choice
        rows.append(
            {
                "key": entry.key,
                "name": entry.name,
                "note": draft_note(draft) if draft is not None else _note(entry, hidden=hidden),
                "thumbnail": entry.thumbnail,
                "chip": chip,
                "by": by,
                "decided": entry.decision is not None and not hidden,
                "unsaved": draft is not None,
                "heading": heading if heading is not above else None,
            }
        )
        above = heading
    return rows


def draft_note(choice: Choice) -> str:
    """Say what was chosen and not saved."""
    chosen = {"agree": "Agree", "ungradable": "Ungradable"}.get(str(choice), f"Grade {choice}")
    return f"{chosen}: not saved"


def patient_summary(study: PatientStudy) -> str:
    """Say what is known of a patient's eyes, and what is missing; our own words."""
    eyes = [f"{_eye_name(eye)} {_finding(eye)}" for eye in study.grade.eyes]
    return " \u00b7 ".join([*eyes, *(gap for gap in study.grade.gaps if gap.startswith("no "))])


def _headings(worklist: Worklist) -> dict[str, dict[str, Any]]:
    """By key of the entry: the heading of its patient, one object for all entries of a patient."""
    found: dict[str, dict[str, Any]] = {}
    unknown = {"title": "Patient not identified", "note": "", "chip": HIDDEN}
    number = 0
    for study in worklist.studies:
        if study.patient is None:
            found[study.entries[0].key] = unknown
            continue
        number += 1
        shown = study.entries[0].patient_shown
        title = f"Patient {number if shown is None else shown}"
        if study.exam_date is not None and not study.entries[0].deidentified:
            title = f"{title} \u00b7 {study.exam_date}"
        grade = study.grade.grade
        chip = PENDING if grade is None else GRADES[grade]
        if grade is None and any(eye.finding == "ungradable" for eye in study.grade.eyes):
            chip = UNGRADABLE
        heading = {"title": title, "note": patient_summary(study), "chip": chip}
        found.update(dict.fromkeys((entry.key for entry in study.entries), heading))
    return found


def _eye_name(eye: EyeGrade) -> str:
    return "laterality unknown:" if eye.eye == "unknown" else eye.eye


def _finding(eye: EyeGrade) -> str:
    if eye.finding == "graded":
        return str(eye.grade)
    return "ungradable" if eye.finding == "ungradable" else "\u2026"


def _chip(entry: Entry, *, hidden: bool) -> tuple[Chip, str]:
    """The final grade, else the model's; and whose it is, in words."""
    report, final = entry.report, entry.reading.final if entry.reading else None
    if hidden and report is not None:
        return (FAILED, "") if report.status == "failed" else (HIDDEN, "")
    if final is not None:
        return (UNGRADABLE if final.grade is None else GRADES[final.grade]), "Final grade"
    graded = report is not None and report.status != "failed"
    return chip_of(report), "Model grade" if graded else ""


def _note(entry: Entry, *, hidden: bool) -> str:
    report = entry.report
    if report is None:
        return "queued"
    if report.status == "failed":
        return "Unreadable"
    if not hidden and entry.decision is not None:
        return _reader_note(entry.decision, entry.reading, report.grade)
    if not hidden and report.status == "ungradable":
        return "Model: ungradable"
    return " \u00b7 ".join(filter(None, (entry.laterality, entry.origin)))


def _reader_note(decision: Decision, reading: ReadingStatus | None, model: int | None) -> str:
    """The final grade with whose it is, and the model's beside it."""
    machine = "ungradable" if model is None else str(model)
    if reading is not None and reading.readings and reading.final is None:
        return f"Readers disagree (model {machine})"
    final = reading.final if reading else None
    who = _WHO.get((reading.basis or "reader") if reading else "reader", "Reader")
    grade = (final or decision).grade
    if grade is None:
        return f"{who}: ungradable"
    return f"{who}: {grade} ({'= model' if grade == model else f'model {machine}'})"
