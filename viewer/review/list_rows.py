"""What the browser needs to draw the list: rows of photographs, headings of patients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from viewer.ui.palette import FAILED, GRADES, PENDING, UNGRADABLE, Chip, chip_of

if TYPE_CHECKING:
    from drcore.agreement.patient_grade import EyeGrade
    from viewer.worklist.entry import Entry
    from viewer.worklist.ordering import PatientStudy
    from viewer.worklist.worklist import Worklist

__all__ = ["list_rows", "patient_words"]

UNREAD: Chip = ("", "#00000000", "inherit")
"""Of a photograph of which a blinded reader must not know what was said."""


def list_rows(worklist: Worklist) -> list[dict[str, Any]]:
    """Return the rows of the list as it is shown.

    Args:
        worklist: any.

    Returns:
        A dictionary for each photograph. Names are untrusted and must only ever be set as text.
        `heading` is None, or what stands above the row where a patient begins.
    """
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


def patient_words(study: PatientStudy) -> str:
    """Say what is known of a patient's eyes, and what is missing; our own words."""
    eyes = [f"{_eye_name(eye)} {_finding(eye)}" for eye in study.grade.eyes]
    return " \u00b7 ".join([*eyes, *(gap for gap in study.grade.gaps if gap.startswith("no "))])


def _headings(worklist: Worklist) -> dict[str, dict[str, Any]]:
    """By key of the entry: the heading of its patient, one object for all entries of one."""
    found: dict[str, dict[str, Any]] = {}
    unknown = {"title": "Patient not known", "note": "", "chip": UNREAD}
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
        heading = {"title": title, "note": patient_words(study), "chip": chip}
        found.update(dict.fromkeys((entry.key for entry in study.entries), heading))
    return found


def _eye_name(eye: EyeGrade) -> str:
    return "eye not named:" if eye.eye == "unknown" else eye.eye


def _finding(eye: EyeGrade) -> str:
    if eye.finding == "graded":
        return str(eye.grade)
    return "not fit" if eye.finding == "ungradable" else "\u2026"


def _chip(entry: Entry, *, hidden: bool) -> Chip:
    report = entry.report
    if hidden and report is not None:
        return FAILED if report.status == "failed" else UNREAD
    return chip_of(report)


def _note(entry: Entry, *, hidden: bool) -> str:
    from viewer.review.decision_panel import said

    report = entry.report
    if report is None:
        return "waiting"
    if report.status == "failed":
        return "could not be read"
    if not hidden and entry.decision is not None:
        return f"reader: {said(entry.decision)}"
    if not hidden and report.status == "ungradable":
        return "not fit for grading"
    return " \u00b7 ".join(filter(None, (entry.laterality, entry.origin)))
