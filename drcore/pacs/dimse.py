"""An archive that is reached through DICOM messages: C-ECHO, C-FIND, C-GET, C-STORE."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from drcore.errors import PacsError
from drcore.pacs.association import associated, broke_off, refusal
from drcore.pacs.connection import Fetched, FoundStudy, Patience, Query, SentFile
from drcore.pacs.dimse_fetch import fetch_study
from drcore.pacs.dimse_find import find_studies
from drcore.pacs.dimse_send import send_files
from drcore.pacs.object_kinds import NATIVE, VERIFICATION
from drcore.pacs.servers import DicomServer

__all__ = ["DimseConnection"]


class DimseConnection:
    """See `drcore.pacs.connection.Connection`."""

    def __init__(self, server: DicomServer, patience: Patience) -> None:
        self.server = server
        self._patience = patience

    def echo(self) -> None:
        """Check that the archive answers and lets us in."""
        self._patience.of(self._echo)

    def _echo(self) -> None:
        with associated(self.server, [(VERIFICATION, list(NATIVE))]) as association:
            status = association.send_c_echo()
            if "Status" not in status:
                raise broke_off(self.server)
            if status.Status != 0:
                why, passing = refusal(status)
                raise PacsError(f"{self.server.name}: {why}", is_outage=passing)

    def find(self, query: Query, limit: int = 1000) -> list[FoundStudy]:
        """Look for studies."""
        return self._patience.of(lambda: find_studies(self.server, query, limit))

    def fetch(
        self,
        study: FoundStudy,
        folder: Path,
        *,
        modalities: Sequence[str] = (),
        progress: Callable[[int], None] | None = None,
    ) -> Fetched:
        """Fetch the instances of a study that a folder does not hold yet."""
        return fetch_study(self.server, self._patience, study, folder, modalities, progress)

    def send(
        self, files: Sequence[Path], *, progress: Callable[[int], None] | None = None
    ) -> list[SentFile]:
        """Store files in the archive."""
        return send_files(self.server, self._patience, files, progress)
