"""Files that are replaced whole or not at all, and the mark of those that drcore derives."""

from __future__ import annotations

import os
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["DERIVED_MARK", "copy_mode", "hold", "replacing"]

DERIVED_MARK = b"drcore: derived picture, not a photograph"
"""JPEG comment or PNG text of every picture that drcore writes: such files are never graded."""


@contextmanager
def replacing(file: Path) -> Generator[Path]:
    """Write a file so that it is replaced whole or not at all.

    Args:
        file: to be replaced, or made.

    Yields:
        Path in the same folder to write to; it takes the place of the file when the block ends,
        and is deleted when the block raises.

    Raises:
        OSError: the file cannot be written.
    """
    part = file.with_name(f".{file.name}.{os.getpid()}.{threading.get_ident()}.part")
    try:
        yield part
        os.replace(part, file)  # noqa: PTH105 - over a file that exists, on Windows too
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def copy_mode(source: Path, target: Path) -> None:
    """Let the same users read and write a file who may another, as far as the system can."""
    with suppress(OSError):
        target.chmod(source.stat().st_mode & 0o777)


def hold(file: int) -> bool:
    """Lock an open file for this process.

    Args:
        file: its descriptor; the lock goes with it.

    Returns:
        False where the system or the file system has no locks.

    Raises:
        BlockingIOError: another process holds it.
    """
    try:
        import fcntl
    except ImportError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:
        return False
    return True
