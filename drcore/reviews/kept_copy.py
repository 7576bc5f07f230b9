"""The copy of a record that is kept when it is upgraded to a newer schema."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import inspect

from drcore.files import copy_mode, replacing

if TYPE_CHECKING:
    from sqlalchemy import Connection

__all__ = ["copy_file", "keep_copy", "kept_files", "kept_tables"]

_MARK = "schema"
_TABLES = ("decisions", "marks", "mark_withdrawals", "identities", "erasures")


def keep_copy(connection: Connection, file: Path | None, step: str) -> None:
    """Keep a record as it is before it is upgraded.

    Args:
        connection: to the record, in the transaction of the upgrade, which has changed nothing yet.
        file: of SQLite, whose copy goes beside it (`reviews.schema-0003.sqlite3`); None for
            PostgreSQL, where each table is copied to one beside it (`decisions_schema_0003`).
        step: of the schema at which it stands.

    Raises:
        OSError, sqlite3.Error: the copy cannot be written.
    """
    if file is not None:
        names = (f"{file.stem}.{_MARK}-{step}{f'-{n}' if n else ''}{file.suffix}" for n in count())
        free = (file.with_name(name) for name in names)
        copy_file(file, next(path for path in free if not path.exists()))
        return
    known = set(inspect(connection).get_table_names())
    for table in [name for name in _TABLES if name in known]:
        copies = (f"{table}_{_MARK}_{step}{f'_{n}' if n else ''}" for n in count())
        copy = next(name for name in copies if name not in known)
        connection.exec_driver_sql(f"CREATE TABLE {copy} AS TABLE {table}")


def kept_files(file: Path) -> list[Path]:
    """Return the copies beside an SQLite file."""
    return sorted(file.parent.glob(f"{file.stem}.{_MARK}-*{file.suffix}"))


def kept_tables(connection: Connection) -> list[str]:
    """Return the names of the copied tables of a PostgreSQL database."""
    starts = tuple(f"{table}_{_MARK}_" for table in _TABLES)
    return sorted(n for n in inspect(connection).get_table_names() if n.startswith(starts))


def copy_file(source: Path, target: Path, *, after: Iterable[str] = ()) -> None:
    """Copy an SQLite database whole while others write to it, by SQLite's online backup.

    Args:
        source: a database.
        target: is replaced whole or not at all; as private as the source.
        after: statements for the copy, such as the one that gives up its journal.

    Raises:
        OSError, sqlite3.Error: one cannot be read, the other cannot be written.
    """
    address = f"{source.resolve().as_uri()}?mode=ro"
    with replacing(target) as part:
        part.touch(mode=0o600)
        with (
            closing(sqlite3.connect(address, uri=True, timeout=30)) as database,
            closing(sqlite3.connect(part)) as copy,
        ):
            database.backup(copy)
            for statement in ("PRAGMA journal_mode=DELETE", *after):
                copy.execute(statement)
        copy_mode(source, part)
