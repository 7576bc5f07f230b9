"""Batch runs in the background: started by a page, alive across its reruns, ended by a word."""

from __future__ import annotations

import os
import secrets
import threading
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from drcore import logs
from drcore.errors import DrcoreError

if TYPE_CHECKING:
    from drcore.grading.grader import Grader
    from drcore.results.columns import Row
    from drcore.sources.source import PhotographSource
    from viewer.server.model_loader import Engine
    from viewer.server.temporary_folder import TemporaryFolder

__all__ = ["BatchJob", "Progress", "duration"]


State = Literal["waiting", "running", "finished", "cancelled", "failed"]

_PATIENCE = 3
"""Photographs in a row that may break the networks before the run itself breaks off."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is.

    Attributes:
        done, total: photographs.
        rate: photographs a second; 0 before the first.
        seconds_left: estimate; None where nothing is known yet or nothing is left.
    """

    done: int
    total: int
    rate: float
    seconds_left: float | None


class BatchJob:
    """One run over many photographs.

    Args:
        found: the photographs, in order.
        title: what the page calls the run; untrusted text.
        spooled: uploaded copies, which go when the run is forgotten.

    Attributes:
        token: names the run to those who know it; not to be guessed.
        state: "waiting" for the model, "running", "finished", "cancelled" or "failed".
        error: a sentence where it failed, else empty.
    """

    def __init__(
        self,
        found: Sequence[PhotographSource],
        title: str,
        spooled: TemporaryFolder | None = None,
    ) -> None:
        self.token = secrets.token_urlsafe(12)
        self.found = list(found)
        self.title = title
        self.state: State = "waiting"
        self.error = ""
        self._spooled = spooled
        self._rows: list[Row] = []
        self._stop = threading.Event()
        self._began = self._ended = 0.0
        self._thread: threading.Thread | None = None

    @property
    def rows(self) -> list[Row]:
        """Rows so far; row i is of `found[i]`."""
        return self._rows[:]

    @property
    def active(self) -> bool:
        """True while it waits or runs."""
        return self.state in {"waiting", "running"}

    @property
    def progress(self) -> Progress:
        """How far it is."""
        done, total = len(self._rows), len(self.found)
        elapsed = (self._ended or time.monotonic()) - self._began if self._began else 0.0
        rate = done / elapsed if elapsed > 0 else 0.0
        left = (total - done) / rate if rate > 0 and done < total else None
        return Progress(done, total, rate, left)

    @property
    def idle(self) -> float:
        """Seconds since it ended; 0 while it is active."""
        return 0.0 if self.active else time.monotonic() - self._ended

    def start(self, engine: Engine) -> None:
        """Begin in a thread, as soon as the model is there; an ended run goes on where it was."""
        if self._thread is not None and self._thread.is_alive():
            return
        self._stop.clear()
        self.state, self.error = "waiting", ""
        self._thread = threading.Thread(
            target=self._run, args=(engine,), name="drcore-batch", daemon=True
        )
        self._thread.start()

    def cancel(self) -> None:
        """Stop soon; rows that are done stay."""
        self._stop.set()

    def join(self, timeout: float | None = None) -> None:
        """Wait until it has ended.

        Args:
            timeout: seconds; for ever where left out.
        """
        if self._thread is not None:
            self._thread.join(timeout)

    def forget(self) -> None:
        """Stop, and delete uploaded copies."""
        self.cancel()
        if self._spooled is not None:
            self.join(10)
            self._spooled.cleanup()

    def _run(self, engine: Engine) -> None:
        try:
            grader = engine.wait()
            if grader is None:
                self._end("failed", engine.error or "The model is not available.")
                return
            # Time and rows of an earlier part count on.
            self._began = time.monotonic() - (self._ended - self._began)
            self._ended = 0.0
            self.state = "running"
            self._grade(grader)
            self._end("finished" if len(self._rows) == len(self.found) else "cancelled")
        except DrcoreError as error:
            self._end("failed", str(error))
        except Exception as error:  # noqa: BLE001 - whatever it was, the page must say that it ended
            logs.accident("a batch run", error)
            self._end("failed", "The run broke off. The server's terminal says why.")

    def _end(self, state: State, error: str = "") -> None:
        self._ended = time.monotonic()
        self._began = self._began or self._ended
        self.error, self.state = error, state

    def _grade(self, grader: Grader) -> None:
        """Grade what has no row yet; what breaks the networks even alone gets a row that says so.

        Raises:
            Exception: whatever broke them `_PATIENCE` times in a row.
        """
        from drcore.batch.pipeline import BATCH, grade_batch
        from drcore.results.columns import row_of

        workers = max(1, min(4, (os.cpu_count() or 2) // 2))
        broken = alone = 0  # up to `alone`, each photograph goes through the networks by itself
        while len(self._rows) < len(self.found) and not self._stop.is_set():
            begin = len(self._rows)
            careful = begin < alone
            stream = grade_batch(
                grader, self.found[begin : alone if careful else None],
                workers=workers, batch=1 if careful else BATCH, stop=self._stop,
            )  # fmt: skip
            try:
                with closing(stream):
                    for row, _ in stream:
                        self._rows.append(row)
                        broken = 0
            except Exception as error:
                logs.accident("a batch run", error)
                place = len(self._rows)
                if not careful:
                    alone = place - place % BATCH + BATCH
                    continue
                broken += 1
                if broken >= _PATIENCE:
                    raise
                item = self.found[place]
                sentence = f"{item.image}: the networks broke off here. Grade it by itself."
                self._rows.append(row_of(grader.failed(item.image, sentence), item.image, item))


def duration(seconds: float) -> str:
    """Say a time in words: "40 s", "3 min 5 s", "2 h 10 min"."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
