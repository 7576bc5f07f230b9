"""The app with random weights, and names as an enemy would choose them."""

from __future__ import annotations

import os
import re
import time
from dataclasses import replace
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from drcore.grading.grader import Grader
from tests.support.app_server import app_server
from viewer.server.model_loader import Engine
from viewer.session import state

REPOSITORY = Path(__file__).resolve().parents[2]

STEMS = (
    "<img src=x onerror=owned()>",
    "<script>owned()<script>",
    '"><svg onload=owned()>',
    "**bold** _it_ `code` [link](javascript:owned())",
    "![x](http:evil.example) # head <b>b<b>",
    ":red[x] :material:delete: $\\frac{1}{2}$",
    "&lt;b&gt;owned&amp;",
    "{{7*7}} ${7*7} <%= 7*7 %> %s {name}",
    "\u202egpj.\u2066exe",
    "zero\u200b\u200d\ufeffwidth\u00ad",
    "bell\x07\x1b[2Jline\u2028two",
    "=HYPERLINK(1,owned)",
    "n" * 180,
)
"""Beginnings of names; none has a slash, so that they can be names of files too."""


@pytest.fixture(scope="session")
def stems():
    """The constant `STEMS`."""
    return STEMS


@pytest.fixture
def app_of(monkeypatch, tmp_path, tiny_bundle):
    """Opener of the app: every photograph that is fit for a grade is proliferative."""
    monkeypatch.setenv("DRCORE_REVIEWS_URL", str(tmp_path / "reviews.sqlite3"))
    monkeypatch.setenv("DRCORE_WORKLISTS", str(tmp_path / "worklists"))
    monkeypatch.setenv("DRCORE_BATCH_ROOT", str(tmp_path / "root"))

    def opened(page: str | None = None) -> AppTest:
        grader = Grader(replace(tiny_bundle, thresholds=(-93.0, -92.0, -91.0, -90.0)))
        engine = Engine(lambda: grader)
        engine.wait(60)
        monkeypatch.setattr(state, "engine", lambda: engine)
        app = AppTest.from_file(str(REPOSITORY / "viewer/navigation.py"), default_timeout=180).run()
        if page:
            app.switch_page(page).run()
        assert not app.exception
        return app

    return opened


def graded(app: AppTest) -> AppTest:
    """Wait until the background has graded the list, then run the page again."""
    worklist = app.session_state["worklist"]
    deadline = time.monotonic() + 120
    while worklist.pending:
        assert time.monotonic() < deadline, "the background did not grade"
        time.sleep(0.05)
    app.run()
    assert not app.exception
    return app


@pytest.fixture
def wait_graded():
    """The function `graded`."""
    return graded


@pytest.fixture(scope="session")
def pages():
    """The pages that the app has, by the name of their file."""
    script = (REPOSITORY / "viewer/navigation.py").read_text(encoding="utf-8")
    found = re.findall(r'st\.Page\(\s*"([\w/]+\.py)"', script)
    assert {"review/page.py", "batch/page.py", "model/page.py"} <= set(found)
    return found


@pytest.fixture(scope="session")
def titles():
    """What the pages of the app are called."""
    script = (REPOSITORY / "viewer/navigation.py").read_text(encoding="utf-8")
    return re.findall(r'\btitle="([^"]+)"', script)


GUARD = """
import os, socket, sys
_real = socket.socket.connect
def _told(what):
    with open(os.environ["NETWORK_LOG"], "a") as file:
        file.write(f"{what}\\n")
    raise OSError("no network here: " + str(what))
def connect(self, address, _real=_real):
    if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in (
        "127.0.0.1", "::1", "localhost"
    ):
        _told(address)
    return _real(self, address)
def getaddrinfo(host, *rest, _real=socket.getaddrinfo, **more):
    if host not in (None, "", "127.0.0.1", "::1", "localhost", b"127.0.0.1", b"localhost"):
        _told(host)
    return _real(host, *rest, **more)
socket.socket.connect = connect
socket.getaddrinfo = getaddrinfo
"""
"""Python run before everything else: whoever looks for another computer is written down."""


@pytest.fixture(scope="session")
def guard(tmp_path_factory):
    """Environment in which Python reaches this computer alone, and the file of attempts."""
    folder = tmp_path_factory.mktemp("guard")
    (folder / "sitecustomize.py").write_text(GUARD)
    log = folder / "attempts"
    paths = [str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {
        **os.environ, "PYTHONPATH": os.pathsep.join(paths), "NETWORK_LOG": str(log),
    }  # fmt: skip
    return environment, log


@pytest.fixture(scope="session")
def server(guard, tmp_path_factory):
    """The app as a user starts it, cut off from all networks: address, folder, terminal."""
    environment = {**guard[0], "DRCORE_LOG": "debug", "OMP_NUM_THREADS": "1"}
    with app_server(tmp_path_factory.mktemp("server"), environment) as running:
        yield running.url, running.folder, running.log
