"""A ZIP that grows on disk, document by document: safe names, none twice, one date for all."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Self

from drcore.errors import SourceError

if TYPE_CHECKING:
    from datetime import datetime

__all__ = ["ExportArchive", "photograph_stem", "safe_stem"]

_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])", re.IGNORECASE)
_PACKED = frozenset({".jpg", ".pdf"})
"""Endings of what is compressed already."""


def safe_stem(name: str) -> str:
    """Return the readable part of an untrusted name, fit for any file system.

    Args:
        name: of a file, a patient, or anything.

    Returns:
        1 to 60 characters of A-Z, a-z, 0-9, "_" and "-"; never a device of Windows.
    """
    without = re.sub(r"\.[A-Za-z0-9]{1,5}$", "", name)
    stem = re.sub(r"[^A-Za-z0-9_-]+", "_", without).strip("_-")[:60].strip("_-")
    return f"_{stem}" if _RESERVED.fullmatch(stem) else stem or "unnamed"


def photograph_stem(name: str, sha256: str) -> str:
    """Name the documents of a photograph, so that no two photographs share one.

    Args:
        name: of the photograph, or its pseudonym; untrusted.
        sha256: of the photograph, hex.

    Returns:
        The readable part of the name, and the start of the hash unless the name is the hash.
    """
    stem = safe_stem(name)
    return stem if sha256.startswith(stem) else f"{stem}-{sha256[:8]}"


class ExportArchive:
    """A ZIP written document by document; only the current one is in memory.

    Args:
        file: of the ZIP; replaced.
        made_at: date of all members.

    Raises:
        SourceError: the file cannot be written.
    """

    def __init__(self, file: Path, made_at: datetime) -> None:
        self.names: list[str] = []
        self._taken: set[str] = set()
        self._date = (max(made_at.year, 1980), *made_at.timetuple()[1:6])
        try:
            self._zip = zipfile.ZipFile(file, "w", allowZip64=True)
        except OSError as error:
            raise _unwritable(error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def add(self, folder: str, name: str, data: bytes | str) -> str:
        """Write a document.

        Args:
            folder: below which it goes, ours; empty for the top.
            name: stem and ending; the stem went through `safe_stem`.
            data: bytes, or text for UTF-8.

        Returns:
            Its path in the archive: the name, with a number where there was one of that name.

        Raises:
            SourceError: the archive cannot be written.
        """
        path = PurePosixPath(folder, name)
        unique, number = path, 1
        while str(unique).lower() in self._taken:
            number += 1
            unique = path.with_name(f"{path.stem}-{number}{path.suffix}")
        self._taken.add(str(unique).lower())
        entry = zipfile.ZipInfo(str(unique), self._date)
        packed = path.suffix in _PACKED
        entry.compress_type = zipfile.ZIP_STORED if packed else zipfile.ZIP_DEFLATED
        entry.external_attr = 0o644 << 16
        try:
            self._zip.writestr(entry, data)
        except OSError as error:
            raise _unwritable(error) from error
        self.names.append(str(unique))
        return str(unique)

    def close(self) -> None:
        """Write the list of contents and close the file.

        Raises:
            SourceError: the archive cannot be written.
        """
        try:
            self._zip.close()
        except OSError as error:
            raise _unwritable(error) from error


def _unwritable(error: OSError) -> SourceError:
    return SourceError(
        f"The export cannot be written ({error.strerror or error}). Free some space and try again."
    )
