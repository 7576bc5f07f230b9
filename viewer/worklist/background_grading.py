"""Grades the photographs of a worklist in a thread, the selected one first."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING

from drcore import logs
from drcore.errors import DrcoreError, SourceError
from viewer.server.limits import BACKGROUND
from viewer.worklist.stored_worklist import file_stamp

if TYPE_CHECKING:
    from drcore.grading.grader import Grader
    from drcore.grading.report import GradeReport
    from drcore.reviews.decision import Decision
    from viewer.worklist.entry import Entry
    from viewer.worklist.worklist import Worklist

Lookup = Callable[[str], "Decision | None"]
"""From the SHA-256 of a file to the latest decision on it."""

_STARTING = threading.Lock()


def work_ahead(worklist: Worklist, grader: Grader, latest: Lookup | None = None) -> None:
    """Grade what is pending, in a thread that ends when all is done.

    The thread does not keep the list alive: it ends with the session.
    """
    with _STARTING:
        busy = worklist.thread is not None and worklist.thread.is_alive()
        if busy or _next_to_grade(worklist) is None:
            return
        worklist.thread = threading.Thread(
            target=_work, args=(weakref.ref(worklist), grader, latest), daemon=True,
            name="drcore-worklist",
        )  # fmt: skip
        worklist.thread.start()


def do_next(worklist: Worklist, grader: Grader, latest: Lookup | None = None) -> bool:
    """Grade one entry; return False if none was left."""
    entry = _next_to_grade(worklist)
    if entry is not None:
        grade(worklist, entry, grader, latest)
    return entry is not None


def grade(worklist: Worklist, entry: Entry, grader: Grader, latest: Lookup | None = None) -> None:
    """Grade an entry, unless that was done; never raises for a bad photograph.

    `latest` finds the decision that was made on the same file before.
    """
    with entry.lock:
        if entry.report is not None:
            return
        saved = worklist.saved_report(entry, grader)
        report = saved or _graded(worklist, entry, grader)
        correction = None
        if report.sha256:
            find = worklist.correction_of
            try:
                entry.decision = latest(report.sha256) if latest else None
                correction = find(report.sha256) if find else None
            except DrcoreError:  # the page says so when it saves; grading goes on
                entry.decision = None
        if correction is not None:
            day = correction.exam_date
            entry.correct(
                correction.laterality, correction.patient,
                entry.exam_date if day is None else day or None,
            )  # fmt: skip
        worklist.set_report(entry, report, save=saved is None or correction is not None)


def _next_to_grade(worklist: Worklist) -> Entry | None:
    """The selected entry, then those after it, then those that are not shown."""
    if not worklist.pending:
        return None
    return next((entry for entry in worklist.upcoming if entry.report is None), None)


def _graded(worklist: Worklist, entry: Entry, grader: Grader) -> GradeReport:
    from viewer.worklist.renditions import thumbnail

    worklist.copy_file(entry)
    name, before = entry.file_name, file_stamp(entry.source)
    if not before:
        return grader.failed(
            name, f"{name}: the file no longer exists. Remove it from the list and add it again."
        )
    report = next(grader.grade_many([(name, entry.source)]))
    if report.status != "failed":
        try:
            entry.thumbnail = thumbnail(entry.source_shown(), name=name)
            if file_stamp(entry.source) != before:
                raise SourceError(f"{name}: the file changed during grading.")
        except DrcoreError as error:  # the file was changed or deleted meanwhile
            report = grader.failed(name, str(error))
    return report


def _work(ref: weakref.ref[Worklist], grader: Grader, latest: Lookup | None) -> None:
    more = True
    while more:
        with BACKGROUND:
            worklist = ref()
            if worklist is None:
                return
            try:
                more = do_next(worklist, grader, latest)
            except Exception as error:  # noqa: BLE001 - the page meets it again and reports it
                logs.accident("background grading", error)
                return
            del worklist
