"""Answers of the structured reading: how often each was given, and how often readers agree."""

from __future__ import annotations

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from drcore.reviews.findings import Answer, answer_words
from drcore.text import csv_text, fold

if TYPE_CHECKING:
    from drcore.reviews.decision import Decision

__all__ = ["FINDING_COLUMNS", "FieldCounts", "count_findings", "findings_csv"]

FINDING_COLUMNS = ("field", "answer", "decisions", "read_twice", "answered_alike")
"""A row for each answer of each field; the last two are of the field."""


@dataclass(slots=True)
class FieldCounts:
    """The answers to one field.

    Attributes:
        field: its id.
        answers: decisions by answer, the most frequent first; one with several options counts for
            each of them.
        answered: decisions with an answer.
        read_twice: photographs on which two readers or more answered.
        alike: those on which all of them gave the same answer.
    """

    field: str
    answers: Counter[str] = dataclasses.field(default_factory=Counter)
    answered: int = 0
    read_twice: int = 0
    alike: int = 0


def count_findings(decisions: Iterable[Decision]) -> list[FieldCounts]:
    """Count the answers of selected decisions; free texts are not counted.

    Args:
        decisions: one of each reader on each photograph; where there are more, the last counts for
            agreement between readers.

    Returns:
        One entry for each field that was answered, in the order in which they appear.
    """
    fields: dict[str, FieldCounts] = {}
    readings: defaultdict[tuple[str, str], dict[str, Answer]] = defaultdict(dict)
    for decision in decisions:
        for name, answer in decision.findings.answers if decision.findings else ():
            counts = fields.setdefault(name, FieldCounts(name))
            counts.answered += 1
            counts.answers.update(answer if isinstance(answer, tuple) else [answer_words(answer)])
            readings[name, decision.sha256][fold(decision.reader)] = answer
    for (name, _), answers in readings.items():
        if len(answers) > 1:
            fields[name].read_twice += 1
            fields[name].alike += len({_unordered(answer) for answer in answers.values()}) == 1
    return list(fields.values())


def findings_csv(counts: Iterable[FieldCounts]) -> str:
    """Write counts as CSV with `FINDING_COLUMNS`, cells safe in a spreadsheet."""
    rows = (
        {
            "field": one.field, "answer": answer, "decisions": str(number),
            "read_twice": str(one.read_twice), "answered_alike": str(one.alike),
        }
        for one in counts
        for answer, number in one.answers.most_common()
    )  # fmt: skip
    return csv_text(rows, FINDING_COLUMNS)


def _unordered(answer: Answer) -> frozenset[Answer]:
    return frozenset(answer if isinstance(answer, tuple) else (answer,))
