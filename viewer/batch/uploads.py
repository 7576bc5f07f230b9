"""Saves an uploaded folder to disk before it is graded."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from drcore.errors import SourceError
from drcore.photographs.formats import EXTENSIONS
from drcore.text import clean_name
from viewer.server.temporary_folder import TemporaryFolder

if TYPE_CHECKING:
    from drcore.sources.source import PhotographSource

MAX_FILES = 10_000
"""Files of a folder that a browser may upload."""

MAX_BYTES = 4 * 1024**3
"""Bytes of such a folder: it passes through memory on its way to the disk."""

RESERVE = 256 * 1024 * 1024
"""Bytes of the disk that copies leave free."""


def save_upload(
    files: Iterable[tuple[str, bytes]],
) -> tuple[list[PhotographSource], TemporaryFolder]:
    """Write the files of an uploaded folder to a private temporary folder.

    Names are untrusted: each copy lies in a numbered folder of its own, under a harmless form of
    its name. Files that are hidden or have no photograph's extension are skipped. Raises
    `SourceError` if nothing is left, or the disk is full.
    """
    from drcore.photographs.identity import NameRules
    from drcore.sources.source import PhotographSource

    rules = NameRules()
    try:
        folder = TemporaryFolder()
    except OSError as error:
        raise _full(error) from error
    found: list[PhotographSource] = []
    names: set[str] = set()
    try:
        for number, (name, data) in enumerate(files, start=1):
            image = _image_of(name)
            if not image:
                continue
            copy = _copied(folder.path / f"{number:06d}", image, data)
            if image in names:
                image = f"{image} ({number})"
            names.add(image)
            found.append(PhotographSource(copy, image, identity=rules.read(image)))
    except OSError as error:
        folder.cleanup()
        raise _full(error) from error
    if not found:
        folder.cleanup()
        raise SourceError(f"No images in this folder (supported: {', '.join(sorted(EXTENSIONS))}).")
    return found, folder


def check_upload(sizes: Sequence[int]) -> None:
    """Raise `SourceError` if files of these sizes, in bytes, are too much for an upload."""
    if len(sizes) > MAX_FILES or sum(sizes) > MAX_BYTES:
        raise SourceError(
            f"Folder too large for upload ({len(sizes):,} files, {sum(sizes) / 1024**3:.1f} GB; "
            f"limit {MAX_FILES:,} files, {MAX_BYTES / 1024**3:.0f} GB). Split it, or use a folder "
            "on the server."
        )


def _image_of(name: str) -> str:
    """The name of an upload in the table; empty if it is hidden or not a photograph."""
    raw = [part for part in re.split(r"[\\/]", name) if part not in {"", "."}]
    if not raw or any(part.startswith(".") for part in raw):  # hidden, or ".."
        return ""
    if PurePosixPath(raw[-1]).suffix.lower() not in EXTENSIONS:
        return ""
    return "/".join(_harmless(part) for part in raw)


def _harmless(name: str) -> str:
    """A harmless form of a name that keeps its end, which may hold the eye."""
    return clean_name(name if len(name) <= 200 else f"{name[:140]}\u2026{name[-50:]}")


def _copied(place: Path, image: str, data: bytes) -> Path:
    if shutil.disk_usage(place.parent).free < len(data) + RESERVE:
        raise OSError(None, "the disk is nearly full")
    last = PurePosixPath(image)
    # The end may hold the eye; file systems allow 255 bytes.
    stem = re.sub(r"[^\w.() -]+", "_", last.stem).encode()[-180:].decode(errors="ignore")
    place.mkdir()
    copy = place / f"{stem}{last.suffix.lower()}"
    copy.write_bytes(data)
    return copy


def _full(error: OSError) -> SourceError:
    return SourceError(
        f"The images cannot be stored for the batch ({error.strerror or 'unknown error'}). "
        "Free some space, or use a folder on the server."
    )
