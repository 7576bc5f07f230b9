"""Referral outcomes of a batch: of each image, and of each patient's visit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from drcore.agreement.patient_grade import PatientGrade, Reading, patient_grade
from drcore.agreement.visits import group_visits

if TYPE_CHECKING:
    import pandas as pd

Outcome = Literal[
    "Referable", "Borderline", "No referable DR", "Ungradable", "Unreadable", "Incomplete"
]

OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)[:5]
"""Of images. Borderline: referable at the sensitive operating point alone, so it needs a reader."""

PATIENT_OUTCOMES: tuple[Outcome, ...] = (*get_args(Outcome)[:4], "Incomplete")
"""Of patients. Incomplete: an eye was not photographed, an image could not be read, or the eye of
an image is not known; the others show nothing to refer."""


@dataclass(frozen=True, slots=True)
class PatientOutcome:
    """What a batch says of one visit of a patient.

    Attributes:
        patient: untrusted text.
        exam_date: `YYYY-MM-DD`; empty where unknown.
        outcome: of the worse eye, or what stands in the way of one.
        grade: of the worse eye, and what is missing.
        rows: indices of the images.
        caution: a sentence where the images may be of several visits; else empty.
    """

    patient: str
    exam_date: str
    outcome: Outcome
    grade: PatientGrade
    rows: tuple[int, ...]
    caution: str


def outcome_of(row: Mapping[str, str]) -> Outcome:
    """Return the referral outcome of an image."""
    if row["status"] != "graded":
        return "Ungradable" if row["status"] == "ungradable" else "Unreadable"
    if row["referable"] == "true":
        return "Referable"
    return "Borderline" if row["referable_sensitive"] == "true" else "No referable DR"


def outcome_name(outcome: Outcome) -> str:
    """Return what the page calls an outcome."""
    return "Borderline: needs a reader" if outcome == "Borderline" else outcome


def patient_outcomes(rows: Sequence[Mapping[str, str]]) -> list[PatientOutcome]:
    """Return the outcome of each visit of each known patient, in the order of their images."""
    known = [index for index, row in enumerate(rows) if row["patient"]]
    visits = group_visits(known, lambda i: (rows[i]["patient"], rows[i]["exam_date"] or None))
    result = []
    for visit in visits:
        grade = patient_grade(_reading(rows[index]) for index in visit.members)
        result.append(
            PatientOutcome(
                visit.patient or "", visit.exam_date or "",
                _worst([outcome_of(rows[index]) for index in visit.members], grade), grade,
                visit.members, visit.caution(),
            )
        )  # fmt: skip
    return result


def patient_table(patients: Sequence[PatientOutcome]) -> pd.DataFrame:
    """Return patients as a table for `st.dataframe`."""
    import pandas as pd

    columns = ["patient", "date", "outcome", "grade", "right", "left", "images", "missing"]
    lines = [
        [
            one.patient, one.exam_date, one.outcome, one.grade.grade, _eye(one, "OD"),
            _eye(one, "OS"), len(one.rows),
            "; ".join(filter(None, [*one.grade.gaps, one.caution.rstrip(".")])),
        ]
        for one in patients
    ]  # fmt: skip
    frame = pd.DataFrame(lines, columns=columns)
    frame["grade"] = pd.to_numeric(frame["grade"], errors="coerce").astype("Int64")
    return frame


def _reading(row: Mapping[str, str]) -> Reading:
    side = row["laterality"]
    return Reading(
        "OD" if side == "OD" else "OS" if side == "OS" else None,
        int(row["grade"]) if row["grade"] else None,
        seen=row["status"] != "failed",
    )


def _worst(outcomes: Sequence[Outcome], grade: PatientGrade) -> Outcome:
    for outcome in ("Referable", "Borderline"):
        if outcome in outcomes:
            return outcome  # type: ignore[return-value]
    if any(eye.finding == "ungradable" for eye in grade.eyes):
        return "Ungradable"
    return "No referable DR" if grade.complete else "Incomplete"


def _eye(one: PatientOutcome, eye: str) -> str:
    for found in one.grade.eyes:
        if found.eye == eye:
            return found.finding if found.grade is None else str(found.grade)
    return "\u2013"
