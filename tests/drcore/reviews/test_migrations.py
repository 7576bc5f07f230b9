"""The schema of the record: made, upgraded from the first version, refused when too new."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine

from drcore.errors import ReviewError
from drcore.reviews.database import DECISIONS
from drcore.reviews.decision import Decision
from drcore.reviews.migrations import VERSION_TABLE
from drcore.reviews.store import ReviewStore

FIRST_VERSION = (
    """CREATE TABLE decisions (
        id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, sha256 VARCHAR(64) NOT NULL,
        image TEXT NOT NULL, model_version VARCHAR(200) NOT NULL,
        machine_status VARCHAR(16) NOT NULL, machine_grade INTEGER, machine_score FLOAT,
        action VARCHAR(16) NOT NULL, grade INTEGER, note TEXT NOT NULL,
        reader VARCHAR(200) NOT NULL, decided_at DATETIME NOT NULL, laterality VARCHAR(2),
        patient VARCHAR(400))""",
    "CREATE INDEX ix_decisions_sha256 ON decisions (sha256)",
    "CREATE TRIGGER decisions_no_update BEFORE UPDATE ON decisions "
    "BEGIN SELECT RAISE(ABORT, 'decisions are only ever added'); END",
    "CREATE TRIGGER decisions_no_delete BEFORE DELETE ON decisions "
    "BEGIN SELECT RAISE(ABORT, 'decisions are only ever added'); END",
)
"""What version 0.1.0 made, as SQLite's own table of contents tells it."""

ROW = (
    "INSERT INTO decisions (sha256, image, model_version, machine_status, machine_grade, "
    "machine_score, action, grade, note, reader, decided_at, laterality, patient) VALUES (?, ?, "
    "'drcore 0.1.0', 'graded', 2, 1.75, 'change', 3, 'note', 'AR', "
    "'2026-03-29 12:00:00.000000', 'OS', NULL)"
)


def sql(file: Path, *statements: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(file)) as database, database:
        for statement in statements:
            rows = database.execute(statement).fetchall()
        return rows


@pytest.fixture
def first_version(tmp_path: Path) -> Path:
    """A file as version 0.1.0 left it, with 500 decisions."""
    file = tmp_path / "old.sqlite3"
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("PRAGMA journal_mode=WAL")
        for statement in FIRST_VERSION:
            database.execute(statement)
        database.executemany(ROW, [(f"{n:064x}", f"{n}_left.jpeg") for n in range(500)])
    return file


def old_decision(number: int) -> Decision:
    return Decision(
        sha256=f"{number:064x}", image=f"{number}_left.jpeg", model_version="drcore 0.1.0",
        machine_status="graded", machine_grade=2, machine_score=1.75, action="change", grade=3,
        note="note", reader="AR", decided_at=datetime(2026, 3, 29, 12, tzinfo=UTC),
        laterality="OS",
    )  # fmt: skip


def test_a_record_of_the_first_version_is_upgraded_with_every_row(first_version: Path) -> None:
    for _ in range(2):  # the second finds nothing to do
        with ReviewStore(first_version) as store:
            assert store.decisions() == [old_decision(n) for n in range(500)]
    new = Decision(
        **{name: getattr(old_decision(7), name) for name in Decision.__slots__}
        | {"seconds": 4.5, "overlay_scales": ("fused",)}
    )
    with ReviewStore(first_version) as store:
        assert store.add(new) == 501
        assert store.latest(new.sha256) == new
    for statement in (
        "UPDATE decisions SET note = ''",
        "DELETE FROM decisions",
        "INSERT OR REPLACE INTO decisions SELECT * FROM decisions WHERE id = 3",
    ):
        with pytest.raises(sqlite3.IntegrityError, match="only ever added"):
            sql(first_version, statement)


def test_the_first_version_can_still_write_into_an_upgraded_record(first_version: Path) -> None:
    ReviewStore(first_version).close()
    with closing(sqlite3.connect(first_version)) as database, database:
        database.execute(ROW, ("ab" * 32, "late_left.jpeg"))
    last = ReviewStore(first_version).decisions()[-1]
    assert (last.image, last.seconds, last.overlay_seen) == ("late_left.jpeg", None, None)


def test_a_step_that_fails_changes_nothing(
    first_version: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sql(first_version, "CREATE VIEW decisions_no_replace AS SELECT 1")
    sql(first_version, "ALTER TABLE decisions ADD COLUMN overlay_scales TEXT")  # half a step
    before = sql(first_version, "SELECT name, sql FROM sqlite_master ORDER BY name")
    with pytest.raises(ReviewError, match=r"cannot be opened \(duplicate column.*overlay_scales"):
        ReviewStore(first_version)
    assert sql(first_version, "SELECT name, sql FROM sqlite_master ORDER BY name") == before
    assert sql(first_version, "SELECT count(*) FROM decisions") == [(500,)]


def test_a_record_of_a_newer_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "new.sqlite3"
    ReviewStore(file).close()
    sql(file, "UPDATE decisions_version SET version_num = '9999'")
    with pytest.raises(ReviewError, match=r"^new\.sqlite3: .* newer version .*9999.*Update drcore"):
        ReviewStore(file)
    assert sql(file, "SELECT version_num FROM decisions_version") == [("9999",)]


def test_a_table_of_another_program_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "other.db"
    sql(file, "CREATE TABLE decisions (id INTEGER PRIMARY KEY, colour TEXT)")
    with pytest.raises(ReviewError, match="belongs to another program"):
        ReviewStore(file)
    assert sql(file, "SELECT name FROM sqlite_master") == [("decisions",)]
    assert sql(file, "PRAGMA journal_mode") == [("delete",)]


def test_alembic_of_another_program_in_the_same_database_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "shared.db"
    sql(file, "CREATE TABLE alembic_version (version_num TEXT)")
    sql(file, "INSERT INTO alembic_version VALUES ('theirs')")
    ReviewStore(file).close()
    assert sql(file, "SELECT * FROM alembic_version") == [("theirs",)]


def test_the_steps_lead_to_the_table_that_is_used(tmp_path: Path, first_version: Path) -> None:
    ReviewStore(tmp_path / "new.sqlite3").close()
    ReviewStore(first_version).close()
    for file in (tmp_path / "new.sqlite3", first_version):
        engine = create_engine(f"sqlite:///{file}")
        with engine.connect() as connection:
            context = MigrationContext.configure(
                connection, opts={"version_table": VERSION_TABLE, "compare_type": True}
            )
            assert compare_metadata(context, DECISIONS.metadata) == []
        engine.dispose()


_OPENER = """
import sys
from drcore.reviews.store import ReviewStore
print("ready", flush=True)
sys.stdin.readline()
print(len(ReviewStore(sys.argv[1]).decisions()), flush=True)
"""


@pytest.mark.parametrize("old", [False, True])
def test_many_servers_may_start_at_once(tmp_path: Path, first_version: Path, old: bool) -> None:
    file = first_version if old else tmp_path / "new.sqlite3"
    servers = [
        subprocess.Popen(
            [sys.executable, "-c", _OPENER, str(file)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for _ in range(5)
    ]  # fmt: skip
    for server in servers:
        assert server.stdout is not None
        assert server.stdout.readline() == "ready\n"
    for server in servers:
        assert server.stdin is not None
        server.stdin.write("go\n")
        server.stdin.flush()
    for server in servers:
        output, trouble = server.communicate(timeout=120)
        assert (server.returncode, output, trouble) == (0, f"{500 if old else 0}\n", "")
    assert sql(file, "SELECT version_num FROM decisions_version") == [("0008",)]
    assert sql(file, "PRAGMA journal_mode") == [("wal",)]


def test_opening_a_current_record_waits_for_no_writer(tmp_path: Path) -> None:
    file = tmp_path / "busy.sqlite3"
    ReviewStore(file).close()
    with closing(sqlite3.connect(file)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        assert ReviewStore(file).decisions() == []  # else it would fail after half a minute


def test_importing_the_record_does_not_import_alembic() -> None:
    code = "import drcore.reviews.store, sys; print('alembic' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout == "False\n"
