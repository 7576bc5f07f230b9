"""The database of the record: its tables, and transactions that fail with a plain sentence."""

from __future__ import annotations

import os
import sqlite3
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from sqlalchemy import (
    URL,
    Boolean,
    Column,
    DateTime,
    Float,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    create_engine,
    event,
    select,
)
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.pool import NullPool
from sqlalchemy.types import TypeDecorator

from drcore.errors import ReviewError
from drcore.reviews import migrations
from drcore.reviews.database_url import BUSY_SECONDS, connect_arguments, parse_url
from drcore.reviews.digests import DIGEST
from drcore.reviews.findings import Findings
from drcore.reviews.kept_copy import keep_copy
from drcore.reviews.validation import LONGEST
from drcore.text import clean_name

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy import Connection, Dialect, Engine
    from sqlalchemy.engine import ExceptionContext

__all__ = [
    "DECISIONS", "ERASURES", "IDENTITIES", "MARKS", "TABLES", "WITHDRAWALS", "ReviewDatabase",
]  # fmt: skip

T = TypeVar("T")


class _UtcDateTime(TypeDecorator[datetime]):
    """A moment, always UTC: SQLite drops time zones, so what comes back without one is UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        del dialect
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        del dialect
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class _Words(TypeDecorator[tuple[str, ...]]):
    """Words without blanks, kept in one text; none at all is an empty text and not NULL."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: tuple[str, ...] | None, dialect: Dialect) -> str | None:
        del dialect
        return None if value is None else " ".join(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> tuple[str, ...] | None:
        del dialect
        return None if value is None else tuple(value.split())


class _FindingsText(TypeDecorator[Findings]):
    """Answers of a structured reading as JSON."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Findings | None, dialect: Dialect) -> str | None:
        del dialect
        return None if value is None else value.to_text()

    def process_result_value(self, value: str | None, dialect: Dialect) -> Findings | None:
        del dialect
        return None if value is None else Findings.from_text(value)


_TABLES = MetaData()


def _table(name: str, *columns: Column[Any]) -> Table:
    return Table(
        name,
        _TABLES,
        Column("id", Integer, primary_key=True, autoincrement=True),
        *columns,
        Column(DIGEST, String(64)),  # NULL only where another program added the row
        sqlite_autoincrement=True,  # an id is never given twice, not even after a deletion by hand
    )


DECISIONS = _table(
    "decisions",
    Column("sha256", String(64), nullable=False, index=True),
    Column("image", Text, nullable=False),
    Column("model_version", String(LONGEST["model_version"]), nullable=False),
    Column("machine_status", String(16), nullable=False),
    Column("machine_grade", Integer),
    Column("machine_score", Float),
    Column("action", String(16), nullable=False),
    Column("grade", Integer),
    Column("note", Text, nullable=False),
    Column("reader", String(LONGEST["reader"]), nullable=False),
    Column("decided_at", _UtcDateTime, nullable=False),
    Column("laterality", String(2)),
    Column("patient", String(LONGEST["patient"])),
    Column("seconds", Float),
    Column("overlay_scales", _Words),
    Column("mode", String(32)),
    Column("role", String(16)),
    Column("machine_visible", Boolean),
    Column("revises", Integer),
    Column("findings", _FindingsText),
    Column("login", String(16)),
)
MARKS = _table(
    "marks",
    Column("sha256", String(64), nullable=False, index=True),
    Column("kind", String(16), nullable=False),
    Column("lesion", String(32), nullable=False),
    Column("x0", Float(53), nullable=False),
    Column("y0", Float(53), nullable=False),
    Column("x1", Float(53), nullable=False),
    Column("y1", Float(53), nullable=False),
    Column("reader", String(LONGEST["reader"]), nullable=False),
    Column("created_at", _UtcDateTime, nullable=False),
    Column("note", Text, nullable=False),
    Column("login", String(16)),
)
WITHDRAWALS = _table(
    "mark_withdrawals",
    Column("mark", Integer, nullable=False, index=True),
    Column("reader", String(LONGEST["reader"]), nullable=False),
    Column("withdrawn_at", _UtcDateTime, nullable=False),
    Column("login", String(16)),
)
IDENTITIES = _table(
    "identities",
    Column("sha256", String(64), nullable=False, index=True),
    Column("laterality", String(2)),
    Column("patient", String(LONGEST["patient"])),
    Column("reader", String(LONGEST["reader"]), nullable=False),
    Column("corrected_at", _UtcDateTime, nullable=False),
    Column("exam_date", String(10)),
    Column("login", String(16)),
)
ERASURES = _table(
    "erasures",
    Column("erased_at", _UtcDateTime, nullable=False),
    Column("erased_by", String(LONGEST["reader"]), nullable=False),
    Column("photographs", Integer, nullable=False),
    Column("decisions", Integer, nullable=False),
    Column("marks", Integer, nullable=False),
    Column("corrections", Integer, nullable=False),
    Column("list_entries", Integer, nullable=False),
)
TABLES = (DECISIONS, MARKS, WITHDRAWALS, IDENTITIES, ERASURES)
"""All tables of the record."""


class ReviewDatabase:
    """An SQLite file or a PostgreSQL database with the tables of the record.

    It is made where missing. One of an older version is brought up to date when it is opened, and a
    copy of it as it was is kept (`drcore.reviews.kept_copy`).
    Every method may be called from any thread and process.

    Args:
        url_or_path: path of an SQLite file, or the URL of a PostgreSQL database
            ("postgresql://user@host/name"; pg8000 must be installed, the extra "postgresql").

    Raises:
        ReviewError: the database cannot be opened, or was made by a newer version.
    """

    def __init__(self, url_or_path: str | Path) -> None:
        url = parse_url(url_or_path)
        sqlite = url.get_backend_name() == "sqlite"
        self._file = Path(url.database) if sqlite and url.database else None
        self._label = clean_name(url.database or url.drivername)
        self._engine = self._open(url)
        self._create()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections; the next call opens new ones."""
        self._engine.dispose()

    def run(self, work: Callable[[Connection], T], what: str) -> T:
        """Do some work in one transaction.

        Args:
            work: what it changes is kept for good when this returns, or not at all.
            what: was to be done with the record: "read" or "written".

        Returns:
            What the work returned.

        Raises:
            ReviewError: the database failed, or the work raised it.
        """
        # The file was moved away: create a new one. Path.exists() would raise in a closed folder.
        if self._file is not None and not os.path.exists(self._file):  # noqa: PTH110
            self._create()
        return self._with(work, what)

    def vacuum(self, tables: Sequence[str]) -> None:
        """Let PostgreSQL rewrite tables, so that their files hold no earlier version of a row.

        Args:
            tables: names of our own.

        Raises:
            ReviewError: the database failed.
        """
        try:
            engine = self._engine.execution_options(isolation_level="AUTOCOMMIT")
            with engine.connect() as connection:
                connection.exec_driver_sql("ROLLBACK")  # of the pool's first look
                for table in tables:
                    connection.exec_driver_sql(f"VACUUM FULL {table}")
        except (SQLAlchemyError, OSError) as error:
            raise self._failed(error, "compacted") from error

    def _open(self, url: URL) -> Engine:
        url, arguments = connect_arguments(url)
        try:
            if self._file is None:
                engine = create_engine(url, pool_pre_ping=True, connect_args=arguments)
                event.listen(engine, "handle_error", _notice_disconnect)
                return engine
            self._file.parent.mkdir(parents=True, exist_ok=True)
            # A connection for each call: a file that was moved away is noticed, not written to.
            engine = create_engine(url, poolclass=NullPool, connect_args=arguments)
        except (SQLAlchemyError, ImportError) as error:
            raise ReviewError(
                f"Unsupported database: {clean_name(url.drivername)} is unknown or its driver is "
                'not installed. pip install "drcore[postgresql]", or give a path of a file.'
            ) from error
        except OSError as error:
            raise self._failed(error, "opened") from error
        event.listen(engine, "connect", _write_through)
        return engine

    def _create(self) -> None:
        """Make or upgrade the tables, and check that they are ours."""
        give_up = time.monotonic() + BUSY_SECONDS
        while True:
            try:
                self._with(self._prepare, "opened")
                if self._file is not None:
                    self._with(_journal_ahead, "opened")
            except ReviewError as error:
                # Not every lock of SQLite waits for its turn: switching to WAL fails at once.
                if "locked" not in str(error.__cause__) or time.monotonic() > give_up:
                    raise
                time.sleep(0.05)
            else:
                return

    def _prepare(self, connection: Connection) -> None:
        if not migrations.is_current(connection, self._label):
            migrations.upgrade(
                connection, self._label, lambda step: keep_copy(connection, self._file, step)
            )
        connection.execute(select(DECISIONS).limit(0))

    def _with(self, work: Callable[[Connection], T], what: str) -> T:
        again = True
        try:
            while True:
                started = False
                try:
                    with self._engine.begin() as connection:
                        started = True
                        return work(connection)
                except ConnectionError:
                    # pg8000 may notice a dead connection by a bare error of the socket, which the
                    # pool does not take for a lost connection. Nothing was sent yet: try again.
                    if started or not again:
                        raise
                    again = False
                    self._engine.dispose()
        except (SQLAlchemyError, sqlite3.Error, ImportError, OSError, ValueError) as error:
            raise self._failed(error, what) from error

    def _failed(self, error: Exception, what: str) -> ReviewError:
        cause = error.orig if isinstance(error, DBAPIError) and error.orig else error
        why = getattr(cause, "strerror", None) or _server_words(cause).get("M") or cause
        why = " ".join(str(why).split())[:200]
        if "not a database" in why:
            return ReviewError(f"{self._label} is not a database. Give the path of another file.")
        hint = "its path, the permissions and the free space"
        if self._file is None:
            hint = "its URL, and that the server runs and lets you in"
        return ReviewError(
            f"{self._label}: the record of decisions cannot be {what} ({why}). Check {hint}."
        )


def _journal_ahead(connection: Connection) -> None:
    # Readers and a writer do not block each other; stays with the file.
    connection.exec_driver_sql("PRAGMA journal_mode=WAL")


def _write_through(connection: sqlite3.Connection, _: object) -> None:
    # Ahead of the default of some builds: what was shown as saved survives a power cut as well.
    connection.execute("PRAGMA synchronous=FULL")


def _server_words(error: BaseException | None) -> dict[str, str]:
    """What PostgreSQL said, by the letters of its protocol; pg8000 gives it as a dictionary."""
    words = error.args[0] if error is not None and error.args else None
    return words if isinstance(words, dict) else {}


def _notice_disconnect(context: ExceptionContext) -> None:
    # The server's farewell (class 57P) comes as an error like any other; the connection is gone.
    code = _server_words(context.original_exception).get("C", "")
    if code.startswith("57P"):
        context.is_disconnect = True
