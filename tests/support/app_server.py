"""The viewer as a user starts it, on a free port, and Chromium to look at it."""

from __future__ import annotations

import atexit
import functools
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
CHROMIUM = Path("/usr/bin/chromium")
THROTTLE = "DRCORE_TEST_CPU_THROTTLE"
"""Environment variable: by how much Chromium runs slower, such as 4."""
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip


@dataclass(frozen=True)
class AppServer:
    """A running viewer.

    Attributes:
        url: its address.
        pid: of its process.
        folder: with its grades, worklists and log.
        reviews: the database of grades.
        log: what it writes to its terminal.
    """

    url: str
    pid: int
    folder: Path
    reviews: Path
    log: Path


@contextmanager
def app_server(
    folder: Path,
    environment: Mapping[str, str] | None = None,
    *,
    patience: float = 180,
    port: int = 0,
) -> Iterator[AppServer]:
    """Run the viewer until the context ends.

    Args:
        folder: for its grades, worklists and log.
        environment: variables that differ from those of this process.
        patience: seconds until it has to answer.
        port: to listen on; a free one where left out.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", port))
        port = probe.getsockname()[1]
    reviews, log = folder / "reviews.sqlite3", folder / "server.log"
    variables = {
        **os.environ, "DRCORE_REVIEWS_URL": str(reviews),
        "DRCORE_WORKLISTS": str(folder / "worklists"), **(environment or {}),
    }  # fmt: skip
    with log.open("w") as terminal:
        process = subprocess.Popen(
            [
                sys.executable, "-m", "streamlit", "run", "viewer/app.py",
                f"--server.port={port}", "--server.headless=true",
            ],
            cwd=REPOSITORY, env=variables, stdout=terminal, stderr=terminal,
        )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until_it_answers(f"{url}/_stcore/health", process, log, patience)
        yield AppServer(url, process.pid, folder, reviews, log)
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()


def wait_until_it_answers(
    url: str, process: subprocess.Popen[bytes], log: Path, patience: float
) -> None:
    deadline = time.monotonic() + patience
    while True:
        try:
            urllib.request.urlopen(url, timeout=5).close()  # noqa: S310 - ours
        except OSError:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, "the server did not answer"
            time.sleep(0.2)
        else:
            return


@contextmanager
def chromium(*arguments: str):
    """Run headless Chromium; skips the test where there is none."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not CHROMIUM.exists():
        pytest.skip(f"there is no Chromium at {CHROMIUM}")
    browser = _playwright(sync_api).chromium.launch(
        executable_path=CHROMIUM, args=[*ARGUMENTS, *arguments]
    )
    if slower := float(os.environ.get(THROTTLE, "0")):
        _throttle(browser, slower)
    yield browser
    browser.close()


def _throttle(browser, rate: float) -> None:
    """Slow the scripts of every page down, so that tests that depend on timing are found."""
    new_context = browser.new_context

    def throttled(**options):
        context = new_context(**options)
        new_page = context.new_page

        def page():
            page = new_page()
            slow = {"rate": rate}
            context.new_cdp_session(page).send("Emulation.setCPUThrottlingRate", slow)
            return page

        context.new_page = page
        return context

    browser.new_context = throttled


@functools.cache
def _playwright(sync_api):
    """One for the whole process: a second one cannot be started beside it."""
    running = sync_api.sync_playwright().start()
    atexit.register(running.stop)
    return running
