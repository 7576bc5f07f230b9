"""Rows of photographs and headings of patients, as the browser needs them for the list."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from viewer.ui.palette import FAILED, GRADES, PENDING, UNGRADABLE, Chip, chip_of

if TYPE_CHECKING:
    from drcore.agreement.patient_grade import EyeGrade
    from drcore.reviews.decision import Decision
    from viewer.worklist.entry import Entry
    from viewer.worklist.ordering import PatientStudy
    from viewer.worklist.worklist import Worklist

HIDDEN: Chip = ("", "#00000000", "inherit")
"""Of a photograph whose result a masked reader must not know."""


def list_rows(worklist: Worklist) -> list[dict[str, Any]]:
    """Return the rows of the list as shown; names are untrusted and only ever set as text."""
    headings = _headings(worklist) if worklist.arrangement.by_patient else {}
    rows = []
    above = None
    for entry in worklist.entries:
        heading = headings.get(entry.key)
        rows.append(
            {
                "key": entry.key,
                "name": entry.name,
                "note": _note(entry, hidden=entry.key in worklist.hidden),
                "thumbnail": entry.thumbnail,
                "chip": _chip(entry, hidden=entry.key in worklist.hidden),
                "decided": entry.decision is not None and entry.key not in worklist.hidden,
                "heading": heading if heading is not above else None,
            }
        )
        above = heading
    return rows


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


def _chip(entry: Entry, *, hidden: bool) -> Chip:
    report = entry.report
    if hidden and report is not None:
        return FAILED if report.status == "failed" else HIDDEN
    return chip_of(report)


def _note(entry: Entry, *, hidden: bool) -> str:
    report = entry.report
    if report is None:
        return "queued"
    if report.status == "failed":
        return "Unreadable"
    if not hidden and entry.decision is not None:
        return _reader_note(entry.decision, report.grade)
    if not hidden and report.status == "ungradable":
        return "Model: ungradable"
    return " \u00b7 ".join(filter(None, (entry.laterality, entry.origin)))


def _reader_note(decision: Decision, model: int | None) -> str:
    if decision.grade is None:
        return "Reader: ungradable"
    if decision.grade == model:
        return f"Reader: {decision.grade} (= model)"
    return f"Reader: {decision.grade} (model {'ungradable' if model is None else model})"
