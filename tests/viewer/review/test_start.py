"""How a list is read is chosen first, and kept with it: mode, reader, what was chosen and typed."""

from __future__ import annotations

import pytest
from streamlit.testing.v1 import AppTest

from drcore.reviews.store import ReviewStore
from tests.viewer.conftest import graded, page_html
from viewer.session import current_list

FILES = ("7_OS.jpg", "8_OD.jpg", "9_OD.jpg")
MASKED = "blinded first read"


@pytest.fixture
def app(open_app, phantom, encoded):
    """The app with three photographs of grade 4, which nobody has begun to read."""
    made = open_app(grade=4)
    files = [(name, encoded(phantom(seed=n).rgb, "JPEG")) for n, name in enumerate(FILES)]
    made.file_uploader[0].set_value([(*file, "image/jpeg") for file in files]).run()
    worklist = made.session_state["worklist"]
    while worklist.pending:
        made.run()
    return made.run()


def start(app: AppTest, mode: str, reader: str) -> AppTest:
    app.radio(key="start-mode").set_value(mode)
    app.text_input(key="start-reader").set_value(reader)
    return app.button(key="start-reading").click().run()


def reopened(app: AppTest, monkeypatch) -> AppTest:
    """The list in another window of a server that was restarted."""
    token = app.query_params["list"]
    monkeypatch.setattr(current_list, "_STORES", {})
    app.session_state["worklist"] = None
    again = AppTest.from_file(app._script_path, default_timeout=180)
    again.query_params["list"] = token
    return graded(again.run())


def rows(app: AppTest) -> list[dict]:
    from viewer.review.list_rows import list_rows

    return list_rows(app.session_state["worklist"])


def keys(app: AppTest) -> list[str]:
    return [button.key for button in app.button]


def shows_the_model(app: AppTest) -> bool:
    return "Proliferative" in page_html(app) or any(row["by"] for row in rows(app))


def test_nothing_is_shown_before_mode_and_reader_are_chosen(app, on_stage, monkeypatch):
    assert not shows_the_model(app)
    assert on_stage(app) is None
    assert "save-next" not in keys(app)
    app.switch_page("export/page.py").run()
    assert len(app.session_state["worklist"].hidden) == 3
    app.switch_page("review/page.py").run()
    start(app, MASKED, " ")
    assert "Enter your name" in page_html(app)
    assert "start-reading" in keys(app)
    start(app, MASKED, "AR")
    assert "Masked reading" in page_html(app)
    assert not shows_the_model(app)


def test_a_reload_or_a_restart_keeps_mode_and_reader(app, monkeypatch):
    start(app, MASKED, "AR")
    again = reopened(app, monkeypatch)
    assert "start-reading" not in keys(again)
    assert again.text_input(key="reader").value == "AR"
    assert "Masked reading" in page_html(again)
    assert not shows_the_model(again)


def test_a_read_after_the_model_was_seen_is_told_even_after_a_restart(app, monkeypatch, tmp_path):
    start(app, "open", "AR")
    assert shows_the_model(app)
    again = reopened(app, monkeypatch)
    again.button(key="study-change").click().run()
    assert not shows_the_model(again)
    start(again, MASKED, "AR")
    assert not shows_the_model(again)
    again.button(key="choose-1").click().run()
    again.button(key="save-stay").click().run()
    with ReviewStore(tmp_path / "reviews.sqlite3") as store:
        (made,) = store.decisions()
    assert (made.mode, made.machine_visible, made.saw_machine) == (MASKED, True, True)
    assert "after seeing the model" in page_html(again)


def test_what_is_chosen_and_typed_survives_a_restart_and_is_marked(app, monkeypatch, tmp_path):
    start(app, "open", "AR")
    app.button(key="choose-2").click().run()
    app.text_area(key="note-p1").set_value("drusen?").run()
    app.button(key="next").click().run()
    assert [row["unsaved"] for row in rows(app)] == [True, False, False]
    assert rows(app)[0]["note"] == "Grade 2: not saved"
    again = reopened(app, monkeypatch)
    again.button(key="previous").click().run()
    assert again.text_area(key="note-p1").value == "drusen?"
    assert again.button(key="choose-2").label == "\u2713 2 Moderate"
    again.button(key="save-next").click().run()
    assert not any(row["unsaved"] for row in rows(again))
    with ReviewStore(tmp_path / "reviews.sqlite3") as store:
        assert [(made.grade, made.note) for made in store.decisions()] == [(2, "drusen?")]


def test_another_reader_finds_no_draft(app):
    start(app, "open", "")
    app.button(key="choose-2").click().run()
    app.text_input(key="reader").set_value("AR").run()
    assert rows(app)[0]["unsaved"]  # chosen before the name was entered
    app.text_area(key="note-p1").set_value("mine").run()
    app.text_input(key="reader").set_value("BS").run()
    assert not any(row["unsaved"] for row in rows(app))
    assert not app.text_area(key="note-p1").value
    app.text_input(key="reader").set_value("AR").run()
    assert rows(app)[0]["unsaved"]


def test_the_last_save_is_undone_and_can_be_made_again(app, tmp_path):
    start(app, "open", "AR")
    for choice in ("choose-1", "choose-3"):
        app.button(key=choice).click().run()
        app.button(key="save-next").click().run()
    app.button(key="undo").click().run()
    assert '<h1 class="name">8_OD.jpg' in page_html(app)
    assert app.button(key="choose-3").label.startswith("\u2713")
    assert [row["decided"] for row in rows(app)] == [True, False, False]
    assert "undo" not in keys(app)
    with ReviewStore(tmp_path / "reviews.sqlite3") as store:
        assert [made.grade for made in store.decisions()] == [1]
    app.button(key="choose-2").click().run()
    app.button(key="save-next").click().run()
    with ReviewStore(tmp_path / "reviews.sqlite3") as store:
        assert [made.grade for made in store.decisions()] == [1, 2]


def test_the_next_ungraded_photograph(app):
    start(app, "open", "AR")
    app.button(key="choose-1").click().run()
    app.button(key="save-stay").click().run()
    app.button(key="study-next").click().run()
    assert '<h1 class="name">8_OD.jpg' in page_html(app)
    app.button(key="next").click().run()
    app.button(key="study-next").click().run()
    assert '<h1 class="name">8_OD.jpg' in page_html(app)


def test_the_final_grade_is_the_chip_and_an_arbiter_sees_no_names(app, tmp_path):
    start(app, MASKED, "AR")
    app.button(key="choose-0").click().run()
    app.button(key="save-stay").click().run()
    assert (rows(app)[0]["chip"][0], rows(app)[0]["by"]) == ("0", "Final grade")
    assert rows(app)[0]["note"] == "Reader: 0 (model 4)"
    app.button(key="study-change").click().run()
    start(app, "second reader", "BS")
    app.button(key="choose-3").click().run()
    app.button(key="save-stay").click().run()
    assert (rows(app)[0]["chip"][0], rows(app)[0]["by"]) == ("4", "Model grade")
    assert rows(app)[0]["note"] == "Readers disagree (model 4)"
    app.button(key="study-change").click().run()
    start(app, "arbitration", "ZZ")
    shown = page_html(app)
    assert "Grade 3 (" in shown
    assert "BS" not in shown.replace("OBS", "")
    assert "download-decisions" not in [one.proto.id for one in app.get("download_button")]
    app.button(key="choose-0").click().run()
    app.button(key="save-stay").click().run()
    assert (rows(app)[0]["chip"][0], rows(app)[0]["by"]) == ("0", "Final grade")
    assert rows(app)[0]["note"] == "Arbiter: 0 (model 4)"
    app.switch_page("agreement/page.py").run()
    assert "AR" not in page_html(app).replace("ARIA", "")
