"""Marks: what the browser says is checked before it is kept, and only one's own are taken back."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from drcore.errors import ReviewError
from drcore.reviews.store import ReviewStore
from viewer.image_viewer import marks
from viewer.session import reading_mode

NOW = datetime(2026, 11, 1, tzinfo=UTC)
SHA = "ab" * 32
SLIDE: Any = SimpleNamespace(renditions=SimpleNamespace(sha256=SHA, width=300, height=200))
ENTRY: Any = SimpleNamespace(image_id=SHA, report=SimpleNamespace(sha256=SHA))
BOX = {
    "id": SHA, "kind": "box", "lesion": "haemorrhage",
    "x0": 10.5, "y0": 20, "x1": 30.25, "y1": 200,
}  # fmt: skip


@pytest.fixture
def session(monkeypatch, tmp_path):
    """The session of a reader, and the record."""
    state: dict[str, Any] = {"reader": "AR"}
    monkeypatch.setattr(marks.st, "session_state", state)
    monkeypatch.setattr(reading_mode, "reader", lambda: state["reader"])
    monkeypatch.setattr(reading_mode, "hides_machine", lambda _entry: state.get("blind", False))
    with ReviewStore(tmp_path / "r.sqlite3") as store:
        yield SimpleNamespace(state=state, store=store)


def test_a_mark_is_kept_in_pixels_of_the_original(session):
    marks.add(ENTRY, SLIDE, session.store, BOX)
    ((number, mark),) = session.store.marks(SHA)
    assert (mark.kind, mark.lesion, mark.reader) == ("box", "haemorrhage", "AR")
    assert (mark.x0, mark.y0, mark.x1, mark.y1) == (10.5, 20, 30.25, 200)
    (told,) = marks.message(ENTRY, session.store)["marks"]
    assert told["mine"] is True
    marks.remove(ENTRY, session.store, {"id": SHA, "number": number})
    assert marks.message(ENTRY, session.store)["marks"] == []


@pytest.mark.parametrize(
    "change",
    [
        {"x1": 300.5}, {"x0": -1}, {"y0": float("nan")}, {"x0": None}, {"x0": "10"}, {"x0": True},
        {"kind": "line"}, {"kind": None}, {"lesion": "<b>"}, {"lesion": 3}, {"x1": 1},
        {"kind": "point"},
    ],
)  # fmt: skip
def test_what_is_no_mark_is_refused_with_a_sentence(change, session):
    with pytest.raises(ReviewError):
        marks.mark_of(BOX | change, SLIDE, "AR", NOW)
    marks.add(ENTRY, SLIDE, session.store, BOX | change)
    assert session.store.marks(SHA) == []
    assert marks.message(ENTRY, session.store)["problem"].endswith(".")
    assert marks.message(ENTRY, session.store)["problem"] == ""  # said once


def test_nobody_marks_without_a_name(session):
    session.state["reader"] = ""
    marks.add(ENTRY, SLIDE, session.store, BOX)
    assert "Enter your name" in marks.message(ENTRY, session.store)["problem"]


def test_a_mark_on_another_photograph_is_not_taken(session):
    marks.add(ENTRY, SLIDE, session.store, BOX | {"id": "cd" * 32})
    marks.remove(ENTRY, session.store, {"id": SHA, "number": "1 or 1"})
    assert session.store.marks() == []


def test_marks_of_others_are_shown_unless_the_reader_is_blinded(session):
    marks.add(ENTRY, SLIDE, session.store, BOX)
    ((number, _),) = session.store.marks(SHA)
    session.state["reader"] = "BS"
    (told,) = marks.message(ENTRY, session.store)["marks"]
    assert (told["mine"], told["reader"]) == (False, "AR")
    marks.remove(ENTRY, session.store, {"id": SHA, "number": number})
    assert len(session.store.marks(SHA)) == 1
    session.state["blind"] = True
    assert marks.message(ENTRY, session.store)["marks"] == []


def test_without_a_record_nothing_can_be_marked(session):
    told = marks.message(ENTRY, None)
    assert (told["marking"], told["marks"]) == (False, [])
    marks.add(ENTRY, SLIDE, None, BOX)
