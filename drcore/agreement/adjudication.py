"""Second reads and arbitration: which photographs need another reader, and the final grade."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Literal, get_args

from drcore.errors import ReviewError
from drcore.icdr import REFERABLE
from drcore.text import fold

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from drcore.reviews.decision import Decision

__all__ = [
    "SECOND_READS",
    "Basis",
    "ReadingStatus",
    "SecondRead",
    "State",
    "StudyRules",
    "differ",
    "reading_status",
    "reading_statuses",
]

SecondRead = Literal["every photograph", "unlike the machine", "referable", "none"]
"""Which photographs a second reader sees: all; those where the first reader's grade is not the
machine's; those that the first reader calls referable or ungradable; or none."""
SECOND_READS: tuple[SecondRead, ...] = get_args(SecondRead)

Basis = Literal["arbiter", "agreement", "reader"]
"""Who settled the grade: an arbiter, readers who agree, or the only reader."""

State = Literal["unread", "second read", "arbitration", "settled"]
"""What a photograph waits for."""


@dataclass(frozen=True, slots=True)
class StudyRules:
    """Rules of a study with several readers.

    Attributes:
        second_read: which photographs need a second reader.
        tolerance: grades by which readers may differ without an arbiter, 0-4.
        referable: whether readers on both sides of referable (grade 2) always need one.

    Raises:
        ReviewError: a rule is not understood.
    """

    second_read: SecondRead = "every photograph"
    tolerance: int = 0
    referable: bool = True

    def __post_init__(self) -> None:
        if self.second_read not in SECOND_READS or self.tolerance not in range(5):
            raise ReviewError(
                "Invalid study rules. Choose which photographs need a "
                f"second read ({', '.join(SECOND_READS)}), and 0 to 4 grades of tolerance."
            )


@dataclass(frozen=True, slots=True)
class ReadingStatus:
    """How far the reading of one photograph has come.

    Attributes:
        sha256: of the file.
        readings: the last decision of each reader but arbiters, in the order of their first ones;
            open reads only where the photograph was not read in a study.
        arbiter: the last decision of an arbiter; None where there is none.
        state: what it waits for.
        final: the decision whose grade is final: the arbiter's, else the one that readers agree on,
            the higher grade where they differ within the tolerance; None while it is open.
    """

    sha256: str
    readings: tuple[Decision, ...]
    arbiter: Decision | None
    state: State
    final: Decision | None

    @property
    def basis(self) -> Basis | None:
        """Whose the final grade is; None while there is none."""
        if self.final is None:
            return None
        if self.arbiter is not None:
            return "arbiter"
        return "reader" if len(self.readings) == 1 else "agreement"

    @property
    def final_by(self) -> tuple[Decision, ...]:
        """The decisions that the final grade stands on, oldest first; empty while there is none."""
        if self.final is None:
            return ()
        return (self.arbiter,) if self.arbiter is not None else self.readings


def differ(first: Decision, second: Decision, rules: StudyRules) -> bool:
    """Say whether two decisions on a photograph disagree.

    Args:
        first: of one reader.
        second: of another.
        rules: of the study.

    Returns:
        True where only one calls it ungradable, where the grades differ by more than the tolerance,
        and, if the rules say so, where only one is referable.
    """
    if first.grade is None or second.grade is None:
        return first.grade is not second.grade
    if rules.referable and (first.grade >= REFERABLE) != (second.grade >= REFERABLE):
        return True
    return abs(first.grade - second.grade) > rules.tolerance


def reading_status(sha256: str, decisions: Iterable[Decision], rules: StudyRules) -> ReadingStatus:
    """Return the reading status of one photograph.

    Args:
        sha256: of the file.
        decisions: on it, in the order of the record; a reader's later one replaces the earlier.
        rules: of the study.

    Returns:
        State, and the final decision where there is one. Open reads are no reads of a study: they
        count only where there are no others, and ask for no second read.
    """
    arbiter: Decision | None = None
    in_study: dict[str, Decision] = {}
    in_the_open: dict[str, Decision] = {}
    for decision in decisions:
        if decision.role == "arbiter":
            arbiter = decision
        else:
            by_reader = in_the_open if decision.mode == "open" else in_study
            by_reader[fold(decision.reader)] = decision
    readings = tuple((in_study or in_the_open).values())
    state = _state(readings, arbiter, rules)
    final = None
    if state == "settled":
        final = arbiter or max(readings, key=lambda one: -1 if one.grade is None else one.grade)
    return ReadingStatus(sha256, readings, arbiter, state, final)


def reading_statuses(decisions: Iterable[Decision], rules: StudyRules) -> dict[str, ReadingStatus]:
    """Return the reading status of every photograph in the record.

    Args:
        decisions: in the order of the record.
        rules: of the study.

    Returns:
        By SHA-256 of the file, in the order in which photographs were first read.
    """
    by_photograph: dict[str, list[Decision]] = {}
    for decision in decisions:
        by_photograph.setdefault(decision.sha256, []).append(decision)
    return {sha256: reading_status(sha256, made, rules) for sha256, made in by_photograph.items()}


def _state(readings: Sequence[Decision], arbiter: Decision | None, rules: StudyRules) -> State:
    if arbiter is not None:
        return "settled"
    if not readings:
        return "unread"
    if any(differ(one, other, rules) for one, other in combinations(readings, 2)):
        return "arbitration"
    alone = readings[0]
    if len(readings) == 1 and alone.mode != "open" and _needs_second(alone, rules.second_read):
        return "second read"
    return "settled"


def _needs_second(first: Decision, second_read: SecondRead) -> bool:
    if second_read == "unlike the machine":
        return first.grade != first.machine_grade
    if second_read == "referable":
        return first.grade is None or first.grade >= REFERABLE
    return second_read == "every photograph"
