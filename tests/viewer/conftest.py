"""Pages of the viewer, run by AppTest with a grader of random weights."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from drcore.grading.grader import Grader
from tests.support.memory_archive import MemoryArchive
from viewer.server import pacs
from viewer.server.model_loader import Engine
from viewer.session import state

VIEWER = Path(__file__).resolve().parents[2] / "viewer"

THRESHOLDS = {0: (90.0, 91.0, 92.0, 93.0), 4: (-93.0, -92.0, -91.0, -90.0)}
"""With these, every photograph that is fit for grading gets this grade."""


@pytest.fixture
def grader_of(tiny_bundle):
    """Maker of graders whose grade is known beforehand."""
    return lambda grade: Grader(replace(tiny_bundle, thresholds=THRESHOLDS[grade]))


@pytest.fixture
def open_app(monkeypatch, tmp_path, grader_of):
    """Opener of the app: `open_app(grade=4)`; decisions go to a file of this test alone."""
    monkeypatch.setenv("DRCORE_REVIEWS_URL", str(tmp_path / "reviews.sqlite3"))
    monkeypatch.setenv("DRCORE_WORKLISTS", str(tmp_path / "worklists"))
    monkeypatch.delenv("DRCORE_BATCH_ROOT", raising=False)

    def opened(grade: int = 4, page: str | None = None) -> AppTest:
        engine = Engine(lambda: grader_of(grade))
        engine.wait(180)
        monkeypatch.setattr(state, "engine", lambda: engine)
        app = AppTest.from_file(str(VIEWER / "navigation.py"), default_timeout=180).run()
        if page:
            app.switch_page(page).run()
        assert not app.exception
        return app

    return opened


@pytest.fixture
def upload():
    """Drops files on the page and waits until they are graded."""

    def dropped(app: AppTest, *files: tuple[str, bytes]) -> AppTest:
        app.file_uploader[0].set_value([(name, data, "image/jpeg") for name, data in files]).run()
        return graded(app)

    return dropped


@pytest.fixture
def wait_graded():
    """The function `graded`."""
    return graded


def started(app: AppTest, reader: str = "") -> AppTest:
    """Choose the first reading mode allowed, under a name that masked modes need, if asked."""
    if not any(button.key == "start-reading" for button in app.button):
        return app
    masked = app.radio(key="start-mode").value != "open"
    if not app.text_input(key="start-reader").disabled:  # with a login the name is given
        app.text_input(key="start-reader").set_value(reader or ("AR" if masked else ""))
    app.button(key="start-reading").click().run()
    assert not app.exception
    return app


@pytest.fixture
def start_reading():
    """The function `started`."""
    return started


def graded(app: AppTest) -> AppTest:
    """Wait until the background has graded everything, then run the page again."""
    worklist = app.session_state["worklist"]
    deadline = time.monotonic() + 180
    while worklist.pending:
        assert time.monotonic() < deadline, "the background did not grade"
        time.sleep(0.05)
    app.run()
    assert not app.exception
    return started(app)


def page_html(app: AppTest) -> str:
    """All HTML of a page, in one text."""
    return "\n".join(element.value for element in app.get("html"))


@pytest.fixture
def html():
    """The function `page_html`."""
    return page_html


@pytest.fixture
def on_stage():
    """Reads what the stage in the browser gets; None where there is no stage."""

    def told(app: AppTest) -> dict | None:
        found = [
            element.proto for element in app.get("bidi_component")
            if element.proto.component_name == "drcore_stage"
        ]  # fmt: skip
        return json.loads(found[0].mixed.json or found[0].json) if found else None

    return told


@pytest.fixture
def archive(monkeypatch, tmp_path):
    """An empty archive in memory, the PACS "clinic" of the viewer."""
    file = tmp_path / "pacs.toml"
    file.write_text('[servers.clinic]\nkind = "web"\nurl = "https://clinic.example/rs"\n')
    monkeypatch.setenv("DRCORE_PACS", str(file))
    made = MemoryArchive()
    monkeypatch.setattr(pacs, "connection", lambda _: made)
    return made
