"""Sending documents to a PACS in the background, each with its outcome."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from drcore import logs
from drcore.errors import DrcoreError
from viewer.server.jobs import Job
from viewer.server.temporary_folder import TemporaryFolder

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from drcore.export.case import Case
    from drcore.export.deidentification import Disclosure
    from drcore.pacs.connection import Connection, Outcome

Document = Literal["report", "overlay"]


@dataclass(slots=True)
class Item:
    """One document.

    Attributes:
        case: of the photograph.
        document: what is made of it.
        name: of the photograph, as the document names it; untrusted text.
        outcome: None until it was tried.
        why: a sentence if it failed, or was stored with a warning; may hold untrusted text.
        file: once it is made.
        held_back: whether a person has to look at the picture first.
    """

    case: Case
    document: Document
    name: str
    outcome: Outcome | None = None
    why: str = ""
    file: Path | None = None
    held_back: bool = False

    @property
    def missing(self) -> bool:
        """Whether the PACS is not known to have it."""
        return self.outcome in {None, "failed"}


class SendJob(Job):
    """Sends documents of photographs; started again, it sends what is missing.

    Args:
        connection: to the PACS.
        cases: photographs that came as DICOM.
        documents: what to make of each.
        made_at: date of the documents, with a time zone.
        privacy: which patient identifiers they may hold.
        reader: who sends; empty where unknown.
        left_out: sentences on what was omitted before it began.

    Attributes:
        server: name of the PACS.
        items: the documents.
        pictures: those that the page has shown, as JPEG, by SHA-256.
    """

    TITLE = "transfer"

    def __init__(
        self,
        connection: Connection,
        cases: Sequence[Case],
        documents: Sequence[Document],
        *,
        made_at: datetime,
        privacy: Disclosure,
        reader: str = "",
        left_out: Sequence[str] = (),
    ) -> None:
        self._folder = TemporaryFolder()
        super().__init__(self._folder)
        self._connection = connection
        self.server = connection.server.name
        self.made_at, self.privacy, self.reader = made_at, privacy, reader
        self.left_out = tuple(left_out)
        self.pictures: dict[str, bytes] = {}
        self.items = [
            Item(case, document, privacy.apply(case).report.name)
            for case in cases
            for document in documents
        ]

    @property
    def total(self) -> int:
        """Number of documents."""
        return len(self.items)

    @property
    def done(self) -> int:
        """Documents that the PACS has."""
        return sum(not item.missing for item in self.items)

    @property
    def held_back(self) -> tuple[Case, ...]:
        """Photographs whose overlays were held back: there may be writing on them."""
        return tuple(item.case for item in self.items if item.held_back)

    def allow(self, confirmed: frozenset[str]) -> None:
        """Let pictures go that a person has looked at."""
        self.privacy = replace(self.privacy, confirmed=self.privacy.confirmed | confirmed)

    def work(self) -> bool:
        """Send what is missing; return whether everything was tried."""
        self.state = "running"
        missing = [item for item in self.items if item.missing]
        for item in missing:
            item.outcome, item.why = None, ""
        try:
            for item in missing:
                if self._stop.is_set():
                    return False
                self._make(item)
                if item.file is not None and not self._send(item, item.file):
                    self._give_up(item.why)
                    break
        finally:
            outcomes = [item.outcome for item in missing]
            logs.event(
                "sent to PACS", "info", server=self.server, reader=self.reader,
                sent=outcomes.count("sent"), there=outcomes.count("already there"),
                failed=outcomes.count("failed"),
            )  # fmt: skip
        return True

    def _make(self, item: Item) -> None:
        from drcore.export.dicom_documents import overlay_document, report_document
        from drcore.export.withheld import PictureWithheldError

        if item.file is not None:
            return
        make: Callable[..., bytes] = (
            report_document if item.document == "report" else overlay_document
        )
        item.held_back = False
        try:
            data = make(item.case, self.privacy, made_at=self.made_at, same_uids=True)
            file = self._folder.path / f"{self.items.index(item)}.dcm"
            file.write_bytes(data)
            item.file = file
        except PictureWithheldError as error:
            item.outcome, item.why = "failed", str(error)
            item.held_back = error.why == "writing"
        except DrcoreError as error:
            item.outcome, item.why = "failed", str(error)
        except OSError:
            item.outcome = "failed"
            item.why = "Not enough disk space on this server. Free some and try again."

    def _send(self, item: Item, file: Path) -> bool:
        """Send a document; return whether to go on with others."""
        (result,) = self._connection.send([file])
        item.outcome, item.why = result.outcome, result.why
        return not result.is_outage

    def _give_up(self, why: str) -> None:
        for item in self.items:
            if item.outcome is None:
                item.outcome, item.why = "failed", why
