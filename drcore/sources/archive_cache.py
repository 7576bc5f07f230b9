"""Temporary copies of the few archives that cannot be read in parts where they lie."""

from __future__ import annotations

import gzip
import io
import os
import shutil
import tempfile
import threading
import weakref
import zlib
from collections import OrderedDict
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from drcore.errors import SourceError
from drcore.photographs.photograph import MAX_BYTES
from drcore.sources.remote import Remote
from drcore.sources.upload import Upload
from drcore.text import clean_name

__all__ = ["MAX_RATIO", "Archive", "copies", "needs_copy"]

Archive = Path | Remote | Upload

MAX_RATIO = 100
"""How many times its own size an archive may unpack to: ten times what photographs reach."""

MAX_UNPACKED = 16 * 1024 * 1024 * 1024
"""Largest temporary file, in bytes: a TAR file unpacked from its gzip, or an https archive."""

MAX_COPIES = 2
"""Temporary files kept: the shard that is read, and the one read ahead."""

_GZIPPED = (".tar.gz", ".tgz")
_GZIP_MARK = b"\x1f\x8b"


def needs_copy(archive: Archive) -> bool:
    """Tell whether parts of an archive can only be read from a temporary file."""
    if isinstance(archive, Remote):
        return _is_gzipped(archive) or not archive.seekable
    return _is_gzipped(archive)


def _is_gzipped(archive: Archive) -> bool:
    """By its content where that is at hand, else by its name."""
    if isinstance(archive, Upload):
        return archive.data.startswith(_GZIP_MARK)
    if isinstance(archive, Remote) or not archive.is_file():
        return archive.name.lower().endswith(_GZIPPED)
    with archive.open("rb") as file:
        return file.read(2) == _GZIP_MARK


class _Copy:
    """A temporary file without a name: it goes with its last user, however that ends."""

    def __init__(self) -> None:
        self.file: BinaryIO = cast("BinaryIO", tempfile.TemporaryFile(prefix="drcore-"))  # noqa: SIM115
        weakref.finalize(self, self.file.close)

    def fileno(self) -> int:
        return self.file.fileno()


class _Copies:
    """The few archives that this process holds as temporary files, last used last."""

    def __init__(self) -> None:
        self._copies: OrderedDict[Archive, _Copy] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, archive: Archive) -> _Copy:
        """Return the copy of an archive, made now or before."""
        with self._lock:  # one at a time: two copies would only share the same disk and network
            if archive not in self._copies:
                while len(self._copies) >= MAX_COPIES:
                    self._copies.popitem(last=False)
                self._copies[archive] = _copy_of(archive)
            self._copies.move_to_end(archive)
            return self._copies[archive]


copies = _Copies()
"""Of this process."""


def _copy_of(archive: Archive) -> _Copy:
    label = clean_name(archive.name)
    copy = _Copy()
    try:
        with _original(archive) as file:
            if _is_gzipped(archive):
                _gunzip(file, copy.file, label)
            else:
                shutil.copyfileobj(file, copy.file, 1 << 20)
        copy.file.flush()
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise SourceError(
            f"{label}: the archive is damaged or cut short. Pack it again."
        ) from error
    except OSError as error:
        why = error.strerror or "unknown error"
        raise SourceError(f"{label}: the archive cannot be read ({why}).") from error
    return copy


@contextmanager
def _original(archive: Archive) -> Generator[BinaryIO]:
    if isinstance(archive, Path):
        with archive.open("rb") as file:
            yield file
    elif isinstance(archive, Upload):
        yield io.BytesIO(archive.data)
    else:
        with tempfile.TemporaryFile(prefix="drcore-") as file:
            archive.copy_to(cast("BinaryIO", file), MAX_UNPACKED)
            file.seek(0)
            yield cast("BinaryIO", file)


def _gunzip(packed: BinaryIO, unpacked: BinaryIO, label: str) -> None:
    limit = min(MAX_UNPACKED, MAX_RATIO * packed.seek(0, os.SEEK_END) + MAX_BYTES)
    packed.seek(0)
    with gzip.GzipFile(fileobj=packed, mode="rb") as stream:
        while part := stream.read(1 << 20):
            if unpacked.tell() + len(part) > limit:
                raise SourceError(
                    f"{label}: this archive unpacks to more than {limit >> 20} MiB, so it is not "
                    "read. Split it, and pack photographs without gzip."
                )
            unpacked.write(part)
