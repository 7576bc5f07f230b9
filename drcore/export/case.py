"""One photograph with all that was said of it: the model's report, readers' decisions and marks."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from drcore.agreement.adjudication import ReadingStatus, StudyRules, reading_status
from drcore.agreement.visits import Visit, group_visits
from drcore.eye import EYE_ORDER
from drcore.photographs.dicom_frames import DicomFrame
from drcore.photographs.dicom_header import Header, holds_dicom, read_header

if TYPE_CHECKING:
    from collections.abc import Iterable

    from drcore.grading.report import GradeReport
    from drcore.photographs.photograph import Source
    from drcore.reviews.decision import Decision
    from drcore.reviews.mark import Mark

__all__ = ["Case", "by_visit", "eye_order", "header_of", "is_from_dicom"]


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """What leaves the tool begins here.

    Attributes:
        report: of the model; laterality and patient as corrected by hand.
        source: what `drcore.photographs.reader.read_photograph` reads again for the pixels.
        decisions: of readers on this photograph, with their numbers in the record, oldest first.
        marks: of readers on this photograph, with their numbers in the record.
        rules: by which readers agree; one reader's grade is final where nobody else has read.
    """

    report: GradeReport
    source: Source
    decisions: tuple[tuple[int, Decision], ...] = ()
    marks: tuple[tuple[int, Mark], ...] = ()
    rules: StudyRules = field(default_factory=StudyRules)

    @property
    def reading(self) -> ReadingStatus:
        """Where reading stands: the final grade, or why there is none."""
        made = (decision for _, decision in self.decisions)
        return reading_status(self.report.sha256, made, replace(self.rules, second_read="none"))

    @property
    def last_decisions(self) -> list[Decision]:
        """The last decision of each reader, the arbiter's first, then newest first."""
        reading = self.reading
        newest = sorted(reading.readings, key=lambda made: made.decided_at, reverse=True)
        return [*([reading.arbiter] if reading.arbiter else []), *newest]


def by_visit(cases: Iterable[Case]) -> list[Visit[Case]]:
    """Group photographs by patient and date of the examination, right eye first.

    Args:
        cases: in any order.

    Returns:
        In the order of their first photographs; one without a patient is a group of its own.
    """
    visits = group_visits(cases, lambda case: (case.report.patient, case.report.exam_date))
    return [replace(visit, members=tuple(eye_order(visit.members))) for visit in visits]


def eye_order(cases: Iterable[Case]) -> list[Case]:
    """Sort the photographs of a patient: right eye, left eye, then those that do not tell."""
    return sorted(cases, key=lambda case: EYE_ORDER[case.report.laterality])


def is_from_dicom(case: Case) -> bool:
    """Say whether a photograph came as a DICOM file."""
    source = case.source.file if isinstance(case.source, DicomFrame) else case.source
    return isinstance(source, str | Path | bytes) and holds_dicom(source)


def header_of(case: Case) -> Header | None:
    """Read the DICOM header of a photograph; None where it came as something else."""
    source = case.source.file if isinstance(case.source, DicomFrame) else case.source
    if not isinstance(source, str | Path | bytes) or not holds_dicom(source):
        return None
    return read_header(source, name=case.report.name)
