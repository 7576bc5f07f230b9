"""The record of decisions: what is kept and given back, by many writers, and after a kill."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from datetime import timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from drcore.errors import ReviewError
from drcore.reviews.store import ReviewStore
from tests.support import reviews
from tests.support.reviews import NOON, decision


def sql(file: Path, statement: str) -> list[tuple[Any, ...]]:
    """Speak to the database behind the store's back."""
    with closing(sqlite3.connect(file)) as database, database:
        return database.execute(statement).fetchall()


@pytest.fixture
def store(tmp_path: Path) -> ReviewStore:
    return ReviewStore(tmp_path / "reviews.sqlite3")


def test_times_are_utc_whatever_the_zone(store: ReviewStore, tmp_path: Path) -> None:
    tokyo = timezone(timedelta(hours=9))
    store.add(decision(decided_at=NOON.astimezone(tokyo)))
    kept = store.decisions()[0].decided_at
    assert kept == NOON
    assert kept.utcoffset() == timedelta(0)
    (stored,) = sql(tmp_path / "reviews.sqlite3", "SELECT decided_at FROM decisions")
    assert stored[0].startswith("2026-03-29 12:00:00")


# --- the record ---------------------------------------------------------------------------------


def test_latest_is_the_one_added_last(store: ReviewStore) -> None:
    first = decision(reader="a", note="first")
    second = decision(reader="b", note="second", decided_at=NOON - timedelta(days=1))
    assert store.latest(first.sha256) is None
    numbers = [store.add(first), store.add(second), store.add(decision(sha256="cd" * 32))]
    assert numbers == [1, 2, 3]
    assert store.latest(first.sha256) == second  # whatever the clocks of the readers say
    assert store.latest(first.sha256, reader="a") == first
    assert store.latest(first.sha256, reader="c") is None
    assert store.latest("'; DROP TABLE decisions; --") is None
    assert len(store.decisions()) == 3


def test_nothing_is_changed_or_deleted(store: ReviewStore, tmp_path: Path) -> None:
    store.add(decision())
    for statement in (
        "UPDATE decisions SET grade = 0",
        "DELETE FROM decisions",
        "INSERT OR REPLACE INTO decisions SELECT * FROM decisions",
        "UPDATE decisions SET note = 'x' WHERE id = 1",
    ):
        with pytest.raises(sqlite3.IntegrityError, match="only ever added"):
            sql(tmp_path / "reviews.sqlite3", statement)
    assert store.decisions() == [decision()]


def test_the_record_outlives_the_store(tmp_path: Path) -> None:
    with ReviewStore(tmp_path / "new folder" / "r.db") as store:
        store.add(decision(note="kept\nfor good"))
    url = f"sqlite:///{tmp_path / 'new folder' / 'r.db'}"
    with ReviewStore(url) as again:
        assert again.decisions() == [decision(note="kept\nfor good")]
        assert again.add(decision()) == 2
    assert sql(tmp_path / "new folder" / "r.db", "PRAGMA journal_mode") == [("wal",)]


_APPENDER = """
import sys
from tests_decision import decision
from drcore.reviews.store import ReviewStore
store = ReviewStore(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
for number in range(int(sys.argv[3])):
    store.add(decision(reader=sys.argv[2], note=str(number)))
"""


def test_threads_and_processes_lose_nothing(tmp_path: Path) -> None:
    each, threads, processes_count = 60, 3, 4
    file = tmp_path / "shared.db"
    shutil.copy(reviews.__file__, tmp_path / "tests_decision.py")
    command = [sys.executable, "-c", _APPENDER, str(file)]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    processes = [
        subprocess.Popen(
            [*command, f"process {n}", str(each)],
            env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for n in range(processes_count)
    ]  # fmt: skip
    for process in processes:  # all made the same new file at about the same time
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    store = ReviewStore(file)
    failures: list[Exception] = []

    def append(reader: str) -> None:
        try:
            for number in range(each):
                store.add(decision(reader=reader, note=str(number)))
                assert store.latest("ab" * 32) is not None
        except (ReviewError, AssertionError) as error:
            failures.append(error)

    workers = [threading.Thread(target=append, args=(f"thread {n}",)) for n in range(threads)]
    for worker in workers:
        worker.start()
    for process in processes:  # all at once, and not each when the one before it has ended
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        process.communicate(timeout=240)
        assert process.returncode == 0
    for worker in workers:
        worker.join(240)
    assert not failures
    kept = [(d.reader, int(d.note)) for d in store.decisions()]
    writers = [f"thread {n}" for n in range(threads)]
    writers += [f"process {n}" for n in range(processes_count)]
    for writer in writers:  # each writer's decisions are all there, in its order
        assert [note for reader, note in kept if reader == writer] == list(range(each))
    assert len(kept) == each * len(writers)


def test_a_file_that_was_moved_away_is_begun_anew(tmp_path: Path) -> None:
    file = tmp_path / "r.db"
    store = ReviewStore(file)
    store.add(decision(note="old"))
    file.rename(tmp_path / "backup.db")
    store.add(decision(note="new"))
    assert [kept.note for kept in store.decisions()] == ["new"]
    assert [kept.note for kept in ReviewStore(tmp_path / "backup.db").decisions()] == ["old"]


# --- studies ------------------------------------------------------------------------------------


def test_a_decision_revises_an_earlier_one_of_the_same_reader(store: ReviewStore) -> None:
    store.add(decision())
    store.add(decision(reader="BS"))
    for wrong in ({"revises": 9}, {"revises": 2}, {"revises": 1, "sha256": "cd" * 32}):
        with pytest.raises(ReviewError, match="is not an earlier one of the same reader"):
            store.add(decision(**wrong))
    assert len(store.decisions()) == 2
    assert store.add(decision(revises=1)) == 3


def test_a_withdrawn_decision_stays_in_the_database_and_nowhere_else(
    store: ReviewStore, tmp_path: Path
) -> None:
    first = decision(mode="open")
    numbers = [store.add(first), store.add(decision(mode="open", grade=3, action="change"))]
    with pytest.raises(ReviewError, match="not one of this reader's"):
        store.withdraw(numbers[1], "BS")
    with pytest.raises(ReviewError, match="cannot be undone"):
        store.withdraw(99, "Dr. Adams")
    for _ in range(2):  # a second click
        store.withdraw(numbers[1], "Dr. Adams", "header")
    assert store.decisions() == store.decisions_on([first.sha256]) == [first]
    assert store.latest(first.sha256) == first
    assert store.latest_number(first.sha256, "Dr. Adams", "open") == 1
    assert store.csv_text().count("Dr. Adams") == 1
    store.withdraw(numbers[0], "Dr. Adams")
    assert store.read_by("Dr. Adams", "open") == frozenset()
    file = tmp_path / "reviews.sqlite3"
    assert sql(file, "SELECT action, revises, login FROM decisions ORDER BY id") == [
        ("agree", None, None), ("change", None, None), ("withdrawn", 2, "header"),
        ("withdrawn", 1, None),
    ]  # fmt: skip


def test_who_read_what_in_which_mode(store: ReviewStore) -> None:
    blind, second = "blinded first read", "second reader"
    store.add(decision(mode=blind))
    store.add(decision(mode=second, sha256="cd" * 32))
    store.add(decision(mode=blind, reader="BS", sha256="ef" * 32))
    store.add(decision())
    store.add(decision(mode=blind))
    assert store.read_by("Dr. Adams", "blinded first read") == {"ab" * 32}
    assert store.read_by("Dr. Adams", "second reader") == {"cd" * 32}
    assert store.read_by("Dr. Adams", "open") == frozenset()
    assert store.latest_number("ab" * 32, "Dr. Adams", "blinded first read") == 5
    assert store.latest_number("ab" * 32, "BS", "blinded first read") is None
    assert store.latest_number("ab" * 32, "Dr. Adams", "second reader") is None


def test_decisions_on_some_photographs_come_in_order(store: ReviewStore) -> None:
    wanted = [f"{number:064x}" for number in range(0, 1200, 400)]
    for sha256 in (wanted[2], "ef" * 32, wanted[0], wanted[2]):
        store.add(decision(sha256=sha256))
    many = [f"{number:064x}" for number in range(1200)]
    kept = store.decisions_on(many)
    assert [one.sha256 for one in kept] == [wanted[2], wanted[0], wanted[2]]
    assert store.decisions_on([]) == []


def test_writes_tell_that_what_was_read_is_old(store: ReviewStore) -> None:
    assert store.writes == 0
    store.add(decision())
    store.correct_identity("ab" * 32, None, None, "AR")
    assert store.writes == 2
    with pytest.raises(ReviewError):
        store.add(decision(revises=5))
    assert store.writes == 2


# --- laterality and patient ---------------------------------------------------------------------


def test_the_last_correction_counts_and_all_are_kept(store: ReviewStore, tmp_path: Path) -> None:
    assert store.identity("ab" * 32) is None
    assert store.identities() == {}
    numbers = [
        store.correct_identity("ab" * 32, "OD", "7", "AR"),
        store.correct_identity("cd" * 32, "OS", None, "AR"),
        store.correct_identity("ab" * 32, None, "8", "BS", login="openid"),
    ]
    assert numbers == [1, 2, 3]
    last = store.identity("ab" * 32)
    assert last is not None
    assert (last.laterality, last.patient, last.reader) == (None, "8", "BS")
    assert last.login == "openid"
    assert last.corrected_at.utcoffset() == timedelta(0)
    assert set(store.identities()) == {"ab" * 32, "cd" * 32}
    assert store.identities()["ab" * 32] == last
    rows = sql(tmp_path / "reviews.sqlite3", "SELECT laterality, patient, reader FROM identities")
    assert rows == [("OD", "7", "AR"), ("OS", None, "AR"), (None, "8", "BS")]


@pytest.mark.parametrize(
    ("sha256", "laterality", "patient", "reader", "sentence"),
    [
        ("x", "OD", "7", "AR", "no SHA-256"),
        ("ab" * 32, "left", "7", "AR", "laterality is OD, OS or unknown"),
        ("ab" * 32, "OD", "7" * 401, "AR", "the patient is not a text of at most 400"),
        ("ab" * 32, "OD", "7\0", "AR", "the patient holds characters"),
        ("ab" * 32, "OD", "7", None, "the reader is not a text"),
    ],
)
def test_corrections_that_cannot_be_kept(
    store: ReviewStore, sha256: Any, laterality: Any, patient: Any, reader: Any, sentence: str
) -> None:
    with pytest.raises(ReviewError, match=rf"^The correction: .*{sentence}"):
        store.correct_identity(sha256, laterality, patient, reader)
    assert store.identities() == {}


# --- a process that is killed -------------------------------------------------------------------

_SAVER = """
import os, signal, sys
from tests_decision import decision, mark
from drcore.reviews.store import ReviewStore
store = ReviewStore(sys.argv[1])
for number in range(3):
    print("saved", store.add(decision(note=str(number))), flush=True)
print("marked", store.add_mark(mark()), flush=True)
print("corrected", store.correct_identity("ab" * 32, "OD", "7", "AR"), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(os.name != "posix", reason="there is no SIGKILL")
def test_what_was_saved_outlives_a_killed_process(tmp_path: Path) -> None:
    file = tmp_path / "shared.db"
    shutil.copy(reviews.__file__, tmp_path / "tests_decision.py")
    killed = subprocess.run(
        [sys.executable, "-c", _SAVER, str(file)], env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert killed.returncode == -9
    told = ["saved 1", "saved 2", "saved 3", "marked 1", "corrected 1"]
    assert killed.stdout.splitlines() == told
    store = ReviewStore(file)
    assert [kept.note for kept in store.decisions()] == ["0", "1", "2"]
    assert len(store.marks()) == 1
    assert store.identity("ab" * 32) is not None
    assert store.add(decision()) == 4


# --- what cannot be opened ----------------------------------------------------------------------


def test_a_file_that_is_no_database_is_told_and_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "photo.jpg"
    content = b"\xff\xd8\xff" + bytes(5000)
    file.write_bytes(content)
    with pytest.raises(ReviewError, match=r"^photo\.jpg is not a database\. Give"):
        ReviewStore(file)
    assert file.read_bytes() == content


def test_a_database_of_something_else_is_told(tmp_path: Path) -> None:
    sql(tmp_path / "other.db", "CREATE TABLE decisions (id INTEGER PRIMARY KEY, colour TEXT)")
    with pytest.raises(ReviewError, match=r"^other\.db: the record of decisions cannot be opened"):
        ReviewStore(tmp_path / "other.db")


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ReviewError, match="cannot be opened"):
        ReviewStore(tmp_path / "file" / "r.db")
    with pytest.raises(ReviewError, match="cannot be opened"):
        ReviewStore(tmp_path)
    if os.name == "posix" and os.geteuid() != 0:  # root writes anywhere
        (tmp_path / "locked").mkdir(mode=0o555)
        with pytest.raises(ReviewError, match="cannot be opened"):
            ReviewStore(tmp_path / "locked" / "r.db")


def test_a_database_that_breaks_later_is_told(store: ReviewStore, tmp_path: Path) -> None:
    store.add(decision())
    for file in tmp_path.iterdir():
        file.write_bytes(b"not a database any more" * 400)
    with pytest.raises(ReviewError, match="not a database"):
        store.add(decision())
    with pytest.raises(ReviewError, match="not a database"):
        store.csv_text()


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("nosuch://user:secret@host/db", "Unsupported database: nosuch"),
        ("mysql://user:secret@host/db", "kept in SQLite or PostgreSQL"),
        ("postgresql+nosuch://user:secret@host/db", "cannot be opened"),
        ("://user:secret@host", "URL of the database is not understood"),
        ("postgresql://user:secret@host:port/db", "URL of the database is not understood"),
        ("sqlite://", "Give a file path"),
        ("sqlite:///:memory:", "Give a file path"),
    ],
)
def test_an_unusable_url_is_told_without_its_password(url: str, sentence: str) -> None:
    with pytest.raises(ReviewError, match=sentence) as raised:
        ReviewStore(url)
    assert "secret" not in str(raised.value)
