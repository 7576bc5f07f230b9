"""Background jobs of this server: one base class, and a registry that finds them by token."""

from __future__ import annotations

import secrets
import threading
import time
from abc import ABC, abstractmethod
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, TypeVar

from drcore import logs
from drcore.errors import DrcoreError

if TYPE_CHECKING:
    from viewer.server.temporary_folder import TemporaryFolder

State = Literal["waiting", "running", "finished", "cancelled", "failed"]

MAX_JOBS = 32
"""Jobs that a registry remembers; the oldest that has ended goes first."""

MAX_IDLE = 24 * 3600.0
"""Seconds for which a job is remembered after its end, and its files with it."""


class Job(ABC):
    """Work in a thread of its own: started by a page, alive across its reruns.

    Args:
        files: deleted when the job is forgotten.

    Attributes:
        token: names the job to those who know it; it cannot be guessed.
        state: "waiting", "running", "finished", "cancelled" or "failed".
        error: a sentence if it failed, else empty.
    """

    TITLE: ClassVar[str]
    """What messages call the job, such as "export"."""

    def __init__(self, files: TemporaryFolder | None = None) -> None:
        self.token = secrets.token_urlsafe(24)
        self.state: State = "waiting"
        self.error = ""
        self._files = files
        self._stop = threading.Event()
        self._ended = 0.0
        self._thread: threading.Thread | None = None

    @abstractmethod
    def work(self, *context: Any) -> bool:
        """Work until all is done or `_stop` is set; return whether all is done."""

    @property
    def active(self) -> bool:
        """True while it waits or runs."""
        return self.state in {"waiting", "running"}

    @property
    def idle(self) -> float:
        """Seconds since it ended; 0 while it is active."""
        return 0.0 if self.active else time.monotonic() - self._ended

    def start(self, *context: Any) -> None:
        """Begin in a thread, or resume after the end; `context` is handed to `work`."""
        if self._thread is not None and self._thread.is_alive():
            return
        self._stop.clear()
        self.state, self.error = "waiting", ""
        self._thread = threading.Thread(
            target=self._run, args=context, name=f"drcore-{self.TITLE}", daemon=True
        )
        self._thread.start()

    def cancel(self) -> None:
        """Stop soon; what is done stays."""
        self._stop.set()

    def join(self, timeout: float | None = None) -> None:
        """Wait until it has ended, or for `timeout` seconds."""
        if self._thread is not None:
            self._thread.join(timeout)

    def forget(self) -> None:
        """Stop, and delete its files."""
        self.cancel()
        if self._files is not None:
            self.join(10)
            self._files.cleanup()

    def _run(self, *context: Any) -> None:
        try:
            state: State = "finished" if self.work(*context) else "cancelled"
        except DrcoreError as error:
            self.error, state = str(error), "failed"
        except Exception as error:  # noqa: BLE001 - whatever it was, the page must say that it ended
            logs.accident(f"{self.TITLE} job", error)
            self.error = (
                f"The {self.TITLE} was stopped by an error. See the server log for details."
            )
            state = "failed"
        self._ended, self.state = time.monotonic(), state


J = TypeVar("J", bound=Job)


class JobRegistry(Generic[J]):
    """The jobs of a server by token: a reloaded page finds its job again."""

    def __init__(self) -> None:
        self._jobs: OrderedDict[str, J] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, job: J) -> None:
        """Remember a job; forget the oldest that have ended, beyond `MAX_JOBS`."""
        with self._lock:
            self._jobs[job.token] = job
        self._prune()

    def get(self, token: str | None) -> J | None:
        """Return the job of a token, or None if there is none."""
        self._prune()
        with self._lock:
            return self._jobs.get(token or "")

    def forget(self, token: str) -> None:
        """Stop and forget a job."""
        with self._lock:
            job = self._jobs.pop(token, None)
        if job is not None:
            job.forget()

    def _prune(self) -> None:
        with self._lock:
            ended = [job for job in self._jobs.values() if not job.active]
            excess = len(self._jobs) - MAX_JOBS
            expired = [j for i, j in enumerate(ended) if i < excess or j.idle > MAX_IDLE]
            for job in expired:
                del self._jobs[job.token]
        for job in expired:
            job.forget()
