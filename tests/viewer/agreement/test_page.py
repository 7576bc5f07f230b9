"""The Agreement page: empty, filled, filtered, blinded."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, date, datetime
from typing import Any

import pytest

from drcore.agreement.selection import Selection
from drcore.reviews.decision import Decision
from drcore.reviews.store import ReviewStore
from viewer.agreement import report
from viewer.session import reading_mode

NAME = "<img src=x onerror=alert(1)>"


def read(photograph: int, grade: int | None, reader: str, **changes: Any) -> Decision:
    same = grade == 2
    values: dict[str, Any] = {
        "sha256": f"{photograph:064x}", "image": "SECRET_left.jpg", "model_version": "m 1",
        "machine_status": "graded", "machine_grade": 2, "machine_score": 2.0,
        "action": "ungradable" if grade is None else "agree" if same else "change",
        "grade": grade, "note": "SECRET", "reader": reader, "patient": f"SECRET {photograph}",
        "decided_at": datetime(2026, 11, 1, 12, tzinfo=UTC), "mode": "open", "role": "first",
        "seconds": 12.0, "overlay_scales": ("fused",) if photograph % 2 else (),
    }  # fmt: skip
    return Decision(**(values | changes))


@pytest.fixture
def record(tmp_path):
    """The record that `open_app` uses, with two readers and an arbiter."""
    store = ReviewStore(tmp_path / "reviews.sqlite3")
    for number in range(12):
        store.add(read(number, number % 5, NAME))
        store.add(read(number, (number + number % 2) % 5, "BS", mode="second reader",
                       role="second", seconds=30.0))  # fmt: skip
    store.add(read(1, 2, "ZZ", mode="arbitration", role="arbiter"))
    return store


def test_without_decisions_the_page_says_what_will_be_there(open_app, html):
    app = open_app(page="agreement/page.py")
    assert "No grades yet" in html(app)
    assert not app.get("plotly_chart")
    assert not app.multiselect


def test_the_page_shows_every_section_and_no_patient(open_app, html, record):
    app = open_app(page="agreement/page.py")
    text = html(app)
    assert [one.value for one in app.subheader] == [
        "Model vs reader", "Model vs final grade", "Reader vs reader",
        "Reading time per image", "Heat map viewed vs not viewed",
    ]  # fmt: skip
    assert "<b>25</b>grades" in text
    assert "<b>12</b>images" in text
    assert "<b>3</b>readers" in text
    assert "12 s" in text
    assert "30 s" in text
    assert "Not a randomised comparison" in text
    assert "&lt;img src=x" in text
    assert "<img" not in text
    charts = app.get("plotly_chart")
    assert len(charts) == 5  # three readers, the final grade, one pair of readers
    for chart in charts:
        spec = json.loads(chart.proto.spec)
        assert "<" not in json.dumps(spec["layout"])
    assert "SECRET" not in text + "".join(chart.proto.spec for chart in charts)


def test_filters_and_the_answer_that_counts(open_app, html, record):
    record.add(read(0, 4, "BS", mode="second reader", role="second"))
    app = open_app(page="agreement/page.py")
    app.multiselect(key="agreement-readers").set_value(["BS"]).run()
    assert "<b>12</b>grades" in html(app)
    assert "No image was read by two readers" in html(app)
    chart, _ = app.get("plotly_chart")  # the reader, and the final grade
    first = json.loads(chart.proto.spec)["data"][0]["text"]
    app.segmented_control(key="agreement-answer").set_value("last").run()
    assert json.loads(app.get("plotly_chart")[0].proto.spec)["data"][0]["text"] != first
    app.multiselect(key="agreement-modes").set_value(["arbitration"]).run()
    assert "No grades match" in html(app)
    app.multiselect(key="agreement-readers").set_value([]).run()
    assert "<b>1</b>grade<" in html(app)
    app.date_input(key="agreement-since").set_value(date(2026, 11, 20)).run()
    assert "No grades match" in html(app)
    assert not app.exception


def test_new_decisions_are_counted_at_once(open_app, html, record):
    app = open_app(page="agreement/page.py")
    record.add(read(99, 2, "CT"))
    assert "<b>26</b>grades" in html(app.run())


def test_a_server_for_blinded_reading_shows_nothing(open_app, html, record, monkeypatch):
    monkeypatch.setenv("DRCORE_STUDY", "blinded first read, second reader")
    app = open_app(page="agreement/page.py")
    assert "Study still masked" in html(app)
    assert not app.get("plotly_chart")
    assert "grades</span>" not in html(app)


def test_a_record_that_cannot_be_read_is_told(open_app, html, monkeypatch):
    monkeypatch.setenv("DRCORE_REVIEWS_URL", "nosuchdatabase://host/name")
    app = open_app(page="agreement/page.py")
    monkeypatch.setenv("DRCORE_REVIEWS_URL", "nosuchdatabase://host/name")
    assert "Unsupported database: nosuchdatabase" in html(app.run())
    assert not app.exception


def test_the_csv_holds_every_comparison(record, monkeypatch):
    from drcore.agreement.comparison import agreement_csv

    monkeypatch.setattr(reading_mode.st, "session_state", {})
    found = report.measure(record, record.decisions(), Selection())
    rows = list(csv.DictReader(io.StringIO(agreement_csv(found.agreements)), strict=True))
    assert [(row["reference"], row["compared"]) for row in rows] == [
        (NAME, "m 1"), ("BS", "m 1"), ("ZZ", "m 1"), ("Final grade", "m 1"), (NAME, "BS"),
    ]  # fmt: skip
    assert "SECRET" not in agreement_csv(found.agreements)
