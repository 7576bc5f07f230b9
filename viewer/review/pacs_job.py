"""Fetching studies from a PACS in the background."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from drcore.errors import DrcoreError
from viewer.server.jobs import Job
from viewer.server.temporary_folder import TemporaryFolder

if TYPE_CHECKING:
    from pathlib import Path

    from drcore.pacs.connection import Connection, Fetched, FoundStudy

MODALITIES = ("OP", "XC", "OT", "SC")
"""Of series that hold photographs: cameras, and secondary captures of older ones."""


class FetchJob(Job):
    """Fetches the photographs of studies.

    Args:
        connection: to the PACS.
        studies: found there.

    Attributes:
        server: name of the PACS.
        total: number of studies.
        done: studies that are settled.
        images: photographs that have come so far.
        files: of photographs, each with the name that the list gives it.
        problems: a sentence for everything that did not come; may hold untrusted text.
    """

    TITLE = "fetch"

    def __init__(self, connection: Connection, studies: Sequence[FoundStudy]) -> None:
        self._folder = TemporaryFolder()
        super().__init__(self._folder)
        self._connection, self._studies = connection, tuple(studies)
        self.server = connection.server.name
        self.total, self.done, self.images = len(self._studies), 0, 0
        self.files: list[tuple[str, Path]] = []
        self.problems: list[str] = []

    def work(self) -> bool:
        """Fetch study after study; return whether all were tried."""
        self.state = "running"
        for number, study in enumerate(self._studies, start=1):
            if self._stop.is_set():
                return False
            try:
                fetched = self._fetch(study, number)
            except DrcoreError as error:
                self.problems.append(str(error))
                if error.is_outage:  # it was tried more than once
                    break
            else:
                self._take(study, fetched)
            self.done = number
        if self.done < self.total:
            self.problems.append(f"Not fetched: {_studies(self.total - self.done)}.")
        return True

    def _fetch(self, study: FoundStudy, number: int) -> Fetched:
        before = len(self.files)

        def progressed(images: int) -> None:
            self.images = before + images

        folder = self._folder.path / str(number)
        return self._connection.fetch(study, folder, modalities=MODALITIES, progress=progressed)

    def _take(self, study: FoundStudy, fetched: Fetched) -> None:
        day = study.date if len(study.date) == 8 and study.date.isdecimal() else "undated"
        # The same name each time, so that a photograph that is fetched again is known.
        self.files += [(f"{day}-{file.stem[-8:]}.dcm", file) for file in fetched.files]
        self.images = len(self.files)
        self.problems += fetched.problems
        if not fetched.files and not fetched.problems:
            self.problems.append(
                f"{self.server}: a study of {day} has no photographs "
                f"({', '.join(study.modalities) or 'modality unknown'})."
            )


def _studies(number: int) -> str:
    return "1 study" if number == 1 else f"{number} studies"
