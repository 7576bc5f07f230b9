"""Erasing a patient: from the record, from stored worklists, from the copies that upgrades kept."""

from __future__ import annotations

import secrets
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Table, select, text, update

from drcore.errors import MissingInputError, ReviewError
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
from drcore.reviews.kept_copy import kept_files, kept_tables
from drcore.text import clean_name, fold

if TYPE_CHECKING:
    from sqlalchemy import Connection

__all__ = ["Erasure", "erase_patient"]

_CHANGED = (DECISIONS, MARKS, IDENTITIES)


@dataclass(slots=True)
class Erasure:
    """What was erased, or would be.

    Attributes:
        photographs, decisions, marks, corrections: how many in the record.
        entries: of stored worklists.
        copies: names of files or tables that an upgrade had kept and that were deleted.
        problems: what is left to be done, a sentence each.
    """

    photographs: int = 0
    decisions: int = 0
    marks: int = 0
    corrections: int = 0
    entries: ErasedEntries = field(default_factory=ErasedEntries)
    copies: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Rows:
    """The rows of a patient: numbers by table, and the new hashes of the photographs."""

    hashes: dict[str, str]
    numbers: dict[str, list[int]]


def erase_patient(location: str, lists: Path, patient: str, *, by: str, confirmed: bool) -> Erasure:
    """Erase a patient from a record and from stored worklists.

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

    Returns:
        What was erased, or would be.

    Raises:
        MissingInputError: there is no record, or nothing of this patient.
        ReviewError: the record or a list cannot be changed.
    """
    file = existing_record(location)
    if not fold(patient):
        raise MissingInputError("No patient was named. Write the patient as the viewer shows it.")
    if confirmed and not by.strip():
        raise ReviewError("Say who erases: --by NAME. The record keeps it.")
    with ReviewDatabase(location) as database:
        belongs = database.run(_photographs, "read")
        own = frozenset(sha for sha, name in belongs.items() if fold(name or "") == fold(patient))
        entries = find_entries(lists, patient, own, others=belongs.keys() - own)
        photographs = own | {one.sha256 for one in entries if one.sha256}
        erasure = Erasure(photographs=len(photographs))

        def work(connection: Connection) -> None:
            rows = _find(connection, patient, photographs)
            erasure.decisions = len(rows.numbers["decisions"])
            erasure.marks = len(rows.numbers["marks"])
            erasure.corrections = len(rows.numbers["identities"])
            if confirmed and (entries or any(rows.numbers.values())):
                _overwrite(connection, rows, erasure, len(entries), by)

        database.run(work, "written" if confirmed else "read")
        if not entries and not (erasure.decisions or erasure.marks or erasure.corrections):
            raise MissingInputError(
                f"There is nothing of patient {clean_name(patient)} in the record or in a stored "
                "list. Write the patient as the viewer shows it."
            )
        erasure.entries = erase_entries(lists, entries, confirmed=confirmed)
        erasure.problems += erasure.entries.problems
        if confirmed:
            _delete_copies(database, file, erasure, fold(patient), photographs)
            _compact(database, file, erasure)
    return erasure


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
    query = "SELECT sha256, patient FROM decisions"
    for copy in kept_files(file):
        try:
            with closing(sqlite3.connect(copy)) as connection:
                found = holds(connection.execute(query))
            if found:
                for ending in ("", "-wal", "-shm"):
                    copy.with_name(copy.name + ending).unlink(missing_ok=True)
                erasure.copies.append(copy.name)
        except (OSError, sqlite3.Error) as error:
            erasure.problems.append(f"{copy.name} cannot be checked ({error}). Delete it by hand.")


def _drop_tables(connection: Connection, holds: Callable[[Iterable[Any]], bool]) -> list[str]:
    tables = kept_tables(connection)
    query = "SELECT sha256, patient FROM {}"  # the names are our own
    steps = {
        name.removeprefix("decisions_")
        for name in tables
        if name.startswith("decisions_") and holds(connection.exec_driver_sql(query.format(name)))
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
