"""The photographs of a list that an export holds, with the decisions and marks it may show."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from drcore.text import fold

if TYPE_CHECKING:
    from drcore.agreement.adjudication import StudyRules
    from drcore.export.case import Case
    from drcore.reviews.decision import Decision
    from drcore.reviews.mark import Mark
    from drcore.reviews.store import ReviewStore
    from viewer.worklist.entry import Entry
    from viewer.worklist.worklist import Worklist

Scope = Literal["all", "reviewed", "patient", "image"]


@dataclass(frozen=True, slots=True)
class CaseSelection:
    """What an export holds.

    Attributes:
        cases: photographs with decisions and marks, in the order added.
        left_out: a sentence for each reason to omit photographs.
    """

    cases: tuple[Case, ...]
    left_out: tuple[str, ...]


def entries_of(worklist: Worklist, scope: Scope) -> list[Entry]:
    """Return the entries of a scope, ungraded and hidden ones included."""
    everything = worklist.everything
    if scope == "reviewed":
        return [e for e in everything if e.decision is not None and e.key not in worklist.hidden]
    if scope == "all":
        return everything
    selected = worklist.selected
    if selected is None:
        return []
    patient = selected.patient if scope == "patient" else None
    return [
        entry
        for entry in everything
        if entry is selected or (patient and entry.patient and fold(entry.patient) == fold(patient))
    ]


def select_cases(
    worklist: Worklist,
    scope: Scope,
    store: ReviewStore,
    *,
    rules: StudyRules,
    only_reader: str | None = None,
    named: str | None = None,
) -> CaseSelection:
    """Return what an export of a scope holds.

    Only the decisions and marks of `only_reader`; or all, but only `named` under the own name.
    """
    entries = entries_of(worklist, scope)
    seen = [entry for entry in entries if entry.key not in worklist.hidden]
    graded = [entry for entry in seen if entry.report is not None]
    wanted = {entry.report.sha256 for entry in graded if entry.report} - {""}
    decisions: dict[str, list[tuple[int, Decision]]] = {}
    marks: dict[str, list[tuple[int, Mark]]] = {}
    for number, decision in store.numbered_decisions():
        if decision.sha256 in wanted and only_reader in {None, decision.reader}:
            decisions.setdefault(decision.sha256, []).append((number, decision))
    for number, mark in store.marks():
        if mark.sha256 in wanted and only_reader in {None, mark.reader}:
            marks.setdefault(mark.sha256, []).append((number, mark))
    cases = tuple(_named(_case(entry, decisions, marks, rules), named) for entry in graded)
    left_out = []
    hidden, pending = len(entries) - len(seen), len(seen) - len(graded)
    if hidden:
        left_out.append(
            f"{hidden} omitted: you have not graded {'it' if hidden == 1 else 'them'} yet."
        )
    if pending:
        left_out.append(f"{pending} omitted: still being graded.")
    return CaseSelection(cases, tuple(left_out))


def case_of(
    entry: Entry,
    store: ReviewStore,
    *,
    rules: StudyRules,
    only_reader: str | None = None,
    named: str | None = None,
) -> Case:
    """Return one photograph with its decisions and marks, under its own file name."""
    sha256 = entry.report.sha256 if entry.report else ""
    made = [
        (number, decision)
        for number, decision in store.numbered_decisions()
        if decision.sha256 == sha256 and only_reader in {None, decision.reader}
    ]
    marks = [(n, m) for n, m in store.marks(sha256) if only_reader in {None, m.reader}]
    return _named(_case(entry, {sha256: made}, {sha256: marks}, rules), named)


def _named(case: Case, reader: str | None) -> Case:
    """A case in which only one reader has a name, the others numbers; all have if None."""
    if reader is None:
        return case
    everyone = [made.reader for _, made in (*case.decisions, *case.marks)]
    others = dict.fromkeys(fold(name) for name in everyone if fold(name) != fold(reader))
    names = {who: f"Reader {number}" for number, who in enumerate(others, 1)}
    return replace(
        case,
        decisions=tuple(
            (number, replace(made, reader=names.get(fold(made.reader), made.reader)))
            for number, made in case.decisions
        ),
        marks=tuple(
            (number, replace(made, reader=names.get(fold(made.reader), made.reader)))
            for number, made in case.marks
        ),
    )


def _case(
    entry: Entry,
    decisions: dict[str, list[tuple[int, Decision]]],
    marks: dict[str, list[tuple[int, Mark]]],
    rules: StudyRules,
) -> Case:
    from drcore.export.case import Case

    report = entry.report
    if report is None:
        raise ValueError("an entry without a report has nothing to export")
    report = replace(
        report, name=entry.file_name, laterality=entry.laterality, patient=entry.patient
    )
    sha256 = report.sha256
    made, marked = tuple(decisions.get(sha256, ())), tuple(marks.get(sha256, ()))
    return Case(report, entry.source, made, marked, rules)
