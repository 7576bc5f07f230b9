"""Copies of an uploaded folder on this computer's disk, for as long as its run needs them."""

from __future__ import annotations

import os
import re
import shutil
import stat
import tempfile
import time
import weakref
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, BinaryIO

from drcore.errors import SourceError
from drcore.photographs.formats import EXTENSIONS
from drcore.text import clean_name

if TYPE_CHECKING:
    from drcore.sources.source import Found

__all__ = ["MOST", "RESERVE", "Spool", "check_upload", "spool", "sweep"]

PREFIX = "drcore-spool-"

MOST = 10_000
"""Files of a folder that the browser may send at once."""

MOST_BYTES = 4 * 1024**3
"""Bytes of such a folder: it passes through memory on its way to the disk."""

RESERVE = 256 * 1024 * 1024
"""Bytes of the disk that copies leave free for everything else."""

_LOCK = ".lock"
_YOUNG = 60.0
"""Seconds in which a folder without a lock may still be getting one."""


class Spool:
    """A private folder that goes when it is cleaned up, with its last reference, or at the exit.

    What a killed process left behind, `sweep` takes away: the folder is in use for as long as
    somebody holds its lock, and the system lets go of the locks of the dead.

    Attributes:
        path: the folder, readable by this user alone.

    Raises:
        OSError: it cannot be made.
    """

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix=PREFIX))
        lock = (self.path / _LOCK).open("wb")
        _hold(lock)
        self._end = weakref.finalize(self, _delete, self.path, lock)

    def cleanup(self) -> None:
        """Delete the folder; a second time does nothing."""
        self._end()


def spool(files: Iterable[tuple[str, bytes]]) -> tuple[list[Found], Spool]:
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
    from drcore.sources.source import Found

    try:
        folder = Spool()
    except OSError as error:
        raise _full(error) from error
    found: list[Found] = []
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
            found.append(Found(copy, image))
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


def sweep() -> int:
    """Delete the folders of processes of this user that ended without doing so.

    Returns:
        How many there were.
    """
    gone = 0
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        try:
            if _abandoned(folder):
                shutil.rmtree(folder)
                gone += 1
        except OSError:  # somebody else's, or another process was quicker
            continue
    return gone


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


def _delete(folder: Path, lock: BinaryIO) -> None:
    lock.close()  # first: Windows deletes no open file
    shutil.rmtree(folder, ignore_errors=True)


def _hold(lock: BinaryIO) -> None:
    """Take the lock of a folder, where the system has locks.

    Raises:
        OSError: another process holds it.
    """
    try:
        import fcntl
    except ImportError:  # Windows, where an open file is lock enough
        return
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _abandoned(folder: Path) -> bool:
    """Whether a folder is ours and nobody holds its lock.

    Raises:
        OSError: it is in use, or cannot be looked at.
    """
    about = folder.lstat()
    if not stat.S_ISDIR(about.st_mode) or about.st_uid != getattr(os, "getuid", lambda: 0)():
        return False
    lock = folder / _LOCK
    if not lock.exists():
        return time.time() - about.st_mtime > _YOUNG
    with lock.open("rb+") as file:
        _hold(file)
    lock.unlink()  # fails on Windows while the file is open
    return True
