"""Photographs of one examination: what is said of a patient is never of two visits."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from drcore.text import fold

__all__ = ["Visit", "group_visits"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Visit(Generic[T]):
    """Photographs of one patient that may be judged together.

    Attributes:
        patient: as the first photograph has it; None where unknown: such a photograph stands alone.
        exam_date: `YYYY-MM-DD`; None where unknown.
        members: the photographs, in the order given.
        other_dates: dates of the patient's other visits, sorted.
    """

    patient: str | None
    exam_date: str | None
    members: tuple[T, ...]
    other_dates: tuple[str, ...] = ()

    def caution(self, *, dates: bool = True) -> str:
        """Say that the photographs may be of several visits.

        Args:
            dates: name the dates of the patient's other visits.

        Returns:
            A sentence; empty where the date is known, or where a single photograph has none.
        """
        if self.exam_date is not None or (len(self.members) < 2 and not self.other_dates):
            return ""
        if self.other_dates and dates:
            known = ", ".join(self.other_dates)
            return f"Examination date not recorded: any visit is possible, also that of {known}."
        return "Examination date not recorded: the photographs may be of several visits."


def group_visits(
    photographs: Iterable[T], visit_of: Callable[[T], tuple[str | None, str | None]]
) -> list[Visit[T]]:
    """Group photographs by patient and date of the examination.

    Photographs without a date are a group of their own, even where the patient has only one dated
    visit: nothing says that they are of it.

    Args:
        photographs: of any patients, in any order.
        visit_of: returns patient and date (`YYYY-MM-DD`) of a photograph, None where unknown.

    Returns:
        In the order of the first photographs.
    """
    groups: dict[tuple[object, str | None], list[T]] = {}
    names: dict[object, str | None] = {}
    for photograph in photographs:
        patient, exam_date = visit_of(photograph)
        key: object = fold(patient) if patient else len(groups)
        names.setdefault(key, patient)
        groups.setdefault((key, exam_date), []).append(photograph)
    dates: dict[object, set[str]] = {}
    for key, exam_date in groups:
        dates.setdefault(key, set()).update({exam_date} - {None})  # type: ignore[arg-type]
    return [
        Visit(names[key], exam_date, tuple(members), tuple(sorted(dates[key] - {exam_date})))
        for (key, exam_date), members in groups.items()
    ]
