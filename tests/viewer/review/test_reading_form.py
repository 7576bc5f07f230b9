"""The structured reading on the Review page."""

from __future__ import annotations

import pytest

from drcore.reviews.store import ReviewStore


@pytest.fixture
def opened(open_app, upload, phantom, encoded):
    """The app with one graded photograph of a named reader."""
    app = upload(open_app(grade=4), ("7_right.jpg", encoded(phantom(seed=3).rgb, "JPEG")))
    app.text_input(key="reader").set_value("AR").run()
    return app


def saved(app, tmp_path):
    app.button(key="save-next").click().run()
    assert not app.exception
    with ReviewStore(tmp_path / "reviews.sqlite3") as store:
        return store.decisions()[-1]


def test_a_plain_agree_needs_no_form(opened, tmp_path):
    opened.button(key="choose-agree").click().run()
    made = saved(opened, tmp_path)
    assert (made.action, made.findings) == ("agree", None)


def test_answers_are_stepped_through_and_saved(opened, tmp_path):
    app = opened
    label = lambda: app.button(key="form-macular_oedema").label  # noqa: E731
    seen = [label()]
    for _ in range(4):
        app.button(key="form-macular_oedema").click().run()
        seen.append(label())
    assert [text.partition(": ")[2] for text in seen] == [
        "\u2013", "none", "present", "referable", "\u2013",
    ]  # fmt: skip
    app.button(key="form-macular_oedema").click().run()
    for key in ("drusen", "cataract", "drusen", "vein occlusion"):
        app.button(key=f"form-other_findings-{key}").click().run()
    assert not app.number_input
    app.button(key="form-outcome").click().run()
    app.number_input[0].set_value(3).run()
    app.button(key="choose-agree").click().run()
    made = saved(app, tmp_path)
    assert made.findings.values == {
        "macular_oedema": "none", "other_findings": ("vein occlusion", "cataract"),
        "outcome": "rescreen", "rescreen_months": 3,
    }  # fmt: skip
    app.text_input(key="reader").set_value("BS").run()  # begins with an empty form
    assert label().endswith("\u2013")
    app.button(key="choose-ungradable").click().run()
    app.button(key="form-ungradable_cause").click().run()
    made = saved(app, tmp_path)
    assert made.findings.values == {"ungradable_cause": "media opacity"}


def test_another_form_and_one_that_cannot_be_read(open_app, upload, phantom, encoded, monkeypatch):
    jpeg = encoded(phantom(seed=3).rgb, "JPEG")
    monkeypatch.setenv("DRCORE_FORM", "uk-rm")
    app = upload(open_app(grade=4), ("7_right.jpg", jpeg))
    app.button(key="form-uk_maculopathy").click().run()
    assert app.button(key="form-uk_maculopathy").label == "M: M0"
    monkeypatch.setenv("DRCORE_FORM", "/nowhere/form.toml")
    app = upload(open_app(grade=4), ("7_right.jpg", jpeg))
    told = [element.value for element in app.get("html") if "DRCORE_FORM" in element.value]
    assert "Grades can be saved without it" in (told + [e.value for e in app.error])[0]
    assert app.button(key="choose-agree")
