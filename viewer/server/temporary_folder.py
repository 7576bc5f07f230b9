"""Private temporary folders, deleted when no process uses them."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
import time
import weakref
from pathlib import Path
from typing import BinaryIO

from drcore.files import hold

PREFIX = "drcore-spool-"

_LOCK = ".lock"
_YOUNG = 60.0
"""Seconds in which a folder without a lock may still be getting one."""


class TemporaryFolder:
    """A private folder, deleted by `cleanup`, with its last reference, or at exit.

    `sweep` deletes what a killed process left behind: a folder is in use while its lock is held,
    and the system releases the locks of dead processes.

    Attributes:
        path: the folder, readable by this user alone.

    Raises:
        OSError: it cannot be made.
    """

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix=PREFIX))
        lock = (self.path / _LOCK).open("wb")
        hold(lock.fileno())
        self._end = weakref.finalize(self, _delete, self.path, lock)

    def cleanup(self) -> None:
        """Delete the folder; a second time does nothing."""
        self._end()


def sweep() -> int:
    """Delete the folders that dead processes of this user left; return how many."""
    deleted = 0
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        try:
            if _abandoned(folder):
                shutil.rmtree(folder)
                deleted += 1
        except OSError:  # somebody else's, or another process was quicker
            continue
    return deleted


def _delete(folder: Path, lock: BinaryIO) -> None:
    lock.close()  # first: Windows deletes no open file
    shutil.rmtree(folder, ignore_errors=True)


def _abandoned(folder: Path) -> bool:
    """Whether a folder is ours and nobody holds its lock; `OSError` if it is in use."""
    about = folder.lstat()
    if not stat.S_ISDIR(about.st_mode) or about.st_uid != getattr(os, "getuid", lambda: 0)():
        return False
    lock = folder / _LOCK
    if not lock.exists():
        return time.time() - about.st_mtime > _YOUNG
    with lock.open("rb+") as file:
        hold(file.fileno())
    lock.unlink()  # fails on Windows while the file is open
    return True
