"""Many photographs, graded as a stream."""

from __future__ import annotations

import itertools
import threading
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import replace
from typing import TYPE_CHECKING

from drcore.errors import DrcoreError, PhotographError
from drcore.grading.report import log_report
from drcore.photographs.identity import Identity
from drcore.results.columns import row_of

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Sequence

    from drcore.grading.grader import Grader, Prepared
    from drcore.grading.report import GradeReport
    from drcore.results.columns import Row
    from drcore.sources.source import PhotographSource

__all__ = ["BATCH", "grade_batch"]

BATCH = 8
"""Photographs that go through the networks together."""

_NUMBERS = itertools.count()


def grade_batch(
    grader: Grader,
    found: Iterable[PhotographSource],
    *,
    workers: int = 1,
    batch: int = BATCH,
    stop: threading.Event | None = None,
) -> Generator[tuple[Row, GradeReport]]:
    """Grade photographs as a stream: threads read and prepare ahead while the networks run.

    On a CPU each thread takes its photograph from the file through the networks, so that there is
    work for every core at any time. On a GPU the threads read and prepare, and the networks always
    see the same photographs together, those with the same `index // batch`. Memory stays flat: at
    most `2 * batch + workers` photographs are held, without their pixels.

    Args:
        grader: shared freely with other threads.
        found: what to grade.
        workers: threads, at least 1.
        batch: photographs that are begun ahead and, on a GPU, go through the networks together, at
            least 1.
        stop: once set, the stream ends early, after what is in the networks.

    Yields:
        Row and report of each photograph, in order; a bad one has the status "failed".

    Raises:
        DrcoreError: the networks themselves cannot run (out of memory, a lost device).
    """
    stop = stop or threading.Event()
    workers, batch = max(1, workers), max(1, batch)
    readers = _Readers(f"drcore-read-{next(_NUMBERS)}")
    pool = ThreadPoolExecutor(workers, thread_name_prefix=readers.prefix)
    waiting: deque[tuple[PhotographSource, Future[Prepared | GradeReport]]] = deque()
    remaining = iter(found)
    together = 1 if grader.runner.prefers_single else batch

    def read_ahead() -> None:
        while len(waiting) < batch + workers and (item := next(remaining, None)) is not None:
            waiting.append((item, pool.submit(readers.begin, grader, item)))

    try:
        read_ahead()
        while waiting:
            group = [waiting.popleft() for _ in range(min(together, len(waiting)))]
            read_ahead()  # the readers stay busy while the networks run
            if not _all_done([future for _, future in group], stop, readers):
                return
            try:
                reports = grader.finish([future.result() for _, future in group])
            except (RuntimeError, MemoryError) as error:
                raise DrcoreError(
                    f"The networks cannot run ({' '.join(str(error).split())[:200]}). "
                    "Try the CPU, or close other programs."
                ) from error
            for (item, _), report in zip(group, reports, strict=True):
                yield _result(report, item)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _result(report: GradeReport, item: PhotographSource) -> tuple[Row, GradeReport]:
    """Row and report, with whose eye it is as the photograph was found."""
    if report.status != "failed":
        identity = Identity.read_back(
            report.laterality, report.patient, report.exam_date, report.identity_source
        ).from_header.over(item.identity)
        report = replace(
            report, laterality=identity.laterality, patient=identity.patient,
            exam_date=identity.exam_date, identity_source=identity.source,
        )  # fmt: skip
    return row_of(report, item.image, item), report


def _begin(grader: Grader, item: PhotographSource) -> Prepared | GradeReport:
    """Do what a thread can do of a photograph: up to its report, where that needs no others."""
    attempted = _attempt(grader, item)
    return grader.finish([attempted])[0] if grader.runner.prefers_single else attempted


def _attempt(grader: Grader, item: PhotographSource) -> Prepared | GradeReport:
    problem = item.problem
    if not problem:
        try:
            source, name = item.source()
        except PhotographError as error:
            problem = str(error)
    if problem:
        report = grader.failed(item.image, problem)
        log_report(report)
        return report
    return grader.attempt(source, name)


class _Readers:
    """The threads of a pool, counted: one that dies takes its photograph with it, silently.

    A thread of a pool ends early only where memory is so short that not even the exception could be
    handed over; its future would be waited for without end.
    """

    def __init__(self, prefix: str) -> None:
        self.prefix = f"{prefix}-"
        self._most = 0
        self._seen: set[threading.Thread] = set()

    def begin(self, grader: Grader, item: PhotographSource) -> Prepared | GradeReport:
        """Read one photograph, in a thread of the pool."""
        self._seen.add(threading.current_thread())
        return _begin(grader, item)

    def check(self) -> None:
        """Raise if a thread died."""
        alive = sum(thread.name.startswith(self.prefix) for thread in threading.enumerate())
        self._most = max(self._most, alive)
        dead = not all(thread.is_alive() for thread in list(self._seen))
        if dead or alive < self._most:
            raise DrcoreError(
                "Out of memory: a thread that reads images died. Rows so far are saved. Close "
                "other programs, or use fewer workers, and go on with --resume."
            )


def _all_done(
    futures: Sequence[Future[Prepared | GradeReport]], stop: threading.Event, readers: _Readers
) -> bool:
    """Wait for the readers; False as soon as the stream is to stop."""
    while not stop.is_set():
        readers.check()
        if not wait(futures, timeout=0.1).not_done:
            return True
    return False
