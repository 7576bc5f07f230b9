"""Saving an uploaded folder to disk before it is graded."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from drcore.errors import SourceError
from drcore.photographs.formats import EXTENSIONS
from drcore.text import clean_name

if TYPE_CHECKING:
    from drcore.sources.source import PhotographSource
from viewer.server.temporary_folder import TemporaryFolder

__all__ = ["MOST", "RESERVE", "check_upload", "spool"]


MOST = 10_000
"""Files of a folder that the browser may send at once."""

MOST_BYTES = 4 * 1024**3
"""Bytes of such a folder: it passes through memory on its way to the disk."""

RESERVE = 256 * 1024 * 1024
"""Bytes of the disk that copies leave free for everything else."""


def spool(files: Iterable[tuple[str, bytes]]) -> tuple[list[PhotographSource], TemporaryFolder]:
    """Write uploads of a folder to a private folder of this computer, for a long run.

    Names are untrusted: each copy lies in a numbered folder of its own, under a harmless form of
    its name (which may tell eye and patient).

    Args:
        files: path below the dropped folder, and bytes.

    Returns:
        The photographs among them, by the endings that drcore knows, and the folder.

    Raises:
        SourceError: there is no photograph, or the disk is full.
    """
    from drcore.sources.source import PhotographSource

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
            found.append(PhotographSource(copy, image))
    except OSError as error:
        folder.cleanup()
        raise _full(error) from error
    if not found:
        folder.cleanup()
        raise SourceError(
            "There is no photograph in this folder: no file that ends in "
            f"{', '.join(sorted(EXTENSIONS))}. Choose another folder."
        )
    return found, folder


def check_upload(sizes: Sequence[int]) -> None:
    """Refuse a folder that is too large to be sent by a browser.

    Args:
        sizes: of its files, in bytes.

    Raises:
        SourceError: it is.
    """
    if len(sizes) > MOST or sum(sizes) > MOST_BYTES:
        raise SourceError(
            f"This folder has {len(sizes):,} files and {sum(sizes) / 1024**3:.1f} GB; the browser "
            f"may send {MOST:,} files or {MOST_BYTES / 1024**3:.0f} GB at once. Send it in parts, "
            "or put it on the server."
        )


def _image_of(name: str) -> str:
    """What the table calls an upload; empty where it is hidden, or no photograph."""
    raw = [part for part in re.split(r"[\\/]", name) if part not in {"", "."}]
    if not raw or any(part.startswith(".") for part in raw):  # hidden, or ".."
        return ""
    if PurePosixPath(raw[-1]).suffix.lower() not in EXTENSIONS:
        return ""
    return "/".join(_tamed(part) for part in raw)


def _tamed(name: str) -> str:
    """A harmless form of a name that keeps its end, which tells eye and kind."""
    return clean_name(name if len(name) <= 200 else f"{name[:140]}\u2026{name[-50:]}")


def _copied(place: Path, image: str, data: bytes) -> Path:
    if shutil.disk_usage(place.parent).free < len(data) + RESERVE:
        raise OSError(None, "the disk is nearly full")
    last = PurePosixPath(image)
    # Its end tells the eye; file systems take 255 bytes.
    stem = re.sub(r"[^\w.() -]+", "_", last.stem).encode()[-180:].decode(errors="ignore")
    place.mkdir()
    copy = place / f"{stem}{last.suffix.lower()}"
    copy.write_bytes(data)
    return copy


def _full(error: OSError) -> SourceError:
    return SourceError(
        f"The photographs cannot be kept for the run ({error.strerror or 'unknown error'}). "
        "Free some space, or put the folder on the server."
    )
