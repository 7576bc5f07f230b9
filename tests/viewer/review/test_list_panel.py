"""Sorting, filtering, correcting, privacy and clearing on the Review page; coming back to it."""

from __future__ import annotations

import pytest
from streamlit.testing.v1 import AppTest

from drcore.reviews.store import ReviewStore
from viewer.session import current_list

FILES = ("7_OS.jpg", "8_OD.jpg", "7_OD.jpg")


@pytest.fixture
def app(open_app, upload, phantom, encoded):
    """The app with the photographs of two patients."""
    files = [(name, encoded(phantom(seed=n).rgb, "JPEG")) for n, name in enumerate(FILES)]
    return upload(open_app(grade=4), *files)


@pytest.fixture
def reload(open_app, monkeypatch):
    """Opens the address of an app in another browser window; the server may be a new one."""

    def opened(app: AppTest, *, restarted: bool = False, token: str | None = None) -> AppTest:
        if restarted:
            monkeypatch.setattr(current_list, "_STORES", {})
            app.session_state["worklist"] = None  # nothing of the old server is left
        again = AppTest.from_file(app._script_path, default_timeout=180)
        again.query_params["list"] = token or app.query_params["list"]
        again.run()
        assert not again.exception
        return again

    return opened


def names(app: AppTest) -> list[str]:
    return [entry.name for entry in app.session_state["worklist"].entries]


def test_how_far_one_is(app, html):
    assert "0 of 3 graded" in html(app)
    app.text_input(key="reader").set_value("AR").run()
    app.button(key="choose-agree").click().run()
    app.button(key="save-next").click().run()
    assert "1 of 3 graded" in html(app)


def test_sorting_and_filtering_keep_the_photograph_on_screen(app, html):
    app.button(key="next").click().run()
    app.toggle(key="list-by-patient").set_value(True).run()
    assert names(app) == ["7_OD.jpg", "7_OS.jpg", "8_OD.jpg"]
    assert '<h1 class="name">8_OD.jpg' in html(app)
    app.text_input(key="list-text").set_value("7_").run()
    assert '<h1 class="name">8_OD.jpg' in html(app)
    app.text_input(key="list-text").set_value("7_OS").run()
    assert names(app) == ["7_OS.jpg", "8_OD.jpg"]
    app.button(key="previous").click().run()
    assert (names(app), app.button(key="next").disabled) == (["7_OS.jpg"], True)
    app.button(key="list-show-all").click().run()
    assert names(app) == ["7_OD.jpg", "7_OS.jpg", "8_OD.jpg"]
    app.selectbox(key="list-order").set_value("severity").run()
    assert app.session_state["worklist"].arrangement.order == "severity"


def test_a_blinded_reader_is_offered_no_order_of_the_model(app, monkeypatch, start_reading):
    monkeypatch.setenv("DRCORE_STUDY", "blinded first read")
    start_reading(app.run())
    options = app.selectbox(key="list-order").options
    assert options == ["Order added", "Ungraded first"]
    assert "Unreadable" in str(app.get("button_group"))
    assert "Referable" not in str(app.get("button_group"))


@pytest.mark.parametrize("restarted", [False, True])
def test_the_address_brings_the_list_back_where_it_was_left(
    app, reload, html, wait_graded, restarted
):
    app.toggle(key="list-by-patient").set_value(True).run()
    app.button(key="next").click().run()
    on_screen = app.session_state["worklist"].selected.name
    again = wait_graded(reload(app, restarted=restarted))
    assert names(again) == ["7_OD.jpg", "7_OS.jpg", "8_OD.jpg"]
    assert f'<h1 class="name">{on_screen}' in html(again)
    assert "Proliferative retinopathy" in html(again)
    assert again.query_params["list"] == app.query_params["list"]


def test_other_pages_keep_the_address(app):
    token = app.query_params["list"]
    app.switch_page("model/page.py").run()
    assert app.query_params["list"] == token


def test_strangers_see_an_empty_page(app, reload, open_app, html):
    stranger = reload(app, token="x" * 32)
    assert [header.value for header in stranger.header] == ["Grade fundus images"]
    assert "has expired or was cleared" in html(stranger)
    assert "list" not in stranger.query_params
    assert "list" not in open_app().query_params


def test_clearing_asks_and_deletes(app, reload, tmp_path):
    app.button(key="clear-list").click().run()
    app.button(key="clear-no").click().run()
    assert len(names(app)) == 3
    app.button(key="clear-list").click().run()
    token = app.query_params["list"]
    app.button(key="clear-yes").click().run()
    assert not app.exception
    assert [header.value for header in app.header] == ["Grade fundus images"]
    assert "list" not in app.query_params
    assert list((tmp_path / "worklists").glob("*/")) == []
    assert reload(app, token=token).session_state["worklist"].total == 0


def test_eye_and_patient_are_corrected_and_come_back(
    app, open_app, upload, html, tmp_path, phantom, encoded
):
    app.segmented_control(key="eye-p1").set_value("OD").run()
    app.text_input(key="patient-p1").set_value("<b>9</b>").run()
    app.text_input(key="reader").set_value("AR").run()
    app.button(key="save-identity").click().run()
    assert not app.exception
    entry = app.session_state["worklist"].everything[0]
    assert (entry.report.laterality, entry.report.patient) == ("OD", "<b>9</b>")
    assert "Right eye (OD)" in html(app)
    assert "<b>9</b>" not in html(app)
    with ReviewStore(tmp_path / "reviews.sqlite3") as store:
        assert store.identity(entry.sha256).reader == "AR"
    data = encoded(phantom(seed=0).rgb, "JPEG")
    other = upload(open_app(grade=4), ("another name.jpg", data))
    (again,) = other.session_state["worklist"].everything
    assert (again.laterality, again.patient) == ("OD", "<b>9</b>")


def test_de_identified_pages_and_records_name_no_file(app, html, tmp_path):
    app.toggle(key="deidentified").set_value(True).run()
    entry = app.session_state["worklist"].selected
    assert f'<h1 class="name">{entry.sha256[:8]}' in html(app)
    assert "7_OS" not in html(app)
    assert "patient 7" not in html(app)
    assert app.toggle(key="show-identity").disabled
    app.text_input(key="reader").set_value("AR").run()
    app.button(key="choose-agree").click().run()
    app.button(key="save-next").click().run()
    with ReviewStore(tmp_path / "reviews.sqlite3") as store:
        (decision,) = store.decisions()
    assert (decision.image, decision.patient) == (entry.sha256[:8], None)


def test_what_became_of_an_upload_is_told_once(open_app, upload, phantom, encoded, html):
    files = [("1_OD.jpg", encoded(phantom(seed=1).rgb, "JPEG")), ("<b>notes</b>.txt", b"text")]
    app = upload(open_app(), *files)
    assert "Skipped (not an image): b&gt;.txt." in html(app)
    app.button(key="notices-read").click().run()
    assert "no photograph" not in html(app)


def test_a_list_that_cannot_be_kept_is_told(open_app, upload, phantom, encoded, html, monkeypatch,
                                            tmp_path):  # fmt: skip
    app = open_app()
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DRCORE_WORKLISTS", str(tmp_path / "file"))
    again = AppTest.from_file(app._script_path, default_timeout=180).run()
    assert not again.exception
    assert "cannot be saved on this server" in html(again)
    upload(again, ("1_OD.jpg", encoded(phantom(seed=1).rgb, "JPEG")))
    assert "Proliferative retinopathy" in html(again)


def test_a_list_that_is_done_says_so(open_app, upload, phantom, encoded, html):
    good = encoded(phantom(seed=1).rgb, "JPEG")
    app = upload(open_app(grade=4), ("7_OS.jpg", good), ("letter.jpg", b"no photograph"))
    assert "0 of 2 graded \u00b7 1 unreadable" in html(app)
    assert 'class="finished"' not in html(app)
    app.text_input(key="reader").set_value("AR").run()
    app.button(key="choose-agree").click().run()
    app.button(key="save-stay").click().run()
    assert "\u2713 All 1 graded \u00b7 1 unreadable" in html(app)
    assert "Image graded" in html(app)
