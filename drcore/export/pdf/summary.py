"""The worse eye of a visit in the head of a report: final result, model, readers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from drcore.agreement.patient_grade import PatientGrade, Reading, patient_grade
from drcore.export.final_grade import (
    UNREAD,
    decided_at,
    final_patient_grade,
    moment_words,
    reader_name,
    readers_words,
)  # fmt: skip
from drcore.export.pdf.fonts import marked_up
from drcore.grading.statements import operating_point, outcome
from drcore.icdr import FULL_NAMES

if TYPE_CHECKING:
    from drcore.export.case import Case
    from drcore.reviews.decision import Decision

__all__ = ["final_sentence", "model_sentence", "operating_points", "readers_sentence"]


def model_sentence(cases: Sequence[Case]) -> str:
    """The patient's grade by the model alone."""
    reports = [case.report for case in cases]
    patient = patient_grade(
        Reading(r.laterality, r.grade, seen=r.status != "failed") for r in reports
    )
    borderline = any(r.status != "failed" and outcome(r) == "borderline" for r in reports)
    return _patient_sentence(patient, borderline=borderline)


def operating_points(cases: Sequence[Case]) -> str:
    """The operating point in use; of each model where there are several."""
    told = (operating_point(case.report).partition(": ")[2] for case in cases)
    return " ".join(word[:1].upper() + word[1:] for word in dict.fromkeys(told))


def _patient_sentence(patient: PatientGrade, *, borderline: bool = False) -> str:
    gaps = f" Incomplete: {'; '.join(patient.gaps)}." if patient.gaps else ""
    if patient.grade is None:
        return f"No grade.{gaps}"
    refer = {True: " Referable.", False: " Not referable.", None: ""}[patient.referable]
    if borderline and not patient.referable:
        refer = " Borderline: needs a reader."
    return f"Grade {patient.grade}: {FULL_NAMES[patient.grade]}.{refer}{gaps}"


def final_sentence(cases: Sequence[Case], made_at: datetime) -> str:
    """The patient's grade by final grades, who and when; what is open stands before it."""
    finals = [case.reading for case in cases if case.reading.final is not None]
    if not finals:
        disagree = any(case.reading.readings for case in cases)
        return "No final grade: readers disagree" if disagree else UNREAD.upper()
    patient = final_patient_grade(cases)
    gaps = f"Incomplete: {'; '.join(patient.gaps)}. So far: " if patient.gaps else ""
    told = gaps + _patient_sentence(replace(patient, gaps=()))
    who = "; ".join(dict.fromkeys(readers_words(reading) for reading in finals))
    when = moment_words(max(map(decided_at, finals)).astimezone(made_at.tzinfo))
    return f"{told}</b> {marked_up(who, 200)}, {when}<b>"


def readers_sentence(cases: Sequence[Case]) -> str:
    """The worse eye by each reader who decided on any photograph."""
    by_reader: dict[str, list[Decision]] = {}
    for case in cases:
        for made in case.last_decisions:
            who = reader_name(made)
            by_reader.setdefault(f"Arbiter {who}" if made.role == "arbiter" else who, []).append(
                made
            )
    told = []
    for reader, own in list(by_reader.items())[:4]:
        grades = [decision.grade for decision in own if decision.grade is not None]
        grade = f"grade {max(grades)}" if grades else "ungradable"
        part = "" if len(own) == len(cases) else f" ({len(own)} of {len(cases)} photographs)"
        told.append(f"{marked_up(reader, 60)}: {grade}{part}")
    more = len(by_reader) - 4
    if more > 0:
        told.append(f"plus {more} more reader{'s' if more > 1 else ''}")
    return "; ".join(told)
