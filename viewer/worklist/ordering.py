"""Sorting and filtering a worklist, and grouping it by patient."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from drcore.agreement.patient_grade import PatientGrade, Reading, patient_grade
from drcore.agreement.visits import Visit, group_visits
from drcore.eye import EYE_ORDER
from drcore.icdr import REFERABLE
from drcore.text import fold

if TYPE_CHECKING:
    from drcore.grading.report import GradeReport
    from drcore.reviews.decision import Decision
    from viewer.worklist.worklist import Entry

Order = Literal["arrival", "severity", "referable", "uncertainty", "disagreement", "unreviewed"]

ORDERS: dict[Order, str] = {
    "arrival": "Order added",
    "unreviewed": "Ungraded first",
    "severity": "Most severe first (model)",
    "referable": "Probability of grade \u2265 2 (model)",
    "uncertainty": "Least certain first",
    "disagreement": "Reader\u2013model disagreement first",
}
"""What the page calls each order."""

MODEL_ORDERS: frozenset[Order] = frozenset({"severity", "referable", "uncertainty", "disagreement"})
"""Orders that reveal the model's result, and so must not be offered to a masked reader."""

KINDS = ("0", "1", "2", "3", "4", "referable", "ungradable", "failed")
"""What the list can be filtered by. All but "failed" reveal the model's result."""


@dataclass(frozen=True, slots=True)
class ViewOptions:
    """Order and filters of a list.

    Attributes:
        order: of the photographs, or of the patients by their first photograph.
        kinds: of `KINDS`, any of which a photograph must be; all are shown if empty.
        reviewed: True for those with a decision, False for those without, None for both.
        text: part of the name or patient, in any case.
        by_patient: the photographs of a patient are grouped, right eye first.
    """

    order: Order = "arrival"
    kinds: frozenset[str] = frozenset()
    reviewed: bool | None = None
    text: str = ""
    by_patient: bool = False

    @property
    def filters(self) -> bool:
        """Whether anything is filtered out."""
        return bool(self.kinds or self.text.strip()) or self.reviewed is not None

    def to_json(self) -> str:
        """Return it as JSON, without the search text, which may be a patient's name."""
        return json.dumps({**asdict(self), "kinds": sorted(self.kinds), "text": ""})

    @classmethod
    def from_json(cls, text: str) -> ViewOptions:
        """Read it from JSON; invalid values become the default."""
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
    """The photographs of one visit of a patient; a single one if the patient is unknown.

    Attributes:
        patient: as the first photograph has it; None if unknown. Untrusted text.
        exam_date: `YYYY-MM-DD`; None if unknown.
        entries: right eye first, in the order added.
        grade: of the worse eye, by final grades, else a reader's decision, else the model's.
    """

    patient: str | None
    exam_date: str | None
    entries: tuple[Entry, ...]
    grade: PatientGrade


def ordered_entries(
    entries: Iterable[Entry],
    options: ViewOptions,
    *,
    selected: str = "",
    before: Decision | None = None,
    hidden: frozenset[str] = frozenset(),
) -> list[Entry]:
    """Return the entries that are shown, in order.

    The selected entry is always among them, at the place that it had when it was selected (with the
    decision `before`): a decision on it must not move it while the reader looks at it. While there
    are `hidden` entries, orders and kinds that would reveal their results have no effect.
    """
    everything = list(entries)
    if options == ViewOptions():
        return everything
    masked = bool(hidden)
    order = "arrival" if masked and options.order in MODEL_ORDERS else options.order
    kinds = options.kinds & {"failed"} if masked else options.kinds
    needle = options.text.strip().casefold()

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
            and options.reviewed in {None, done}
            and (not needle or needle in f"{entry.name}\n{entry.patient_shown or ''}".casefold())
        )

    shown = [entry for entry in everything if kept(entry)]
    if order != "arrival":
        ranks = {entry: _rank(entry.report, decision_of(entry), order) for entry in shown}
        shown.sort(key=ranks.__getitem__)  # stable: equals stay in the order added
    return _grouped(shown) if options.by_patient else shown


def patient_studies(
    entries: Iterable[Entry], hidden: frozenset[str] = frozenset()
) -> list[PatientStudy]:
    """Group photographs by patient and visit; results of hidden entries do not count."""
    return [
        PatientStudy(
            visit.patient,
            visit.exam_date,
            tuple(sorted(visit.members, key=lambda entry: EYE_ORDER[entry.laterality])),
            patient_grade(_reading(entry, entry.key in hidden) for entry in visit.members),
        )
        for visit in _visits(list(entries))
    ]


def _reading(entry: Entry, hidden: bool) -> Reading:  # noqa: FBT001
    report = entry.report
    if hidden or report is None:
        return Reading(entry.laterality, None, seen=False)
    final = entry.reading.final if entry.reading else None
    decision = final or entry.decision
    if decision is not None:
        return Reading(entry.laterality, decision.grade)
    return Reading(entry.laterality, report.grade, seen=report.status != "failed")


def _grouped(shown: list[Entry]) -> list[Entry]:
    """Patients in the order of their first photographs, each with the latest visit first."""
    patients: dict[object, list[Visit[Entry]]] = {}
    for visit in _visits(shown):
        key = fold(visit.patient) if visit.patient else len(patients)
        patients.setdefault(key, []).append(visit)
    return [
        entry
        for visits in patients.values()
        for visit in sorted(visits, key=lambda one: one.exam_date or "", reverse=True)
        for entry in sorted(visit.members, key=lambda one: EYE_ORDER[one.laterality])
    ]


def _visits(entries: list[Entry]) -> list[Visit[Entry]]:
    """Group by patient and date; what is not graded yet waits with the patient's first visit."""
    dates: dict[str, str | None] = {}
    for entry in entries:
        if entry.report is not None and entry.patient:
            dates.setdefault(fold(entry.patient), entry.exam_date)

    def visit_of(entry: Entry) -> tuple[str | None, str | None]:
        if entry.report is None and entry.patient and entry.exam_date is None:
            return entry.patient, dates.get(fold(entry.patient))
        return entry.patient, entry.exam_date

    return group_visits(entries, visit_of)


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
    if order == "referable":
        return _referable_rank(report)
    if order == "disagreement":
        return _disagreement_rank(report, decision)
    grade = decision.grade if decision is not None else report.grade
    if order == "severity":
        return (8.0,) if grade is None else (-grade, -report.score)
    return (8.0,) if report.grade is None else (-len(report.grade_set or ()), report.margin or 0.0)


def _disagreement_rank(report: GradeReport, decision: Decision | None) -> tuple[float, ...]:
    grades = [bisect_right(report.thresholds, score) for score in report.scores.values()]
    spread = max(report.scores.values()) - min(report.scores.values()) if grades else 0.0
    apart = 0 if decision is None else _difference(decision.grade, report.grade)
    return (-apart, -(max(grades) - min(grades)) if grades else 0.0, -spread)


def _referable_rank(report: GradeReport) -> tuple[float, ...]:
    """The most probably referable first, by the score where there is no calibration."""
    if report.grade is None:
        return (8.0,)
    return (-sum((report.probabilities or ())[REFERABLE:]), -report.score)


def _difference(reader: int | None, model: int | None) -> int:
    """Difference in grades; a grade against none counts as two."""
    if reader is None or model is None:
        return 0 if reader is model else 2
    return abs(reader - model)
