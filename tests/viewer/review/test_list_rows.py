"""What the browser draws of the list."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from drcore.grading.grader import Grader
from viewer.review.list_rows import HIDDEN, list_rows
from viewer.ui.palette import FAILED, GRADES, PENDING
from viewer.worklist.background_grading import do_next
from viewer.worklist.ordering import ViewOptions
from viewer.worklist.worklist import Worklist


@pytest.fixture
def worklist(phantom, encoded, grader_of):
    """Both eyes of a patient, an eye of another, one of nobody, and a bad file; all grade 4."""
    made = Worklist()
    files = ["7_OS.jpg", "8_OD.jpg", "7_OD.jpg", "x.jpg"]
    for seed, name in enumerate(files):
        made.add(name, encoded(phantom(seed=seed).rgb, "JPEG"))
    made.add("bad.jpg", b"text")
    grader: Grader = grader_of(4)
    while do_next(made, grader):
        pass
    return made


def test_rows_in_the_order_shown(worklist):
    rows = list_rows(worklist)
    assert [row["name"] for row in rows] == [e.name for e in worklist.entries]
    assert [row["chip"] for row in rows] == [GRADES[4]] * 4 + [FAILED]
    assert [row["note"] for row in rows] == ["OS", "OD", "OD", "", "Unreadable"]
    assert all(row["heading"] is None for row in rows)
    assert list_rows(Worklist()) == []


def test_a_row_waits(phantom, encoded):
    worklist = Worklist()
    worklist.add("a.jpg", encoded(phantom(seed=1).rgb, "JPEG"))
    (row,) = list_rows(worklist)
    assert (row["note"], row["chip"], row["decided"]) == ("queued", PENDING, False)


def test_patients_have_headings_with_the_worse_eye(worklist):
    worklist.everything[0].decision = SimpleNamespace(grade=1, action="change")
    worklist.arrangement = ViewOptions(by_patient=True)
    rows = list_rows(worklist)
    assert [row["name"] for row in rows] == [
        "7_OD.jpg", "7_OS.jpg", "8_OD.jpg", "x.jpg", "bad.jpg"
    ]  # fmt: skip
    headings = [row["heading"] and row["heading"]["title"] for row in rows]
    assert headings == ["Patient 7", None, "Patient 8", "Patient not identified", None]
    assert rows[0]["heading"]["note"] == "OD 4 \u00b7 OS 1"
    assert rows[0]["heading"]["chip"] == GRADES[4]
    assert rows[2]["heading"]["note"] == "OD 4 \u00b7 no photograph of the left eye"
    assert rows[3]["heading"]["note"] == ""


def test_a_blinded_reader_sees_no_grade_in_chip_note_or_heading(worklist):
    worklist.everything[2].decision = SimpleNamespace(grade=1, action="change")
    worklist.arrangement = ViewOptions(by_patient=True)
    worklist.hidden = frozenset(entry.key for entry in worklist.everything)
    rows = list_rows(worklist)
    assert [row["chip"] for row in rows] == [HIDDEN] * 4 + [FAILED]
    assert not any(row["decided"] for row in rows)
    assert rows[0]["note"] == "OD"
    assert rows[0]["heading"]["chip"] == PENDING
    assert rows[0]["heading"]["note"] == "OD \u2026 \u00b7 OS \u2026"


def test_hidden_patients_are_numbered(worklist):
    worklist.arrangement = ViewOptions(by_patient=True)
    worklist.deidentified = True
    rows = list_rows(worklist)
    assert [row["heading"]["title"] for row in rows if row["heading"]][:2] == [
        "Patient 1", "Patient 2",
    ]  # fmt: skip
    assert rows[0]["name"] == worklist.entries[0].sha256[:8]
