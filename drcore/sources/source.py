"""A photograph that was found, not yet read."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drcore.photographs.dicom_frames import DicomFrame, frame_name, frame_sha256
from drcore.photographs.identity import Identity
from drcore.photographs.photograph import Source
from drcore.sources.archives import Member
from drcore.sources.remote import Remote
from drcore.sources.upload import Upload

if TYPE_CHECKING:
    from drcore.sources.prefetch import Fetched

__all__ = ["PhotographSource", "file_id"]

_UNKNOWN = Identity()


@dataclass(frozen=True, slots=True)
class PhotographSource:
    """A photograph to grade.

    Attributes:
        path: where it lies: a path, an object behind a URL, a member of an archive, an upload.
        image: what the table calls it: one printable line, unique among those found together.
        problem: a sentence where it is known beforehand that it cannot be read.
        frame: of a file that holds several photographs, from 1; None for other files.
        identity: eye, patient and date as path and pattern say; a DICOM header goes before it.
        name: display name of the file; that of the path where left out.
        root: the folder, archive or URL that was given, of which it is a part; no credentials.
    """

    path: Path | Remote | Member | Upload | Fetched
    image: str
    problem: str = ""
    frame: int | None = None
    identity: Identity = _UNKNOWN
    name: str = ""
    root: str = ""

    @property
    def file_name(self) -> str:
        """Name of the file; untrusted text."""
        return self.name or self.path.name

    def source(self) -> tuple[Source, str]:
        """Fetch the photograph, where it does not lie on this computer."""
        file = self.path if isinstance(self.path, Path) else self.path.read()
        if self.frame is None:
            return file, self.file_name
        return DicomFrame(file, self.frame), frame_name(self.file_name, self.frame)

    def sha256(self) -> str:
        """Read the photograph and return its hash as the report has it."""
        path = self.path
        data = path.read_bytes() if isinstance(path, Path) else path.read()
        digest = hashlib.sha256(data)
        return digest.hexdigest() if self.frame is None else frame_sha256(digest, self.frame)

    @property
    def size(self) -> int | None:
        """Bytes of the file; None where nobody knows before it is read."""
        place: Any = getattr(self.path, "place", self.path)  # of what is being fetched
        size: int | None = place.stat().st_size if isinstance(place, Path) else place.size
        return size


def file_id(place: Path | Remote | Member | Upload | Fetched) -> str:
    """Return a text that names a place and no other; it may hold credentials."""
    place = getattr(place, "place", place)
    if isinstance(place, Member):
        return f"{file_id(place.archive)}!{place.path}!{place.start}"
    if isinstance(place, Remote):
        path = place.path.partition("?")[0]  # a signature changes with each run
        return f"{place.scheme}://{path}"
    if isinstance(place, Path):
        path = os.path.abspath(place)  # noqa: PTH100 - resolve() would follow links
        return os.fsencode(path).decode("utf-8", "backslashreplace")
    return place.name
