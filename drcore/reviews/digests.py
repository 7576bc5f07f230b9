"""A digest for each row of the record, by which a changed row is found."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Table, insert, text

from drcore.reviews.findings import Findings

if TYPE_CHECKING:
    from sqlalchemy import Connection

__all__ = ["DIGEST", "insert_row", "row_digest"]

DIGEST = "digest"
"""Name of the column."""


def row_digest(table: str, values: Mapping[str, Any]) -> str:
    """Return the SHA-256 over the content of a row, alike in SQLite and PostgreSQL.

    Args:
        table: name of its table.
        values: by column, with the number `id`. What is None is left out, so that a column added
            later leaves the digests of older rows as they are; so is the digest itself.

    Returns:
        64 hex digits, of the UTF-8 JSON text `["table", {"column": value, ...}]` without blanks,
        columns sorted, moments in ISO 8601 with microseconds and UTC, other letters than ASCII
        escaped.
    """
    told = {
        name: _plain(value)
        for name, value in values.items()
        if value is not None and name != DIGEST
    }
    content = json.dumps([table, told], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(content.encode("ascii")).hexdigest()


def insert_row(connection: Connection, table: Table, values: Mapping[str, Any]) -> int:
    """Add a row with its digest, in the caller's transaction.

    Args:
        connection: to SQLite or PostgreSQL.
        table: of the record.
        values: by column, without number and digest.

    Returns:
        The number of the row.
    """
    row = {**values, "id": _next_number(connection, table)}
    connection.execute(insert(table).values(**row, digest=row_digest(table.name, row)))
    return int(row["id"])


def _next_number(connection: Connection, table: Table) -> int:
    if connection.dialect.name != "sqlite":
        query = text("SELECT nextval(pg_get_serial_sequence(:name, 'id'))")
        return int(connection.execute(query, {"name": table.name}).scalar_one())
    if not getattr(connection.connection.driver_connection, "in_transaction", False):
        connection.exec_driver_sql("BEGIN IMMEDIATE")  # no other process may take the same number
    query = text("SELECT seq FROM sqlite_sequence WHERE name = :name")
    return int(connection.execute(query, {"name": table.name}).scalar() or 0) + 1


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        moment = value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
        return moment.isoformat(timespec="microseconds")
    if isinstance(value, tuple):
        return " ".join(value)
    if isinstance(value, Findings):
        return value.to_text()
    if isinstance(value, float):
        return value + 0.0  # SQLite keeps no sign of a zero
    return value
