"""Marks on photographs: what is accepted, kept, taken back and exported."""

from __future__ import annotations

import csv
import io
import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from drcore.errors import ReviewError
from drcore.reviews.mark import LESIONS, Mark
from drcore.reviews.store import ReviewStore
from drcore.reviews.tables import MARK_COLUMNS, marks_csv, marks_json

NOON = datetime(2026, 3, 29, 12, 0, 0, 123456, tzinfo=UTC)
POINT = {"kind": "point", "x1": 100.5, "y1": 200.25}


def mark(**changes: Any) -> Mark:
    values: dict[str, Any] = {
        "sha256": "ab" * 32, "kind": "box", "lesion": "haemorrhage", "x0": 100.5, "y0": 200.25,
        "x1": 140.0, "y1": 260.125, "reader": "Dr. Adams", "created_at": NOON,
    }  # fmt: skip
    return Mark(**(values | changes))


@pytest.fixture
def store(tmp_path: Path) -> ReviewStore:
    return ReviewStore(tmp_path / "reviews.sqlite3")


@pytest.mark.parametrize(
    "changes",
    [
        {}, POINT, {"login": "openid"}, {"note": "near the \u201cfovea\u201d?"}, {"x0": 0, "y0": 0},
        *({"lesion": lesion} for lesion in LESIONS),
    ],
)  # fmt: skip
def test_what_is_kept_comes_back(store: ReviewStore, changes: dict[str, Any]) -> None:
    given = mark(**changes)
    assert store.add_mark(given) == 1
    assert store.marks() == [(1, given)]
    assert store.marks("ab" * 32) == [(1, given)]
    assert store.marks("cd" * 32) == []


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"sha256": "AB" * 32}, "no SHA-256"),
        ({"kind": "circle"}, "a circle is not known; choose point or box"),
        ({"lesion": "<b>drusen</b>"}, "the lesion .* is not known; choose microaneurysm"),
        ({"x0": -1.0}, "does not lie on the photograph"),
        ({"x1": float("nan")}, "does not lie on the photograph"),
        ({"y1": float("inf")}, "does not lie on the photograph"),
        ({"y1": 1e9}, "does not lie on the photograph"),
        ({"x0": "1"}, "does not lie on the photograph"),
        ({"kind": "point"}, "a point has one place"),
        ({"x1": 100.5}, "the box is empty"),
        ({"y1": 1.0}, "the box is empty"),
        ({"note": "x" * 10_001}, "the note is not a text of at most"),
        ({"reader": "a\0"}, "the reader holds characters"),
        ({"login": "root"}, "the login root is not known; choose unverified"),
        ({"created_at": NOON.replace(tzinfo=None)}, "needs a time zone"),
    ],
)
def test_contradictions_are_refused(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ReviewError, match=rf"^The mark: .*{sentence}.*\.$"):
        mark(**changes)


def test_a_mark_is_taken_back_by_a_new_row(store: ReviewStore, tmp_path: Path) -> None:
    numbers = [store.add_mark(mark()), store.add_mark(mark(**POINT)), store.add_mark(mark())]
    before = datetime.now(UTC)
    store.remove_mark(2, "Dr. Adams", "header")
    store.remove_mark(2, "Dr. Adams")  # a second click
    assert numbers == [1, 2, 3]
    assert [number for number, _ in store.marks()] == [1, 3]
    with closing(sqlite3.connect(tmp_path / "reviews.sqlite3")) as database:
        assert database.execute("SELECT count(*) FROM marks").fetchone() == (3,)
        ((which, who, when, login),) = database.execute(
            "SELECT mark, reader, withdrawn_at, login FROM mark_withdrawals"
        ).fetchall()
    assert (which, who, login) == (2, "Dr. Adams", "header")
    assert abs(datetime.fromisoformat(when).replace(tzinfo=UTC) - before) < timedelta(minutes=5)
    assert store.add_mark(mark()) == 4


def test_nobody_takes_back_what_is_not_there_or_another_readers(store: ReviewStore) -> None:
    store.add_mark(mark())
    with pytest.raises(ReviewError, match="There is no mark 7"):
        store.remove_mark(7, "Dr. Adams")
    with pytest.raises(ReviewError, match=r"Only Dr\. Adams can remove mark 1: .* own reader"):
        store.remove_mark(1, "BS")
    assert len(store.marks()) == 1


@pytest.mark.parametrize("table", ["marks", "mark_withdrawals", "identities"])
def test_rows_are_never_changed_or_deleted(store: ReviewStore, tmp_path: Path, table: str) -> None:
    store.add_mark(mark())
    store.add_mark(mark())
    store.remove_mark(1, "Dr. Adams")
    store.correct_identity("ab" * 32, "OD", "7", "AR")
    for statement in (
        "UPDATE table SET reader = 'x'",
        "DELETE FROM table",
        "INSERT OR REPLACE INTO table SELECT * FROM table",
    ):
        with (
            closing(sqlite3.connect(tmp_path / "reviews.sqlite3")) as database,
            pytest.raises(sqlite3.IntegrityError, match=f"{table} are only ever added"),
        ):
            database.execute(statement.replace("table", table))


def test_csv_and_json_hold_the_marks_that_stand(store: ReviewStore) -> None:
    assert json.loads(marks_json(store.marks())) == []
    for given in (mark(note='=1+1,"x"'), mark(), mark(**POINT)):
        store.add_mark(given)
    store.remove_mark(2, "Dr. Adams")
    rows = list(csv.DictReader(io.StringIO(marks_csv(store.marks()), newline=""), strict=True))
    assert tuple(rows[0]) == MARK_COLUMNS
    assert [row["number"] for row in rows] == ["1", "3"]
    assert rows[0]["note"] == '\'=1+1,"x"'
    assert rows[0]["created_at"] == "2026-03-29T12:00:00.123+00:00"
    assert [rows[0][name] for name in ("x0", "y0", "x1", "y1")] == [
        "100.50", "200.25", "140.00", "260.12",
    ]  # fmt: skip
    first, second = json.loads(marks_json(store.marks()))
    assert tuple(first) == MARK_COLUMNS
    assert (first["number"], first["note"], first["y1"]) == (1, '=1+1,"x"', 260.125)
    assert (second["kind"], second["x0"], second["x1"]) == ("point", 100.5, 100.5)
