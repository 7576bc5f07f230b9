"""The whole record as plain text that needs no program of ours: CSV and JSON Lines in a ZIP."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Table, select

from drcore import __version__
from drcore.errors import ReviewError
from drcore.files import replacing
from drcore.record.places import existing_record
from drcore.reviews.database import TABLES, ReviewDatabase
from drcore.reviews.findings import Findings
from drcore.text import clean_name, csv_text

if TYPE_CHECKING:
    from sqlalchemy import Connection

__all__ = ["export_record"]

_ABOUT = """\
Record of readers' decisions, written by drcore {version} on {now}.

Each table is here twice: as CSV (UTF-8; a cell that a spreadsheet would take for a formula begins
with an apostrophe) and as JSON Lines (one object a row, values exactly as stored). Times are
ISO 8601 and UTC. Empty cells and null mean: not recorded.

decisions         what readers decided on a photograph, which its SHA-256 names
marks             points and boxes on photographs, in pixels of the original
mark_withdrawals  marks that their readers took back
identities        corrections of eye, patient and date; the last of a photograph counts
erasures          when patients were erased; their rows name a patient "erased-<number>"

Rows are only ever added: a later decision of a reader on a photograph replaces an earlier one.

digest is the SHA-256 of the row: of the JSON text ["table",{{"column":value,...}}] without blanks,
in ASCII (other characters as \\uXXXX), columns sorted by name, without digest and null values, each
value as in the JSON Lines.

{sums}
"""


def export_record(location: str, target: Path, *, overwrite: bool = False) -> dict[str, int]:
    """Write all tables of a record, withdrawn marks too, as they are at one moment.

    Args:
        location: path or URL of the record.
        target: ZIP file to write, whole or not at all.
        overwrite: replace a file that is there.

    Returns:
        Number of rows by table.

    Raises:
        MissingInputError: there is no record.
        ReviewError: it cannot be read, or the file cannot be written.
    """
    existing_record(location)
    if target.exists() and not overwrite:
        raise ReviewError(
            f"{clean_name(target.name)} is there already. Choose another name, or --overwrite."
        )
    try:
        with (
            ReviewDatabase(location) as database,
            replacing(target) as part,
            zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as archive,
        ):
            return database.run(lambda connection: _write(connection, archive), "read")
    except OSError as error:
        raise ReviewError(
            f"{clean_name(target.name)} cannot be written ({error.strerror or error}). Check its "
            "path, the permissions and the free space."
        ) from error


def _write(connection: Connection, archive: zipfile.ZipFile) -> dict[str, int]:
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN")
    else:
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
    counts, sums = {}, []
    for table in TABLES:
        names = [column.name for column in table.columns]
        rows = list(_rows(connection, table))
        counts[table.name] = len(rows)
        cells = ({name: _cell(value) for name, value in row.items()} for row in rows)
        lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        for name, content in (
            (f"{table.name}.csv", csv_text(cells, names)),
            (f"{table.name}.jsonl", "".join(lines)),
        ):
            data = content.encode("utf-8")
            archive.writestr(name, data)
            sums.append(f"{hashlib.sha256(data).hexdigest()}  {name}")
    now = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    about = _ABOUT.format(version=__version__, now=now, sums="\n".join(sums))
    archive.writestr("about.txt", about)
    return counts


def _rows(connection: Connection, table: Table) -> Iterator[dict[str, Any]]:
    for row in connection.execute(select(table).order_by(table.c.id)).mappings():
        yield {str(name): _plain(value) for name, value in row.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds")
    if isinstance(value, Findings):
        return value.to_text()
    return " ".join(value) if isinstance(value, tuple) else value


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)
