"""Erasing a patient from the worklists that the viewer stores: their index, files and reports.

The viewer keeps a folder for each list, with photographs named by their SHA-256 and a report for
each entry, beside `index.sqlite3` (`viewer/worklist/storage.py`).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from drcore.errors import ReviewError
from drcore.text import fold, printable

__all__ = ["ErasedEntries", "ListEntry", "erase_entries", "find_entries"]

# What an open page still holds must not come back: a row with the same key is dropped silently.
_NEVER_AGAIN = """
CREATE TABLE IF NOT EXISTS erased (list TEXT, key TEXT, PRIMARY KEY (list, key));
CREATE TRIGGER IF NOT EXISTS photograph_erased BEFORE INSERT ON photograph
WHEN EXISTS (SELECT 1 FROM erased WHERE list = NEW.list AND key = NEW.key)
BEGIN SELECT RAISE(IGNORE); END;
"""


@dataclass(frozen=True, slots=True)
class ListEntry:
    """One photograph in one list.

    Attributes:
        list: id of the list, the name of its folder.
        key: in the list.
        sha256: of the photograph; empty until it is known.
        file: SHA-256 of the stored file; empty where the file lies elsewhere.
        path: of a file that lies elsewhere; else empty.
    """

    list: str
    key: str
    sha256: str
    file: str
    path: str


@dataclass(slots=True)
class ErasedEntries:
    """What was erased of the lists, or would be.

    Attributes:
        entries, lists, files: how many; files are photographs, and reports with their maps.
        originals: files elsewhere that entries named; they are not touched.
        problems: what is left to be done, a sentence each.
    """

    entries: int = 0
    lists: int = 0
    files: int = 0
    originals: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def find_entries(
    folder: Path, patient: str, photographs: Collection[str], others: Collection[str]
) -> list[ListEntry]:
    """Find what stored lists hold of a patient.

    Args:
        folder: of all lists; may be missing.
        patient: case and blanks do not matter.
        photographs: SHA-256 of photographs that are the patient's by the record.
        others: SHA-256 of photographs that are another's by the record.

    Returns:
        In the order of the index.

    Raises:
        ReviewError: the index cannot be read.
    """
    if not (folder / "index.sqlite3").is_file():
        return []
    with _index(folder) as index:
        rows = index.execute(
            "SELECT list, key, sha256, file, path, patient FROM photograph ORDER BY list, place"
        ).fetchall()
    return [
        ListEntry(*row[:5])
        for row in rows
        if row[2] in photographs
        or row[3] in photographs
        or (fold(row[5] or "") == fold(patient) and row[2] not in others)
    ]


def erase_entries(folder: Path, entries: Sequence[ListEntry], *, confirmed: bool) -> ErasedEntries:
    """Delete entries of lists with their photographs, thumbnails and reports.

    Args:
        folder: of all lists.
        entries: of `find_entries`.
        confirmed: False: count only.

    Returns:
        What was erased, or would be.

    Raises:
        ReviewError: the index cannot be written.
    """
    erased = ErasedEntries(len(entries), len({one.list for one in entries}))
    erased.originals = sorted({printable(one.path) for one in entries if one.path})
    if not entries:
        return erased
    with _index(folder) as index:
        kept = _other_files(index, entries)
        if confirmed:
            index.executescript(_NEVER_AGAIN)
            for one in entries:
                _delete_rows(index, one, with_file=(one.list, one.file) not in kept)
            index.commit()
            index.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    files = [folder / one.list / f"{one.key}.report" for one in entries]
    files += [
        folder / one.list / one.file
        for one in entries
        if one.file and (one.list, one.file) not in kept
    ]
    for file in dict.fromkeys(files):
        _delete_file(file, erased, confirmed=confirmed)
    return erased


def _other_files(
    index: sqlite3.Connection, entries: Sequence[ListEntry]
) -> frozenset[tuple[str, str]]:
    """Files that other entries of a list use too: one content under the names of two patients."""
    own = {(one.list, one.key) for one in entries}
    rows = index.execute("SELECT list, key, file FROM photograph")
    return frozenset((row[0], row[2]) for row in rows if (row[0], row[1]) not in own)


def _delete_rows(index: sqlite3.Connection, one: ListEntry, *, with_file: bool) -> None:
    place = (one.list, one.key)
    index.execute("INSERT OR IGNORE INTO erased VALUES (?, ?)", place)
    index.execute("DELETE FROM photograph WHERE list = ? AND key = ?", place)
    index.execute("UPDATE list SET selected = '' WHERE id = ? AND selected = ?", place)
    if with_file:
        index.execute("DELETE FROM file WHERE list = ? AND sha256 = ?", (one.list, one.file))


def _delete_file(file: Path, erased: ErasedEntries, *, confirmed: bool) -> None:
    try:
        if file.is_file():
            erased.files += 1
            if confirmed:
                file.unlink()
    except OSError as error:
        erased.problems.append(
            f"{file.name} cannot be deleted ({error.strerror or error}). Delete it by hand."
        )


@contextmanager
def _index(folder: Path) -> Iterator[sqlite3.Connection]:
    try:
        with closing(sqlite3.connect(folder / "index.sqlite3", timeout=20)) as index:
            index.execute("PRAGMA secure_delete = ON")
            yield index
    except sqlite3.Error as error:
        raise ReviewError(
            f"The index of the stored lists cannot be used ({error}). Check DRCORE_WORKLISTS and "
            "the permissions of its folder."
        ) from error
