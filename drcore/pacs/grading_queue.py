"""What was received, graded one after the other; a run that was killed goes on where it was."""

from __future__ import annotations

import contextlib
import queue
import shutil
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from drcore.batch.command import refuse_other_model
from drcore.batch.pipeline import BATCH, grade_batch
from drcore.errors import DrcoreError, SourceError
from drcore.export.case import Case
from drcore.export.deidentification import Disclosure
from drcore.export.dicom_documents import overlay_document, report_document
from drcore.files import replacing
from drcore.grading.grader import Grader
from drcore.grading.report import GradeReport
from drcore.photographs.identity import Identity
from drcore.results.table import open_table
from drcore.sources.find import find_inputs
from drcore.sources.source import PhotographSource

__all__ = ["GradingQueue", "write_documents"]

PRIVACY = Disclosure(patient_names=True, burned_in=True)
"""Documents go to an archive that has the photograph itself, and may compare patients' names."""


class GradingQueue:
    """Photographs that wait for their grade, and the table of those that have one.

    Args:
        folder: holds `received/`; gets `grades.csv` and, with documents, `outbox/`.
        grader: of the photographs.
        with_documents: whether structured report and overlay are written.
        workers: threads that read photographs.

    Raises:
        SourceError: the table cannot be continued.
    """

    def __init__(
        self, folder: Path, grader: Grader, *, with_documents: bool = False, workers: int = 1
    ) -> None:
        self.received = folder / "received"
        self.outbox = folder / "outbox"
        self.counts: Counter[str] = Counter()
        self.problems: list[str] = []
        self._drafts = folder / "outbox.drafts"
        self._grader, self._workers = grader, workers
        self._with_documents = with_documents
        self._waiting: queue.Queue[Path] = queue.Queue()
        self.received.mkdir(parents=True, exist_ok=True)
        name = str(folder / "grades.csv")
        self._table = open_table(name, resume=True)
        try:
            refuse_other_model(self._table, grader, name)
            self._table.start()
            self._take_up()
        except BaseException:
            self._table.close()
            raise

    def _take_up(self) -> None:
        """Go on where an earlier run ended."""
        for file in sorted(self.received.glob("*.dcm")):
            if self._table.status(file.name) is None:
                self._waiting.put(file)
        for draft in sorted(self._drafts.glob("*")):
            if self._table.status(draft.name) is None:  # it is graded again, and written again
                shutil.rmtree(draft, ignore_errors=True)
            else:
                self._post(draft)

    @property
    def waiting(self) -> int:
        """How many files wait, about."""
        return self._waiting.qsize()

    def add(self, file: Path) -> None:
        """Let a file that was stored be graded; called from any thread."""
        self._waiting.put(file)

    def grade_some(self, patience: float = 0.5) -> int:
        """Grade a few of the files that wait.

        Args:
            patience: seconds to wait for the first.

        Returns:
            Number of rows that were written.

        Raises:
            DrcoreError: the networks cannot run, or the table cannot be written.
        """
        files: list[Path] = []
        with contextlib.suppress(queue.Empty):
            files.append(self._waiting.get(timeout=patience))
            while len(files) < BATCH:
                files.append(self._waiting.get_nowait())
        found = [
            replace(item, identity=Identity())  # a UID tells no patient
            for item in (find_inputs(files).photographs if files else [])
            if self._table.status(item.image) is None
        ]
        graded = grade_batch(self._grader, found, workers=self._workers)
        with contextlib.closing(graded):
            for item, (row, report) in zip(found, graded, strict=True):
                # Documents first, sent only with their row: killed in between, neither is lost,
                # and no document leaves twice.
                draft = self._draft(item, report) if self._with_documents else None
                self._table.append(row)
                self.counts[row["status"]] += 1
                if draft is not None:
                    self._post(draft)
        return len(found)

    def _draft(self, item: PhotographSource, report: GradeReport) -> Path | None:
        if report.status == "failed":
            return None
        draft = self._drafts / item.image
        shutil.rmtree(draft, ignore_errors=True)
        try:
            self.problems += write_documents(item, report, draft)
        except OSError as error:
            raise SourceError(
                f"{draft.name} cannot be written ({error.strerror or error}). Free some space."
            ) from error
        return draft

    def _post(self, draft: Path) -> None:
        target = self.outbox / draft.name
        try:
            self.outbox.mkdir(parents=True, exist_ok=True)
            if target.exists():
                shutil.rmtree(target)
            draft.rename(target)
        except OSError as error:
            raise SourceError(
                f"{target.name} cannot be written ({error.strerror or error}). Free some space."
            ) from error

    def close(self) -> None:
        """Write the table."""
        self._table.close()


def write_documents(item: PhotographSource, report: GradeReport, folder: Path) -> list[str]:
    """Write structured report and overlay of a photograph.

    Args:
        item: that came as a DICOM file.
        report: of the model.
        folder: gets report.dcm and overlay.dcm; is made.

    Returns:
        A sentence for what could not be made.

    Raises:
        OSError: they cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        case = Case(report, item.source()[0])
        now = datetime.now(UTC).astimezone()
        for kind, document in (("report", report_document), ("overlay", overlay_document)):
            with replacing(folder / f"{kind}.dcm") as part:
                part.write_bytes(document(case, PRIVACY, made_at=now, same_uids=True))
    except DrcoreError as error:
        return [str(error)]
    return []
