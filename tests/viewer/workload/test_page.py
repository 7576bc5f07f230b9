"""The Workload page: empty, refused, planned."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace

import numpy as np
import pytest

from drcore.reviews.decision import Decision
from viewer.workload import panel


@pytest.fixture
def record(monkeypatch):
    """Masked reads of a hundred referable and a hundred other photographs."""
    made = []
    rng = np.random.default_rng(0)
    for number in range(200):
        grade = 2 if number % 2 else 0
        made.append(
            Decision(
                sha256=f"{number:064x}", image="SECRET.jpg", model_version="m 1",
                machine_status="graded", machine_grade=1,
                machine_score=float(rng.normal(grade, 0.4)), action="change", grade=grade, note="",
                reader="AB", decided_at=datetime(2026, 1, 5, tzinfo=UTC), seconds=36.0,
                mode="blinded first read", machine_visible=False, patient=f"SECRET {number}",
            )
        )  # fmt: skip
    # A database would take a minute to write so many, one by one.
    monkeypatch.setattr(panel.state, "store", lambda: SimpleNamespace(decisions=lambda: made))


def test_without_a_reference_the_page_says_what_it_needs(open_app, html):
    app = open_app(page="workload/page.py")
    assert "No reference yet" in html(app)
    assert "not a setting" in html(app)


def test_the_plan_of_a_record(open_app, html, record):
    app = open_app(page="workload/page.py")
    text = html(app)
    assert "of 100 (" in text
    assert "upper 95 % limit" in text
    assert "h at 36 s an image" in text
    assert "SECRET" not in text
    app.number_input(key="workload-miss").set_value(1.0).run()
    assert "at least 299 are needed" in html(app)
