"""`verify` finds what was changed behind the record's back."""

from __future__ import annotations

import contextlib
import random
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from drcore.errors import ReviewError
from drcore.record.backup import back_up, restore
from drcore.record.checks import verify
from drcore.reviews.digests import row_digest
from tests.support.postgresql import sql

CHANGES = [
    "UPDATE decisions SET grade = 1 WHERE id = 2",
    "UPDATE decisions SET note = note || ' ' WHERE id = 1",
    "UPDATE decisions SET machine_score = machine_score + 1e-9 WHERE id = 1",
    "UPDATE decisions SET reader = 'Br. Adams' WHERE id = 3",
    "UPDATE decisions SET patient = NULL WHERE id = 3",
    "UPDATE decisions SET id = 9 WHERE id = 4",
    "UPDATE decisions SET digest = NULL WHERE id = 4",
    "UPDATE marks SET x0 = 11 WHERE id = 1",
    "UPDATE mark_withdrawals SET mark = 2",
    "UPDATE identities SET laterality = 'OS'",
]


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_row_is_found(change: str, sqlite_record: Path) -> None:
    assert verify(str(sqlite_record)).problems == []
    table = change.split()[1]
    with closing(sqlite3.connect(sqlite_record)) as database, database:
        query = "SELECT sql FROM sqlite_master WHERE name = ?"
        (guard,) = database.execute(query, (f"{table}_no_update",)).fetchone()
        database.execute(f"DROP TRIGGER {table}_no_update")
        database.execute(change)
        database.execute(guard)
    problems = verify(str(sqlite_record)).problems
    assert any(p.startswith(f"{table}: row") for p in problems)


def test_the_same_in_postgresql(location: str) -> None:
    if "://" not in location:
        pytest.skip("SQLite is above")
    from tests.drcore.record.conftest import fill

    fill(location)
    assert verify(location).problems == []
    sql(location, "ALTER TABLE decisions DISABLE TRIGGER USER", CHANGES[0], CHANGES[2],
        "DELETE FROM decisions WHERE id = 3")  # fmt: skip
    found = verify(location)
    assert found.problems == [
        "decisions: the trigger no_change is missing or disabled.",
        "decisions: row 1 was changed after it was saved.",
        "decisions: row 2 was changed after it was saved.",
    ]
    assert found.notes == ["decisions: 1 of 4 numbers are missing (3)."]


@pytest.mark.parametrize("number", [2, 4])
def test_a_deleted_row_is_found(number: int, sqlite_record: Path) -> None:
    with closing(sqlite3.connect(sqlite_record)) as database, database:
        database.execute("DROP TRIGGER decisions_no_delete")
        database.execute("DELETE FROM decisions WHERE id = ?", (number,))
    assert verify(str(sqlite_record)).problems == [
        "decisions: the trigger no_delete is missing: rows could be changed.",
        f"decisions: 1 of 4 numbers are missing ({number}).",
    ]


def test_a_row_changed_with_its_digest_changes_the_content_digest(sqlite_record: Path) -> None:
    before = verify(str(sqlite_record))
    with closing(sqlite3.connect(sqlite_record)) as database, database:
        database.row_factory = sqlite3.Row
        query = "SELECT sql FROM sqlite_master WHERE name = 'identities_no_update'"
        (guard,) = database.execute(query).fetchone()
        row = dict(database.execute("SELECT * FROM identities").fetchone())
        row["corrected_at"] = row["corrected_at"].replace(" ", "T") + "+00:00"
        assert row_digest("identities", row) == row["digest"]
        forged = row_digest("identities", row | {"patient": "12"})
        database.execute("DROP TRIGGER identities_no_update")
        database.execute("UPDATE identities SET patient = '12', digest = ?", (forged,))
        database.execute(guard)
    after = verify(str(sqlite_record))
    assert after.problems == []
    assert after.digest != before.digest


def test_any_changed_byte_of_a_backup_is_found(sqlite_record: Path, tmp_path: Path) -> None:
    backup = tmp_path / "backup.sqlite3"
    back_up(str(sqlite_record), backup)
    whole, rng = backup.read_bytes(), random.Random(7)  # noqa: S311
    for place in rng.sample(range(len(whole)), 40):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << rng.randrange(8)
        backup.write_bytes(damaged)
        with contextlib.suppress(ReviewError):  # no record at all any more: found, too
            assert verify(str(backup)).problems, place
    with pytest.raises(ReviewError, match="damaged"):
        restore(backup, str(tmp_path / "new.sqlite3"))


def test_any_changed_byte_of_a_row_is_found_without_a_checksum(
    sqlite_record: Path, tmp_path: Path
) -> None:
    """Each byte of the text of a row, in the file itself."""
    backup = tmp_path / "backup.sqlite3"
    back_up(str(sqlite_record), backup)
    backup.with_name("backup.sqlite3.sha256").unlink()
    whole = backup.read_bytes()
    for text in (b"neighbour of Mr. X", b"2026-03-29 12:00:00.123456", b"128 fused"):
        place = whole.index(text)
        for offset in range(len(text)):
            damaged = bytearray(whole)
            damaged[place + offset] ^= 0x80 if offset % 2 else 1
            backup.write_bytes(damaged)
            assert verify(str(backup)).problems, (text, offset)


def test_a_record_of_an_older_version_is_not_judged(tmp_path: Path) -> None:
    old = Path(__file__).parents[2] / "stored" / "0.6.1" / "reviews.sqlite3"
    with pytest.raises(ReviewError, match="Open it once with the viewer"):
        verify(shutil.copy(old, tmp_path))
