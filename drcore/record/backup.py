"""Backup of a record to one SQLite file, and the way back."""

from __future__ import annotations

import hashlib
import sqlite3
import tempfile
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Table, insert, select, text

from drcore.errors import MissingInputError, ReviewError
from drcore.files import replacing
from drcore.record.checks import CHECKSUM_ENDING, GAPS_ARE_NORMAL, Verification, verify
from drcore.record.places import existing_record
from drcore.reviews.database import TABLES, ReviewDatabase
from drcore.reviews.kept_copy import copy_file
from drcore.text import clean_name

if TYPE_CHECKING:
    from collections.abc import Generator

    from sqlalchemy import Connection

__all__ = ["back_up", "restore", "telling", "write_checksum"]

_AT_ONCE = 1000
"""Rows that are held in memory."""


def back_up(location: str, target: Path, *, overwrite: bool = False) -> Verification | None:
    """Copy a record to an SQLite file as it is at one moment, while readers go on saving.

    SQLite is copied by its online backup, PostgreSQL from one repeatable-read snapshot. The file's
    SHA-256 goes beside it, to `target` with ".sha256" appended.

    Args:
        location: path or URL of the record.
        target: file to write, whole or not at all.
        overwrite: replace an earlier backup.

    Returns:
        What verifying the backup found; None for a record of a version before 0.7, whose rows have
        no digests.

    Raises:
        MissingInputError: there is no record.
        ReviewError: it cannot be read, or the file cannot be written.
    """
    file = existing_record(location)
    if target.exists() and not overwrite:
        raise ReviewError(
            f"{clean_name(target.name)} is there already. Choose another name, or --overwrite."
        )
    if file is not None and target.exists() and target.samefile(file):
        raise ReviewError("The backup cannot replace the record itself. Choose another name.")
    with telling(target, "written"):
        if file is not None:
            copy_file(file, target)
        else:
            _from_postgresql(location, target)
        write_checksum(target)
    return verify(str(target)) if _has_digests(target) else None


def write_checksum(target: Path) -> None:
    """Write the SHA-256 of a file beside it, as `sha256sum` does."""
    with target.open("rb") as data:
        checksum = hashlib.file_digest(data, "sha256").hexdigest()
    with replacing(target.with_name(target.name + CHECKSUM_ENDING)) as part:
        part.write_text(f"{checksum}  {target.name}\n", encoding="utf-8")


def restore(source: Path, location: str, *, force: bool = False) -> Verification:
    """Put the rows of a backup into an empty record; all of them or none.

    Args:
        source: of `back_up`, or a copy that an upgrade kept; it is only read.
        location: path or URL of a record that is not there yet, or holds no row.
        force: take a backup in which `verify` finds damage, too.

    Returns:
        What verifying the restored record found; its digests are those of the backup.

    Raises:
        MissingInputError: there is no backup.
        ReviewError: the backup is damaged, the record is not empty, or one cannot be used.
    """
    if not source.is_file():
        raise MissingInputError(f"There is no backup {clean_name(source.name)}. Check its path.")
    with tempfile.TemporaryDirectory(prefix="drcore-restore-") as folder, telling(source, "read"):
        copy = Path(folder, "backup.sqlite3")
        copy_file(source, copy)  # upgraded here where it is old; the backup stays as it is
        before = verify(str(source)) if _has_digests(source) else None
        if before is not None and before.problems and not force:
            raise ReviewError(
                f"{clean_name(source.name)} is damaged: {before.told[0]} Restore another backup; "
                "--force takes it as it is."
            )
        with ReviewDatabase(copy) as old, ReviewDatabase(location) as new:
            old.run(lambda rows: new.run(lambda empty: _fill(rows, empty), "written"), "read")
        expected, found = verify(str(copy)), verify(location)
    if found.digests != expected.digests:
        raise ReviewError("The restored record differs from the backup. Do not use it; try again.")
    return found


def _fill(source: Connection, target: Connection) -> None:
    if target.dialect.name == "sqlite":
        target.exec_driver_sql("BEGIN IMMEDIATE")
    else:
        for table in TABLES:
            target.exec_driver_sql(f"LOCK TABLE {table.name} IN EXCLUSIVE MODE")
    if any(target.execute(select(table.c.id).limit(1)).first() for table in TABLES):
        raise ReviewError(
            "The record holds rows already, and nothing is ever replaced there. Move it away, or "
            "name another with --record."
        )
    for table in TABLES:
        _copy_rows(source, target, table)
        query = text("SELECT seq FROM sqlite_sequence WHERE name = :name")
        last = source.execute(query, {"name": table.name}).scalar()
        if last:
            _count_on(target, table.name, int(last))
    if target.dialect.name == "sqlite":
        (gaps,) = source.exec_driver_sql("PRAGMA user_version").one()
        target.exec_driver_sql(f"PRAGMA user_version = {int(gaps)}")


def _copy_rows(source: Connection, target: Connection, table: Table) -> None:
    query = select(table).order_by(table.c.id).execution_options(yield_per=_AT_ONCE)
    rows = source.execute(query)
    for part in rows.mappings().partitions():
        target.execute(insert(table), [dict(row) for row in part])


def _count_on(target: Connection, table: str, last: int) -> None:
    """Let numbers go on after the last that was given."""
    values: dict[str, Any] = {"name": table, "last": last}
    if target.dialect.name == "sqlite":
        done = target.execute(
            text("UPDATE sqlite_sequence SET seq = :last WHERE name = :name"), values
        )
        if not done.rowcount:
            target.execute(text("INSERT INTO sqlite_sequence VALUES (:name, :last)"), values)
    else:
        target.execute(text("SELECT setval(pg_get_serial_sequence(:name, 'id'), :last)"), values)


def _from_postgresql(location: str, target: Path) -> None:
    with replacing(target) as part:
        part.touch(mode=0o600)
        with ReviewDatabase(location) as server, ReviewDatabase(part) as copy:

            def pour(source: Connection) -> None:
                source.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
                copy.run(lambda empty: _pour(source, empty), "written")

            server.run(pour, "read")
        with closing(sqlite3.connect(part)) as done:
            done.execute("PRAGMA journal_mode=DELETE")


def _pour(source: Connection, target: Connection) -> None:
    target.exec_driver_sql("BEGIN IMMEDIATE")
    for table in TABLES:
        _copy_rows(source, target, table)
    target.exec_driver_sql(f"PRAGMA user_version = {GAPS_ARE_NORMAL}")


def _has_digests(file: Path) -> bool:
    address = f"{file.resolve().as_uri()}?mode=ro"
    with closing(sqlite3.connect(address, uri=True)) as connection:
        query = "SELECT count(*) FROM sqlite_master WHERE name = 'erasures'"
        return bool(connection.execute(query).fetchone()[0])


@contextmanager
def telling(file: Path, what: str) -> Generator[None]:
    """Errors of disk and SQLite as a sentence."""
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise ReviewError(
            f"{clean_name(file.name)}: the backup cannot be {what} ({why}). Check its path, the "
            "permissions and the free space."
        ) from error
