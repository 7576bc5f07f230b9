"""The record of readers' decisions: append-only, in SQLite or another database."""

from __future__ import annotations

import math
import os
import re
import sqlite3
import time
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar, get_args

from sqlalchemy import (
    URL,
    Column,
    DateTime,
    Float,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    create_engine,
    insert,
    make_url,
    select,
    text,
)
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.pool import NullPool
from sqlalchemy.schema import CreateIndex, CreateTable
from sqlalchemy.types import TypeDecorator

from drcore.batch import csv_text
from drcore.errors import ReviewError
from drcore.photograph import Laterality, clean_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection, Dialect, Engine, Executable
    from sqlalchemy import Row as DatabaseRow

    from drcore.batch import Row

__all__ = ["REVIEW_COLUMNS", "Action", "Decision", "ReviewStore"]

Action = Literal["agree", "change", "ungradable"]
T = TypeVar("T")

REVIEW_COLUMNS = (
    "decided_at", "reader", "image", "sha256", "action", "grade", "note",
    "machine_status", "machine_grade", "machine_score", "model_version",
    "laterality", "patient",
)  # fmt: skip
"""Columns of `ReviewStore.csv_text`: the fields of `Decision`, `decided_at` in ISO 8601 and UTC,
an empty cell for None, `machine_score` with four decimals."""

_STATUSES = ("graded", "ungradable", "failed")
_MAX_TEXT = {"image": 4096, "model_version": 200, "note": 10_000, "reader": 200, "patient": 400}
_BUSY_SECONDS = 30
"""How long a writer waits for others before it gives up."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What a reader decided about one photograph, and what the model had said.

    Attributes:
        sha256: of the file, 64 hex digits in lower case.
        image: name of the photograph as shown; untrusted text.
        model_version: name and version of the weights.
        machine_status: "graded", "ungradable" or "failed".
        machine_grade: 0-4, None unless graded.
        machine_score: continuous severity in grades, None where there was none.
        action: "agree" with the machine's grade, "change" to another, or "ungradable".
        grade: the reader's grade 0-4; the machine's where they agree, None where ungradable.
        note: free text, may be empty.
        reader: who decided, may be empty where the viewer has no names.
        decided_at: when, with a time zone.
        laterality: "OD", "OS" or None.
        patient: None where unknown.

    Raises:
        ReviewError: the fields contradict each other or cannot be stored.
    """

    sha256: str
    image: str
    model_version: str
    machine_status: str
    machine_grade: int | None
    machine_score: float | None
    action: Action
    grade: int | None
    note: str
    reader: str
    decided_at: datetime
    laterality: Laterality | None = None
    patient: str | None = None

    def __post_init__(self) -> None:
        label = clean_name(str(self.image))
        self._check_texts(label)
        self._check_machine(label)
        if self.action not in get_args(Action):
            raise ReviewError(
                f"{label}: the decision {self.action!r} is not known; choose "
                f"{', '.join(get_args(Action))}."
            )
        if self.action == "agree" and (self.machine_grade is None or not _is_grade(self.grade)):
            raise ReviewError(
                f"{label}: there is no grade of the model to agree with. Give a grade of your own."
            )
        if self.action == "agree" and self.grade != self.machine_grade:
            raise ReviewError(
                f"{label}: grade {self.grade} does not agree with the model's "
                f"{self.machine_grade}. Record it as a change."
            )
        if self.action == "change" and not _is_grade(self.grade):
            raise ReviewError(f"{label}: {self.grade!r} is not a grade; choose 0 to 4.")
        if self.action == "ungradable" and self.grade is not None:
            raise ReviewError(f"{label}: an ungradable photograph has no grade. Leave it out.")
        if not isinstance(self.decided_at, datetime) or self.decided_at.utcoffset() is None:
            raise ReviewError(f"{label}: the time of the decision needs a time zone. Give UTC.")

    def _check_texts(self, label: str) -> None:
        if not isinstance(self.sha256, str) or not re.fullmatch(r"[0-9a-f]{64}", self.sha256):
            raise ReviewError(
                f"{label}: the decision has no SHA-256 of a photograph. "
                "A file that could not be read cannot be reviewed."
            )
        if self.laterality not in {"OD", "OS", None}:
            raise ReviewError(f"{label}: laterality is OD, OS or unknown.")
        for name, longest in _MAX_TEXT.items():
            value = getattr(self, name)
            if value is None and name == "patient":
                continue
            if not isinstance(value, str) or len(value) > longest:
                raise ReviewError(
                    f"{label}: the {name.replace('_', ' ')} is not a text of at most {longest} "
                    "characters. Shorten it."
                )
            if re.search("[\0\ud800-\udfff]", value):  # no database stores these
                raise ReviewError(
                    f"{label}: the {name.replace('_', ' ')} holds characters that cannot be "
                    "stored. Type it again."
                )

    def _check_machine(self, label: str) -> None:
        if self.machine_status not in _STATUSES:
            raise ReviewError(f"{label}: the model's answer {self.machine_status!r} is not known.")
        if (self.machine_grade is not None) != (self.machine_status == "graded") or not (
            self.machine_grade is None or _is_grade(self.machine_grade)
        ):
            raise ReviewError(
                f"{label}: the model's grade {self.machine_grade!r} does not go with its answer "
                f"{self.machine_status!r}."
            )
        if self.machine_score is not None and not math.isfinite(self.machine_score):
            raise ReviewError(f"{label}: the model's score is not a number. Leave it out.")


def _is_grade(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 4


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


_DECISIONS = Table(
    "decisions",
    MetaData(),
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("sha256", String(64), nullable=False, index=True),
    Column("image", Text, nullable=False),
    Column("model_version", String(_MAX_TEXT["model_version"]), nullable=False),
    Column("machine_status", String(16), nullable=False),
    Column("machine_grade", Integer),
    Column("machine_score", Float),
    Column("action", String(16), nullable=False),
    Column("grade", Integer),
    Column("note", Text, nullable=False),
    Column("reader", String(_MAX_TEXT["reader"]), nullable=False),
    Column("decided_at", _UtcDateTime, nullable=False),
    Column("laterality", String(2)),
    Column("patient", String(_MAX_TEXT["patient"])),
    sqlite_autoincrement=True,  # an id is never given twice, not even after a deletion by hand
)
_APPEND_ONLY = tuple(
    f"CREATE TRIGGER IF NOT EXISTS decisions_no_{what.lower()} BEFORE {what} ON decisions "
    "BEGIN SELECT RAISE(ABORT, 'decisions are only ever added'); END"
    for what in ("UPDATE", "DELETE")
)
_FIELDS = tuple(field.name for field in fields(Decision))


class ReviewStore:
    """Decisions in a database; every method may be called from any thread and process.

    Decisions are only ever added: a reader who changes a mind adds another. In SQLite, triggers
    refuse to change or delete them.

    Args:
        url_or_path: path of an SQLite file, made where missing, or the URL of another database
            ("postgresql+psycopg://user@host/name"; its driver must be installed).

    Raises:
        ReviewError: the database cannot be opened.
    """

    def __init__(self, url_or_path: str | Path) -> None:
        url = _url(url_or_path)
        sqlite = url.get_backend_name() == "sqlite"
        self._file = Path(url.database) if sqlite and url.database else None
        self._label = clean_name(url.database or url.drivername)
        self._engine = self._open(url)
        self._create()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def add(self, decision: Decision) -> int:
        """Add a decision.

        Args:
            decision: checked when it was made.

        Returns:
            Its number in the record, rising.

        Raises:
            ReviewError: the database cannot be written.
        """
        values = {name: getattr(decision, name) for name in _FIELDS}

        def write(connection: Connection) -> int:
            result = connection.execute(insert(_DECISIONS).values(**values))
            return int(result.inserted_primary_key[0])  # type: ignore[index]

        return self._run(write, "written")

    def latest(self, sha256: str, reader: str | None = None) -> Decision | None:
        """Return the decision added last for a photograph.

        Args:
            sha256: of the file, hex.
            reader: only this reader's; anybody's where left out.

        Returns:
            The decision, or None.

        Raises:
            ReviewError: the database cannot be read.
        """
        query = select(_DECISIONS).where(_DECISIONS.c.sha256 == sha256)
        if reader is not None:
            query = query.where(_DECISIONS.c.reader == reader)
        query = query.order_by(_DECISIONS.c.id.desc()).limit(1)
        row = self._run(lambda connection: connection.execute(query).first(), "read")
        return None if row is None else _decision(row)

    def decisions(self) -> list[Decision]:
        """Return all decisions in the order in which they were added.

        Returns:
            The record.

        Raises:
            ReviewError: the database cannot be read.
        """
        query = select(_DECISIONS).order_by(_DECISIONS.c.id)
        rows = self._run(lambda connection: connection.execute(query).all(), "read")
        return [_decision(row) for row in rows]

    def csv_text(self) -> str:
        """Return all decisions as CSV with `REVIEW_COLUMNS`.

        Returns:
            Header and rows, cells safe in a spreadsheet.

        Raises:
            ReviewError: the database cannot be read.
        """
        return csv_text([_cells(decision) for decision in self.decisions()], REVIEW_COLUMNS)

    def close(self) -> None:
        """Let go of the database; the store can still be used and opens it again."""
        self._engine.dispose()

    def _open(self, url: URL) -> Engine:
        try:
            if self._file is None:
                return create_engine(url, pool_pre_ping=True)
            self._file.parent.mkdir(parents=True, exist_ok=True)
            # A connection for each call: a file that was moved away is noticed, not written to.
            return create_engine(url, poolclass=NullPool, connect_args={"timeout": _BUSY_SECONDS})
        except (SQLAlchemyError, ImportError) as error:
            raise ReviewError(
                f"Databases of the kind {clean_name(url.drivername)} cannot be opened here: the "
                "kind is unknown or its driver is not installed. Install it, or give a file's path."
            ) from error
        except OSError as error:
            raise self._failed(error, "opened") from error

    def _create(self) -> None:
        """Make the table where it is missing, and check that it is ours."""
        statements: list[Executable] = [
            CreateTable(_DECISIONS, if_not_exists=True),
            *(CreateIndex(index, if_not_exists=True) for index in _DECISIONS.indexes),
        ]
        if self._file is not None:
            # Readers and a writer do not block each other; stays with the file.
            statements.insert(0, text("PRAGMA journal_mode=WAL"))
            statements += [text(statement) for statement in _APPEND_ONLY]

        def create(connection: Connection) -> None:
            for statement in statements:
                connection.execute(statement)
            connection.execute(select(_DECISIONS).limit(0))

        # Processes that make the same file at once may trip over each other; the next try finds it.
        for pause in (0.1, 0.4):
            try:
                self._with(create, "opened")
            except ReviewError:
                time.sleep(pause)
            else:
                return
        self._with(create, "opened")

    def _run(self, work: Callable[[Connection], T], what: str) -> T:
        # Moved away since: begin anew. Path.exists() would raise where a folder may not be entered.
        if self._file is not None and not os.path.exists(self._file):  # noqa: PTH110
            self._create()
        return self._with(work, what)

    def _with(self, work: Callable[[Connection], T], what: str) -> T:
        """Do some work in one transaction."""
        try:
            with self._engine.begin() as connection:
                return work(connection)
        except (SQLAlchemyError, sqlite3.Error, ImportError, OSError, ValueError) as error:
            raise self._failed(error, what) from error

    def _failed(self, error: Exception, what: str) -> ReviewError:
        cause = error.orig if isinstance(error, DBAPIError) and error.orig else error
        why = " ".join(str(getattr(cause, "strerror", None) or cause).split())[:200]
        if "not a database" in why:
            return ReviewError(f"{self._label} is not a database. Give the path of another file.")
        return ReviewError(
            f"{self._label}: the record of decisions cannot be {what} ({why}). "
            "Check its path, the permissions and the free space."
        )


def _url(url_or_path: str | Path) -> URL:
    if isinstance(url_or_path, Path) or "://" not in url_or_path:
        return URL.create("sqlite", database=str(Path(url_or_path).expanduser()))
    try:
        url = make_url(url_or_path)
    except (ArgumentError, ValueError) as error:  # the text may hold a password: not repeated
        raise ReviewError(
            "The URL of the database is not understood. Write kind://user@host/name."
        ) from error
    if url.get_backend_name() == "sqlite" and url.database in {None, "", ":memory:"}:
        raise ReviewError(
            "Decisions in memory would be lost with the program. Give the path of a file."
        )
    return url


def _decision(row: DatabaseRow[Any]) -> Decision:
    return Decision(**{name: row._mapping[name] for name in _FIELDS})  # noqa: SLF001 - public API


def _cells(decision: Decision) -> Row:
    cells = {
        name: "" if (value := getattr(decision, name)) is None else str(value)
        for name in REVIEW_COLUMNS
    }
    cells["decided_at"] = decision.decided_at.astimezone(UTC).isoformat(timespec="milliseconds")
    if decision.machine_score is not None:
        cells["machine_score"] = f"{decision.machine_score:.4f}"
    return cells
