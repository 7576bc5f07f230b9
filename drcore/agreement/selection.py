"""Decisions selected by reader, model, date and mode of reading."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Literal, get_args

from drcore.text import fold

if TYPE_CHECKING:
    from drcore.reviews.decision import Decision, ReadingMode

__all__ = ["ANSWERS", "Answer", "Selection", "reader_names", "select_decisions"]

Answer = Literal["first", "last"]
"""Which of a reader's decisions on one photograph counts: the first is untouched by the machine's
grade where the reading was blinded, the last is what the reader stands by."""
ANSWERS: tuple[Answer, ...] = get_args(Answer)


@dataclass(frozen=True, slots=True)
class Selection:
    """What is wanted of the record; None is everything.

    Attributes:
        readers: names, as `reader_names` has them.
        models: names and versions of weights.
        modes: of reading; None among them is a decision from before modes were recorded.
        since: first day, in the time zone of this computer.
        until: last day.
        answer: which of a reader's decisions on a photograph counts.
        saw_machine: whether reads in a masked mode count that were made after the machine's grade
            had been on screen.
    """

    readers: frozenset[str] | None = None
    models: frozenset[str] | None = None
    modes: frozenset[ReadingMode | None] | None = None
    since: date | None = None
    until: date | None = None
    answer: Answer = "first"
    saw_machine: bool = False


def reader_names(decisions: Iterable[Decision]) -> dict[str, str]:
    """Return readers' names by `fold`: the first spelling of each, "no name" for an empty one."""
    names: dict[str, str] = {}
    for decision in decisions:
        shown = " ".join(decision.reader.split()) or "no name"
        names.setdefault(fold(decision.reader), shown)
    return dict(sorted(names.items(), key=lambda item: item[1].casefold()))


def select_decisions(decisions: Iterable[Decision], selection: Selection) -> list[Decision]:
    """Return one decision for each reader, photograph and model, in the order of the record."""
    given = list(decisions)
    names = reader_names(given)
    kept: dict[tuple[str, str, str], tuple[int, Decision]] = {}
    for place, decision in enumerate(given):
        who = fold(decision.reader)
        if not _wanted(decision, names[who], selection):
            continue
        key = (decision.sha256, who, decision.model_version)
        if selection.answer == "last" or key not in kept:
            kept[key] = (place, decision)
    return [decision for _, decision in sorted(kept.values(), key=lambda item: item[0])]


def _wanted(decision: Decision, name: str, selection: Selection) -> bool:
    day = decision.decided_at.astimezone().date()
    return (
        (selection.saw_machine or not decision.saw_machine)
        and (selection.readers is None or name in selection.readers)
        and (selection.models is None or decision.model_version in selection.models)
        and (selection.modes is None or decision.mode in selection.modes)
        and (selection.since is None or day >= selection.since)
        and (selection.until is None or day <= selection.until)
    )
