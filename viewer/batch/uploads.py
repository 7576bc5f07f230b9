"""Saves an uploaded folder to disk before it is graded."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from drcore.errors import SourceError
from drcore.text import clean_name
from viewer.server.settings import name_rules
from viewer.server.temporary_folder import TemporaryFolder

if TYPE_CHECKING:
    from drcore.sources.listing import LeftOut
    from drcore.sources.source import PhotographSource

MAX_FILES = 10_000
"""Files of a folder that a browser may upload."""

MAX_BYTES = 4 * 1024**3
"""Bytes of such a folder: it passes through memory on its way to the disk."""

RESERVE = 256 * 1024 * 1024
"""Bytes of the disk that copies leave free."""


def save_upload(
    files: Iterable[tuple[str, bytes]],
) -> tuple[list[PhotographSource], TemporaryFolder, list[LeftOut]]:
    """Write the files of an uploaded folder to a private temporary folder.

    Names are untrusted: each copy lies in a numbered folder of its own, under a harmless form of
    its name. What is a photograph is decided as by `drcore grade`. Returns the photographs, that
    folder and the files left out. Raises `SourceError` if nothing is left, or the disk is full.
    """
    from drcore.batch.summary import left_out_in_words
    from drcore.sources.find import find_uploads

    try:
        folder = TemporaryFolder()
    except OSError as error:
        raise _full(error) from error
    try:
        copies = [
            (name, _copied(folder.path / f"{number:06d}", name, data))
            for number, (name, data) in enumerate(files, start=1)
        ]
        copies.sort(key=lambda copy: re.split(r"[\\/]", copy[0]))  # as `drcore grade` has them
        inputs = find_uploads(copies, name_rules())
    except OSError as error:
        folder.cleanup()
        raise _full(error) from error
    if not inputs.photographs:
        folder.cleanup()
        left_out = left_out_in_words(inputs.left_out, " (", ")")
        raise SourceError(f"No images in this folder{left_out}. Choose another folder.")
    return inputs.photographs, folder, inputs.left_out


def check_upload(sizes: Sequence[int]) -> None:
    """Raise `SourceError` if files of these sizes, in bytes, are too much for an upload."""
    if len(sizes) > MAX_FILES or sum(sizes) > MAX_BYTES:
        raise SourceError(
            f"Folder too large for upload ({len(sizes):,} files, {sum(sizes) / 1024**3:.1f} GB; "
            f"limit {MAX_FILES:,} files, {MAX_BYTES / 1024**3:.0f} GB). Split it, or use a folder "
            "on the server."
        )


def _copied(place: Path, name: str, data: bytes) -> Path:
    if shutil.disk_usage(place.parent).free < len(data) + RESERVE:
        raise OSError(None, "the disk is nearly full")
    last = clean_name(name[-200:])
    stem, dot, ending = last.rpartition(".")
    # File systems allow 255 bytes.
    stem = re.sub(r"[^\w.() -]+", "_", stem or last).encode()[-180:].decode(errors="ignore")
    ending = re.sub(r"[^A-Za-z0-9]+", "", ending) if stem and dot else ""
    place.mkdir()
    copy = place / f"{stem or 'upload'}{dot}{ending.lower()}"
    copy.write_bytes(data)
    return copy


def _full(error: OSError) -> SourceError:
    return SourceError(
        f"The images cannot be stored for the batch ({error.strerror or 'unknown error'}). "
        "Free some space, or use a folder on the server."
    )
