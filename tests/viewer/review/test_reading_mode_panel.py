"""The panel of the study: choosing a mode, and working through what waits in it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from drcore.errors import ReviewError
from drcore.reviews.decision import Decision
from drcore.reviews.store import ReviewStore
from viewer.session import state
from viewer.worklist.worklist import Worklist

NOTE = "<b>dots</b> & blots"


@dataclass(frozen=True)
class Report:
    """What a list needs of a report."""

    sha256: str
    status: str
    laterality: str | None = None
    patient: str | None = None
    exam_date: str | None = None
    identity_source: str = ""


def read(photograph: int, grade: int, reader: str, **changes: Any) -> Decision:
    values: dict[str, Any] = {
        "sha256": f"{photograph:064x}", "image": "a.jpg", "model_version": "m 1",
        "machine_status": "graded", "machine_grade": 2, "machine_score": 2.0,
        "action": "agree" if grade == 2 else "change", "grade": grade, "note": "",
        "reader": reader, "decided_at": datetime(2026, 11, 1, 12, tzinfo=UTC),
        "mode": "blinded first read", "role": "first",
    }  # fmt: skip
    return Decision(**(values | changes))


def script() -> None:
    import streamlit as st

    from viewer.review import reading_mode_panel

    reading_mode_panel.panel(st.session_state["worklist"])


@pytest.fixture
def opened(monkeypatch, tmp_path):
    """Opener of the panel alone: four photographs, three read by AR, two by BS."""
    monkeypatch.setenv("DRCORE_REVIEWS_URL", str(tmp_path / "reviews.sqlite3"))
    monkeypatch.delenv("DRCORE_STUDY", raising=False)
    store = ReviewStore(tmp_path / "reviews.sqlite3")
    monkeypatch.setattr(state, "store", lambda: store)
    for number, grade in enumerate((0, 3, 1)):
        store.add(read(number, grade, "AR", note=NOTE))
    store.add(read(0, 0, "BS", mode="second reader", role="second"))
    store.add(read(1, 1, "BS", mode="second reader", role="second"))

    def panel(mode: str | None = None, reader: str = "CT") -> AppTest:
        app = AppTest.from_function(script, default_timeout=180)
        worklist = Worklist()
        for number in range(4):
            entry = worklist.add(f"{number}.jpg", bytes([number]))
            entry.report = Report(f"{number:064x}", "graded")
        app.session_state["worklist"] = worklist
        app.session_state["reader"] = reader
        if mode:
            app.session_state["study-mode"] = mode
        app.run()
        assert not app.exception
        return app

    panel.store = store
    return panel


def on_screen(app: AppTest) -> str:
    return app.session_state["worklist"].selected.name


def test_the_mode_is_changed_where_nothing_is_shown(opened, html):
    app = opened("open")
    assert "Unmasked (model visible)</b><small>CT</small>" in html(app)
    app.button(key="study-change").click().run()
    assert "study-mode" not in app.session_state
    assert app.session_state["worklist"].reading.mode is None


def test_the_servers_mode_cannot_be_changed(opened, html, monkeypatch):
    monkeypatch.setenv("DRCORE_STUDY", "second reader")
    app = opened()
    assert "<b>Second reader</b>" in html(app)
    assert "fixed for this study" in html(app)


def test_without_the_record_the_mode_can_still_be_seen(opened, html, monkeypatch):
    def broken():
        raise ReviewError("no record")

    monkeypatch.setattr(state, "store", broken)
    app = opened("arbitration")
    assert "no record" in html(app)
    assert "<b>Arbitration</b>" in html(app)


def test_blinded_reading_goes_from_one_unread_photograph_to_the_next(opened, html):
    app = opened("blinded first read", "AR")
    assert "3 of 4 read" in html(app)
    app.button(key="study-next").click().run()
    assert on_screen(app) == "3.jpg"
    assert app.button(key="study-next").disabled
    opened.store.add(read(3, 2, "AR"))
    assert "4 of 4 read" in html(app.run())
    worklist = app.session_state["worklist"]
    worklist.add("not graded yet.jpg", b"x")
    worklist.add("broken.jpg", b"y").report = Report("", "failed")
    assert "4 of 5 read" in html(app.run())
    app.button(key="study-next").click().run()
    assert on_screen(app) == "not graded yet.jpg"


@pytest.mark.parametrize(
    ("reader", "left"), [("CT", "1 awaiting second read"), ("ar", "No second reads outstanding")]
)
def test_a_second_reader_gets_what_another_has_read(opened, html, reader, left):
    app = opened("second reader", reader)
    assert left in html(app)
    assert "grade" not in html(app).replace("until you have saved your grade", "")
    if reader == "CT":
        app.button(key="study-next").click().run()
        assert on_screen(app) == "2.jpg"
        app.selectbox(key="study-second").set_value("referable").run()
        assert "No second reads outstanding" in html(app)


def test_an_arbiter_sees_how_readers_differ_without_their_names(opened, html):
    app = opened("arbitration")
    assert "Readers agree." in html(app)  # on 0.jpg
    app.button(key="study-next").click().run()
    assert on_screen(app) == "1.jpg"
    text = html(app)
    assert (
        "<td>First reader</td><td><b>grade 3</b><small>&lt;b&gt;dots&lt;/b&gt; &amp; blots" in text
    )
    assert "<td>Second reader</td><td><b>grade 1</b>" in text
    assert "Readers disagree." in text
    assert "BS" not in text
    assert "AR" not in text
    opened.store.add(read(1, 2, "CT", mode="arbitration", role="arbiter"))
    text = html(app.run())
    assert "<td>Arbiter</td><td><b>grade 2</b>" in text
    assert "No disagreements left" in text
    assert app.button(key="study-next").disabled


def test_an_arbiter_is_told_of_the_own_reading(opened, html):
    assert "You were one of the readers." in html(opened("arbitration", "bs"))


def test_the_rules_decide_what_is_a_difference(opened, html):
    opened.store.add(read(2, 0, "BS", mode="second reader", role="second"))
    app = opened("arbitration")
    assert "2 of 4 awaiting arbitration" in html(app)
    app.segmented_control(key="study-tolerance").set_value(1).run()
    assert "1 of 4 awaiting arbitration" in html(app)
    app.segmented_control(key="study-tolerance").set_value(2).run()
    assert "1 of 4 awaiting arbitration" in html(app)  # 3 against 1: only one refers
    app.toggle(key="study-referable").set_value(False).run()
    assert "No disagreements left" in html(app)
