"""An export in the background: it outlives the page's reruns, and its file goes with it."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from drcore import logs
from drcore.errors import DrcoreError
from viewer.server.temporary_folder import TemporaryFolder

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from drcore.export.case import Case
    from drcore.export.deidentification import Disclosure
    from drcore.export.export import Exported, Kind
    from drcore.export.pdf.report import Page

__all__ = ["ExportJob"]

State = Literal["running", "finished", "cancelled", "failed"]


class ExportJob:
    """One export.

    Args:
        cases: photographs.
        kinds: what to make of them.
        made_at: date of the export, with a time zone.
        privacy: what may be told.
        page: size of the reports' paper.
        left_out: sentences on what was left out before it began.

    Attributes:
        token: names the export to those who know it; not to be guessed.
        state: "running", "finished", "cancelled" or "failed".
        error: a sentence where it failed, else empty.
        made_at: date of the export.
        done, total: steps.
        exported: what it came to; None until it has ended well.
        held_back: photographs whose pictures were held back, because there may be writing on them.
        pictures: those that the page has shown, as JPEG, by SHA-256.
        privacy: what may be told.
    """

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
        self.token = secrets.token_urlsafe(24)
        self.state: State = "running"
        self.error = ""
        self.made_at = made_at
        self.done, self.total = 0, 0
        self.exported: Exported | None = None
        self.left_out = tuple(left_out)
        self.held_back: tuple[Case, ...] = ()
        self.privacy = privacy
        self.pictures: dict[str, bytes] = {}
        self._cases: tuple[Case, ...] = tuple(cases)
        self._asked = (tuple(kinds), privacy, page)
        self._stop = threading.Event()
        self._ended = 0.0
        self._thread: threading.Thread | None = None
        self._folder = TemporaryFolder()

    @property
    def file(self) -> Path:
        """Where it is written."""
        return self._folder.path / "export"

    @property
    def file_name(self) -> str:
        """What a download is called."""
        ending = self.exported.ending if self.exported else ".zip"
        return f"drcore-export-{self.made_at:%Y%m%d-%H%M}{ending}"

    @property
    def size(self) -> int:
        """Bytes of the file, 0 where there is none."""
        return self.file.stat().st_size if self.file.exists() else 0

    @property
    def problems(self) -> tuple[str, ...]:
        """A sentence for all that was left out."""
        return (*self.left_out, *(self.exported.problems if self.exported else ()))

    @property
    def active(self) -> bool:
        """True while it runs."""
        return self.state == "running"

    @property
    def idle(self) -> float:
        """Seconds since it ended; 0 while it is active."""
        return 0.0 if self.active else time.monotonic() - self._ended

    def start(self) -> None:
        """Begin in a thread."""
        self._thread = threading.Thread(target=self._run, name="drcore-export", daemon=True)
        self._thread.start()

    def cancel(self) -> None:
        """Stop soon."""
        self._stop.set()

    def join(self, timeout: float | None = None) -> None:
        """Wait until it has ended.

        Args:
            timeout: seconds; for ever where left out.
        """
        if self._thread is not None:
            self._thread.join(timeout)

    def forget(self) -> None:
        """Stop, and delete the file."""
        self.cancel()
        self.join(10)
        self._folder.cleanup()

    def again(self, confirmed: frozenset[str], made_at: datetime) -> ExportJob:
        """Return the same export, with pictures that a person has let go.

        Args:
            confirmed: SHA-256 of photographs on which a person saw no writing that identifies a
                patient.
            made_at: date of the new export, with a time zone.

        Returns:
            A new export, not begun.
        """
        kinds, privacy, page = self._asked
        privacy = replace(privacy, confirmed=privacy.confirmed | confirmed)
        return ExportJob(
            self._cases, kinds, made_at=made_at, privacy=privacy, page=page, left_out=self.left_out
        )

    def _held_back(self) -> tuple[Case, ...]:
        hashes = dict.fromkeys(self.exported.held_back if self.exported else ())
        found = {case.report.sha256: case for case in self._cases}
        return tuple(found[sha256] for sha256 in hashes if sha256 in found)

    def _run(self) -> None:
        from drcore.export.export import write_export

        kinds, privacy, page = self._asked
        try:
            self.exported = write_export(
                self._cases, kinds, self.file, made_at=self.made_at, privacy=privacy, page=page,
                progress=self._tell, stop=self._stop,
            )  # fmt: skip
            state: State = "cancelled" if self.exported.cancelled else "finished"
        except DrcoreError as error:
            self.error, state = str(error), "failed"
        except Exception as error:  # noqa: BLE001 - whatever it was, the page must say that it ended
            logs.accident("an export", error)
            self.error, state = "The export broke off. The server's terminal says why.", "failed"
        self.held_back = self._held_back()
        if not self.held_back:
            self._cases = ()  # photographs held in memory are not held for the download
        self._ended, self.state = time.monotonic(), state

    def _tell(self, done: int, total: int) -> None:
        self.done, self.total = done, total
