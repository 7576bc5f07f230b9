"""The folder of all stored worklists: its SQLite index, its limits, deletion.

A list belongs to whoever knows its token; the disk holds only a hash of it. Each list has a folder
with photographs, named by the hash of their content, and reports; the index holds the rest.
`stored_worklist` reads and writes one list.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import shutil
import sqlite3
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drcore.errors import SourceError

_SCHEMA = 2
_TABLES = """
CREATE TABLE list (id TEXT PRIMARY KEY, used REAL, selected TEXT, settings TEXT);
CREATE TABLE photograph (list TEXT REFERENCES list ON DELETE CASCADE, key, place, name, origin,
                         file, path, frame, sha256, laterality, patient, patient_from, burned_in,
                         thumbnail, exam_date DEFAULT '', identity_source DEFAULT '',
                         listed DEFAULT '', PRIMARY KEY (list, key));
CREATE TABLE file (list TEXT REFERENCES list ON DELETE CASCADE, sha256 TEXT, size INTEGER,
                   PRIMARY KEY (list, sha256));
"""
_SINCE_1 = "".join(
    f"ALTER TABLE photograph ADD COLUMN {name} DEFAULT '';\n"
    for name in ("exam_date", "identity_source", "listed")
)
"""For an index of 0.6."""

_TOKEN = re.compile(r"[A-Za-z0-9_-]{32}")
_DAY = 86_400.0
_GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of a store.

    Attributes:
        lists: number of worklists.
        days: after which a list that nobody opened is deleted.
        idle_days: after which it may be deleted earlier, if space is needed.
        size: bytes of all photographs together.
        reserve: bytes of the disk that are left free.
    """

    lists: int = 200
    days: float = 30.0
    idle_days: float = 7.0
    size: int = 50 * _GIB
    reserve: int = _GIB


class WorklistStore:
    """All worklists of a server; safe to share between threads.

    Args:
        root: folder, made where it is missing; only this user can read it.
        limits: of number and size.

    Attributes:
        shared: entries that sessions hold now, by list and key: two tabs share what was graded.

    Raises:
        SourceError: the folder cannot be used.
    """

    def __init__(self, root: Path, limits: Limits | None = None) -> None:
        self.root = root
        self.limits = limits or Limits()
        self.shared: weakref.WeakValueDictionary[tuple[str, str], Any] = (
            weakref.WeakValueDictionary()
        )
        try:
            root.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise _unusable(error) from error
        with self.index() as index:
            (version,) = index.execute("PRAGMA user_version").fetchone()
            if version not in {0, 1, _SCHEMA}:
                raise SourceError(
                    "Stored lists were made by a different version of this viewer. Move the folder "
                    f"{root.name} away, or point DRCORE_WORKLISTS elsewhere."
                )
            if version == 0:
                index.execute("PRAGMA journal_mode = WAL")
            if version != _SCHEMA:
                index.executescript(_SINCE_1 if version == 1 else _TABLES)
                index.execute(f"PRAGMA user_version = {_SCHEMA}")
        self.sweep()

    def add_list(self) -> str:
        """Add an empty list and return its token; `SourceError` if there are too many."""
        self.sweep()
        token = secrets.token_urlsafe(24)
        with self.index() as index:
            (count,) = index.execute("SELECT count(*) FROM list").fetchone()
        if count >= self.limits.lists and not self._make_room(lists=1):
            raise SourceError(
                f"The server has reached its limit of {self.limits.lists} lists. This one will be "
                "lost when you close the page. Clear a finished list to free space."
            )
        with self.index() as index:
            index.execute("INSERT INTO list VALUES (?, ?, '', '')", (list_id(token), time.time()))
        with self.writing():
            (self.root / list_id(token)).mkdir(mode=0o700)
        return token

    def touch(self, token: str | None) -> bool:
        """Note that the list of an untrusted token was opened; return False if there is none."""
        if token is None or not _TOKEN.fullmatch(token):
            return False
        with self.index() as index:
            return bool(
                index.execute(
                    "UPDATE list SET used = ? WHERE id = ?", (time.time(), list_id(token))
                ).rowcount
            )

    def sweep(self) -> None:
        """Delete lists that nobody opened for `Limits.days`, and folders that belong to none."""
        oldest = time.time() - self.limits.days * _DAY
        with self.index() as index:
            rows = index.execute("SELECT id FROM list WHERE used < ?", (oldest,)).fetchall()
        for (old,) in rows:
            self.delete(old)
        with self.index() as index:
            known = {name for (name,) in index.execute("SELECT id FROM list")}
        with suppress(OSError):
            for folder in self.root.iterdir():
                young = time.time() - folder.stat().st_mtime < 3600
                if folder.is_dir() and folder.name not in known and not young:
                    shutil.rmtree(folder, ignore_errors=True)

    def delete(self, name: str) -> None:
        """Delete all of the list with this id: rows, reports, photographs."""
        with self.index() as index:
            index.execute("DELETE FROM list WHERE id = ?", (name,))
        trash = self.root / f"gone-{secrets.token_hex(8)}"
        with suppress(OSError):  # moved first: whoever still writes there finds no folder
            (self.root / name).rename(trash)
            shutil.rmtree(trash, ignore_errors=True)
        with self.index() as index, suppress(sqlite3.OperationalError):  # a reader is at work
            index.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def make_room_for(self, size: int) -> None:
        """Make sure that `size` more bytes can be stored; `SourceError` if they cannot."""
        with self.index() as index:
            (total,) = index.execute("SELECT coalesce(sum(size), 0) FROM file").fetchone()
        if total + size > self.limits.size and not self._make_room(size=size):
            raise SourceError(
                f"The server has reached its limit of {self.limits.size / _GIB:.0f} GiB of images. "
                "Clear a finished list, then add the rest again."
            )
        with self.writing():
            free = shutil.disk_usage(self.root).free
        if free - size < self.limits.reserve:
            raise SourceError(
                "The server's disk is nearly full. Free some space, then add the rest again."
            )

    def _make_room(self, *, lists: int = 0, size: int = 0) -> bool:
        """Delete idle lists, oldest first; return whether that was enough."""
        idle = time.time() - self.limits.idle_days * _DAY
        with self.index() as index:
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
    def index(self) -> Iterator[sqlite3.Connection]:
        """Open the index for one transaction; `SourceError` if it, or the list, cannot be used."""
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
                "This list was cleared in another window. Reload to start a new one."
            ) from error
        except sqlite3.Error as error:
            raise _unusable(error) from error

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Turn errors of the disk into `SourceError`."""
        try:
            yield
        except OSError as error:
            raise _unusable(error) from error


def list_id(token: str) -> str:
    """Return the id of a list, under which the disk keeps it, from its token."""
    return hashlib.sha256(token.encode()).hexdigest()[:40]


def _unusable(error: Exception) -> SourceError:
    why = getattr(error, "strerror", None) or str(error)
    return SourceError(
        f"The list cannot be saved on this server ({why}) and will be lost when you close the "
        "page. Saved grades are not affected."
    )
