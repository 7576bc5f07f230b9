"""Which photographs of the list an export takes, and what was said of them that may be known."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, get_args

from drcore.text import fold

if TYPE_CHECKING:
    from drcore.export.case import Case
    from drcore.reviews.decision import Decision
    from drcore.reviews.mark import Mark
    from drcore.reviews.store import ReviewStore
    from viewer.worklist.entry import Entry
    from viewer.worklist.worklist import Worklist

__all__ = ["SCOPES", "Chosen", "Scope", "case_of", "chosen", "entries_of"]

Scope = Literal["all", "reviewed", "patient"]

SCOPES: tuple[Scope, ...] = get_args(Scope)


@dataclass(frozen=True, slots=True)
class Chosen:
    """What an export takes.

    Attributes:
        cases: photographs with what was said of them, in order of arrival.
        left_out: a sentence for each reason to leave photographs out.
    """

    cases: tuple[Case, ...]
    left_out: tuple[str, ...]


def entries_of(worklist: Worklist, scope: Scope) -> list[Entry]:
    """Return the entries that a scope means.

    Args:
        worklist: of this session.
        scope: all of them, those with a decision, or those of the patient on screen.

    Returns:
        In order of arrival; what is not graded yet and what must stay hidden among them.
    """
    everything = worklist.everything
    if scope == "reviewed":
        return [e for e in everything if e.decision is not None and e.key not in worklist.hidden]
    if scope == "all":
        return everything
    selected = worklist.selected
    if selected is None:
        return []
    patient = selected.patient
    return [
        entry
        for entry in everything
        if entry is selected or (patient and entry.patient and fold(entry.patient) == fold(patient))
    ]


def chosen(
    worklist: Worklist, scope: Scope, store: ReviewStore, *, only_reader: str | None = None
) -> Chosen:
    """Return what an export of a scope takes.

    Args:
        worklist: of this session.
        scope: which photographs.
        store: the record.
        only_reader: take this reader's decisions and marks alone; everybody's where left out.

    Returns:
        The photographs, and why some were left out.

    Raises:
        ReviewError: the record cannot be read.
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
    cases = tuple(_case(entry, decisions, marks) for entry in graded)
    left_out = []
    hidden, pending = len(entries) - len(seen), len(seen) - len(graded)
    if hidden:
        left_out.append(
            f"{_count(hidden)} left out: you have not saved your own grade on "
            f"{'it' if hidden == 1 else 'them'} yet."
        )
    if pending:
        left_out.append(f"{_count(pending)} left out: not graded yet. Wait a moment.")
    return Chosen(cases, tuple(left_out))


def case_of(entry: Entry, store: ReviewStore, *, only_reader: str | None = None) -> Case:
    """Return one photograph with what was said of it.

    Args:
        entry: graded.
        store: the record.
        only_reader: take this reader's decisions and marks alone; everybody's where left out.

    Returns:
        Under the file's own name, whatever the page shows: what may be told, the export decides.

    Raises:
        ReviewError: the record cannot be read.
    """
    sha256 = entry.report.sha256 if entry.report else ""
    made = [
        (number, decision)
        for number, decision in store.numbered_decisions()
        if decision.sha256 == sha256 and only_reader in {None, decision.reader}
    ]
    marks = [(n, m) for n, m in store.marks(sha256) if only_reader in {None, m.reader}]
    return _case(entry, {sha256: made}, {sha256: marks})


def _case(
    entry: Entry,
    decisions: dict[str, list[tuple[int, Decision]]],
    marks: dict[str, list[tuple[int, Mark]]],
) -> Case:
    from drcore.export.case import Case  # with the report's types; the first page can spare them

    report = entry.report
    if report is None:
        raise ValueError("an entry without a report has nothing to export")
    report = replace(
        report, name=entry.file_name, laterality=entry.laterality, patient=entry.patient
    )
    sha256 = report.sha256
    return Case(
        report, entry.source, tuple(decisions.get(sha256, ())), tuple(marks.get(sha256, ()))
    )


def _count(number: int) -> str:
    return f"{number} photograph{' was' if number == 1 else 's were'}"
