"""Loads the model once per server, in the background; all sessions share it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from drcore import logs
from drcore.errors import DrcoreError
from viewer.server import settings

if TYPE_CHECKING:
    from drcore.grading.grader import Grader

State = Literal["waiting", "loading", "ready", "failed"]


def _chosen() -> Grader:
    # Here and not above: torch takes seconds, and the first page must not wait for it.
    from drcore.grading.installed import open_grader

    grader = open_grader(settings.weights())
    grader.field_degrees = settings.field_degrees()
    return grader


class Engine:
    """Loads the grader in a thread; safe to share between threads.

    Args:
        load: returns the grader; that of the weights in use if left out.

    Attributes:
        state: "waiting" until started, then "loading", then "ready" or "failed".
        error: a sentence if it failed, else empty.
    """

    def __init__(self, load: Callable[[], Grader] = _chosen) -> None:
        self.state: State = "waiting"
        self.error = ""
        self._load = load
        self._grader: Grader | None = None
        self._lock = threading.Lock()
        self._done = threading.Event()

    @property
    def grader(self) -> Grader | None:
        """The grader, None until it is ready."""
        return self._grader

    def start(self, delay: float = 0.0) -> None:
        """Start loading after some seconds, unless loaded or loading; after a failure, retry."""
        with self._lock:
            if self.state in {"loading", "ready"}:
                return
            self.state, self.error = "loading", ""
            self._done.clear()
            thread = threading.Timer(delay, self._run)
            thread.name, thread.daemon = "drcore-load", True
            thread.start()

    def wait(self, timeout: float | None = None) -> Grader | None:
        """Start, and wait until loading has ended; return None if it failed or time was up."""
        self.start()
        self._done.wait(timeout)
        return self._grader

    def _run(self) -> None:
        began = time.monotonic()
        try:
            self._grader = self._load()
            self.state = "ready"
            logs.event("model loaded", "info", seconds=round(time.monotonic() - began, 2))
        except DrcoreError as error:
            self.error, self.state = str(error), "failed"
        except Exception as error:  # noqa: BLE001 - whatever it was, the page must say it failed
            logs.accident("loading the model", error, says=True)
            self.error = "The model could not be loaded. See the server log for details."
            self.state = "failed"
        finally:
            self._done.set()
