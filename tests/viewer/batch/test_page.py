"""The Batch page, driven by AppTest."""

from __future__ import annotations

import csv
import io
import threading

import pytest

from drcore.results.columns import COLUMNS
from viewer.batch import panel


@pytest.fixture
def root(tmp_path, monkeypatch, phantom, encoded):
    """A configured folder with two sub-folders, and a secret beside it."""
    root = tmp_path / "root"
    for name, seed in (("a/1_left.jpg", 1), ("a/deep/2_right.jpg", 2), ("b/3_left.jpg", 3)):
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(encoded(phantom(seed=seed).rgb, "JPEG"))
    (root / "a/=1+1_OD.png").write_bytes(b"text")
    (root / "empty").mkdir()
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "9_left.jpg").write_bytes(encoded(phantom(seed=9).rgb, "JPEG"))
    (root / "way out").symlink_to(secret)

    def configure():
        monkeypatch.setenv("DRCORE_BATCH_ROOT", str(root))
        return root

    return configure


def start(app, wanted):
    app.segmented_control(key="where").set_value(panel.SERVER).run()
    app.text_input(key="server-path").set_value(wanted)
    app.button[-1].click().run() if app.button[-1].label == "Start" else next(
        button for button in app.button if button.label == "Start"
    ).click().run()
    return app


def finished(app):
    job = panel.jobs().get(app.session_state["run"])
    job.join(120)
    app.run()
    assert not app.exception
    return job


def test_without_a_root_the_page_says_how_to_configure_one(open_app):
    app = open_app(page="batch/page.py")
    app.segmented_control(key="where").set_value(panel.SERVER).run()
    assert any("DRCORE_BATCH_ROOT" in info.value for info in app.info)
    assert not app.text_input


@pytest.mark.parametrize("wanted", ["../secret", "/etc", "a/../../secret", "way out", "a\\..\\.."])
def test_nothing_outside_the_root_is_reached(open_app, root, html, wanted):
    app = open_app(page="batch/page.py")
    root()
    start(app, wanted)
    assert not app.exception
    assert 'class="problem"' in html(app)
    assert "run" not in app.session_state


@pytest.mark.parametrize("wanted", ["nowhere", "empty"])
def test_a_folder_without_photographs_is_told(open_app, root, html, wanted):
    app = open_app(page="batch/page.py")
    root()
    start(app, wanted)
    assert 'class="problem"' in html(app)
    assert wanted in html(app)
    assert "run" not in app.session_state


def test_a_folder_of_the_server_becomes_a_table(open_app, root):
    app = open_app(page="batch/page.py", grade=4)
    root()
    job = finished(start(app, "a"))
    rows = list(csv.reader(io.StringIO(panel.csv_of(job))))
    assert tuple(rows[0]) == COLUMNS
    assert [row[0] for row in rows[1:]] == ["1_left.jpg", "'=1+1_OD.png", "deep/2_right.jpg"]
    assert [row[1] for row in rows[1:]] == ["graded", "failed", "graded"]
    (table,) = app.dataframe
    assert list(table.value["image"]) == [row[0] for row in rows[1:]]
    assert table.value["grade"].tolist()[0] == 4
    assert app.get("plotly_chart")
    assert any(button.key == "download-batch" for button in app.get("download_button"))


def test_the_table_is_filtered(open_app, root):
    app = open_app(page="batch/page.py", grade=4)
    root()
    job = finished(start(app, ""))
    assert len(app.dataframe[0].value) == len(job.found) == 4
    app.get("button_group")
    app.pills(key=f"grades-{job.token}").set_value(["4"]).run()
    assert set(app.dataframe[0].value["grade"]) == {4}
    app.pills(key=f"grades-{job.token}").set_value([]).run()
    app.text_input(key=f"find-{job.token}").set_value("DEEP").run()
    assert app.dataframe[0].value["image"].tolist() == ["a/deep/2_right.jpg"]


def test_outcomes_of_images_and_of_patients(open_app, root, html, wait_graded):
    app = open_app(page="batch/page.py", grade=4)
    root()
    job = finished(start(app, ""))
    assert "1 \u00d7 " in html(app)  # why one could not be read
    assert app.expander[-1].label == "1 could not be read"
    app.pills(key=f"outcomes-Images-{job.token}").set_value(["Unreadable"]).run()
    assert app.dataframe[0].value["outcome"].tolist() == ["Unreadable"]
    app.segmented_control(key=f"level-{job.token}").set_value(panel.PATIENTS).run()
    patients = app.dataframe[0].value
    assert patients["patient"].tolist() == ["1", "2", "3"]
    assert patients["outcome"].tolist() == ["Referable"] * 3
    assert patients["grade"].tolist() == [4, 4, 4]
    assert patients["missing"].tolist()[0].startswith("no photograph of the right eye")
    key = f"outcomes-Patients-{job.token}"
    app.pills(key=key).set_value(["No referable DR"]).run()
    assert len(app.dataframe[0].value) == 0
    app.pills(key=key).set_value([]).run()
    app.text_input(key=f"find-{job.token}").set_value("2").run()
    app.button(key="review-listed").click().run()
    wait_graded(app)
    assert [e.name for e in app.session_state["worklist"].entries] == ["2_right.jpg"]


def test_listed_photographs_go_to_the_review(open_app, root, html, wait_graded, start_reading):
    app = open_app(page="batch/page.py", grade=4)
    root()
    job = finished(start(app, ""))
    app.text_input(key=f"find-{job.token}").set_value("left").run()
    app.button(key="review-listed").click().run()
    wait_graded(app)
    names = [entry.name for entry in app.session_state["worklist"].entries]
    assert names == ["1_left.jpg", "3_left.jpg"]
    app.switch_page("review/page.py").run()
    assert "1_left.jpg" not in html(app)  # how to read comes first
    start_reading(app)
    assert '<h1 class="name">1_left.jpg' in html(app)


def test_a_dropped_folder_is_graded(open_app, phantom, encoded):
    app = open_app(page="batch/page.py", grade=0)
    data = encoded(phantom(seed=1).rgb, "JPEG")
    files = [("clinic/5_left.jpg", data, "image/jpeg"), ("clinic/x.txt", b"x", "text/plain")]
    app.file_uploader[0].set_value(files).run()
    job = finished(app)
    assert [(row["image"], row["grade"], row["laterality"]) for row in job.rows] == [
        ("clinic/5_left.jpg", "0", "OS")
    ]
    assert job.title == "clinic"
    app.button(key="new").click().run()
    assert not job.found[0].path.exists()
    assert "run" not in app.session_state


LEFT_OUT = {"x.txt": b"x", "<img src=x> **b**.md": b"x", ".hidden.jpg": b"x"}
"""Three files that are no photograph, one of them with a hostile name."""


def assert_tells_left_out(app, html):
    (expander,) = app.expander
    assert expander.label == "3 left out: 2 not a photograph, 1 hidden"
    assert "x.txt \u2013 not a photograph" in html(app)
    assert ".hidden.jpg \u2013 hidden" in html(app)
    assert "&lt;img src=x&gt; **b**.md" in html(app)
    assert "<img" not in html(app)
    assert not any("**b**" in element.value for element in [*app.markdown, *app.caption])


@pytest.mark.parametrize("uploaded", [False, True])
def test_files_left_out_are_counted_and_named(
    open_app, root, html, phantom, encoded, monkeypatch, uploaded
):
    work, go_on = panel.BatchJob.work, threading.Event()
    monkeypatch.setattr(
        panel.BatchJob, "work", lambda job, engine: go_on.wait(60) and work(job, engine)
    )
    app = open_app(page="batch/page.py")
    if uploaded:
        files = {"5_left.jpg": encoded(phantom(seed=1).rgb, "JPEG"), **LEFT_OUT}
        app.file_uploader[0].set_value(
            [(f"clinic/{name}", data, "image/jpeg") for name, data in files.items()]
        ).run()
    else:
        for name, data in LEFT_OUT.items():
            (root() / "b" / name).write_bytes(data)
        start(app, "b")
    assert panel.jobs().get(app.session_state["run"]).active
    assert_tells_left_out(app, html)
    go_on.set()
    assert len(finished(app).rows) == 1
    assert_tells_left_out(app, html)


def test_only_the_first_files_left_out_are_named(open_app, root, html):
    app = open_app(page="batch/page.py")
    for number in range(panel.MAX_NAMES + 2):
        (root() / "b" / f"notes{number:02d}.txt").write_bytes(b"x")
    finished(start(app, "b"))
    assert html(app).count("<li>") == panel.MAX_NAMES == 50
    assert "And 2 more." in [caption.value for caption in app.caption]


def test_a_dropped_folder_without_photographs_is_told(open_app, html):
    app = open_app(page="batch/page.py")
    app.file_uploader[0].set_value([("clinic/x.txt", b"x", "text/plain")]).run()
    assert not app.exception
    assert "No images in this folder (1 left out: 1 not a photograph)" in html(app)


def test_a_run_is_found_again_by_the_address_of_its_page(open_app, root):
    app = open_app(page="batch/page.py")
    root()
    job = finished(start(app, "b"))
    again = open_app(page="batch/page.py")
    again.query_params["run"] = job.token
    again.run()
    assert again.session_state["run"] == job.token
    stranger = open_app(page="batch/page.py")
    stranger.query_params["run"] = "guess"
    stranger.run()
    assert "run" not in stranger.session_state
