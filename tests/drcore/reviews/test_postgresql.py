"""The record of decisions in a real PostgreSQL, which the tests start and end themselves."""

from __future__ import annotations

import csv
import io
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from urllib.parse import quote

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy.exc import DBAPIError

from drcore.errors import ReviewError
from drcore.reviews.database import DECISIONS
from drcore.reviews.decision import Decision
from drcore.reviews.mark import Mark
from drcore.reviews.store import ReviewStore
from tests.support.postgresql import engine_of, new_database, postgresql_server, sql

pytest.importorskip("pg8000.native", reason="pg8000 is not installed")

NOON = datetime(2026, 3, 29, 12, 0, 0, 123456, tzinfo=UTC)

DECISION = Decision(
    sha256="ab" * 32, image="10_left.jpeg", model_version="tiny 1", machine_status="graded",
    machine_grade=2, machine_score=1.87654321, action="change", grade=3, note="ü \U0001f441",
    reader="Dr. Adams", decided_at=NOON, laterality="OS", patient="10", seconds=12.25,
    overlay_scales=("128", "fused"), mode="blinded first read", role="first",
    machine_visible=False,
)  # fmt: skip

MARK = Mark(
    sha256="ab" * 32, kind="box", lesion="IRMA", x0=0.1, y0=20.5, x1=3000.123456, y1=30.0,
    reader="Dr. Adams", created_at=NOON, note="\u00fc",
)  # fmt: skip

FIRST_VERSION = (
    """CREATE TABLE decisions (
        id SERIAL NOT NULL, sha256 VARCHAR(64) NOT NULL, image TEXT NOT NULL,
        model_version VARCHAR(200) NOT NULL, machine_status VARCHAR(16) NOT NULL,
        machine_grade INTEGER, machine_score FLOAT, action VARCHAR(16) NOT NULL, grade INTEGER,
        note TEXT NOT NULL, reader VARCHAR(200) NOT NULL,
        decided_at TIMESTAMP WITH TIME ZONE NOT NULL, laterality VARCHAR(2),
        patient VARCHAR(400), PRIMARY KEY (id))""",
    "CREATE INDEX ix_decisions_sha256 ON decisions (sha256)",
)
"""What version 0.1.0 made in PostgreSQL."""


@pytest.fixture(scope="module")
def socket_folder() -> Iterator[Path]:
    with postgresql_server() as folder:
        yield folder


@pytest.fixture
def url(socket_folder: Path) -> str:
    return new_database(socket_folder)


def test_what_is_kept_comes_back(url: str) -> None:
    tokyo = DECISION.decided_at.astimezone(timezone(timedelta(hours=9)))
    unknown = replace(DECISION, seconds=None, overlay_scales=None, patient=None, reader="BS")
    hidden = replace(DECISION, seconds=0.0, overlay_scales=(), decided_at=tokyo)
    with ReviewStore(url) as store:
        assert [store.add(given) for given in (DECISION, unknown, hidden)] == [1, 2, 3]
        assert store.decisions() == [DECISION, unknown, hidden]
        assert store.decisions()[2].decided_at.utcoffset() == timedelta(0)
        assert store.latest(DECISION.sha256, reader="BS") == unknown
        assert store.latest("cd" * 32) is None
    with ReviewStore(url) as again:
        rows = list(csv.DictReader(io.StringIO(again.csv_text(), newline="")))
    assert [row["overlay_seen"] for row in rows] == ["true", "", "false"]


def test_marks_corrections_and_revisions_come_back(url: str) -> None:
    with ReviewStore(url) as store:
        assert [store.add_mark(MARK), store.add_mark(MARK)] == [1, 2]
        store.remove_mark(1, "Dr. Adams")
        assert store.marks() == store.marks("ab" * 32) == [(2, MARK)]
        store.correct_identity("ab" * 32, "OD", "7", "AR")
        store.correct_identity("ab" * 32, "OS", None, "AR")
        last = store.identity("ab" * 32)
        assert last is not None
        assert (last.laterality, last.patient) == ("OS", None)
        assert store.identities() == {"ab" * 32: last}
        store.add(DECISION)
        later = replace(DECISION, machine_visible=True, revises=1)
        assert store.add(later) == 2
        assert store.numbered_decisions()[1] == (2, later)
        assert store.latest_number("ab" * 32, "Dr. Adams", "blinded first read") == 2
        assert store.read_by("Dr. Adams", "blinded first read") == {"ab" * 32}
        with pytest.raises(ReviewError, match="is not an earlier one of the same reader"):
            store.add(replace(DECISION, revises=77))
        for table in ("marks", "mark_withdrawals", "identities"):
            for statement in (f"DELETE FROM {table}", f"UPDATE {table} SET id = 9"):  # noqa: S608
                with pytest.raises(DBAPIError, match=f"{table} are only ever added"):
                    sql(url, statement)


def test_nothing_is_changed_or_deleted(url: str) -> None:
    with ReviewStore(url) as store:
        store.add(DECISION)
        for statement in (
            "UPDATE decisions SET grade = 0",
            "DELETE FROM decisions",
            "TRUNCATE decisions",
            "INSERT INTO decisions SELECT * FROM decisions "
            "ON CONFLICT (id) DO UPDATE SET note = 'x'",
        ):
            with pytest.raises(DBAPIError, match="only ever added"):
                sql(url, statement)
        assert store.decisions() == [DECISION]


def test_a_record_of_the_first_version_is_upgraded_with_every_row(url: str) -> None:
    rows = (
        "INSERT INTO decisions (sha256, image, model_version, machine_status, machine_grade, "
        "machine_score, action, grade, note, reader, decided_at, laterality, patient) "
        "SELECT lpad(to_hex(n), 64, '0'), n || '_left.jpeg', 'drcore 0.1.0', 'graded', 2, 1.75, "
        "'change', 3, 'note', 'AR', '2026-03-29 12:00:00+00', 'OS', NULL "
        "FROM generate_series(0, 499) AS n"
    )
    sql(url, *FIRST_VERSION, rows)
    for _ in range(2):
        with ReviewStore(url) as store:
            kept = store.decisions()
    assert [(d.sha256, d.image) for d in kept] == [
        (f"{n:064x}", f"{n}_left.jpeg") for n in range(500)
    ]
    assert {(d.grade, d.note, d.seconds, d.overlay_seen) for d in kept} == {(3, "note", None, None)}
    assert sql(url, "SELECT count(*), min(image) FROM decisions_schema_0001") == [
        (500, "0_left.jpeg")
    ]
    with pytest.raises(DBAPIError, match="only ever added"):
        sql(url, "DELETE FROM decisions")


def test_the_steps_lead_to_the_table_that_is_used(url: str) -> None:
    ReviewStore(url).close()
    engine = engine_of(url)
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"version_table": "decisions_version", "compare_type": True}
        )
        assert compare_metadata(context, DECISIONS.metadata) == []
    engine.dispose()


def test_a_record_of_a_newer_version_is_refused(url: str) -> None:
    ReviewStore(url).close()
    sql(url, "UPDATE decisions_version SET version_num = '9999'")
    with pytest.raises(ReviewError, match=r"newer version of drcore \(schema 9999\)"):
        ReviewStore(url)


def test_a_reader_who_may_only_add_and_read_can_work(url: str) -> None:
    ReviewStore(url).close()
    sql(
        url,
        "CREATE ROLE clerk LOGIN",
        "GRANT SELECT, INSERT ON decisions TO clerk",
        "GRANT SELECT ON decisions_version TO clerk",
        "GRANT USAGE ON SEQUENCE decisions_id_seq TO clerk",
    )
    with ReviewStore(url.replace("drcore@", "clerk@")) as store:
        store.add(DECISION)
        assert store.decisions() == [DECISION]


def test_a_connection_that_broke_is_made_again(url: str) -> None:
    with ReviewStore(url) as store:
        store.add(DECISION)
        sql(
            url,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE pid <> pg_backend_pid() AND datname = current_database()",
        )
        assert store.add(DECISION) == 2


def test_a_connection_that_is_reset_while_it_is_tried_is_made_again(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ReviewStore(url) as store:
        store.add(DECISION)
        dialect, tried = store._record._engine.dialect, []

        def reset(connection: object) -> bool:
            tried.append(connection)
            raise ConnectionResetError(104, "Connection reset by peer")

        monkeypatch.setattr(dialect, "do_ping", reset)
        assert store.add(DECISION) == 2
        assert len(tried) == 1
        assert store.latest(DECISION.sha256) is not None


def test_a_server_that_is_not_there_is_told_without_the_password(tmp_path: Path) -> None:
    with pytest.raises(ReviewError, match=r"^nowhere: .* cannot be opened") as raised:
        ReviewStore(f"postgresql://drcore:secret@/nowhere?host={quote(str(tmp_path))}")
    assert "secret" not in str(raised.value)


_READER = """
import sys
from dataclasses import replace
from datetime import UTC, datetime
from drcore.reviews.decision import Decision
from drcore.reviews.store import ReviewStore
print("ready", flush=True)
sys.stdin.readline()
store = ReviewStore(sys.argv[1])
for number in range(int(sys.argv[3])):
    store.add(Decision(
        sha256="ab" * 32, image="10_left.jpeg", model_version="tiny 1", machine_status="graded",
        machine_grade=2, machine_score=1.8, action="agree", grade=2, note=str(number),
        reader=sys.argv[2], decided_at=datetime.now(UTC), seconds=1.5, overlay_scales=()))
"""


def test_readers_at_once_lose_nothing(url: str) -> None:
    readers, each = 5, 100
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _READER, url, f"reader {n}", str(each)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for n in range(readers)
    ]  # fmt: skip
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:  # all make the same empty database into a record at once
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    store = ReviewStore(url)

    def save(name: str) -> None:
        for number in range(each):
            store.add(replace(DECISION, reader=name, note=str(number)))

    threads = [threading.Thread(target=save, args=(f"reader {readers + n}",)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(240)
    store.close()
    for process in processes:
        _, trouble = process.communicate(timeout=240)
        assert (process.returncode, trouble) == (0, "")
    with ReviewStore(url) as store:
        kept = [(d.reader, int(d.note)) for d in store.decisions()]
    for n in range(readers + 3):  # each reader's are all there, in the order of saving
        assert [note for who, note in kept if who == f"reader {n}"] == list(range(each))
    assert len(kept) == (readers + 3) * each


_SAVER = _READER.replace('print("ready", flush=True)\nsys.stdin.readline()\n', "") + (
    'print("saved", flush=True)\nimport os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n'
)


def test_what_was_saved_outlives_a_killed_process(url: str) -> None:
    killed = subprocess.run(
        [sys.executable, "-c", _SAVER, url, "AR", "3"],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert (killed.returncode, killed.stdout) == (-9, "saved\n")
    with ReviewStore(url) as store:
        assert [kept.note for kept in store.decisions()] == ["0", "1", "2"]
