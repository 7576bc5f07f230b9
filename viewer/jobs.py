"""Batch runs in the background: started by a page, alive across its reruns, ended by a word."""

from __future__ import annotations

import os
import re
import secrets
import tempfile
import threading
import time
import traceback
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Literal

from drcore.errors import DrcoreError, SourceError
from drcore.photograph import EXTENSIONS, clean_name

if TYPE_CHECKING:
    from drcore.batch import Found, Row
    from viewer.engine import Engine

__all__ = ["BatchJob", "Jobs", "Progress", "duration", "filtered", "root_from_environment", "spool"]

State = Literal["waiting", "running", "finished", "cancelled", "failed"]

KEPT = 8
"""Runs that a server remembers; the oldest that has ended goes first."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is.

    Attributes:
        done, total: photographs.
        rate: photographs a second; 0 before the first.
        seconds_left: estimate; None where nothing is known yet or nothing is left.
    """

    done: int
    total: int
    rate: float
    seconds_left: float | None


class BatchJob:
    """One run over many photographs.

    Args:
        found: the photographs, in order.
        title: what the page calls the run; untrusted text.
        spooled: folder of uploaded copies that goes when the run is forgotten.

    Attributes:
        token: names the run to those who know it; not to be guessed.
        state: "waiting" for the model, "running", "finished", "cancelled" or "failed".
        error: a sentence where it failed, else empty.
    """

    def __init__(
        self,
        found: Sequence[Found],
        title: str,
        spooled: tempfile.TemporaryDirectory[str] | None = None,
    ) -> None:
        self.token = secrets.token_urlsafe(12)
        self.found = list(found)
        self.title = title
        self.state: State = "waiting"
        self.error = ""
        self._spooled = spooled
        self._rows: list[Row] = []
        self._stop = threading.Event()
        self._began = self._ended = 0.0
        self._thread: threading.Thread | None = None

    @property
    def rows(self) -> list[Row]:
        """Rows so far; row i is of `found[i]`."""
        return self._rows[:]

    @property
    def active(self) -> bool:
        """True while it waits or runs."""
        return self.state in {"waiting", "running"}

    @property
    def progress(self) -> Progress:
        """How far it is."""
        done, total = len(self._rows), len(self.found)
        elapsed = (self._ended or time.monotonic()) - self._began if self._began else 0.0
        rate = done / elapsed if elapsed > 0 else 0.0
        left = (total - done) / rate if rate > 0 and done < total else None
        return Progress(done, total, rate, left)

    def start(self, engine: Engine) -> None:
        """Begin in a thread, as soon as the model is there."""
        self._thread = threading.Thread(
            target=self._run, args=(engine,), name="drcore-batch", daemon=True
        )
        self._thread.start()

    def cancel(self) -> None:
        """Stop soon; rows that are done stay."""
        self._stop.set()

    def join(self, timeout: float | None = None) -> None:
        """Wait until it has ended.

        Args:
            timeout: seconds; for ever where left out.
        """
        if self._thread is not None:
            self._thread.join(timeout)

    def forget(self) -> None:
        """Stop, and delete uploaded copies."""
        self.cancel()
        if self._spooled is not None:
            self.join(10)
            self._spooled.cleanup()

    def _run(self, engine: Engine) -> None:
        try:
            grader = engine.wait()
            if grader is None:
                self.error = engine.error or "The model is not available."
                self.state = "failed"
                return
            from drcore.batch import grade_batch

            self.state, self._began = "running", time.monotonic()
            workers = max(1, min(4, (os.cpu_count() or 2) // 2))
            for row, _ in grade_batch(grader, self.found, workers=workers, stop=self._stop):
                self._rows.append(row)
            done = len(self._rows) == len(self.found)
            self._ended = time.monotonic()
            self.state = "finished" if done else "cancelled"
        except DrcoreError as error:
            self.error, self.state = str(error), "failed"
        except Exception:  # noqa: BLE001 - whatever it was, the page must say that it ended
            traceback.print_exc()
            self.error = "The run broke off. The server's terminal says why."
            self.state = "failed"
        finally:
            self._ended = self._ended or time.monotonic()


class Jobs:
    """The runs of a server, by token: a reloaded page finds its run again."""

    def __init__(self) -> None:
        self._jobs: OrderedDict[str, BatchJob] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, job: BatchJob) -> None:
        """Remember a run; forget the oldest that has ended, beyond `KEPT`."""
        with self._lock:
            self._jobs[job.token] = job
            ended = [old for old in self._jobs.values() if not old.active]
            excess = ended[: max(0, len(self._jobs) - KEPT)]
            for old in excess:
                del self._jobs[old.token]
        for old in excess:
            old.forget()

    def get(self, token: str | None) -> BatchJob | None:
        """Return the run of a token, or None."""
        with self._lock:
            return self._jobs.get(token or "")

    def forget(self, token: str) -> None:
        """Stop and forget a run."""
        with self._lock:
            job = self._jobs.pop(token, None)
        if job is not None:
            job.forget()


def root_from_environment() -> Path | None:
    """Return the folder of DRCORE_BATCH_ROOT, below which the server's folders may be graded."""
    value = os.environ.get("DRCORE_BATCH_ROOT", "").strip()
    return Path(value) if value else None


def spool(
    files: Iterable[tuple[str, bytes]],
) -> tuple[list[Found], tempfile.TemporaryDirectory[str]]:
    """Write uploads of a folder to a private folder of this computer, for a long run.

    Names are untrusted: each copy lies in a numbered folder of its own, under a harmless form of
    its name (which may tell eye and patient).

    Args:
        files: path below the dropped folder, and bytes.

    Returns:
        The photographs among them, by the endings that drcore knows, and the folder.

    Raises:
        SourceError: there is no photograph, or the disk is full.
    """
    from drcore.batch import Found

    # Goes with its last reference too, should nobody forget the run.
    folder = tempfile.TemporaryDirectory(prefix="drcore-")
    found: list[Found] = []
    names: set[str] = set()
    try:
        for number, (name, data) in enumerate(files, start=1):
            raw = [part for part in re.split(r"[\\/]", name) if part not in {"", "."}]
            if not raw or any(part.startswith(".") for part in raw):  # hidden, or ".."
                continue
            parts = [clean_name(part) for part in raw]
            ending = PurePosixPath(parts[-1]).suffix.lower()
            if ending not in EXTENSIONS:
                continue
            image = "/".join(parts)
            if image in names:
                image = f"{image} ({number})"
            names.add(image)
            place = Path(folder.name, f"{number:06d}")
            place.mkdir()
            # Its end tells the eye; file systems take 255 bytes.
            stem = re.sub(r"[^\w.() -]+", "_", PurePosixPath(parts[-1]).stem).encode()[-180:]
            copy = place / f"{stem.decode(errors='ignore')}{ending}"
            copy.write_bytes(data)
            found.append(Found(copy, image))
    except OSError as error:
        folder.cleanup()
        raise SourceError(
            f"The photographs cannot be kept for the run ({error.strerror}). "
            "Free some space, or put the folder on the server."
        ) from error
    if not found:
        folder.cleanup()
        raise SourceError(
            "There is no photograph in this folder: no file that ends in "
            f"{', '.join(sorted(EXTENSIONS))}. Choose another folder."
        )
    return found, folder


def filtered(
    rows: Sequence[Mapping[str, str]],
    *,
    show: Iterable[str] = (),
    text: str = "",
) -> list[int]:
    """Return which rows to list.

    Args:
        rows: of a run.
        show: grades "0" to "4", "ungradable", "failed"; everything where empty.
        text: part of the image's name, the reason or the patient, in any case.

    Returns:
        Indices of the rows, rising.
    """
    wanted, needle = set(show), text.strip().lower()
    return [
        index
        for index, row in enumerate(rows)
        if (not wanted or (row["grade"] or row["status"]) in wanted)
        and (
            not needle
            or any(needle in row[name].lower() for name in ("image", "reason", "patient"))
        )
    ]


def duration(seconds: float) -> str:
    """Say a time in words: "40 s", "3 min 5 s", "2 h 10 min"."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
