"""The table of the structured reading on the Agreement page."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from drcore.agreement.findings import FieldCounts

HEADS = ("Finding", "Answers", "Readings", "Readers alike")


def rows(counts: Iterable[FieldCounts]) -> list[list[str]]:
    """Return the cells of the table; answers are untrusted text."""
    return [
        [
            one.field.replace("_", " ").capitalize(),
            ", ".join(f"{answer} ({number})" for answer, number in one.answers.most_common()),
            str(one.answered),
            f"{one.alike} of {one.read_twice}" if one.read_twice else "\u2013",
        ]
        for one in counts
    ]
