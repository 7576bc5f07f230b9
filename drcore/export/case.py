"""One photograph with all that was said of it: the model's report, readers' decisions and marks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from drcore.eye import EYE_ORDER
from drcore.text import fold

if TYPE_CHECKING:
    from collections.abc import Iterable

    from drcore.grading.report import GradeReport
    from drcore.photographs.photograph import Source
    from drcore.reviews.decision import Decision
    from drcore.reviews.mark import Mark

__all__ = ["Case", "by_patient", "eye_order"]


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """What leaves the tool begins here.

    Attributes:
        report: of the model; laterality and patient as corrected by hand.
        source: what `drcore.photographs.reader.read_photograph` reads again for the pixels.
        decisions: of readers on this photograph, with their numbers in the record, oldest first.
        marks: of readers on this photograph, with their numbers in the record.
    """

    report: GradeReport
    source: Source
    decisions: tuple[tuple[int, Decision], ...] = ()
    marks: tuple[tuple[int, Mark], ...] = ()

    @property
    def last_decisions(self) -> list[Decision]:
        """The last decision of each reader, newest first."""
        last = {decision.reader: decision for _, decision in self.decisions}
        return sorted(last.values(), key=lambda decision: decision.decided_at, reverse=True)


def by_patient(cases: Iterable[Case]) -> list[list[Case]]:
    """Group photographs by patient, right eye first.

    Args:
        cases: in any order.

    Returns:
        A group for each patient, in the order of their first photographs; a photograph without a
        patient is a group of its own.
    """
    groups: dict[object, list[Case]] = {}
    for case in cases:
        patient = case.report.patient
        groups.setdefault(fold(patient) if patient else len(groups), []).append(case)
    return [eye_order(group) for group in groups.values()]


def eye_order(cases: Iterable[Case]) -> list[Case]:
    """Sort the photographs of a patient: right eye, left eye, then those that do not tell."""
    return sorted(cases, key=lambda case: EYE_ORDER[case.report.laterality])
