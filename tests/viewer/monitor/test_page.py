"""The Monitor page: empty, masked, with a record."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from drcore.reviews.decision import Decision
from viewer.monitor import panel


@pytest.fixture
def record(monkeypatch):
    """A record in which readers begin to override the model."""
    made = []
    for number in range(620):
        late = number >= 540
        made.append(
            Decision(
                sha256=f"{number:064x}", image="SECRET.jpg", model_version="m 1",
                machine_status="graded", machine_grade=1, machine_score=1.0,
                action="change" if late or number % 10 == 0 else "agree",
                grade=2 if late or number % 10 == 0 else 1, note="", reader="<b>AB</b>",
                decided_at=datetime(2026, 1, 5, tzinfo=UTC) + timedelta(hours=number),
                patient=f"SECRET {number}", seconds=20.0 + number % 7,
            )
        )  # fmt: skip
    # A database would take a minute to write so many, one by one.
    monkeypatch.setattr(panel.state, "store", lambda: SimpleNamespace(decisions=lambda: made))


def test_without_anything_to_watch_the_page_says_what_will_be_there(open_app, html):
    app = open_app(page="monitor/page.py")
    assert "Nothing to watch yet" in html(app)
    assert not app.get("plotly_chart")


def test_a_crossed_limit_is_a_sentence_and_a_mark(open_app, html, record):
    app = open_app(page="monitor/page.py")
    assert not app.exception
    text = html(app)
    assert "Overrides, camera not known: higher than the reference" in text
    assert "0.2 false alarms are expected" in text
    assert "SECRET" not in text
    assert app.get("plotly_chart")
    app.toggle(key="monitor-own").set_value(True).run()
    assert "the first 500 images of each camera" in html(app)


def test_a_study_that_is_masked_shows_nothing(open_app, html, record, monkeypatch):
    monkeypatch.setenv("DRCORE_STUDY", "masked")
    app = open_app(page="monitor/page.py")
    assert "Study still masked" in html(app)
    assert not app.get("plotly_chart")
