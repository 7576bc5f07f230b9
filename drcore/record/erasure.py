"""Erasing a patient: from the record, stored worklists, copies that upgrades kept, and backups."""

from __future__ import annotations

import secrets
import sqlite3
import tempfile
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Table, select, text, update

from drcore.errors import MissingInputError, ReviewError
from drcore.record.backup import telling, write_checksum
from drcore.record.checks import CHECKSUM_ENDING
from drcore.record.places import existing_record
from drcore.record.stored_lists import ErasedEntries, erase_entries, find_entries
from drcore.reviews.database import (
    DECISIONS,
    ERASURES,
    IDENTITIES,
    MARKS,
    ReviewDatabase,
)
from drcore.reviews.database_url import BUSY_SECONDS
from drcore.reviews.digests import insert_row, row_digest
from drcore.reviews.kept_copy import copy_file, kept_files, kept_tables
from drcore.text import clean_name, fold

if TYPE_CHECKING:
    from sqlalchemy import Connection

__all__ = ["Erasure", "erase_patient"]

_CHANGED = (DECISIONS, MARKS, IDENTITIES)
_NAMING = {"decisions": "patient", "identities": "patient", "marks": "NULL"}
"""Tables that hold a photograph's SHA-256, with the column of its patient."""
_QUERY = "SELECT sha256, {} FROM {}"  # the names are our own


@dataclass(slots=True)
class Erasure:
    """What was erased, or would be.

    Attributes:
        photographs, decisions, marks, corrections: how many in the record.
        entries: of stored worklists.
        copies: names of files or tables that an upgrade had kept and that were deleted.
        backups: names of backups in which the patient was erased.
        problems: what is left to be done, a sentence each.
    """

    photographs: int = 0
    decisions: int = 0
    marks: int = 0
    corrections: int = 0
    entries: ErasedEntries = field(default_factory=ErasedEntries)
    copies: list[str] = field(default_factory=list)
    backups: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def count(self, rows: _Rows) -> None:
        """Count the rows of the record."""
        self.decisions, self.marks, self.corrections = (
            len(rows.numbers[table.name]) for table in _CHANGED
        )

    def __bool__(self) -> bool:
        """Whether there is anything of the patient, but for worklists."""
        return bool(self.decisions or self.marks or self.corrections or self.backups)


@dataclass(slots=True)
class _Rows:
    """The rows of a patient: numbers by table, and the new hashes of the photographs."""

    hashes: dict[str, str]
    numbers: dict[str, list[int]]


def erase_patient(
    location: str,
    lists: Path,
    patient: str,
    *,
    by: str,
    confirmed: bool,
    backups: Sequence[Path] = (),
) -> Erasure:
    """Erase a patient from a record, from stored worklists and from backups.

    Decisions, marks and corrections stay as counts: who graded what when, and the kind of each
    mark; patient, name and hash of the photograph, score, note and place of a mark are
    overwritten, and the row gets a new digest. An entry says when who erased how many rows. The
    photographs, thumbnails, reports with their maps and rows of stored worklists are deleted.

    Args:
        location: path or URL of the record.
        lists: folder of the stored worklists; may be missing.
        patient: as readers see it; case and blanks do not matter.
        by: who erases.
        confirmed: False: count only.
        backups: SQLite files, of `back_up` or copied by hand; each is replaced by one without the
            patient, and its checksum beside it is written again.

    Returns:
        What was erased, or would be.

    Raises:
        MissingInputError: there is no record or no such backup, or nothing of this patient.
        ReviewError: the record, a list or a backup cannot be changed.
    """
    file = existing_record(location)
    _check(file, backups, patient)
    if confirmed and not by.strip():
        raise ReviewError("Say who erases: --by NAME. The record keeps it.")
    with ReviewDatabase(location) as database:
        belongs = database.run(_photographs, "read")
        own = frozenset(sha for sha, name in belongs.items() if fold(name or "") == fold(patient))
        entries = find_entries(lists, patient, own, others=belongs.keys() - own)
        photographs = own | {one.sha256 for one in entries if one.sha256}
        holding = [one for one in backups if _holds(one, fold(patient), photographs)]
        erasure = Erasure(photographs=len(photographs), backups=[one.name for one in holding])
        who, what = (by, "written") if confirmed else ("", "read")
        database.run(
            lambda c: _erase_rows(c, patient, photographs, erasure, len(entries), who), what
        )
        if not entries and not erasure:
            raise MissingInputError(
                f"There is nothing of patient {clean_name(patient)} in the record or in a stored "
                "list. Write the patient as the viewer shows it."
            )
        erasure.entries = erase_entries(lists, entries, confirmed=confirmed)
        erasure.problems += erasure.entries.problems
        if confirmed:
            _delete_copies(database, file, erasure, fold(patient), photographs)
            _compact(database, file, erasure)
            for backup in holding:
                _erase_in_backup(backup, patient, photographs, by)
    return erasure


def _check(file: Path | None, backups: Iterable[Path], patient: str) -> None:
    if not fold(patient):
        raise MissingInputError("No patient was named. Write the patient as the viewer shows it.")
    for backup in backups:
        if not backup.is_file():
            label = clean_name(backup.name)
            raise MissingInputError(f"There is no backup {label}. Check its path.")
        if file is not None and backup.samefile(file):
            raise ReviewError("The record is no backup of its own. Leave it out of --backup.")


def _photographs(connection: Connection) -> dict[str, str | None]:
    """The patient of each photograph, by SHA-256: the last correction, else the last decision."""
    found: dict[str, str | None] = {}
    for table in (DECISIONS, IDENTITIES):
        query = select(table.c.sha256, table.c.patient).order_by(table.c.id)
        if table is DECISIONS:
            query = query.where(table.c.patient.is_not(None))
        found |= {row.sha256: row.patient for row in connection.execute(query)}
    return found


def _find(connection: Connection, patient: str, photographs: Iterable[str]) -> _Rows:
    hashes = {sha256: secrets.token_hex(32) for sha256 in photographs}
    numbers: dict[str, list[int]] = {}
    for table in _CHANGED:
        named = "patient" in table.c
        columns = [table.c.id, table.c.sha256, *([table.c.patient] if named else [])]
        numbers[table.name] = [
            row[0]
            for row in connection.execute(select(*columns).order_by(table.c.id))
            if row[1] in hashes or (named and fold(row[2] or "") == fold(patient))
        ]
    return _Rows(hashes, numbers)


def _erase_rows(
    connection: Connection,
    patient: str,
    photographs: Iterable[str],
    erasure: Erasure,
    entries: int,
    by: str,
) -> None:
    """Count the rows of a patient, and overwrite them if somebody erases."""
    rows = _find(connection, patient, photographs)
    erasure.count(rows)
    if by and (entries or any(rows.numbers.values())):
        _overwrite(connection, rows, erasure, entries, by)


def _overwrite(
    connection: Connection, rows: _Rows, erasure: Erasure, entries: int, by: str
) -> None:
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("PRAGMA secure_delete = ON")
    number = insert_row(
        connection, ERASURES,
        {
            "erased_at": datetime.now(UTC), "erased_by": " ".join(by.split())[:200],
            "photographs": erasure.photographs, "decisions": erasure.decisions,
            "marks": erasure.marks, "corrections": erasure.corrections, "list_entries": entries,
        },
    )  # fmt: skip
    for table in _CHANGED:
        guard = _unguarded(connection, table)
        for start in range(0, len(rows.numbers[table.name]), 500):
            some = rows.numbers[table.name][start : start + 500]
            query = select(table).where(table.c.id.in_(some))
            for row in connection.execute(query).mappings().all():
                new = _without_identity(table, row, rows.hashes, f"erased-{number}")
                new["digest"] = row_digest(table.name, new)
                connection.execute(update(table).where(table.c.id == row["id"]).values(**new))
        guard()


def _without_identity(
    table: Table, row: Mapping[Any, Any], hashes: Mapping[str, str], patient: str
) -> dict[str, Any]:
    new: dict[str, Any] = dict(row)
    new["sha256"] = hashes.get(new["sha256"], new["sha256"])
    if table is MARKS:
        box = 0.0 if new["kind"] == "point" else 1.0
        return new | {"note": "", "x0": 0.0, "y0": 0.0, "x1": box, "y1": box}
    if table is IDENTITIES:
        return new | {"laterality": None, "patient": patient, "exam_date": None}
    if new["findings"] is not None:
        new["findings"] = replace(new["findings"], texts=())
    return new | {"image": "erased", "note": "", "machine_score": None, "patient": patient}


def _unguarded(connection: Connection, table: Table) -> Callable[[], None]:
    """Let rows of a table be changed in this transaction; call the result to refuse it again."""
    name = table.name
    if connection.dialect.name != "sqlite":
        connection.exec_driver_sql(f"ALTER TABLE {name} DISABLE TRIGGER USER")
        return lambda: _run(connection, f"ALTER TABLE {name} ENABLE TRIGGER USER")
    query = text("SELECT sql FROM sqlite_master WHERE type = 'trigger' AND name = :name")
    guard = connection.execute(query, {"name": f"{name}_no_update"}).scalar()
    if guard is None:
        raise ReviewError(f"{name}: the trigger no_update is missing. Restore a backup first.")
    connection.exec_driver_sql(f"DROP TRIGGER {name}_no_update")
    return lambda: _run(connection, str(guard))


def _run(connection: Connection, statement: str) -> None:
    connection.exec_driver_sql(statement)


def _delete_copies(
    database: ReviewDatabase,
    file: Path | None,
    erasure: Erasure,
    patient: str,
    photographs: Iterable[str],
) -> None:
    """Delete the copies kept by upgrades that hold something of the patient."""
    hashes = set(photographs)

    def holds(rows: Iterable[Any]) -> bool:
        return any(row[0] in hashes or fold(row[1] or "") == patient for row in rows)

    if file is None:
        erasure.copies = database.run(lambda connection: _drop_tables(connection, holds), "written")
        return
    for copy in kept_files(file):
        try:
            if _holds(copy, patient, hashes):
                for ending in ("", "-wal", "-shm"):
                    copy.with_name(copy.name + ending).unlink(missing_ok=True)
                erasure.copies.append(copy.name)
        except (OSError, ReviewError) as error:
            erasure.problems.append(f"{copy.name} cannot be checked ({error}). Delete it by hand.")


def _holds(file: Path, patient: str, photographs: Collection[str]) -> bool:
    """Say whether an SQLite file, of any version, holds something of a patient."""
    address = f"{file.resolve().as_uri()}?mode=ro"
    try:
        with closing(sqlite3.connect(address, uri=True)) as connection:
            tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}
            if DECISIONS.name not in tables:
                raise ReviewError(f"{clean_name(file.name)} is no record of decisions.")
            return any(
                row[0] in photographs or fold(row[1] or "") == patient
                for name, column in _NAMING.items()
                if name in tables
                for row in connection.execute(_QUERY.format(column, name))
            )
    except sqlite3.Error as error:
        raise ReviewError(
            f"{clean_name(file.name)} cannot be read ({error}). Give an SQLite file of "
            "drcore record backup."
        ) from error


def _erase_in_backup(backup: Path, patient: str, photographs: Collection[str], by: str) -> None:
    """Replace a backup by one without the patient; it is never half written."""
    with (
        telling(backup, "written"),
        tempfile.TemporaryDirectory(prefix=".drcore-erase-", dir=backup.parent) as folder,
    ):
        copy = Path(folder, "backup.sqlite3")
        copy_file(backup, copy)  # upgraded here where it is old
        with ReviewDatabase(copy) as database:
            erasure = Erasure()

            def work(connection: Connection) -> None:
                belongs = _photographs(connection)
                own = {sha for sha, name in belongs.items() if fold(name or "") == fold(patient)}
                erasure.photographs = len(own)
                _erase_rows(connection, patient, own | set(photographs), erasure, 0, by)

            database.run(work, "written")
        _compact_file(copy)
        copy_file(copy, backup)
        if backup.with_name(backup.name + CHECKSUM_ENDING).exists():
            write_checksum(backup)


def _drop_tables(connection: Connection, holds: Callable[[Iterable[Any]], bool]) -> list[str]:
    tables = kept_tables(connection)
    steps = {
        name.removeprefix(f"{table}_")
        for name in tables
        for table, column in _NAMING.items()
        if name.startswith(f"{table}_schema_")
        and holds(connection.exec_driver_sql(_QUERY.format(column, name)))
    }
    dropped = [name for name in tables if any(name.endswith(f"_{step}") for step in steps)]
    for name in dropped:
        connection.exec_driver_sql(f"DROP TABLE {name}")
    return dropped


def _compact(database: ReviewDatabase, file: Path | None, erasure: Erasure) -> None:
    """Overwrite what the database still holds of the old rows outside its tables."""
    try:
        if file is None:
            database.vacuum([table.name for table in _CHANGED])
        else:
            _compact_file(file)
    except (ReviewError, sqlite3.Error) as error:
        erasure.problems.append(
            f"The old rows are erased, but traces may be left in free pages ({error}). Close the "
            "viewer and run: VACUUM"
        )


def _compact_file(file: Path) -> None:
    give_up = time.monotonic() + BUSY_SECONDS
    with closing(sqlite3.connect(file, timeout=BUSY_SECONDS, isolation_level=None)) as connection:
        connection.execute("VACUUM")
        while True:
            (busy, *_) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            if not busy:
                return
            if time.monotonic() > give_up:
                raise sqlite3.OperationalError("a reader keeps the record open")
            with suppress(InterruptedError):
                time.sleep(0.1)
