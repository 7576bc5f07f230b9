"""The readers' result in words and values, alike in every document.

Arbiter before agreement of readers before the only reader; the model's result is never final.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from drcore.agreement.patient_grade import PatientGrade, Reading, patient_grade
from drcore.icdr import FULL_NAMES, MODEL_NOTICE, NOTICE, REFERABLE

if TYPE_CHECKING:
    from drcore.agreement.adjudication import ReadingStatus
    from drcore.export.case import Case
    from drcore.reviews.decision import Decision
    from drcore.reviews.findings import Findings

__all__ = [
    "FINAL_COLUMNS", "UNREAD", "decided_at", "final_cells", "final_findings",
    "final_patient_grade", "final_values", "model_notice", "moment_words", "reader_name",
    "readers_words", "signature", "status_words",
]  # fmt: skip

UNREAD = "Not yet read by a clinician"

FINAL_COLUMNS = (
    "final_status", "final_grade", "final_referable", "final_basis", "final_by", "final_at",
)  # fmt: skip
"""Columns of the readers' result in an export: status is "graded", "ungradable", "disagreement" or
"unread"; grade 0-4 and referable true or false where graded; basis "arbiter", "agreement" or
"reader"; who, separated by semicolons; when, in ISO 8601 and UTC."""


def final_values(reading: ReadingStatus) -> dict[str, Any]:
    """Return the readers' result of a photograph by `FINAL_COLUMNS` without their prefix."""
    final = reading.final
    status = "unread" if not reading.readings else "disagreement"
    if final is not None:
        status = "ungradable" if final.grade is None else "graded"
    grade = None if final is None else final.grade
    return {
        "status": status,
        "grade": grade,
        "referable": None if grade is None else grade >= REFERABLE,
        "basis": reading.basis,
        "by": [reader_name(made) for made in reading.final_by],
        "at": decided_at(reading).astimezone(UTC).isoformat() if final is not None else None,
    }


def final_findings(reading: ReadingStatus | None) -> Findings | None:
    """Return the structured reading of those who settled the grade; None where nobody answered.

    Where several answered a form, it is what all of them answered alike.
    """
    made = () if reading is None else reading.final_by
    given = [one.findings for one in made if one.findings is not None]
    if not given:
        return None
    alike = set.intersection(*(set(one.answers) | set(one.texts) for one in given))
    first = given[0]
    return replace(
        first,
        answers=tuple(answer for answer in first.answers if answer in alike),
        texts=tuple(text for text in first.texts if text in alike),
    )


def final_cells(reading: ReadingStatus) -> dict[str, str]:
    """Return the cells of `FINAL_COLUMNS`."""
    values = final_values(reading)
    cells = {name: "" if value is None else str(value) for name, value in values.items()}
    cells["referable"] = cells["referable"].lower()
    cells["by"] = "; ".join(values["by"])
    return {f"final_{name}": cell for name, cell in cells.items()}


def decided_at(reading: ReadingStatus) -> datetime:
    """Return when the grade became final; of a reading that has one."""
    return max(made.decided_at for made in reading.final_by)


def final_patient_grade(cases: Sequence[Case]) -> PatientGrade:
    """Grade the patient of one visit by final grades alone; other photographs are not judged."""
    finals = [(case.report.laterality, case.reading.final) for case in cases]
    return patient_grade(
        Reading(eye, None if final is None else final.grade, seen=final is not None)
        for eye, final in finals
    )


def reader_name(decision: Decision) -> str:
    """Return who decided; untrusted text."""
    return " ".join(decision.reader.split()) or "Unnamed reader"


def status_words(reading: ReadingStatus) -> str:
    """Return the result without who and when, such as "Final grade 0: ..." or "Not yet read"."""
    if reading.final is not None:
        grade = reading.final.grade
        return "Final: ungradable" if grade is None else f"Final grade {grade}: {FULL_NAMES[grade]}"
    if not reading.readings:
        return UNREAD
    told = ", ".join(f"{reader_name(made)} {_short(made)}" for made in reading.readings)
    return f"No final grade: readers disagree ({told})"


def signature(reading: ReadingStatus, made_at: datetime) -> str:
    """Say who settled a final grade and when, in the time zone of `made_at`; untrusted text."""
    when = moment_words(decided_at(reading).astimezone(made_at.tzinfo))
    return f"{readers_words(reading)}, {when}"


def readers_words(reading: ReadingStatus) -> str:
    """Say who settled a final grade, such as "arbiter C"; untrusted text."""
    names = " and ".join(reader_name(made) for made in reading.final_by)
    if reading.basis == "arbiter":
        return f"arbiter {names}"
    return f"{names} agree" if reading.basis == "agreement" else names


def moment_words(moment: datetime) -> str:
    """Return date and time with the offset from UTC: names of zones are ambiguous."""
    offset = f"{moment:%z}"[:5]
    zone = "" if offset in {"", "+0000"} else f"{offset[:3]}:{offset[3:]}"
    return f"{moment:%Y-%m-%d %H:%M} UTC{zone}"


def model_notice(reading: ReadingStatus | None) -> str:
    """Return the notice of what the model says, by whether a clinician has read the photograph."""
    if reading is None or not reading.final_by:
        return MODEL_NOTICE
    return f"Model result; a clinician has read this photograph. {NOTICE}"


def _short(made: Decision) -> str:
    return "ungradable" if made.grade is None else f"grade {made.grade}"
