"""A worklist that 0.6.1 kept opens again."""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest

from viewer.worklist.background_grading import grade
from viewer.worklist.ordering import ViewOptions
from viewer.worklist.storage import Limits, WorklistStore
from viewer.worklist.worklist import Worklist

STORED = Path(__file__).parents[2] / "stored" / "0.6.1"


@pytest.fixture
def worklist(tmp_path: Path) -> Worklist:
    root = tmp_path / "worklists"
    shutil.copytree(STORED / "worklists", root)
    with closing(sqlite3.connect(root / "index.sqlite3")) as index, index:
        index.execute("UPDATE list SET used = ?", (time.time(),))  # else it would be swept away
    for report in root.rglob("*.report"):
        _, then = (
            report.read_bytes().partition(b"\n")[0].split()
        )  # a checkout gives files new times
        photograph = root / report.parent.name / PHOTOGRAPHS[report.stem]
        os.utime(photograph, ns=(int(then), int(then)))
    token = (STORED / "token.txt").read_text().strip()
    return Worklist.reopened(WorklistStore(root, Limits(reserve=0)), token)


PHOTOGRAPHS = {
    "p1": "d07d1da5d62679182a34722eb0f26a54a476ed97c7a4007d20655557ea6760b5",
    "p2": "ff2c3c72a5aa26e52a0e9876fb13f96efc377bbcb729bcb888a7dbc992bda54f",
}


def test_the_list_comes_back_as_it_was_left(worklist: Worklist) -> None:
    right, left, text = worklist.everything
    assert [entry.file_name for entry in worklist.everything] == [
        "7_right.jpg", "7_left.jpg", "notes.txt",
    ]  # fmt: skip
    assert [entry.laterality for entry in (right, left, text)] == ["OD", "OS", None]
    assert [entry.patient for entry in (right, left, text)] == ["7", "8", None]
    assert worklist.selected is left
    assert worklist.deidentified
    assert worklist.arrangement == ViewOptions(order="severity", by_patient=True)


def test_what_was_graded_then_is_not_graded_again(worklist: Worklist) -> None:
    grader = SimpleNamespace(version="ram-lite 0.6.1")  # cannot grade
    for entry in worklist.everything[:2]:
        grade(worklist, entry, grader)  # type: ignore[arg-type]
    reports = [entry.report for entry in worklist.everything[:2]]
    assert [report and report.grade for report in reports] == [2, 2]
    assert [report and report.score for report in reports] == pytest.approx(
        [2.22156, 2.08132], abs=1e-4
    )
    assert [report and report.sha256 for report in reports] == list(PHOTOGRAPHS.values())
    assert reports[0] is not None
    assert reports[0].ram().shape == (320, 320)
