"""What `drcore record verify` checks: digests, missing numbers, guards, SQLite's own structure."""

from __future__ import annotations

import hashlib
import re
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Boolean, DateTime, Table, select, text

from drcore.errors import ReviewError
from drcore.record.places import record_file
from drcore.reviews.database import TABLES, ReviewDatabase
from drcore.reviews.digests import DIGEST, row_digest
from drcore.text import clean_name

__all__ = ["CHECKSUM_ENDING", "Verification", "verify"]

CHECKSUM_ENDING = ".sha256"
"""Of the file beside a backup that holds its SHA-256, as `sha256sum` writes it."""

GAPS_ARE_NORMAL = 1
"""`user_version` of an SQLite file that was copied from PostgreSQL, which leaves numbers out where
saving failed."""

_MOMENT = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}")
_SHOWN = 20
"""Problems that are listed."""


@dataclass(slots=True)
class Verification:
    """What was found.

    Attributes:
        rows: number of rows by table.
        problems: a sentence for each; none where the record is as drcore wrote it.
        notes: what is no problem.
        digest: SHA-256 over the digests of all rows; written down elsewhere, it also shows rows
            that were changed together with their digests.
        digests: of each row, by table and number.
    """

    rows: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    digest: str = ""
    digests: dict[tuple[str, int], str] = field(default_factory=dict)

    @property
    def told(self) -> list[str]:
        """The problems, shortened where they are many."""
        more = len(self.problems) - _SHOWN
        return self.problems[:_SHOWN] + ([f"{more} more problems."] if more > 0 else [])


def verify(location: str) -> Verification:
    """Check every row of a record or of a backup; changes nothing in an SQLite file.

    Args:
        location: path of an SQLite file, or the URL of a record.

    Returns:
        What was found. A changed row is found by its digest, a deleted one by its missing number,
        and in a backup with its `.sha256` beside it any changed byte of the file. A row that was
        changed by someone who computed its digest again is found by `Verification.digest` alone.

    Raises:
        ReviewError: it cannot be read at all, or its schema is of another version.
    """
    file = record_file(location)
    found = Verification()
    if file is None:
        with ReviewDatabase(location) as database:
            database.run(lambda connection: _check_postgresql(connection, found), "read")
    else:
        _check_sum(file, found)
        with _reading(file) as connection:
            _check_sqlite(connection, file, found)
    lines = (f"{table} {number} {digest}\n" for (table, number), digest in found.digests.items())
    found.digest = hashlib.sha256("".join(lines).encode(errors="surrogateescape")).hexdigest()
    return found


@contextmanager
def _reading(file: Path) -> Iterator[sqlite3.Connection]:
    """An SQLite file opened to read, damage told in a sentence."""
    try:
        address = f"{file.resolve().as_uri()}?mode=ro"
        with closing(sqlite3.connect(address, uri=True, timeout=30)) as connection:
            # A byte that is no UTF-8 is a changed row, not an end of reading.
            connection.text_factory = lambda data: data.decode("utf-8", "surrogateescape")
            yield connection
    except sqlite3.Error as error:
        raise ReviewError(
            f"{clean_name(file.name)}: the file is damaged or no record ({error}). Restore a "
            "backup."
        ) from error


def _check_sum(file: Path, found: Verification) -> None:
    beside = file.with_name(file.name + CHECKSUM_ENDING)
    try:
        told = beside.read_text(encoding="utf-8").split()[0]
    except (OSError, ValueError, IndexError):
        return
    with file.open("rb") as data:
        same = hashlib.file_digest(data, "sha256").hexdigest() == told
    if same:
        found.notes.append(f"The file is byte for byte that of {clean_name(beside.name)}.")
    else:
        found.problems.append(f"The file differs from the SHA-256 in {clean_name(beside.name)}.")


def _check_sqlite(connection: sqlite3.Connection, file: Path, found: Verification) -> None:
    known = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    columns = {name for _, name, *_ in connection.execute("PRAGMA table_info(decisions)")}
    if DIGEST not in columns or not known >= {table.name for table in TABLES}:
        raise ReviewError(
            f"{clean_name(file.name)}: no record of decisions of this version, so its rows have no "
            "digests. Open it once with the viewer, which upgrades it, or restore it."
        )
    for (problem,) in connection.execute("PRAGMA integrity_check"):
        if problem != "ok":
            found.problems.append(f"SQLite finds the file damaged: {' '.join(problem.split())}.")
    (gaps_are_normal,) = connection.execute("PRAGMA user_version").fetchone()
    for table in TABLES:
        for guard in ("no_update", "no_delete", "no_replace"):
            if f"{table.name}_{guard}" not in known:
                found.problems.append(
                    f"{table.name}: the trigger {guard} is missing: rows could be changed."
                )
        _check_rows(table, _raw_rows(connection, table), found)
        query = "SELECT seq FROM sqlite_sequence WHERE name = ?"
        last = (connection.execute(query, (table.name,)).fetchone() or (0,))[0]
        told = found.notes if gaps_are_normal else found.problems
        told += _missing(table.name, found, int(last))


def _raw_rows(connection: sqlite3.Connection, table: Table) -> Iterator[dict[str, Any]]:
    """Rows as they lie in the file: what SQLAlchemy would put right is not put right."""
    names = [column.name for column in table.columns]
    query = f"SELECT {', '.join(names)} FROM {table.name} ORDER BY id"  # noqa: S608 # nosec B608
    for row in connection.execute(query):
        yield {name: _typed(table, name, value) for name, value in zip(names, row, strict=True)}


def _typed(table: Table, name: str, value: Any) -> Any:
    kind = table.columns[name].type
    if isinstance(getattr(kind, "impl_instance", kind), DateTime):
        plain = isinstance(value, str) and _MOMENT.fullmatch(value)
        return f"{value.replace(' ', 'T')}+00:00" if plain else value
    if isinstance(kind, Boolean) and isinstance(value, int) and value in {0, 1}:
        return bool(value)
    return value.hex() if isinstance(value, bytes) else value


def _check_postgresql(connection: Any, found: Verification) -> None:
    query = text("SELECT tgname FROM pg_trigger WHERE tgenabled <> 'D'")
    guards = {str(name) for (name,) in connection.execute(query)}
    for table in TABLES:
        if f"{table.name}_no_change" not in guards:
            found.problems.append(f"{table.name}: the trigger no_change is missing or disabled.")
        rows = connection.execute(select(table).order_by(table.c.id)).mappings()
        _check_rows(table, rows, found)
        found.notes += _missing(table.name, found, 0)


def _check_rows(table: Table, rows: Iterable[Mapping[Any, Any]], found: Verification) -> None:
    found.rows[table.name] = 0
    for row in rows:
        found.rows[table.name] += 1
        number, digest = int(row["id"]), row[DIGEST]
        found.digests[table.name, number] = str(digest)
        if digest is None:
            found.problems.append(
                f"{table.name}: row {number} has no digest: another program added it."
            )
        elif digest != row_digest(table.name, dict(row)):
            found.problems.append(f"{table.name}: row {number} was changed after it was saved.")


def _missing(table: str, found: Verification, last: int) -> list[str]:
    numbers = [number for name, number in found.digests if name == table]
    last = max([last, *numbers])
    missing = sorted(set(range(1, last + 1)) - set(numbers))
    if not missing:
        return []
    shown = ", ".join(map(str, missing[:10])) + (", ..." if len(missing) > 10 else "")
    return [f"{table}: {len(missing)} of {last} numbers are missing ({shown})."]
