"""The record of readers' decisions: append-only, in SQLite or PostgreSQL."""

from __future__ import annotations

import json
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
)
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.pool import NullPool
from sqlalchemy.types import TypeDecorator

from drcore import migrations
from drcore.batch import csv_text
from drcore.errors import ReviewError
from drcore.photograph import Laterality, clean_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection, Dialect, Engine
    from sqlalchemy import Row as DatabaseRow

    from drcore.batch import Row

__all__ = ["REVIEW_COLUMNS", "Action", "Decision", "ReviewStore"]

Action = Literal["agree", "change", "ungradable"]
T = TypeVar("T")

REVIEW_COLUMNS = (
    "decided_at", "reader", "image", "sha256", "action", "grade", "note",
    "machine_status", "machine_grade", "machine_score", "model_version",
    "laterality", "patient", "seconds", "overlay_seen", "overlay_scales",
)  # fmt: skip
"""Columns of `ReviewStore.csv_text`: the fields of `Decision`, `decided_at` in ISO 8601 and UTC,
an empty cell for None, `machine_score` with four decimals, `seconds` with one, `overlay_seen` true
or false, `overlay_scales` parted by blanks."""

_STATUSES = ("graded", "ungradable", "failed")
_MAX_TEXT = {"image": 4096, "model_version": 200, "note": 10_000, "reader": 200, "patient": 400}
_SCALE = re.compile(r"[1-9][0-9]{1,3}|fused")
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
        note: the reader's reason, free text, may be empty.
        reader: who decided, may be empty where the viewer has no names.
        decided_at: when, with a time zone.
        laterality: "OD", "OS" or None.
        patient: None where unknown.
        seconds: the photograph was looked at, before this decision and since the one before it;
            None where that was not recorded.
        overlay_scales: at which the reader saw the map before deciding ("128", "fused", ...); empty
            where the map was hidden the whole time, None where it was not recorded.

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
    seconds: float | None = None
    overlay_scales: tuple[str, ...] | None = None

    @property
    def overlay_seen(self) -> bool | None:
        """Whether the reader saw the map at any scale; None where it was not recorded."""
        return None if self.overlay_scales is None else bool(self.overlay_scales)

    def __post_init__(self) -> None:
        label = clean_name(str(self.image))
        self._check_texts(label)
        self._check_machine(label)
        self._check_attention(label)
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

    def _check_attention(self, label: str) -> None:
        if self.seconds is not None and not (math.isfinite(self.seconds) and self.seconds >= 0):
            raise ReviewError(f"{label}: {self.seconds} seconds is not a time. Leave it out.")
        scales = self.overlay_scales
        if scales is not None and not (
            isinstance(scales, tuple)
            and all(isinstance(name, str) and _SCALE.fullmatch(name) for name in scales)
            and len(set(scales)) == len(scales)
        ):
            raise ReviewError(
                f"{label}: {clean_name(str(scales))} are not scales of the map. Give each once, "
                'as its size in pixels or as "fused", or leave them out.'
            )


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
    Column("seconds", Float),
    Column("overlay_scales", _Words),
    sqlite_autoincrement=True,  # an id is never given twice, not even after a deletion by hand
)
_FIELDS = tuple(field.name for field in fields(Decision))


class ReviewStore:
    """Decisions in a database; every method may be called from any thread and process.

    Decisions are only ever added: a reader who changes a mind adds another. Triggers refuse to
    change or delete them. A database of an older version is brought up to date when it is opened.

    Args:
        url_or_path: path of an SQLite file, made where missing, or the URL of a PostgreSQL database
            ("postgresql://user@host/name"; psycopg must be installed, the extra "postgresql").

    Raises:
        ReviewError: the database cannot be opened, or was made by a newer version.
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

    def json_text(self) -> str:
        """Return all decisions as JSON: a list of objects with `REVIEW_COLUMNS`.

        Returns:
            Numbers are numbers, what is unknown is null, `decided_at` is ISO 8601 in UTC, and
            `overlay_scales` is a list; ends in a line break.

        Raises:
            ReviewError: the database cannot be read.
        """
        objects = [_object(decision) for decision in self.decisions()]
        return json.dumps(objects, ensure_ascii=False, allow_nan=False, indent=1) + "\n"

    def close(self) -> None:
        """Let go of the database; the store can still be used and opens it again."""
        self._engine.dispose()

    def _open(self, url: URL) -> Engine:
        try:
            if self._file is None:
                patience = {} if "connect_timeout" in url.query else {"connect_timeout": 10}
                return create_engine(url, pool_pre_ping=True, connect_args=patience)
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
        """Make or upgrade the table, and check that it is ours."""
        give_up = time.monotonic() + _BUSY_SECONDS
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
            migrations.upgrade(connection, self._label)
        connection.execute(select(_DECISIONS).limit(0))

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


def _journal_ahead(connection: Connection) -> None:
    # Readers and a writer do not block each other; stays with the file.
    connection.exec_driver_sql("PRAGMA journal_mode=WAL")


def _url(url_or_path: str | Path) -> URL:
    if isinstance(url_or_path, Path) or "://" not in url_or_path:
        return URL.create("sqlite", database=str(Path(url_or_path).expanduser()))
    try:
        url = make_url(url_or_path)
    except (ArgumentError, ValueError) as error:  # the text may hold a password: not repeated
        raise ReviewError(
            "The URL of the database is not understood. Write kind://user@host/name."
        ) from error
    kind = url.get_backend_name()
    if kind == "sqlite" and url.database in {None, "", ":memory:"}:
        raise ReviewError(
            "Decisions in memory would be lost with the program. Give the path of a file."
        )
    if url.drivername in {"postgresql", "postgres"}:
        return url.set(drivername="postgresql+psycopg")
    if kind not in {"sqlite", "postgresql"}:  # what refuses changes was written for these two
        raise ReviewError(
            f"Databases of the kind {clean_name(kind)} cannot be opened: decisions are kept in "
            "SQLite or PostgreSQL. Give a file's path or postgresql://user@host/name."
        )
    return url


def _decision(row: DatabaseRow[Any]) -> Decision:
    return Decision(**{name: row._mapping[name] for name in _FIELDS})  # noqa: SLF001 - public API


def _object(decision: Decision) -> dict[str, Any]:
    values = {name: getattr(decision, name) for name in REVIEW_COLUMNS}
    values["decided_at"] = decision.decided_at.astimezone(UTC).isoformat()
    return values


def _cells(decision: Decision) -> Row:
    cells = {
        name: "" if (value := getattr(decision, name)) is None else str(value)
        for name in REVIEW_COLUMNS
    }
    cells["decided_at"] = decision.decided_at.astimezone(UTC).isoformat(timespec="milliseconds")
    if decision.machine_score is not None:
        cells["machine_score"] = f"{decision.machine_score:.4f}"
    if decision.seconds is not None:
        cells["seconds"] = f"{decision.seconds:.1f}"
    cells["overlay_seen"] = cells["overlay_seen"].lower()
    cells["overlay_scales"] = " ".join(decision.overlay_scales or ())
    return cells
