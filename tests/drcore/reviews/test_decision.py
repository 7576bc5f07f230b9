"""Decisions: what is accepted, and how they are written."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from drcore.errors import ReviewError
from drcore.reviews.decision import Decision
from drcore.reviews.store import ReviewStore
from drcore.reviews.tables import REVIEW_COLUMNS, decisions_json
from tests.support.reviews import NOON, decision


@pytest.fixture
def store(tmp_path: Path) -> ReviewStore:
    return ReviewStore(tmp_path / "reviews.sqlite3")


UNGRADABLE = {"machine_status": "ungradable", "machine_grade": None, "machine_score": 1.2}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"action": "change", "grade": 0},
        {"action": "change", "grade": 2},
        {"action": "ungradable", "grade": None},
        {**UNGRADABLE, "action": "change", "grade": 4},
        {**UNGRADABLE, "action": "ungradable", "grade": None},
        {"machine_score": None, "laterality": None, "patient": None, "reader": ""},
        {"machine_grade": 0, "grade": 0},
        {"seconds": 0.0, "overlay_scales": ()},
        {"seconds": 12.25, "overlay_scales": ("128", "fused")},
        {"mode": "second reader", "role": "second", "machine_visible": False},
        {"mode": "arbitration", "role": "arbiter", "machine_visible": True},
    ],
)
def test_what_is_kept_comes_back(store: ReviewStore, changes: dict[str, Any]) -> None:
    given = decision(**changes)
    assert store.add(given) == 1
    assert store.decisions() == [given]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"grade": 3}, "grade 3 does not agree with the model's 2"),
        ({"grade": None}, "no grade of the model to agree with"),
        ({**UNGRADABLE, "grade": 2}, "no grade of the model to agree with"),
        ({"action": "change", "grade": None}, "None is not a grade"),
        ({"action": "change", "grade": 5}, "5 is not a grade"),
        ({"action": "change", "grade": -1}, "-1 is not a grade"),
        ({"action": "change", "grade": True}, "True is not a grade"),
        ({"action": "change", "grade": 1.5}, "1.5 is not a grade"),
        ({"action": "ungradable", "grade": 2}, "an ungradable photograph has no grade"),
        ({"action": "delete"}, "'delete' is not known"),
        ({"machine_status": "fine"}, "'fine' is not known"),
        ({"machine_status": "failed"}, "does not go with its answer"),
        ({"machine_grade": None, "action": "change"}, "does not go with its answer"),
        ({"machine_grade": 7, "grade": 7}, "does not go with its answer"),
        ({"machine_score": float("nan")}, "score is not a number"),
        ({"sha256": ""}, "no SHA-256"),
        ({"sha256": "AB" * 32}, "no SHA-256"),
        ({"sha256": "ab" * 32 + "\n"}, "no SHA-256"),
        ({"laterality": "left"}, "laterality"),
        ({"note": "x" * 10_001}, "the note is not a text of at most 10000"),
        ({"note": "a\0b"}, "the note holds characters"),
        ({"reader": "\udcff"}, "the reader holds characters"),
        ({"reader": None}, "the reader is not a text"),
        ({"decided_at": datetime(2026, 1, 1)}, "needs a time zone"),  # noqa: DTZ001
        ({"decided_at": "2026-01-01"}, "needs a time zone"),
        ({"seconds": -0.1}, "not a time"),
        ({"seconds": float("inf")}, "not a time"),
        ({"overlay_scales": ("fused", "fused")}, "not scales of the map"),
        ({"overlay_scales": ("all of them",)}, "not scales of the map"),
        ({"overlay_scales": "fused"}, "not scales of the map"),
    ],
)
def test_contradictions_are_refused(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ReviewError, match=rf"^10_left\.jpeg: .*{sentence}.*\.$"):
        decision(**changes)


def test_csv(store: ReviewStore) -> None:
    note = 'seen, "twice"\n=HYPERLINK("http://x")'
    store.add(decision(image="=1.jpg", note=note))
    unseen: dict[str, Any] = {"seconds": 3.96, "overlay_scales": ()}
    store.add(decision(action="ungradable", grade=None, patient=None, machine_score=-0.5, **unseen))
    store.add(decision(seconds=60.0, overlay_scales=("512", "fused")))
    text = store.csv_text()
    rows = list(csv.DictReader(io.StringIO(text, newline=""), strict=True))
    assert tuple(rows[0]) == REVIEW_COLUMNS
    assert rows[0]["image"] == "'=1.jpg"
    assert rows[0]["note"] == 'seen, "twice"\n\'=HYPERLINK("http://x")'
    assert rows[0]["decided_at"] == "2026-03-29T12:00:00.123+00:00"
    assert (rows[0]["grade"], rows[0]["machine_grade"], rows[0]["machine_score"]) == (
        "2", "2", "1.8765",
    )  # fmt: skip
    assert (rows[1]["grade"], rows[1]["patient"], rows[1]["machine_score"]) == ("", "", "-0.5000")
    looks = [(row["seconds"], row["overlay_seen"], row["overlay_scales"]) for row in rows]
    assert looks == [("", "", ""), ("4.0", "false", ""), ("60.0", "true", "512 fused")]
    assert set(REVIEW_COLUMNS) == {*Decision.__slots__, "overlay_seen", "number"}


def test_json(store: ReviewStore) -> None:
    assert json.loads(decisions_json(store.numbered_decisions())) == []
    note = '</script>"\n=1+1 é'
    store.add(decision(note=note))
    store.add(decision(seconds=3.96, overlay_scales=(), patient=None))
    store.add(decision(overlay_scales=("128", "fused")))
    first, second, third = json.loads(decisions_json(store.numbered_decisions()))
    assert tuple(first) == REVIEW_COLUMNS
    assert first["note"] == note
    assert datetime.fromisoformat(first["decided_at"]) == NOON
    assert (first["machine_score"], first["grade"]) == (1.87654321, 2)
    assert (first["seconds"], first["overlay_seen"], first["overlay_scales"]) == (None,) * 3
    assert (second["seconds"], second["overlay_seen"], second["overlay_scales"]) == (
        3.96,
        False,
        [],
    )
    assert second["patient"] is None
    assert third["overlay_scales"] == ["128", "fused"]


BLINDED = {"mode": "blinded first read", "role": "first", "machine_visible": False}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"mode": "peeking"}, "the mode peeking is not known; choose open, blinded first read"),
        ({"role": "third"}, "the role third is not known; choose first"),
        ({"machine_visible": "no"}, "visible or not"),
        ({"revises": 0}, "0 is not the number of an earlier decision"),
        ({"revises": True}, "True is not the number"),
    ],
)
def test_circumstances_that_are_not_known_are_refused(
    changes: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ReviewError, match=rf"^10_left\.jpeg: .*{sentence}.*\.$"):
        decision(**changes)


def test_circumstances_are_kept(store: ReviewStore) -> None:
    blind = decision(**BLINDED)
    later = decision(**BLINDED | {"machine_visible": True}, revises=1, action="change", grade=3)
    assert [store.add(blind), store.add(later)] == [1, 2]
    assert store.numbered_decisions() == [(1, blind), (2, later)]
    first, second = csv.DictReader(io.StringIO(store.csv_text(), newline=""), strict=True)
    shown = ("number", "mode", "role", "machine_visible", "revises")
    assert [first[name] for name in shown] == ["1", "blinded first read", "first", "false", ""]
    assert [second[name] for name in shown] == ["2", "blinded first read", "first", "true", "1"]
    assert [row["revises"] for row in json.loads(decisions_json(store.numbered_decisions()))] == [
        None,
        1,
    ]
    assert json.loads(decisions_json(store.numbered_decisions()))[0]["machine_visible"] is False


def test_decisions_cannot_be_edited() -> None:
    with pytest.raises(AttributeError):
        decision().grade = 0  # type: ignore[misc]
    with pytest.raises(ReviewError):
        replace(decision(), grade=0)
