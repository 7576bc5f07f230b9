"""Who needs a second read, what goes to an arbiter, and which grade is final."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import permutations
from typing import Any

import pytest

from drcore.agreement.adjudication import StudyRules, differ, reading_status, reading_statuses
from drcore.errors import ReviewError
from drcore.reviews.decision import Decision

SHA = "ab" * 32
STRICT = StudyRules()


def read(
    grade: int | None, reader: str = "AR", *, machine: int | None = 2, **more: Any
) -> Decision:
    same = grade is not None and grade == machine
    return Decision(
        sha256=more.pop("sha256", SHA), image="a.jpg", model_version="m 1",
        machine_status="ungradable" if machine is None else "graded", machine_grade=machine,
        machine_score=None, action="ungradable" if grade is None else "agree" if same else "change",
        grade=grade, note="", reader=reader, decided_at=datetime(2026, 1, 1, tzinfo=UTC), **more,
    )  # fmt: skip


def arbiter(grade: int | None, reader: str = "ZZ") -> Decision:
    return read(grade, reader, mode="arbitration", role="arbiter")


@pytest.mark.parametrize(
    ("first", "second", "design", "expected"),
    [
        (2, 2, STRICT, False),
        (2, 3, STRICT, True),
        (None, None, STRICT, False),
        (None, 0, STRICT, True),
        (0, None, StudyRules(tolerance=4, referable=False), True),
        (2, 3, StudyRules(tolerance=1), False),
        (2, 4, StudyRules(tolerance=1), True),
        (1, 2, StudyRules(tolerance=1), True),  # only one refers
        (1, 2, StudyRules(tolerance=1, referable=False), False),
        (0, 1, StudyRules(tolerance=1), False),
        (0, 4, StudyRules(tolerance=4, referable=False), False),
        (0, 4, StudyRules(tolerance=4), True),
    ],
)
def test_what_is_too_far_apart(first, second, design, expected):
    assert differ(read(first), read(second, "BS"), design) is expected
    assert differ(read(second), read(first, "BS"), design) is expected


@pytest.mark.parametrize(
    ("grade", "second_read", "needed"),
    [
        (0, "every photograph", True),
        (2, "unlike the machine", False),
        (3, "unlike the machine", True),
        (None, "unlike the machine", True),
        (1, "referable", False),
        (2, "referable", True),
        (None, "referable", True),
        (4, "none", False),
    ],
)
def test_who_needs_a_second_read(grade, second_read, needed):
    found = reading_status(SHA, [read(grade)], StudyRules(second_read=second_read))
    assert found.state == ("second read" if needed else "settled")
    assert found.final == (None if needed else read(grade))


def test_both_ungradable_is_like_a_machine_without_a_grade():
    only = read(None, machine=None)
    assert reading_status(SHA, [only], StudyRules(second_read="unlike the machine")).final == only


def test_nothing_read_is_open():
    found = reading_status(SHA, [], STRICT)
    assert (found.state, found.final, found.readings) == ("unread", None, ())


def test_readers_who_agree_settle_it():
    found = reading_status(SHA, [read(3), read(3, "BS")], STRICT)
    assert found.state == "settled"
    assert found.final is not None
    assert found.final.grade == 3


def test_within_the_tolerance_the_higher_grade_is_final():
    for first, second in ((3, 4), (4, 3)):
        found = reading_status(SHA, [read(first), read(second, "BS")], StudyRules(tolerance=1))
        assert found.final is not None
        assert found.final.grade == 4


def test_a_difference_is_open_until_the_arbiter_has_decided():
    both = [read(1), read(3, "BS")]
    found = reading_status(SHA, both, STRICT)
    assert (found.state, found.final) == ("arbitration", None)
    assert found.readings == tuple(both)
    found = reading_status(SHA, [*both, arbiter(2)], STRICT)
    assert (found.state, found.final) == ("settled", arbiter(2))
    assert reading_status(SHA, [*both, arbiter(2), arbiter(3)], STRICT).final == arbiter(3)
    assert reading_status(SHA, [*both, arbiter(None)], STRICT).final == arbiter(None)
    late = [*both, arbiter(2), read(4)]
    assert reading_status(SHA, late, STRICT).final == arbiter(2)


def test_a_reader_who_changes_a_mind_replaces_the_first_answer():
    changed = read(3, revises=1)
    found = reading_status(SHA, [read(1), read(3, "BS"), changed], STRICT)
    assert (found.state, found.readings) == ("settled", (changed, read(3, "BS")))


def test_one_reader_under_two_spellings_is_no_second_reader():
    found = reading_status(SHA, [read(1, "Dr. Adams"), read(3, " dr.  adams")], STRICT)
    assert (found.state, len(found.readings)) == ("second read", 1)


def test_one_far_reader_of_three_is_enough_in_any_order():
    three = [read(2), read(2, "BS"), read(4, "CT")]
    for order in permutations(three):
        assert reading_status(SHA, order, STRICT).state == "arbitration"


def test_every_photograph_stands_for_itself():
    other = "cd" * 32
    record = [read(1), read(2, sha256=other), read(1, "BS"), read(0, "BS", sha256=other)]
    found = reading_statuses(record, STRICT)
    assert list(found) == [SHA, other]
    assert [one.state for one in found.values()] == ["settled", "arbitration"]
    assert all(one.sha256 == sha256 for sha256, one in found.items())
    assert reading_statuses([], STRICT) == {}


@pytest.mark.parametrize("rules", [{"tolerance": 5}, {"tolerance": -1}, {"second_read": "some"}])
def test_rules_that_are_not_understood(rules):
    with pytest.raises(ReviewError, match="Invalid study rules"):
        StudyRules(**rules)


def test_open_reads_are_no_reads_of_a_study():
    in_the_open = read(4, "BS", mode="open")
    assert reading_status(SHA, [in_the_open], STRICT).state == "settled"  # and no second read
    first = read(1, mode="blinded first read", role="first")
    found = reading_status(SHA, [in_the_open, first], STRICT)
    assert (found.state, found.readings) == ("second read", (first,))
    both = [in_the_open, read(1, "CT", mode="open")]
    assert reading_status(SHA, both, STRICT).state == "arbitration"
