"""Documents on their way to an archive: kept until the archive confirms them."""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from drcore.errors import DrcoreError
from drcore.pacs.connection import Connection
from drcore.text import one_line

__all__ = ["Outbox"]

_AT_ONCE = 50
_FIRST_PAUSE, _LONGEST_PAUSE = 5.0, 300.0


class Outbox:
    """Sends what lies in a folder, in a thread of its own.

    Args:
        folder: one folder for each photograph, with its documents.
        refused: takes what the archive refuses for good.
        connection: to the archive.
        tell: takes a sentence on what failed.
    """

    def __init__(
        self, folder: Path, refused: Path, connection: Connection, tell: Callable[[str], None]
    ) -> None:
        self.counts: Counter[str] = Counter()
        self._folder, self._refused = folder, refused
        self._connection, self._tell = connection, tell
        self._wake, self._ended = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="drcore-outbox", daemon=True)

    def start(self) -> None:
        """Begin to send, with what an earlier run left."""
        self._wake.set()
        self._thread.start()

    def wake(self) -> None:
        """Say that there is something new."""
        self._wake.set()

    def stop(self, patience: float = 10.0) -> None:
        """End after what is under way; the rest waits for the next start."""
        self._ended.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(patience)

    @property
    def waiting(self) -> int:
        """How many documents wait."""
        return len(self._files())

    def _files(self) -> list[Path]:
        return sorted(self._folder.glob("*/*.dcm"))

    def _run(self) -> None:
        pause = 0.0
        while True:
            if pause:
                self._ended.wait(pause)
            else:
                self._wake.wait()
            self._wake.clear()
            if self._ended.is_set():
                return
            outage = self.send_once()
            if outage and not pause:
                self._tell(f"{outage} Documents wait in {self._folder.name}/.")
            if pause and not outage:
                self._tell(f"{self._connection.server.name} answers again.")
            pause = min(max(2 * pause, _FIRST_PAUSE), _LONGEST_PAUSE) if outage else 0.0
            if self._files():
                self._wake.set()

    def send_once(self) -> str:
        """Send a part of what waits.

        Returns:
            A sentence where the archive cannot take it now; empty otherwise.
        """
        files = self._files()[:_AT_ONCE]
        if not files:
            return ""
        outage = ""
        try:
            for sent in self._connection.send(files):
                self.counts[sent.outcome] += 1
                if sent.outcome != "failed":
                    sent.file.unlink(missing_ok=True)
                elif sent.is_outage:
                    outage = sent.why
                else:
                    self._tell(f"{sent.why} It is kept in {self._refused.name}/.")
                    target = self._refused / sent.file.parent.name
                    target.mkdir(parents=True, exist_ok=True)
                    sent.file.replace(target / sent.file.name)
                with contextlib.suppress(OSError):  # it has other documents yet
                    sent.file.parent.rmdir()
        except (DrcoreError, OSError) as error:
            return f"Documents cannot be sent ({one_line(error)})."
        return outage
