"""Photographs of one examination are judged together, and no others."""

from __future__ import annotations

from drcore.agreement.visits import group_visits


def visits(*photographs: tuple[str | None, str | None]):
    return group_visits(photographs, lambda photograph: photograph)


def test_two_visits_of_a_patient_are_two_groups():
    old, new = ("7", "2024-01-02"), (" 7 ", "2025-03-04")
    first, second = visits(old, new, old)
    assert (first.members, first.exam_date, first.patient) == ((old, old), "2024-01-02", "7")
    assert (second.members, second.other_dates) == ((new,), ("2024-01-02",))
    assert (first.caution(), second.caution()) == ("", "")


def test_photographs_without_a_date_are_of_no_known_visit():
    dated, undated = visits(("7", "2024-01-02"), ("7", None), ("7", None))
    assert dated.caution() == ""
    assert undated.exam_date is None
    assert undated.caution() == (
        "Examination date not recorded: any visit is possible, also that of 2024-01-02."
    )
    assert "2024" not in undated.caution(dates=False)
    (alone,) = visits(("7", None), ("7", None))
    assert alone.caution() == (
        "Examination date not recorded: the photographs may be of several visits."
    )
    (single,) = visits(("7", None))
    assert single.caution() == ""  # one photograph is of one visit


def test_photographs_without_a_patient_stand_alone():
    groups = visits((None, "2024-01-02"), (None, "2024-01-02"), ("7", "2024-01-02"), ("", None))
    assert [len(group.members) for group in groups] == [1, 1, 1, 1]
    assert not [group.caution() for group in groups if group.caution()]
