"""One photograph of a file that holds several: its name, and what it is read from."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

__all__ = ["DicomFrame", "file_name", "frame_name", "frame_sha256"]

_FRAME_NAME = re.compile(r" frame [1-9][0-9]*(?=(\.[^.]{1,5})?$)")


@dataclass(frozen=True, slots=True)
class DicomFrame:
    """A photograph of a file that holds several, to be read by itself.

    The file may be DICOM, a TIFF with pages, an MPO, or an animated WebP, PNG or GIF:
    `drcore.photograph.frame_count` counts its photographs.

    Attributes:
        file: path, or the encoded bytes of the whole file.
        number: of the frame, from 1.
    """

    file: str | Path | bytes
    number: int

    @property
    def name(self) -> str:
        """Display name where the reader gives none; untrusted text."""
        found = "upload" if isinstance(self.file, bytes) else Path(self.file).name
        return frame_name(found, self.number)


def frame_name(file: str, number: int) -> str:
    """Name a frame after its file: `eye frame 2.dcm`.

    Args:
        file: display name of the file.
        number: of the frame, from 1.

    Returns:
        Display name of the frame.
    """
    stem, dot, ending = file.rpartition(".")
    if not stem or len(ending) > 5:
        stem, dot, ending = file, "", ""
    return f"{stem} frame {number}{dot}{ending}"


def file_name(name: str) -> str:
    """Return the name of the file after which `frame_name` named a frame.

    Args:
        name: of a frame, or of a file.

    Returns:
        The name without the frame's number.
    """
    return _FRAME_NAME.sub("", name)


def frame_sha256(file: hashlib._Hash, number: int) -> str:
    """Return the hash of one photograph of a file that holds several.

    Args:
        file: SHA-256 of the whole file.
        number: of the photograph, from 1.

    Returns:
        Hex digest: no two photographs of a file share it.
    """
    return hashlib.sha256(file.digest() + number.to_bytes(4, "big")).hexdigest()
