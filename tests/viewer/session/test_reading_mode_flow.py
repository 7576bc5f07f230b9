"""A blinded reading on the real page: first answer, what it uncovers, and the second thought."""

from __future__ import annotations

import pytest

from drcore.reviews.store import ReviewStore


@pytest.fixture
def jpeg(phantom, encoded):
    """A photograph of a right eye, as a file."""
    return encoded(phantom(seed=3).rgb, "JPEG", quality=90)


def test_a_second_thought_is_a_second_decision(open_app, upload, jpeg, html, tmp_path, monkeypatch):
    monkeypatch.setenv("DRCORE_STUDY", "blinded first read")
    app = upload(open_app(grade=4), ("10_right.jpg", jpeg))
    assert "Proliferative" not in html(app)
    app.text_input(key="reader").set_value("AR").run()
    for choice in ("choose-1", "choose-4"):
        app.button(key=choice).click().run()
        app.button(key="save-next").click().run()
        assert not app.exception
        assert "Proliferative" in html(app)
    app.text_input(key="reader").set_value("BS").run()
    assert "Proliferative" not in html(app)
    app.button(key="choose-2").click().run()
    app.button(key="save-next").click().run()
    with ReviewStore(tmp_path / "reviews.sqlite3") as store:
        told = [(d.reader, d.grade, d.machine_visible, d.revises) for d in store.decisions()]
    assert told == [("AR", 1, False, None), ("AR", 4, True, 1), ("BS", 2, False, None)]
