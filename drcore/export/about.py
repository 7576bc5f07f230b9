"""What an export says of itself: about.txt, and the sentences on what is not in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from drcore import __version__
from drcore.export.case import is_from_dicom
from drcore.grading.statements import operating_point
from drcore.icdr import NOTICE

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from drcore.export.case import Case
    from drcore.export.deidentification import Disclosure
    from drcore.export.export import Kind

__all__ = ["about_text", "general_problems", "shortened"]

_MAX_PROBLEMS = 200
"""Problems that are listed; of the others, the number is."""


def general_problems(
    cases: Sequence[Case], kinds: Sequence[Kind], privacy: Disclosure
) -> list[str]:
    """What is known of all photographs beforehand, each reason once."""
    problems = []
    failed = [case.report for case in cases if case.report.status == "failed"]
    if privacy.deidentified and failed:
        problems.append(f"{_count(len(failed))} could not be read.")
    elif failed:
        problems += [
            report.reason
            if report.reason.startswith(report.name)
            else f"{report.name}: {report.reason}"
            for report in failed
        ]
    readable = [case for case in cases if case.report.status != "failed"]
    hidden = [case for case in readable if not privacy.may_show(case)]
    if hidden and {"pdf", "overlays", "dicom"} & set(kinds):
        problems.append(
            f"The pictures of {_count(len(hidden))} were left out: the DICOM header says that the "
            "patient's identity is burnt into them."
        )
    other = sum(not is_from_dicom(case) for case in readable) if "dicom" in kinds else 0
    if other:
        problems.append(
            f"{_count(other)} did not come as DICOM and cannot leave as DICOM: a DICOM report has "
            "to name the study."
        )
    return problems


def _count(number: int) -> str:
    return f"{number} photograph{'' if number == 1 else 's'}"


def shortened(problems: list[str]) -> list[str]:
    """Keep the first problems, and say how many more there are."""
    more = len(problems) - _MAX_PROBLEMS
    return problems if more <= 0 else [*problems[:_MAX_PROBLEMS], f"And {more} problems more."]


def about_text(
    privacy: Disclosure,
    made_at: datetime,
    documents: Sequence[str],
    problems: Sequence[str],
    cases: Sequence[Case] = (),
) -> str:
    """Return about.txt: what it is, which identifiers it holds, which operating point is used."""
    lines = [
        f"Made by drcore {__version__} on {made_at.isoformat(timespec='seconds')}.",
        _identity_words(privacy),
        "Columns of results.csv that begin with final_ are the readers' result; the others are the "
        "model's.",
        *dict.fromkeys(
            operating_point(case.report) for case in cases if case.report.status != "failed"
        ),
        NOTICE,
        "",
        f"{len(documents)} documents.",
        *(["", "Not exported:", *(f"- {problem}" for problem in problems)] if problems else []),
    ]
    return "\n".join(lines) + "\n"


def _identity_words(privacy: Disclosure) -> str:
    """Which identifiers of patients and readers this export holds."""
    notes = "readers' notes" if privacy.with_notes else "no notes"
    if privacy.deidentified:
        return (
            "De-identified: photographs go by a code, without file name, patient, study and "
            f"examination date. It holds laterality, readers' names and {notes}."
        )
    names = "patients' names from DICOM headers, " if privacy.patient_names else ""
    return f"It identifies patients: file names, patient numbers, {names}readers' names and notes."
