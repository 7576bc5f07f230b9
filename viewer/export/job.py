"""Exports in the background, each with the file that it writes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from viewer.server.jobs import Job
from viewer.server.temporary_folder import TemporaryFolder

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from drcore.export.case import Case
    from drcore.export.deidentification import Disclosure
    from drcore.export.export import Exported, Kind
    from drcore.export.pdf.report import Page


class ExportJob(Job):
    """Writes one export.

    Args:
        cases: photographs.
        kinds: formats.
        made_at: date of the export, with a time zone.
        privacy: which patient identifiers it may hold.
        page: paper size of the reports.
        left_out: sentences on what was omitted before it began.

    Attributes:
        made_at: date of the export.
        done, total: steps.
        exported: the result; None until it has ended well.
        held_back: photographs whose pictures were held back, because there may be writing on them.
        pictures: those that the page has shown, as JPEG, by SHA-256.
        privacy: which patient identifiers it may hold.
    """

    TITLE = "export"

    def __init__(
        self,
        cases: Sequence[Case],
        kinds: Sequence[Kind],
        *,
        made_at: datetime,
        privacy: Disclosure,
        page: Page = "A4",
        left_out: Sequence[str] = (),
    ) -> None:
        self._folder = TemporaryFolder()
        super().__init__(self._folder)
        self.made_at = made_at
        self.done, self.total = 0, 0
        self.exported: Exported | None = None
        self.left_out = tuple(left_out)
        self.held_back: tuple[Case, ...] = ()
        self.privacy = privacy
        self.pictures: dict[str, bytes] = {}
        self._cases: tuple[Case, ...] = tuple(cases)
        self._asked = (tuple(kinds), privacy, page)

    @property
    def file(self) -> Path:
        """Where it is written."""
        return self._folder.path / "export"

    @property
    def file_name(self) -> str:
        """Name of the download."""
        ending = self.exported.ending if self.exported else ".zip"
        return f"drcore-export-{self.made_at:%Y%m%d-%H%M}{ending}"

    @property
    def size(self) -> int:
        """Bytes of the file, 0 if there is none."""
        return self.file.stat().st_size if self.file.exists() else 0

    @property
    def problems(self) -> tuple[str, ...]:
        """A sentence for everything that was omitted."""
        return (*self.left_out, *(self.exported.problems if self.exported else ()))

    def again(self, confirmed: frozenset[str], made_at: datetime) -> ExportJob:
        """Return the same export, not begun, with the pictures that a person has confirmed."""
        kinds, privacy, page = self._asked
        privacy = replace(privacy, confirmed=privacy.confirmed | confirmed)
        return ExportJob(
            self._cases, kinds, made_at=made_at, privacy=privacy, page=page, left_out=self.left_out
        )

    def work(self) -> bool:
        """Write the file; return whether all of it was written."""
        from drcore.export.export import write_export

        self.state = "running"
        kinds, privacy, page = self._asked
        try:
            self.exported = write_export(
                self._cases, kinds, self.file, made_at=self.made_at, privacy=privacy, page=page,
                progress=self._progressed, stop=self._stop,
            )  # fmt: skip
        finally:
            self.held_back = self._held_back()
            if not self.held_back:
                self._cases = ()  # photographs held in memory are not held for the download
        return not self.exported.cancelled

    def _held_back(self) -> tuple[Case, ...]:
        hashes = dict.fromkeys(self.exported.held_back if self.exported else ())
        found = {case.report.sha256: case for case in self._cases}
        return tuple(found[sha256] for sha256 in hashes if sha256 in found)

    def _progressed(self, done: int, total: int) -> None:
        self.done, self.total = done, total
