"""The background jobs of this server, by token."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Generic, Protocol, TypeVar

__all__ = ["Job", "Jobs"]


KEPT = 32
"""Runs that a server remembers; the oldest that has ended goes first."""

KEPT_SECONDS = 24 * 3600.0
"""How long a run is remembered after its end, and with it the uploaded copies."""


class Job(Protocol):
    """What the registry needs of a background job."""

    @property
    def token(self) -> str:
        """Secret name of the job, known to its page alone."""

    @property
    def active(self) -> bool:
        """Whether it is waiting or running."""

    @property
    def idle(self) -> float:
        """Seconds since its end."""

    def forget(self) -> None:
        """Stop the job and delete what it keeps."""


J = TypeVar("J", bound=Job)


class Jobs(Generic[J]):
    """The runs of a server, by token: a reloaded page finds its run again."""

    def __init__(self) -> None:
        self._jobs: OrderedDict[str, J] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, job: J) -> None:
        """Remember a run; forget the oldest that have ended, beyond `KEPT`."""
        with self._lock:
            self._jobs[job.token] = job
        self._prune()

    def get(self, token: str | None) -> J | None:
        """Return the run of a token, or None where there is none, or none any more."""
        self._prune()
        with self._lock:
            return self._jobs.get(token or "")

    def forget(self, token: str) -> None:
        """Stop and forget a run."""
        with self._lock:
            job = self._jobs.pop(token, None)
        if job is not None:
            job.forget()

    def _prune(self) -> None:
        with self._lock:
            ended = [job for job in self._jobs.values() if not job.active]
            excess = len(self._jobs) - KEPT
            gone = [j for i, j in enumerate(ended) if i < excess or j.idle > KEPT_SECONDS]
            for job in gone:
                del self._jobs[job.token]
        for job in gone:
            job.forget()
