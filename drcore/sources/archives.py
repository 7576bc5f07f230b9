"""ZIP and TAR shards: which photographs they hold, and reading one without unpacking the rest.

An archive is taken as hostile. Nothing in it is ever written under a name of its own; what it
declares is checked before anything is read, and what is read is counted again.
"""

from __future__ import annotations

import io
import os
import posixpath
import re
import struct
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, BinaryIO, Literal, cast

from drcore.errors import DrcoreError, PhotographError, SourceError
from drcore.photographs.photograph import MAX_BYTES
from drcore.sources.archive_cache import MAX_RATIO, Archive, copies, needs_copy
from drcore.sources.listing import Listed, hidden
from drcore.sources.member_names import are_names_sure, decode_names
from drcore.sources.remote import Remote
from drcore.sources.remote_client import describe_error
from drcore.sources.sniff import is_archive
from drcore.sources.upload import Upload
from drcore.text import clean_name

__all__ = ["Member", "list_members"]

MAX_MEMBERS = 200_000
"""Members of one archive at most."""

MAX_INDEX = 64 * 1024 * 1024
"""Largest directory of a ZIP file and largest header of a TAR file, in bytes: it is held whole."""

_LOCAL_HEADER = struct.Struct("<4s22xHH")
_UTF8 = 0x800
_SLACK = 1024  # for the name, and what else a local header holds
_PAGE = 64 * 1024
_ZEROS = 64 * 1024 * 1024
"""Empty bytes after a TAR archive in which another one is looked for."""


@dataclass(frozen=True, slots=True)
class Member:
    """A file in an archive, known by where its bytes lie.

    Attributes:
        archive: that it lies in.
        path: its name there, without anything that leads out; still untrusted text.
        start: where its bytes start: of a ZIP file its local header, in the TAR file its content.
        packed: bytes in the archive.
        size: bytes unpacked.
        packing: "tar", or how a ZIP file holds it.
        crc: of the unpacked bytes; None where the archive does not tell.
        is_name_sure: whether the encoding of its name is known, see `member_names`.
        is_copied: whether it is read from a temporary copy, see `archive_cache.needs_copy`.
    """

    archive: Archive
    path: str
    start: int
    packed: int
    size: int
    packing: Literal["tar", "stored", "deflated"]
    crc: int | None = None
    is_name_sure: bool = True
    is_copied: bool = False

    @property
    def name(self) -> str:
        """Last part of the path; untrusted text."""
        return posixpath.basename(self.path)

    def read(self, limit: int = MAX_BYTES) -> bytes:
        """Read the member."""
        if self.size > limit:
            raise PhotographError(
                f"{clean_name(self.name)}: the file has {self.size / 2**20:.0f} MiB; at most "
                f"{limit >> 20} MiB are accepted. Export it as JPEG."
            )
        data = self._unpacked()
        if len(data) != self.size or (self.crc is not None and zlib.crc32(data) != self.crc):
            raise PhotographError(
                f"{clean_name(self.name)}: this part of the archive is damaged or cut short. "
                "Pack it again."
            )
        return data

    def head(self, size: int) -> bytes:
        """Read the first bytes of the member."""
        return self._unpacked(size)[:size]

    def _read_range(self, start: int, size: int) -> bytes:
        return _read_range(self.archive, start, size, is_copied=self.is_copied)

    def _unpacked(self, limit: int | None = None) -> bytes:
        packed = min(self.packed, MAX_BYTES)
        if limit is not None:  # what cannot be packed further grows by less than a thousandth
            packed = min(packed, limit + limit // 1000 + 64)
        if self.packing == "tar":
            return self._read_range(self.start, packed)
        data = self._read_range(self.start, _LOCAL_HEADER.size + _SLACK + packed)
        if len(data) < _LOCAL_HEADER.size:
            return b""
        mark, name, extra = _LOCAL_HEADER.unpack_from(data)
        first = _LOCAL_HEADER.size + name + extra
        if mark != b"PK\3\4":
            return b""
        if first > _LOCAL_HEADER.size + _SLACK:
            data = self._read_range(self.start, first + packed)
        content = data[first : first + packed]
        if self.packing == "stored":
            return content
        most = self.size + 1 if limit is None else min(self.size + 1, limit)
        try:
            return zlib.decompressobj(-zlib.MAX_WBITS).decompress(content, most)
        except zlib.error:
            return b""


def list_members(archive: Archive) -> list[Listed]:
    """List the files of an archive."""
    found: list[Listed] = []
    try:
        for member, problem in _members(archive):
            parts = member.path.split("/")
            if is_archive(member.name) and not problem:
                problem = "this is an archive in an archive. Unpack it first"  # noqa: PLW2901
            said = f"{clean_name(member.name)}: {problem}." if problem else ""
            found.append(Listed(member, member.path, said, hidden(parts)))
    except DrcoreError as error:
        found.append(Listed(archive, "", str(error)))
    except Exception as error:  # noqa: BLE001 - hostile bytes raise whatever they like
        found.append(Listed(archive, "", f"{clean_name(archive.name)}: {_why(archive, error)}"))
    return found


def _members(archive: Archive) -> Generator[tuple[Member, str]]:
    with _open(archive) as file:
        listing = _zip_members if file.read(2) == b"PK" else _tar_members
    is_copied = needs_copy(archive)
    for number, (member, problem) in enumerate(listing(archive)):
        if number == MAX_MEMBERS:
            raise SourceError(
                f"{clean_name(archive.name)}: this archive holds more than {MAX_MEMBERS:,} files, "
                "and the rest is not read. Split it."
            )
        if member.path:
            yield replace(member, is_copied=is_copied), problem


def _why(archive: Archive, error: Exception) -> str:
    if isinstance(error, OSError) and not isinstance(error, tarfile.TarError):
        if isinstance(archive, Remote):
            return describe_error(error, archive.scheme)[0]
        return f"the archive cannot be opened ({error.strerror or 'unknown error'})."
    return "the archive is damaged, or is not what its ending says. Pack it again."


# --- what archives hold -------------------------------------------------------------------------


def _zip_members(archive: Archive) -> Generator[tuple[Member, str]]:
    with _open(archive) as file:
        size = _size(file)
        with zipfile.ZipFile(cast("IO[bytes]", _Careful(file))) as table:
            entries = table.infolist()
    if sum(entry.file_size for entry in entries) > MAX_RATIO * size + MAX_BYTES:
        raise SourceError(
            f"{clean_name(archive.name)}: this archive unpacks to more than {MAX_RATIO} times its "
            "own size, so it is not read. Pack the photographs anew."
        )
    packings = {zipfile.ZIP_STORED: "stored", zipfile.ZIP_DEFLATED: "deflated"}
    for entry, (name, is_sure) in zip(entries, _zip_names(entries), strict=True):
        if name.endswith("/"):
            continue
        packing = packings.get(entry.compress_type)
        problem = ""
        if entry.flag_bits & 0x41:  # encrypted, by the old way or by the strong one
            problem = "this file is encrypted. Unpack the archive with its password first"
        elif packing is None:
            problem = "this file is packed in a rare way. Pack it again with deflate"
        member = Member(
            archive, _harmless(name), entry.header_offset, entry.compress_size,
            entry.file_size, "stored" if packing == "stored" else "deflated", entry.CRC, is_sure,
        )  # fmt: skip
        yield member, problem or _too_large(entry.file_size)


def _zip_names(entries: list[zipfile.ZipInfo]) -> list[tuple[str, bool]]:
    """Names of members, and whether their letters are sure.

    The module takes those without the flag of UTF-8 for code page 437.
    """
    unmarked = [entry for entry in entries if not entry.flag_bits & _UTF8]
    raw = [entry.orig_filename.encode("cp437") for entry in unmarked]
    decoded = decode_names(raw)
    guessed = iter(zip(decoded, are_names_sure(raw, decoded), strict=True))
    names = []
    for entry in entries:
        name, is_sure = (entry.filename, True) if entry.flag_bits & _UTF8 else next(guessed)
        told = _unicode_path(entry)
        names.append((unicodedata.normalize("NFC", told or name), bool(told) or is_sure))
    return names


def _unicode_path(entry: zipfile.ZipInfo) -> str:
    """Name in the extra field of Info-ZIP (0x7075); empty where there is none, or a stale one."""
    extra = entry.extra
    while len(extra) >= 4:
        kind, size = struct.unpack_from("<HH", extra)
        if kind == 0x7075 and 5 < size <= len(extra) - 4 and not entry.flag_bits & _UTF8:
            crc = int.from_bytes(extra[5:9], "little")
            if crc == zlib.crc32(entry.orig_filename.encode("cp437")):
                return extra[9 : 4 + size].decode("utf-8", "replace")
        extra = extra[4 + size :]
    return ""


def _tar_members(archive: Archive) -> Generator[tuple[Member, str]]:
    """Members of a TAR archive, and of those that were appended to it as a whole."""
    with _open(archive) as file:
        size = _size(file)
        start: int | None = 0
        while start is not None:
            file.seek(start)
            # "r:" is a plain TAR file: the module's own unpacking has no limit.
            careful = cast("IO[bytes]", _Careful(file))
            with tarfile.open(fileobj=careful, mode="r:") as table:
                while (entry := table.next()) is not None:
                    table.members.clear()  # type: ignore[attr-defined] # else it keeps them all
                    if not entry.isdir():
                        yield _tar_member(archive, entry, size)
                end = table.offset
            start = _next_archive(file, end, archive)


def _tar_member(archive: Archive, entry: tarfile.TarInfo, size: int) -> tuple[Member, str]:
    raw = [entry.name.encode("utf-8", "surrogateescape")]
    names = decode_names(raw)
    member = Member(
        archive, _harmless(names[0]), entry.offset_data, entry.size, entry.size, "tar",
        is_name_sure=are_names_sure(raw, names)[0],
    )  # fmt: skip
    problem = ""
    if not entry.isreg() or entry.issparse():
        problem = "this is a link or no plain file. Pack the file itself"
    elif entry.offset_data + entry.size > size:
        problem = "the archive ends in the middle of this file. Pack it again"
    return member, problem or _too_large(entry.size)


def _next_archive(file: BinaryIO, end: int, archive: Archive) -> int | None:
    """Find what follows the empty blocks that end a TAR archive; None where nothing does."""
    file.seek(end)
    if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        # The module takes damage and a missing end for the end.
        raise SourceError(
            f"{clean_name(archive.name)}: the archive is damaged or cut short; what may follow in "
            "it is not read. Pack it again."
        )
    place = end + tarfile.BLOCKSIZE
    while place - end < _ZEROS and (part := file.read(128 * tarfile.BLOCKSIZE)):
        rest = part.lstrip(b"\0")
        if rest:
            return place + (len(part) - len(rest)) // tarfile.BLOCKSIZE * tarfile.BLOCKSIZE
        place += len(part)
    return None


def _harmless(path: str) -> str:
    """Leave out of a name what would lead out of a folder."""
    parts = re.split(r"[\\/]", path)
    return "/".join(part for part in parts if part not in {"", ".", ".."})


def _too_large(size: int) -> str:
    if size <= MAX_BYTES:
        return ""
    return (
        f"the file has {size / 2**20:.0f} MiB; at most {MAX_BYTES >> 20} MiB are accepted. Export "
        "it as JPEG"
    )


# --- bytes --------------------------------------------------------------------------------------


class _Careful(io.RawIOBase):
    """A file of which no more than `MAX_INDEX` bytes are read at once."""

    def __init__(self, file: BinaryIO) -> None:
        self._inner = file

    def read(self, size: int = -1, /) -> bytes:
        if size < 0 or size > MAX_INDEX:
            size = MAX_INDEX + 1
        data = self._inner.read(size)
        if len(data) > MAX_INDEX:
            raise SourceError("The table of contents of this archive is too large. Split it.")
        return data

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return self._inner.seek(offset, whence)

    def tell(self) -> int:
        return self._inner.tell()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True


@contextmanager
def _open(archive: Archive) -> Generator[BinaryIO]:
    if needs_copy(archive):
        copy = copies.get(archive)
        with os.fdopen(os.dup(copy.fileno()), "rb") as file:
            file.seek(0)
            yield file
    elif isinstance(archive, Path):
        if not archive.is_file():  # a pipe or a device would block
            raise SourceError(f"{clean_name(archive.name)}: there is no such file.")
        with archive.open("rb") as file:
            yield file
    elif isinstance(archive, Upload):
        yield io.BytesIO(archive.data)
    else:
        with archive.open(_PAGE) as file:
            yield file


def _size(file: BinaryIO) -> int:
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    return size


def _read_range(archive: Archive, start: int, size: int, *, is_copied: bool) -> bytes:
    try:
        if is_copied:
            # Held until it is read: another thread may let go of it meanwhile, and the number of a
            # closed file soon means another archive.
            copy = copies.get(archive)
            return os.pread(copy.fileno(), size, start)
        if isinstance(archive, Upload):
            return archive.data[start : start + size]
        if isinstance(archive, Remote):
            return archive.read_range(start, size)
        with archive.open("rb") as file:
            file.seek(start)
            return file.read(size)
    except SourceError as error:
        raise PhotographError(str(error)) from error
    except (OSError, OverflowError, ValueError) as error:
        why = getattr(error, "strerror", None) or "a damaged table of contents"
        raise PhotographError(
            f"{clean_name(archive.name)}: the archive cannot be read ({why})."
        ) from error
