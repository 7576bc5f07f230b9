"""In which order the list is shown, and what of it: sorting, filtering, patients together."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from drcore.agreement.patient_grade import PatientGrade, Reading, patient_grade
from drcore.eye import EYE_ORDER
from drcore.text import fold

if TYPE_CHECKING:
    from drcore.grading.report import GradeReport
    from drcore.reviews.decision import Decision
    from viewer.worklist.worklist import Entry

__all__ = [
    "KINDS",
    "MACHINE_ORDERS",
    "ORDERS",
    "Order",
    "PatientStudy",
    "ViewOptions",
    "arranged",
    "studies",
]

Order = Literal["arrival", "severity", "uncertainty", "disagreement", "unreviewed"]

ORDERS: dict[Order, str] = {
    "arrival": "Order of arrival",
    "unreviewed": "Not reviewed first",
    "severity": "Most severe first",
    "uncertainty": "Least certain first",
    "disagreement": "Disagreement first",
}
"""What the page calls each order."""

MACHINE_ORDERS: frozenset[Order] = frozenset({"severity", "uncertainty", "disagreement"})
"""Orders that tell what the machine says, and so must not be offered to a blinded reader."""

KINDS = ("0", "1", "2", "3", "4", "referable", "ungradable", "failed")
"""What can be shown alone. All of it but "failed" is the machine's word."""


@dataclass(frozen=True, slots=True)
class ViewOptions:
    """How a reader wants the list.

    Attributes:
        order: of the photographs, or of the patients by their first photograph.
        kinds: of `KINDS`, any of which a photograph must be; all are shown where empty.
        reviewed: True for those with a decision alone, False for those without, None for both.
        text: part of the name or patient, in any case.
        by_patient: the photographs of a patient stand together, right eye first.
    """

    order: Order = "arrival"
    kinds: frozenset[str] = frozenset()
    reviewed: bool | None = None
    text: str = ""
    by_patient: bool = False

    @property
    def filters(self) -> bool:
        """Whether anything is left out."""
        return bool(self.kinds or self.text.strip()) or self.reviewed is not None

    def to_json(self) -> str:
        """Return it as text, without what was searched: that may be a patient's name."""
        return json.dumps({**asdict(self), "kinds": sorted(self.kinds), "text": ""})

    @classmethod
    def from_json(cls, text: str) -> ViewOptions:
        """Read it back; what is not understood becomes the default."""
        try:
            values: dict[str, Any] = json.loads(text)
            order, reviewed = values["order"], values["reviewed"]
            return cls(
                order=order if order in get_args(Order) else "arrival",
                kinds=frozenset(values["kinds"]) & set(KINDS),
                reviewed=reviewed if isinstance(reviewed, bool) else None,
                by_patient=values["by_patient"] is True,
            )
        except (ValueError, KeyError, TypeError):
            return cls()


@dataclass(frozen=True, slots=True)
class PatientStudy:
    """The photographs of one patient; one alone where the patient is not known.

    Attributes:
        patient: as the first photograph has it; None where unknown. Untrusted text.
        entries: right eye first, in order of arrival.
        grade: of the worse eye, by the reader's decision where there is one, else the model's.
    """

    patient: str | None
    entries: tuple[Entry, ...]
    grade: PatientGrade


def arranged(
    entries: Iterable[Entry],
    wanted: ViewOptions,
    *,
    selected: str = "",
    before: Decision | None = None,
    hidden: frozenset[str] = frozenset(),
) -> list[Entry]:
    """Return the entries that are shown, in order.

    The photograph on screen is always among them, at the place that it had when it came on screen:
    a decision on it must not carry it away under the reader's eyes.

    Args:
        entries: all, in order of arrival.
        wanted: how.
        selected: key of the one on screen.
        before: the decision on it when it came on screen.
        hidden: keys of those of which a blinded reader must not know what was said; while there
            are any, orders and kinds that would tell it have no effect.

    Returns:
        Some of the entries.
    """
    everything = list(entries)
    if wanted == ViewOptions():
        return everything
    blind = bool(hidden)
    order = "arrival" if blind and wanted.order in MACHINE_ORDERS else wanted.order
    kinds = wanted.kinds & {"failed"} if blind else wanted.kinds
    needle = wanted.text.strip().casefold()

    def decision_of(entry: Entry) -> Decision | None:
        if entry.key in hidden:
            return None
        return before if entry.key == selected else entry.decision

    def kept(entry: Entry) -> bool:
        if entry.key == selected:
            return True
        done = decision_of(entry) is not None
        return (
            (not kinds or not kinds.isdisjoint(_kinds_of(entry.report)))
            and wanted.reviewed in {None, done}
            and (not needle or needle in f"{entry.name}\n{entry.patient_shown or ''}".casefold())
        )

    shown = [entry for entry in everything if kept(entry)]
    if order != "arrival":
        ranks = {entry: _rank(entry.report, decision_of(entry), order) for entry in shown}
        shown.sort(key=ranks.__getitem__)  # stable: equals stay in order of arrival
    return _together(shown) if wanted.by_patient else shown


def studies(entries: Iterable[Entry], hidden: frozenset[str] = frozenset()) -> list[PatientStudy]:
    """Pair the photographs of each patient.

    Args:
        entries: all of a list.
        hidden: as for `arranged`; nothing that was said of these counts.

    Returns:
        Patients in order of their first photograph.
    """
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(patient_key(entry), []).append(entry)
    return [
        PatientStudy(
            group[0].patient,
            tuple(sorted(group, key=lambda entry: EYE_ORDER[entry.laterality])),
            patient_grade(_reading(entry, entry.key in hidden) for entry in group),
        )
        for group in groups.values()
    ]


def patient_key(entry: Entry) -> str:
    """Return what the photographs of one patient share, and no others."""
    if entry.patient is None:
        return f"entry {entry.key}"
    return f"patient {fold(entry.patient)}"


def _reading(entry: Entry, hidden: bool) -> Reading:  # noqa: FBT001
    report = entry.report
    if hidden or report is None:
        return Reading(entry.laterality, None, seen=False)
    if entry.decision is not None:
        return Reading(entry.laterality, entry.decision.grade)
    return Reading(entry.laterality, report.grade, seen=report.status != "failed")


def _together(shown: list[Entry]) -> list[Entry]:
    groups: dict[str, list[Entry]] = {}
    for entry in shown:
        groups.setdefault(patient_key(entry), []).append(entry)
    return [
        entry
        for group in groups.values()
        for entry in sorted(group, key=lambda entry: EYE_ORDER[entry.laterality])
    ]


def _kinds_of(report: GradeReport | None) -> set[str]:
    if report is None:
        return set()
    if report.grade is None:
        return {report.status}
    return {str(report.grade)} | ({"referable"} if report.referable else set())


def _rank(report: GradeReport | None, decision: Decision | None, order: str) -> tuple[float, ...]:
    """Smaller comes first."""
    if order == "unreviewed":
        return (float(decision is not None),)
    if report is None or report.status == "failed":
        return (9.0,)
    grade = decision.grade if decision is not None else report.grade
    if order == "severity":
        return (8.0,) if grade is None else (-grade, -report.score)
    if order == "uncertainty":
        if report.grade is None:
            return (8.0,)
        return (-len(report.grade_set or ()), report.margin or 0.0)
    grades = [bisect_right(report.thresholds, score) for score in report.scores.values()]
    spread = max(report.scores.values()) - min(report.scores.values()) if grades else 0.0
    apart = 0 if decision is None else _apart(decision.grade, report.grade)
    return (-apart, -(max(grades) - min(grades)) if grades else 0.0, -spread)


def _apart(reader: int | None, machine: int | None) -> int:
    """How far reader and model are apart, in grades; a grade against none counts as two."""
    if reader is None or machine is None:
        return 0 if reader is machine else 2
    return abs(reader - machine)
