"""An archive in memory, for pages that talk to one."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pydicom

from drcore.errors import PacsError
from drcore.pacs.connection import Fetched, FoundStudy, Query, SentFile


class MemoryArchive:
    """Holds DICOM files by SOP Instance UID; see `drcore.pacs.connection.Connection`.

    Attributes:
        stored: what it holds.
        refusals: what it says to the next files that are sent, and whether that is an outage.
        queries: that it was asked.
        problems: what it says to each study that is fetched.
    """

    server = SimpleNamespace(name="clinic")

    def __init__(self, *files: bytes) -> None:
        self.stored: dict[str, bytes] = {}
        self.refusals: list[tuple[str, bool]] = []
        self.queries: list[Query] = []
        self.problems: tuple[str, ...] = ()
        for data in files:
            self.stored[str(parsed(data).SOPInstanceUID)] = data

    def find(self, query: Query, limit: int = 1000) -> list[FoundStudy]:
        self.queries.append(query)
        if self.refusals:
            raise PacsError(self.refusals.pop(0)[0])
        found: dict[str, FoundStudy] = {}
        for one in map(parsed, self.stored.values()):
            uid, patient = str(one.StudyInstanceUID), str(one.PatientID)
            if query.patient_id in {"", patient}:
                found[uid] = FoundStudy(uid, patient, date=str(one.StudyDate), modalities=("OP",))
        return list(found.values())[:limit]

    def fetch(self, study: FoundStudy, folder: Path, **_: object) -> Fetched:
        folder.mkdir(parents=True)
        files = []
        for uid, data in self.stored.items():
            if parsed(data).StudyInstanceUID == study.study_uid:
                files.append(folder / f"{uid}.dcm")
                files[-1].write_bytes(data)
        return Fetched(tuple(files), len(files), problems=self.problems)

    def send(self, files: Sequence[Path]) -> list[SentFile]:
        return [self._send(file) for file in files]

    def _send(self, file: Path) -> SentFile:
        data = file.read_bytes()
        uid = str(parsed(data).SOPInstanceUID)
        if self.refusals:
            why, is_outage = self.refusals.pop(0)
            return SentFile(file, uid, "failed", why, is_outage)
        if uid in self.stored:
            return SentFile(file, uid, "already there")
        self.stored[uid] = data
        return SentFile(file, uid, "sent")


def parsed(data: bytes) -> pydicom.Dataset:
    """Read a DICOM file."""
    return pydicom.dcmread(io.BytesIO(data))
