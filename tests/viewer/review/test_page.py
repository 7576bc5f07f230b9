"""The Review page, driven by AppTest."""

from __future__ import annotations

import re

import pytest

from drcore.grading.grader import Grader
from drcore.reviews.store import ReviewStore
from viewer.server.model_loader import Engine
from viewer.session import state


@pytest.fixture
def jpeg(phantom, encoded):
    """A photograph of a right eye, as a file."""
    return encoded(phantom(seed=3).rgb, "JPEG", quality=90)


def stored(tmp_path):
    with ReviewStore(tmp_path / "reviews.sqlite3") as store:
        return store.decisions()


def test_first_page_says_what_it_is_for(open_app, html):
    app = open_app()
    assert "Research use only. Not a medical device." in html(app)
    assert any("not sent anywhere else" in caption.value for caption in app.caption)
    assert {"synthetic image", "real image, public domain"} <= {
        caption.value for caption in app.caption
    }


def test_the_notice_is_on_every_page(open_app, html):
    app = open_app()
    for page in ("batch/page.py", "model/page.py", "review/page.py"):
        app.switch_page(page).run()
        assert not app.exception
        assert "Research use only. Not a medical device." in html(app)


def test_one_click_opens_a_sample(open_app, wait_graded, html, on_stage):
    app = open_app(grade=4)
    app.button(key="open-phantom_severe_OS").click().run()
    wait_graded(app)
    assert "phantom_severe_OS.jpg" in html(app)
    assert "Proliferative retinopathy" in html(app)
    assert "<b>Referable DR</b>" in html(app)
    assert "Left eye (OS)" in html(app)
    assert "DMO not assessed" in html(app)
    names = [part["name"] for part in on_stage(app)["slide"]["maps"]["scales"]]
    assert names == ["128", "256", "512", "fused"]


def test_a_photograph_waits_for_the_model(open_app, monkeypatch, jpeg, html):
    app = open_app()
    monkeypatch.setattr(state, "engine", lambda: Engine(lambda: pytest.fail("not started")))
    monkeypatch.setattr(Engine, "start", lambda _engine, _delay=0.0: None)
    app.file_uploader[0].set_value([("10_right.jpg", jpeg, "image/jpeg")]).run()
    assert not app.exception
    assert "Loading model" in html(app)
    assert "Loading model" in html(app)
    assert "ICDR grade" not in html(app)


def test_a_model_that_fails_is_told_in_a_sentence(open_app, monkeypatch, html):
    def load() -> Grader:
        from drcore.errors import CheckpointError

        raise CheckpointError("The weights <b>x</b> are missing. Get them again.")

    app = open_app()
    engine = Engine(load)
    engine.wait(10)
    monkeypatch.setattr(state, "engine", lambda: engine)
    app.run()
    assert not app.exception
    assert "The weights &lt;b&gt;x&lt;/b&gt; are missing. Get them again." in html(app)


def test_the_map_of_a_healthy_eye_starts_hidden(open_app, upload, jpeg, html, on_stage):
    app = upload(open_app(grade=0), ("10_right.jpg", jpeg))
    assert "No apparent retinopathy" in html(app)
    maps = on_stage(app)["slide"]["maps"]
    assert maps["hidden"] is True
    assert "found no retinopathy" in maps["caption"]
    app = upload(open_app(grade=4), ("10_right.jpg", jpeg))
    maps = on_stage(app)["slide"]["maps"]
    assert (maps["hidden"], maps["caption"]) == (False, "")


def test_a_blinded_reader_gets_nothing_of_the_machine_before_the_decision(
    open_app, upload, phantom, encoded, html, on_stage, monkeypatch, tmp_path
):
    monkeypatch.setenv("DRCORE_STUDY", "blinded first read")
    files = [(f"{n}_left.jpg", encoded(phantom(seed=n).rgb, "JPEG")) for n in (1, 2)]
    app = upload(open_app(grade=4), *files)
    app.text_input(key="reader").set_value("AR").run()
    projector = app.session_state["slides"]
    worklist = app.session_state["worklist"]
    projector.slide(worklist.entries[1], worklist.entries[1].report)
    app.run()
    told = on_stage(app)
    assert told["slide"]["maps"] is None
    assert [slide["maps"] for slide in told["ahead"]] == [None]
    for word in ("ICDR grade", "Proliferative", "Referable", "Score", "Fit for grading"):
        assert word not in html(app)
    assert "Masked reading" in html(app)
    assert "choose-agree" not in [button.key for button in app.button]
    app.button(key="choose-4").click().run()
    app.button(key="save-stay").click().run()
    assert not app.exception
    assert on_stage(app)["slide"]["maps"] is not None
    assert "Proliferative retinopathy" in html(app)
    (decision,) = stored(tmp_path)
    assert (decision.mode, decision.machine_visible) == ("blinded first read", False)
    assert (decision.action, decision.grade) == ("agree", 4)


@pytest.mark.parametrize(
    ("clicked", "action", "grade"),
    [
        ("choose-agree", "agree", 4),
        ("choose-2", "change", 2),
        ("choose-4", "agree", 4),
        ("choose-ungradable", "ungradable", None),
    ],
)
def test_decisions_reach_the_record(open_app, upload, jpeg, html, tmp_path, clicked, action, grade):
    app = upload(open_app(grade=4), ("10_right.jpg", jpeg))
    app.button(key=clicked).click().run()
    app.text_area(key="note-p1").set_value("a note, with = and <b>").run()
    app.text_input(key="reader").set_value("A. Reader").run()
    app.button(key="save-next").click().run()
    assert not app.exception
    assert re.search(r"Saved \d\d:\d\d", html(app))
    (decision,) = stored(tmp_path)
    assert (decision.action, decision.grade) == (action, grade)
    assert (decision.reader, decision.note) == ("A. Reader", "a note, with = and <b>")
    assert (decision.machine_grade, decision.machine_status) == (4, "graded")
    assert (decision.laterality, decision.patient) == ("OD", "10")


def test_nothing_is_saved_without_choice_or_reader(open_app, upload, jpeg, html, tmp_path):
    app = upload(open_app(), ("10_right.jpg", jpeg))
    app.button(key="save-next").click().run()
    assert "Select a grade first." in html(app)
    app.button(key="choose-agree").click().run()
    app.button(key="save-next").click().run()
    assert "Enter your name or initials" in html(app)
    assert stored(tmp_path) == []
    app.text_input(key="reader").set_value("AR").run()
    app.button(key="save-next").click().run()
    assert len(stored(tmp_path)) == 1


def test_save_and_next_goes_on_and_the_reader_is_remembered(
    open_app, upload, phantom, encoded, html, tmp_path
):
    files = [(f"{n}_left.jpg", encoded(phantom(seed=n).rgb, "JPEG")) for n in (1, 2)]
    app = upload(open_app(grade=4), *files)
    app.text_input(key="reader").set_value("AR").run()
    app.button(key="choose-1").click().run()
    app.button(key="save-next").click().run()
    assert '<h1 class="name">2_left.jpg' in html(app)
    assert "1_left.jpg, grade 1" in html(app)
    assert app.text_input(key="reader").value == "AR"
    app.button(key="choose-agree").click().run()
    app.button(key="save-next").click().run()
    assert '<h1 class="name">2_left.jpg' in html(app)  # the last one stays
    assert [(d.image, d.action) for d in stored(tmp_path)] == [
        ("1_left.jpg", "change"), ("2_left.jpg", "agree"),
    ]  # fmt: skip
    app.button(key="previous").click().run()
    assert '<h1 class="name">1_left.jpg' in html(app)


def test_decisions_survive_a_page_switch_and_a_reload(open_app, upload, jpeg, html, tmp_path):
    app = upload(open_app(grade=4), ("10_right.jpg", jpeg))
    app.text_input(key="reader").set_value("AR").run()
    app.button(key="choose-3").click().run()
    app.button(key="save-next").click().run()
    app.switch_page("model/page.py").run()
    app.switch_page("review/page.py").run()
    assert "Grade 3 (AR, " in html(app)
    assert app.text_input(key="reader").value == "AR"
    again = upload(open_app(grade=4), ("another name.jpg", jpeg))
    assert "Grade 3 (AR, " in html(again)
    again.text_input(key="reader").set_value("BS").run()
    again.button(key="choose-ungradable").click().run()
    again.button(key="save-next").click().run()
    assert "Ungradable (BS, " in html(again)
    assert [d.reader for d in stored(tmp_path)] == ["AR", "BS"]


@pytest.mark.parametrize("data", [b"", b"this is text, not a photograph", b"\xff\xd8\xff\xe0 cut"])
def test_a_bad_upload_tells_why_and_the_work_goes_on(open_app, upload, jpeg, html, on_stage, data):
    app = upload(open_app(), ("scan.jpg", data), ("10_right.jpg", jpeg))
    assert "Image could not be read" in html(app)
    reason = re.search(r'<p class="reason">(.*?)</p>', html(app)).group(1)
    assert reason.startswith("scan.jpg: ")
    assert reason.endswith(".")
    assert on_stage(app) is None
    assert "choose-agree" not in [button.key for button in app.button]
    app.button(key="next").click().run()
    assert not app.exception
    assert "10_right.jpg" in html(app)
    assert on_stage(app)


def test_an_ungradable_photograph_gets_no_grade_but_can_be_graded_by_the_reader(
    open_app, upload, phantom, encoded, html, on_stage, tmp_path
):
    dark = encoded(phantom(seed=3, exposure=0.05).rgb, "JPEG")
    app = upload(open_app(grade=4), ("10_right.jpg", dark))
    assert "Ungradable: refer" in html(app)
    assert "ICDR grade" not in html(app)
    assert "Referable" not in html(app)
    assert on_stage(app)["slide"]["maps"]["hidden"] is True
    assert "choose-agree" not in [button.key for button in app.button]
    app.text_input(key="reader").set_value("AR").run()
    app.button(key="choose-2").click().run()
    app.button(key="save-next").click().run()
    (decision,) = stored(tmp_path)
    assert (decision.machine_status, decision.action, decision.grade) == ("ungradable", "change", 2)


def test_hostile_names_stay_text(open_app, upload, jpeg, html):
    name = "<img src=x onerror=alert(1)>**b**:red[x]_OD.jpg"
    app = upload(open_app(), (name, jpeg), (f"2{name}", b"text"))
    for shown in range(2):
        if shown:
            app.button(key="next").click().run()
        assert "<img" not in html(app)
        assert "&lt;img src=x onerror=alert(1)&gt;" in html(app)
        markdown = [*app.markdown, *app.caption, *app.error, *app.info, *app.warning]
        assert not any("onerror" in element.value for element in markdown)
        assert not any("onerror" in button.label for button in app.button)


def test_an_unusable_record_lets_photographs_be_seen(
    open_app, upload, jpeg, html, on_stage, monkeypatch
):
    app = open_app()
    monkeypatch.setenv("DRCORE_REVIEWS_URL", "nosuchdatabase://host/name")
    upload(app, ("10_right.jpg", jpeg))
    assert "grades cannot be saved" in html(app)
    assert on_stage(app)
    assert "save-next" not in [button.key for button in app.button]


def test_the_same_file_is_listed_once_and_under_another_name_again(open_app, upload, jpeg):
    app = upload(open_app(), ("10_right.jpg", jpeg))
    upload(app, ("10_right.jpg", jpeg))
    assert [entry.name for entry in app.session_state["worklist"].entries] == ["10_right.jpg"]
    upload(app, ("copy.jpg", jpeg))  # as the command line does: every file has a row
    names = [entry.name for entry in app.session_state["worklist"].entries]
    assert names == ["10_right.jpg", "copy.jpg"]


def test_removing_the_last_photograph_leads_back_to_the_first_page(open_app, upload, jpeg):
    app = upload(open_app(), ("10_right.jpg", jpeg))
    app.button(key="remove").click().run()
    assert not app.exception
    assert [header.value for header in app.header] == ["Grade fundus images"]
