"""Batches in the background: graded photograph by photograph, resumable after a stop."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from drcore import logs
from drcore.errors import CheckpointError
from viewer.server.jobs import Job

if TYPE_CHECKING:
    from drcore.grading.grader import Grader
    from drcore.results.columns import Row
    from drcore.sources.listing import LeftOut
    from drcore.sources.source import PhotographSource
    from viewer.server.model_loader import Engine
    from viewer.server.temporary_folder import TemporaryFolder

MAX_FAILURES = 3
"""Photographs in a row on which the networks may fail before the batch itself stops."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a batch is.

    Attributes:
        done, total: photographs.
        rate: photographs a second; 0 before the first.
        seconds_left: estimate; None if unknown, or if nothing is left.
    """

    done: int
    total: int
    rate: float
    seconds_left: float | None


class BatchJob(Job):
    """Grades many photographs.

    Args:
        found: the photographs, in order.
        title: what the page calls the batch; untrusted text.
        files: uploaded copies, deleted when the batch is forgotten.
        left_out: files of the folder that are not graded.
    """

    TITLE = "batch"

    def __init__(
        self,
        found: Sequence[PhotographSource],
        title: str,
        files: TemporaryFolder | None = None,
        left_out: Sequence[LeftOut] = (),
    ) -> None:
        super().__init__(files)
        self.found = list(found)
        self.title = title
        self.left_out = tuple(left_out)
        self._rows: list[Row] = []
        self._began = 0.0  # of this part of the work, 0 while none is under way
        self._before = 0.0  # seconds of the parts before a stop

    @property
    def rows(self) -> list[Row]:
        """Rows so far; row i belongs to `found[i]`."""
        return self._rows[:]

    @property
    def progress(self) -> Progress:
        """How far it is."""
        done, total = len(self._rows), len(self.found)
        elapsed = self._before + (time.monotonic() - self._began if self._began else 0.0)
        rate = done / elapsed if elapsed > 0 else 0.0
        left = (total - done) / rate if rate > 0 and done < total else None
        return Progress(done, total, rate, left)

    def work(self, engine: Engine) -> bool:
        """Wait for the model, then grade what has no row yet."""
        grader = engine.wait()
        if grader is None:
            raise CheckpointError(engine.error or "The model is not available.")
        self._began, self.state = time.monotonic(), "running"
        try:
            self._grade(grader)
        finally:
            self._before += time.monotonic() - self._began
            self._began = 0.0
        return len(self._rows) == len(self.found)

    def _grade(self, grader: Grader) -> None:
        """Grade what has no row yet; raises if the networks fail `MAX_FAILURES` times in a row."""
        from drcore.batch.pipeline import BATCH, grade_batch
        from drcore.results.columns import row_of

        workers = max(1, min(4, (os.cpu_count() or 2) // 2))
        failures = singly = 0  # up to `singly`, photographs go through the networks one by one
        while len(self._rows) < len(self.found) and not self._stop.is_set():
            begin = len(self._rows)
            single = begin < singly
            stream = grade_batch(
                grader, self.found[begin : singly if single else None],
                workers=workers, batch=1 if single else BATCH, stop=self._stop,
            )  # fmt: skip
            try:
                with closing(stream):
                    for row, _ in stream:
                        self._rows.append(row)
                        failures = 0
            except Exception as error:
                logs.accident("batch job", error)
                place = len(self._rows)
                if not single:
                    singly = place - place % BATCH + BATCH
                    continue
                failures += 1
                if failures >= MAX_FAILURES:
                    raise
                item = self.found[place]
                sentence = f"{item.image}: grading failed. Try this image on its own."
                self._rows.append(row_of(grader.failed(item.image, sentence), item.image, item))


def duration(seconds: float) -> str:
    """Write a time: "40 s", "3 min 5 s", "2 h 10 min"."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
