"""A photograph that was found, not yet read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from drcore.photographs.dicom_frames import DicomFrame, frame_name
from drcore.photographs.photograph import Source
from drcore.sources.archives import Member
from drcore.sources.remote import Remote

if TYPE_CHECKING:
    from drcore.sources.prefetch import Fetched

__all__ = ["PhotographSource"]


@dataclass(frozen=True, slots=True)
class PhotographSource:
    """A photograph to grade.

    Attributes:
        path: where it lies: a path, an object behind a URL, or a member of an archive.
        image: what the table calls it: one printable line, unique among those found together.
        problem: a sentence where it is known beforehand that it cannot be read.
        frame: of a DICOM file that holds several photographs, from 1; None for other files.
    """

    path: Path | Remote | Member | Fetched
    image: str
    problem: str = ""
    frame: int | None = None

    def source(self) -> tuple[Source, str]:
        """Fetch the photograph, where it does not lie on this computer.

        Returns:
            What `read_photograph` and `Grader.attempt` take: source and display name.

        Raises:
            PhotographError: it cannot be fetched.
        """
        file = self.path if isinstance(self.path, Path) else self.path.read()
        if self.frame is None:
            return file, self.path.name
        return DicomFrame(file, self.frame), frame_name(self.path.name, self.frame)
