"""What can be done with an archive, whichever way it is reached."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, TypeVar

from drcore.errors import PacsError
from drcore.pacs.servers import DicomServer, WebServer
from drcore.text import printable

__all__ = [
    "Connection", "Fetched", "FoundStudy", "Outcome", "Patience", "Query", "SentFile", "connect",
]  # fmt: skip

T = TypeVar("T")

Outcome = Literal["sent", "already there", "failed"]


@dataclass(frozen=True, slots=True)
class Patience:
    """How often what a server may be able to do later is tried.

    Attributes:
        tries: in all, at least 1.
        pause: seconds before the second try, doubled before each further one.
        longest: seconds of a pause at most.
    """

    tries: int = 4
    pause: float = 1.0
    longest: float = 20.0

    def of(self, action: Callable[[], T]) -> T:
        """Do what may fail for a moment.

        Raises:
            PacsError: the action failed for good, or each time.
        """
        for number in range(self.tries):
            try:
                return action()
            except PacsError as error:
                if not error.is_outage or number == self.tries - 1:
                    raise
                asked = error.retry_after
            self.wait(number, asked)
        raise AssertionError  # the last try returned or raised

    def wait(self, number: int, asked: float = 0.0) -> None:
        """Pause after try `number`, counted from 0, for as long as the server asked at least."""
        time.sleep(min(max(self.pause * 2**number, asked), self.longest))


@dataclass(frozen=True, slots=True)
class Query:
    """Which studies to look for; what is left out matches any.

    Attributes:
        patient_id, accession, study_uid: whole values. `*` and `?` are wildcards in the first two.
        first_date, last_date: of the study, YYYYMMDD, both included.
        modalities: of which the study has one, such as ("OP", "OPT").
        station: name of the station of one of its series.
    """

    patient_id: str = ""
    accession: str = ""
    study_uid: str = ""
    first_date: str = ""
    last_date: str = ""
    modalities: tuple[str, ...] = ()
    station: str = ""

    def check(self) -> None:
        """Refuse a query that asks for everything, or for a day that is none.

        Raises:
            PacsError: it does.
        """
        names = f"{self.patient_id}{self.accession}".strip("*? ")
        others = (self.study_uid, self.first_date, self.last_date, self.modalities, self.station)
        if not names and not any(others):
            raise PacsError(
                "Say which studies to look for: patient, accession number, dates, modality or "
                "station. A whole archive is not listed."
            )
        for day in (self.first_date, self.last_date):
            if day and not (len(day) == 8 and day.isascii() and day.isdigit()):
                raise PacsError(f"{printable(day)[:40]} is no date. Write it as 20260131.")


@dataclass(frozen=True, slots=True)
class FoundStudy:
    """A study that an archive has; all text is untrusted but holds no control characters.

    Attributes:
        study_uid: Study Instance UID, checked to be one.
        patient_id, patient_name, accession, date, time, description: empty where not told.
        modalities: in the study.
        instances: number of them; None where the archive does not tell.
    """

    study_uid: str
    patient_id: str = ""
    patient_name: str = ""
    accession: str = ""
    date: str = ""
    time: str = ""
    description: str = ""
    modalities: tuple[str, ...] = ()
    instances: int | None = None


@dataclass(frozen=True, slots=True)
class Fetched:
    """What came of fetching a study.

    Attributes:
        files: of the study that are in the folder now, by name.
        new: how many of them were fetched; the others were there before.
        missing: how many the archive has that did not come, as far as it tells.
        problems: a sentence for each kind of failure; empty where all came.
        is_outage: whether fetching again later may bring the rest.
    """

    files: tuple[Path, ...]
    new: int = 0
    missing: int = 0
    problems: tuple[str, ...] = ()
    is_outage: bool = False


@dataclass(frozen=True, slots=True)
class SentFile:
    """What became of a file that was to be sent.

    Attributes:
        file: as given.
        sop_instance_uid: of the file; empty where it could not be read.
        outcome: "sent" when the server confirmed it, "already there" when the server had it.
        why: a sentence where it failed, or was stored with a warning.
        is_outage: whether sending again later may succeed.
    """

    file: Path
    sop_instance_uid: str
    outcome: Outcome
    why: str = ""
    is_outage: bool = False


class Connection(Protocol):
    """An archive. Each call opens what it needs and closes it again."""

    @property
    def server(self) -> DicomServer | WebServer:
        """The server, as the servers file describes it."""
        ...

    def echo(self) -> None:
        """Check that the server answers and lets drcore in.

        Raises:
            PacsError: it does not.
        """
        ...

    def find(self, query: Query, limit: int = 1000) -> list[FoundStudy]:
        """Look for studies.

        Args:
            query: which; one without any condition is refused.
            limit: studies to return at most.

        Raises:
            PacsError: the query is refused, or the server fails.
        """
        ...

    def fetch(
        self,
        study: FoundStudy,
        folder: Path,
        *,
        modalities: Sequence[str] = (),
        progress: Callable[[int], None] | None = None,
    ) -> Fetched:
        """Fetch the instances of a study that a folder does not hold yet.

        Args:
            study: found before.
            folder: is made; each instance becomes UID.dcm, written whole or not at all.
            modalities: of the series to fetch; all where empty.
            progress: called with the number of instances so far.

        Raises:
            PacsError: the archive failed before anything was fetched.
            SourceError: the folder cannot be written to.
        """
        ...

    def send(
        self, files: Sequence[Path], *, progress: Callable[[int], None] | None = None
    ) -> list[SentFile]:
        """Store files in the archive; what it has already is not sent again.

        Args:
            files: DICOM files. Two with the same SOP Instance UID are one.
            progress: called with the number of files that are settled so far.

        Returns:
            One for each file, in order. No failure of one file or of the server raises.
        """
        ...


def connect(server: DicomServer | WebServer, patience: Patience | None = None) -> Connection:
    """Return the connection to a server; nothing is asked of it yet.

    Args:
        server: of the servers file.
        patience: with its outages.

    Raises:
        PacsError: the extra `pacs` is not installed, or a variable of the server is not set.
    """
    try:
        if isinstance(server, DicomServer):
            from drcore.pacs.dimse import DimseConnection

            return DimseConnection(server, patience or Patience())
        from drcore.pacs.web import WebConnection

        return WebConnection(server, patience or Patience())
    except ImportError as error:
        raise PacsError(
            f"{server.name}: talking to an archive needs the extra 'pacs'. Install it: "
            'python -m pip install "drcore[pacs]"'
        ) from error
