"""Worklists kept on the server, so that a reload or a restart brings back where one left off.

A list belongs to whoever knows its token; the disk holds a hash of it alone. Photographs lie in a
folder for each list, named by the hash of their content, beside the reports; an index in SQLite
holds the rest. Everything of a list goes with its folder and its rows.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
import sqlite3
import time
import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

from drcore.errors import SourceError

__all__ = ["Kept", "KeptPhotograph", "Limits", "WorklistStore", "location"]

_SCHEMA = 1
_TABLES = """
CREATE TABLE list (id TEXT PRIMARY KEY, used REAL, selected TEXT, settings TEXT);
CREATE TABLE photograph (list TEXT REFERENCES list ON DELETE CASCADE, {columns},
                         PRIMARY KEY (list, key));
CREATE TABLE file (list TEXT REFERENCES list ON DELETE CASCADE, sha256 TEXT, size INTEGER,
                   PRIMARY KEY (list, sha256));
"""
_TOKEN = re.compile(r"[A-Za-z0-9_-]{32}")
_DAY = 86_400.0
_GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class Limits:
    """What a server keeps at most.

    Attributes:
        lists: worklists.
        days: after which a list that nobody opened is deleted.
        idle_days: after which it may be deleted sooner, where room is needed for another.
        size: bytes of all photographs together.
        reserve: bytes of the disk that are left free.
    """

    lists: int = 200
    days: float = 30.0
    idle_days: float = 7.0
    size: int = 50 * _GIB
    reserve: int = _GIB


@dataclass(frozen=True, slots=True)
class KeptPhotograph:
    """A photograph of a kept list, as the index has it.

    Attributes:
        key: of the entry; unique in the list.
        place: in the order of arrival.
        name: of the file; untrusted text.
        origin: our own words.
        file: SHA-256 of the kept file; empty where only a path is kept.
        path: of a file that stays where it is; else empty.
        frame: number of a DICOM file's frame, 0 where the file is one photograph.
        sha256: of the photograph, hex; empty until it is known.
        laterality, patient: empty where unknown.
        patient_from: "name", "header", "hand", or empty.
        burned_in: whether the header says that identity is burnt into the pixels.
        thumbnail: data URI; empty until it was made.
    """

    key: str
    place: int
    name: str
    origin: str
    file: str
    path: str
    frame: int
    sha256: str
    laterality: str
    patient: str
    patient_from: str
    burned_in: int
    thumbnail: str


_COLUMNS = [field.name for field in fields(KeptPhotograph)]


def location() -> Path:
    """Return where worklists are kept: DRCORE_WORKLISTS, or a folder below the working folder."""
    return Path(os.environ.get("DRCORE_WORKLISTS") or Path(".drcore", "worklists")).resolve()


class WorklistStore:
    """All worklists of a server; safe to share between threads.

    Args:
        root: folder, made where it is missing; only this user can read it.
        limits: what is kept at most.

    Attributes:
        living: entries that sessions hold now, by list and key: two tabs share what was graded.

    Raises:
        SourceError: the folder cannot be used.
    """

    def __init__(self, root: Path, limits: Limits | None = None) -> None:
        self.root = root
        self.limits = limits or Limits()
        self.living: weakref.WeakValueDictionary[tuple[str, str], Any] = (
            weakref.WeakValueDictionary()
        )
        try:
            root.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise _unusable(error) from error
        with self._index() as index:
            (version,) = index.execute("PRAGMA user_version").fetchone()
            if version not in {0, _SCHEMA}:
                raise SourceError(
                    "The kept lists are of another release of this viewer. Move the folder "
                    f"{root.name} away, or set DRCORE_WORKLISTS to another one."
                )
            if version == 0:
                index.execute("PRAGMA journal_mode = WAL")
                index.executescript(_TABLES.format(columns=", ".join(_COLUMNS)))
                index.execute(f"PRAGMA user_version = {_SCHEMA}")
        self.sweep()

    def begin(self) -> Kept:
        """Begin a new list.

        Returns:
            The list, with a new token.

        Raises:
            SourceError: there are too many, or the index cannot be written.
        """
        self.sweep()
        token = secrets.token_urlsafe(24)
        with self._index() as index:
            (count,) = index.execute("SELECT count(*) FROM list").fetchone()
        if count >= self.limits.lists and not self._make_room(lists=1):
            raise SourceError(
                f"This server keeps {self.limits.lists} lists, and no more. Clear a list that is "
                "done with; until then this one lasts only as long as its page."
            )
        with self._index() as index:
            index.execute("INSERT INTO list VALUES (?, ?, '', '')", (_id_of(token), time.time()))
        with self._writing():
            (self.root / _id_of(token)).mkdir(mode=0o700)
        return Kept(self, token)

    def open(self, token: str | None) -> Kept | None:
        """Return the list of a token.

        Args:
            token: from the page's address; untrusted.

        Returns:
            The list; None where there is none of this token, or no more.

        Raises:
            SourceError: the index cannot be read.
        """
        if token is None or not _TOKEN.fullmatch(token):
            return None
        with self._index() as index:
            found = index.execute(
                "UPDATE list SET used = ? WHERE id = ?", (time.time(), _id_of(token))
            ).rowcount
        return Kept(self, token) if found else None

    def sweep(self) -> None:
        """Delete lists that nobody opened for a long time, and folders that belong to none."""
        oldest = time.time() - self.limits.days * _DAY
        with self._index() as index:
            rows = index.execute("SELECT id FROM list WHERE used < ?", (oldest,)).fetchall()
        for (old,) in rows:
            self.delete(old)
        with self._index() as index:
            known = {name for (name,) in index.execute("SELECT id FROM list")}
        with suppress(OSError):
            for folder in self.root.iterdir():
                young = time.time() - folder.stat().st_mtime < 3600
                if folder.is_dir() and folder.name not in known and not young:
                    shutil.rmtree(folder, ignore_errors=True)

    def delete(self, list_id: str) -> None:
        """Delete all of a list: rows, reports, photographs."""
        with self._index() as index:
            index.execute("DELETE FROM list WHERE id = ?", (list_id,))
        gone = self.root / f"gone-{secrets.token_hex(8)}"
        with suppress(OSError):  # moved first: whoever still writes there finds no folder
            (self.root / list_id).rename(gone)
            shutil.rmtree(gone, ignore_errors=True)
        with self._index() as index, suppress(sqlite3.OperationalError):  # a reader is at work
            index.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def make_room_for(self, size: int) -> None:
        """See to it that so many bytes can be kept.

        Raises:
            SourceError: they cannot.
        """
        with self._index() as index:
            (total,) = index.execute("SELECT coalesce(sum(size), 0) FROM file").fetchone()
        if total + size > self.limits.size and not self._make_room(size=size):
            raise SourceError(
                f"This server keeps {self.limits.size / _GIB:.0f} GiB of photographs, and no more. "
                "Clear a list that is done with, then add the rest again."
            )
        with self._writing():
            free = shutil.disk_usage(self.root).free
        if free - size < self.limits.reserve:
            raise SourceError(
                "The disk of this server is nearly full. Free some space, then add the rest again."
            )

    def _make_room(self, *, lists: int = 0, size: int = 0) -> bool:
        """Delete lists that have been idle, oldest first; False where that is not enough."""
        idle = time.time() - self.limits.idle_days * _DAY
        with self._index() as index:
            rows = index.execute(
                "SELECT id, coalesce((SELECT sum(size) FROM file WHERE list = list.id), 0) "
                "FROM list WHERE used < ? ORDER BY used",
                (idle,),
            ).fetchall()
        for old, freed in rows:
            if lists <= 0 and size <= 0:
                break
            self.delete(old)
            lists, size = lists - 1, size - freed
        return lists <= 0 and size <= 0

    @contextmanager
    def _index(self) -> Iterator[sqlite3.Connection]:
        try:
            index = sqlite3.connect(self.root / "index.sqlite3", timeout=20)
            try:
                # What was deleted is overwritten; WAL is safe without a sync for each commit.
                index.executescript(
                    "PRAGMA foreign_keys = ON; PRAGMA secure_delete = ON; "
                    "PRAGMA synchronous = NORMAL"
                )
                with index:
                    yield index
            finally:
                index.close()
        except sqlite3.IntegrityError as error:  # the rows of a list go with the list
            raise SourceError(
                "This list was cleared in another window. Reload the page to begin a new one."
            ) from error
        except sqlite3.Error as error:
            raise _unusable(error) from error

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise _unusable(error) from error


class Kept:
    """One kept worklist.

    Args:
        shelf: that holds it.
        token: opens it.
    """

    def __init__(self, shelf: WorklistStore, token: str) -> None:
        self.shelf = shelf
        self.token = token
        self.id = _id_of(token)
        self.folder = shelf.root / self.id

    def photographs(self) -> list[KeptPhotograph]:
        """Return all photographs, in order of arrival."""
        with self.shelf._index() as index:  # noqa: SLF001 - the two are one
            columns = ", ".join(_COLUMNS)  # ours alone
            wanted = f"SELECT {columns} FROM photograph WHERE list = ? ORDER BY place"  # noqa: S608 # nosec B608
            rows = index.execute(wanted, (self.id,)).fetchall()
        return [KeptPhotograph(*row) for row in rows]

    def put(self, photographs: Iterable[KeptPhotograph]) -> None:
        """Add photographs, or write them anew."""
        marks = ", ".join("?" * (len(_COLUMNS) + 1))
        with self.shelf._index() as index:  # noqa: SLF001
            index.executemany(
                f"INSERT OR REPLACE INTO photograph VALUES ({marks})",  # noqa: S608
                [(self.id, *astuple(one)) for one in photographs],
            )
            index.execute("UPDATE list SET used = ? WHERE id = ?", (time.time(), self.id))

    def last_place(self) -> int:
        """Return the place of the last photograph that ever arrived and is still there, or 0."""
        with self.shelf._index() as index:  # noqa: SLF001
            row = index.execute("SELECT max(place) FROM photograph WHERE list = ?", (self.id,))
            return int(row.fetchone()[0] or 0)

    def drop(self, key: str) -> None:
        """Delete a photograph, and its file where no other frame is of it."""
        with self.shelf._index() as index:  # noqa: SLF001
            one = (self.id, key)
            row = index.execute(
                "DELETE FROM photograph WHERE list = ? AND key = ? RETURNING file", one
            ).fetchone()
            left = row and row[0] and index.execute(
                "SELECT 1 FROM photograph WHERE list = ? AND file = ?", (self.id, row[0])
            ).fetchone()  # fmt: skip
            if row and row[0] and not left:
                index.execute("DELETE FROM file WHERE list = ? AND sha256 = ?", (self.id, row[0]))
                with suppress(OSError):
                    (self.folder / row[0]).unlink(missing_ok=True)
        with suppress(OSError):
            self._report_file(key).unlink(missing_ok=True)

    def settle(self, *, selected: str | None = None, settings: str | None = None) -> None:
        """Remember the photograph on screen and the settings of the list."""
        with self.shelf._index() as index:  # noqa: SLF001
            index.execute(
                "UPDATE list SET used = ?, selected = coalesce(?, selected), "
                "settings = coalesce(?, settings) WHERE id = ?",
                (time.time(), selected, settings, self.id),
            )

    def settled(self) -> tuple[str, str]:
        """Return what `settle` was told: key of the photograph on screen, settings."""
        with self.shelf._index() as index:  # noqa: SLF001
            row = index.execute(
                "SELECT selected, settings FROM list WHERE id = ?", (self.id,)
            ).fetchone()
        return (row[0], row[1]) if row else ("", "")

    def store(self, data: bytes, sha256: str) -> Path:
        """Keep a file.

        Args:
            data: all of it.
            sha256: of the data, hex.

        Returns:
            Where it lies; it is there whole or not at all.

        Raises:
            SourceError: there is no room, or the folder cannot be written.
        """
        file = self.file_of(sha256)
        if file.is_file():
            return file
        self.shelf.make_room_for(len(data))
        with self.shelf._writing():  # noqa: SLF001
            _write(file, data)
        with self.shelf._index() as index:  # noqa: SLF001
            index.execute(
                "INSERT OR REPLACE INTO file VALUES (?, ?, ?)", (self.id, sha256, len(data))
            )
        return file

    def file_of(self, sha256: str) -> Path:
        """Return where a kept file lies."""
        return self.folder / sha256

    def store_report(self, key: str, data: bytes) -> None:
        """Keep the report of a photograph; a list that was deleted meanwhile takes none."""
        with self.shelf._writing():  # noqa: SLF001
            _write(self._report_file(key), data)

    def report(self, key: str) -> bytes | None:
        """Return the kept report of a photograph, None where there is none."""
        try:
            return self._report_file(key).read_bytes()
        except OSError:
            return None

    def delete(self) -> None:
        """Delete all of the list."""
        self.shelf.delete(self.id)

    def _report_file(self, key: str) -> Path:
        return self.folder / f"{key}.report"


def _id_of(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()[:40]


def _write(file: Path, data: bytes) -> None:
    """Write all of a file or nothing of it; only this user can read it."""
    part = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as open_:
            open_.write(data)
        part.replace(file)
    except OSError:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise


def _unusable(error: Exception) -> SourceError:
    why = getattr(error, "strerror", None) or str(error)
    return SourceError(
        f"The list cannot be kept on this server ({why}). It lasts only as long as its page. "
        "Decisions are not affected."
    )
