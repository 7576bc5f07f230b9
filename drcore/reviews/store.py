"""The record of readers' decisions, marks and corrections: append-only, SQLite or PostgreSQL."""

from __future__ import annotations

import threading
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from sqlalchemy import Table, and_, select

from drcore.errors import ReviewError
from drcore.eye import Laterality
from drcore.reviews.correction import IdentityCorrection
from drcore.reviews.database import DECISIONS, IDENTITIES, MARKS, WITHDRAWALS, ReviewDatabase
from drcore.reviews.decision import Decision, Login, ReadingMode
from drcore.reviews.digests import insert_row
from drcore.reviews.mark import Mark
from drcore.reviews.tables import decisions_csv
from drcore.text import clean_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sqlalchemy import Connection, Select
    from sqlalchemy import Row as DatabaseRow

__all__ = ["ReviewStore"]

T = TypeVar("T")

_FIELDS = {
    kind: tuple(field.name for field in fields(kind))
    for kind in (Decision, Mark, IdentityCorrection)
}


WITHDRAWN = "withdrawn"
"""Action of a row that takes back the decision that it revises."""

_WITHDRAWN = select(DECISIONS.c.revises).where(DECISIONS.c.action == WITHDRAWN).subquery()
_STANDING = and_(
    DECISIONS.c.action != WITHDRAWN, DECISIONS.c.id.not_in(select(_WITHDRAWN.c.revises))
)


class ReviewStore:
    """Decisions, marks and corrections in a database, from any thread and process.

    Rows are only ever added: a reader who changes a mind adds another decision, and one who takes
    back a decision or a mark adds a withdrawal; what was withdrawn is returned by no method.
    Triggers refuse to change or delete rows. A method that adds returns when the database has the
    row for good.

    Args:
        url_or_path: path of an SQLite file, made where missing, or the URL of a PostgreSQL database
            ("postgresql://user@host/name"; pg8000 must be installed, the extra "postgresql").

    Raises:
        ReviewError: the database cannot be opened, or was made by a newer version. Every method
            raises it where the database cannot be read or written.
    """

    def __init__(self, url_or_path: str | Path) -> None:
        self._record = ReviewDatabase(url_or_path)
        self._writes = 0
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def writes(self) -> int:
        """Number of writes by this store: where it has changed, what was read before is stale."""
        return self._writes

    def close(self) -> None:
        """Close all connections; the next call opens new ones."""
        self._record.close()

    # --- decisions ------------------------------------------------------------------------------

    def add(self, decision: Decision) -> int:
        """Add a decision.

        Args:
            decision: checked when it was made.

        Returns:
            Its number in the record, rising.

        Raises:
            ReviewError: the database cannot be written, or what the decision revises is not an
                earlier one of the same reader on the same photograph.
        """

        def write(connection: Connection) -> int:
            if decision.revises is not None:
                revised = select(DECISIONS.c.sha256, DECISIONS.c.reader).where(
                    DECISIONS.c.id == decision.revises
                )
                if connection.execute(revised).first() != (decision.sha256, decision.reader):
                    raise ReviewError(
                        f"{clean_name(decision.image)}: decision {decision.revises} is not an "
                        "earlier one of the same reader on this photograph. Leave it out."
                    )
            return _insert(connection, DECISIONS, decision)

        return self._write(write)

    def withdraw(self, number: int, reader: str, login: Login | None = None) -> None:
        """Withdraw a decision: it stays in the database, and a further row says who and when.

        Args:
            number: of the decision; one that was withdrawn already stays so.
            reader: who takes it back, the one who made it.
            login: who says that it was this reader.

        Raises:
            ReviewError: there is no such decision, it is another reader's, or the database cannot
                be written.
        """

        def write(connection: Connection) -> None:
            row = connection.execute(select(DECISIONS).where(DECISIONS.c.id == number)).first()
            made = None if row is None else _made(Decision, row)
            if made is None or made.reader != reader:
                raise ReviewError(
                    f"Grade {number} cannot be undone: it is not one of this reader's. Save "
                    "another grade instead."
                )
            known = select(_WITHDRAWN).where(_WITHDRAWN.c.revises == number)
            if connection.execute(known).first() is None:
                changes: dict[str, Any] = {
                    "action": WITHDRAWN,
                    "grade": None,
                    "note": "",
                    "revises": number,
                }
                values = {name: getattr(made, name) for name in _FIELDS[Decision]}
                changes |= {"decided_at": datetime.now(UTC), "findings": None, "login": login}
                insert_row(connection, DECISIONS, values | changes)

        self._write(write)

    def latest(self, sha256: str, reader: str | None = None) -> Decision | None:
        """Return the decision added last for a photograph, None where there is none.

        Args:
            sha256: of the file, hex.
            reader: only this reader's; anybody's where left out.
        """
        query = select(DECISIONS).where(DECISIONS.c.sha256 == sha256, _STANDING)
        if reader is not None:
            query = query.where(DECISIONS.c.reader == reader)
        rows = self._read(query.order_by(DECISIONS.c.id.desc()).limit(1))
        return _made(Decision, rows[0]) if rows else None

    def latest_number(self, sha256: str, reader: str, mode: ReadingMode) -> int | None:
        """Return the number of a reader's last decision on a photograph in a mode of reading.

        A further decision revises it; None where there is none.
        """
        query = (
            select(DECISIONS.c.id)
            .where(DECISIONS.c.sha256 == sha256)
            .where(DECISIONS.c.reader == reader)
            .where(DECISIONS.c.mode == mode, _STANDING)
        )
        rows = self._read(query.order_by(DECISIONS.c.id.desc()).limit(1))
        return int(rows[0][0]) if rows else None

    def read_by(self, reader: str, mode: ReadingMode) -> frozenset[str]:
        """Return the SHA-256 of the photographs that a reader has decided in a mode of reading."""
        query = select(DECISIONS.c.sha256).distinct()
        query = query.where(DECISIONS.c.reader == reader, DECISIONS.c.mode == mode, _STANDING)
        return frozenset(str(row[0]) for row in self._read(query))

    def saw_machine(self, sha256: str, reader: str) -> bool:
        """Say whether a reader has decided on a photograph with the machine's grade on screen."""
        query = select(DECISIONS.c.id).where(
            DECISIONS.c.sha256 == sha256,
            DECISIONS.c.reader == reader,
            DECISIONS.c.machine_visible.is_(True),
        )
        return bool(self._read(query.limit(1)))

    def decisions(self) -> list[Decision]:
        """Return all decisions in the order in which they were added."""
        return [decision for _, decision in self.numbered_decisions()]

    def numbered_decisions(self) -> list[tuple[int, Decision]]:
        """Return all decisions with their numbers, in the order in which they were added.

        `Decision.revises` is such a number.
        """
        rows = self._read(select(DECISIONS).where(_STANDING).order_by(DECISIONS.c.id))
        return [(int(row._mapping["id"]), _made(Decision, row)) for row in rows]  # noqa: SLF001

    def decisions_on(self, photographs: Iterable[str]) -> list[Decision]:
        """Return the decisions of all readers on some photographs, in the order of the record.

        Args:
            photographs: SHA-256 of the files, hex.
        """
        wanted = sorted(set(photographs))
        rows: list[DatabaseRow[Any]] = []
        for start in range(0, len(wanted), 500):  # SQLite takes a limited number of values at once
            part = DECISIONS.c.sha256.in_(wanted[start : start + 500])
            rows += self._read(select(DECISIONS).where(part, _STANDING))
        rows.sort(key=lambda row: int(row._mapping["id"]))  # noqa: SLF001 - public API
        return [_made(Decision, row) for row in rows]

    def csv_text(self) -> str:
        """Return all decisions as CSV with `REVIEW_COLUMNS`, cells safe in a spreadsheet."""
        return decisions_csv(self.numbered_decisions())

    # --- marks ----------------------------------------------------------------------------------

    def add_mark(self, mark: Mark) -> int:
        """Add a mark; returns its number in the record, rising."""
        return self._write(lambda connection: _insert(connection, MARKS, mark))

    def marks(self, sha256: str | None = None) -> list[tuple[int, Mark]]:
        """Return the marks that were not withdrawn with their numbers, in the order of the record.

        Args:
            sha256: of a photograph; all photographs where left out.
        """
        query = select(MARKS).where(MARKS.c.id.not_in(select(WITHDRAWALS.c.mark)))
        if sha256 is not None:
            query = query.where(MARKS.c.sha256 == sha256)
        rows = self._read(query.order_by(MARKS.c.id))
        return [(int(row._mapping["id"]), _made(Mark, row)) for row in rows]  # noqa: SLF001

    def remove_mark(self, number: int, reader: str, login: Login | None = None) -> None:
        """Withdraw a mark: it stays in the record, with a row that says who withdrew it and when.

        Args:
            number: of the mark; one that was withdrawn already stays so.
            reader: who takes it back, the one who made it.
            login: who says that it was this reader.

        Raises:
            ReviewError: there is no such mark, it is another reader's, or the database cannot be
                written.
        """

        def write(connection: Connection) -> None:
            maker = connection.execute(select(MARKS.c.reader).where(MARKS.c.id == number)).first()
            if maker is None:
                raise ReviewError(f"There is no mark {number}. Choose another.")
            if maker[0] != reader:
                raise ReviewError(
                    f"Only {clean_name(maker[0])} can remove mark {number}: "
                    "a mark is removed by its own reader."
                )
            known = select(WITHDRAWALS.c.id).where(WITHDRAWALS.c.mark == number)
            if connection.execute(known).first() is None:
                values = {
                    "mark": number, "reader": reader, "withdrawn_at": datetime.now(UTC),
                    "login": login,
                }  # fmt: skip
                insert_row(connection, WITHDRAWALS, values)

        self._write(write)

    # --- laterality and patient -----------------------------------------------------------------

    def correct_identity(
        self,
        sha256: str,
        laterality: Laterality | None,
        patient: str | None,
        reader: str,
        exam_date: str | None = None,
        login: Login | None = None,
    ) -> int:
        """Add a correction of which eye of which patient a photograph shows, and when.

        Args:
            sha256: of the file, hex.
            laterality: "OD", "OS", or None: not known.
            patient: None: not known.
            reader: who corrects.
            exam_date: `YYYY-MM-DD`, empty where it is not known; None: not corrected.
            login: who says that it was this reader.

        Returns:
            Its number among the corrections, rising.

        Raises:
            ReviewError: a value cannot be stored.
        """
        identity = IdentityCorrection(
            sha256=sha256, laterality=laterality, patient=patient, reader=reader,
            corrected_at=datetime.now(UTC), exam_date=exam_date, login=login,
        )  # fmt: skip
        return self._write(lambda connection: _insert(connection, IDENTITIES, identity))

    def identity(self, sha256: str) -> IdentityCorrection | None:
        """Return the last correction of a photograph, None where nobody made one."""
        query = select(IDENTITIES).where(IDENTITIES.c.sha256 == sha256)
        rows = self._read(query.order_by(IDENTITIES.c.id.desc()).limit(1))
        return _made(IdentityCorrection, rows[0]) if rows else None

    def identities(self) -> dict[str, IdentityCorrection]:
        """Return the last correction of every photograph that was corrected, by SHA-256."""
        rows = self._read(select(IDENTITIES).order_by(IDENTITIES.c.id))
        return {made.sha256: made for made in (_made(IdentityCorrection, row) for row in rows)}

    def _read(self, query: Select[Any]) -> list[DatabaseRow[Any]]:
        return self._record.run(lambda connection: list(connection.execute(query)), "read")

    def _write(self, work: Callable[[Connection], T]) -> T:
        result = self._record.run(work, "written")
        with self._lock:
            self._writes += 1
        return result


def _insert(connection: Connection, table: Table, row: Decision | Mark | IdentityCorrection) -> int:
    return insert_row(connection, table, {name: getattr(row, name) for name in _FIELDS[type(row)]})


def _made(kind: Any, row: DatabaseRow[Any]) -> Any:
    return kind(**{name: row._mapping[name] for name in _FIELDS[kind]})  # noqa: SLF001 - public API
