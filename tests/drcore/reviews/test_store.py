"""The record of decisions: what is accepted, kept and given back."""

from __future__ import annotations

import csv
import io
import json
import os
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from drcore.errors import ReviewError
from drcore.reviews.decision import Decision
from drcore.reviews.mark import Mark
from drcore.reviews.store import ReviewStore
from drcore.reviews.tables import REVIEW_COLUMNS, decisions_json

NOON = datetime(2026, 3, 29, 12, 0, 0, 123456, tzinfo=UTC)


def decision(**changes: Any) -> Decision:
    values: dict[str, Any] = {
        "sha256": "ab" * 32,
        "image": "10_left.jpeg",
        "model_version": "tiny 1",
        "machine_status": "graded",
        "machine_grade": 2,
        "machine_score": 1.87654321,
        "action": "agree",
        "grade": 2,
        "note": "",
        "reader": "Dr. Adams",
        "decided_at": NOON,
        "laterality": "OS",
        "patient": "10",
    }
    return Decision(**(values | changes))


def mark(**changes: Any) -> Mark:
    values: dict[str, Any] = {
        "sha256": "ab" * 32, "kind": "point", "lesion": "microaneurysm", "x0": 10.0, "y0": 20.5,
        "x1": 10.0, "y1": 20.5, "reader": "Dr. Adams", "created_at": NOON,
    }  # fmt: skip
    return Mark(**(values | changes))


def sql(file: Path, statement: str) -> list[tuple[Any, ...]]:
    """Speak to the database behind the store's back."""
    with closing(sqlite3.connect(file)) as database, database:
        return database.execute(statement).fetchall()


@pytest.fixture
def store(tmp_path: Path) -> ReviewStore:
    return ReviewStore(tmp_path / "reviews.sqlite3")


# --- decisions ----------------------------------------------------------------------------------

UNGRADABLE = {"machine_status": "ungradable", "machine_grade": None, "machine_score": 1.2}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"action": "change", "grade": 0},
        {"action": "change", "grade": 2},
        {"action": "ungradable", "grade": None},
        {**UNGRADABLE, "action": "change", "grade": 4},
        {**UNGRADABLE, "action": "ungradable", "grade": None},
        {"machine_score": None, "laterality": None, "patient": None, "reader": ""},
        {"machine_grade": 0, "grade": 0},
        {"seconds": 0.0, "overlay_scales": ()},
        {"seconds": 12.25, "overlay_scales": ("128", "fused")},
        {"mode": "second reader", "role": "second", "machine_visible": False},
        {"mode": "arbitration", "role": "arbiter", "machine_visible": True},
    ],
)
def test_what_is_kept_comes_back(store: ReviewStore, changes: dict[str, Any]) -> None:
    given = decision(**changes)
    assert store.add(given) == 1
    assert store.decisions() == [given]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"grade": 3}, "grade 3 does not agree with the model's 2"),
        ({"grade": None}, "no grade of the model to agree with"),
        ({**UNGRADABLE, "grade": 2}, "no grade of the model to agree with"),
        ({"action": "change", "grade": None}, "None is not a grade"),
        ({"action": "change", "grade": 5}, "5 is not a grade"),
        ({"action": "change", "grade": -1}, "-1 is not a grade"),
        ({"action": "change", "grade": True}, "True is not a grade"),
        ({"action": "change", "grade": 1.5}, "1.5 is not a grade"),
        ({"action": "ungradable", "grade": 2}, "an ungradable photograph has no grade"),
        ({"action": "delete"}, "'delete' is not known"),
        ({"machine_status": "fine"}, "'fine' is not known"),
        ({"machine_status": "failed"}, "does not go with its answer"),
        ({"machine_grade": None, "action": "change"}, "does not go with its answer"),
        ({"machine_grade": 7, "grade": 7}, "does not go with its answer"),
        ({"machine_score": float("nan")}, "score is not a number"),
        ({"sha256": ""}, "no SHA-256"),
        ({"sha256": "AB" * 32}, "no SHA-256"),
        ({"sha256": "ab" * 32 + "\n"}, "no SHA-256"),
        ({"laterality": "left"}, "laterality"),
        ({"note": "x" * 10_001}, "the note is not a text of at most 10000"),
        ({"note": "a\0b"}, "the note holds characters"),
        ({"reader": "\udcff"}, "the reader holds characters"),
        ({"reader": None}, "the reader is not a text"),
        ({"decided_at": datetime(2026, 1, 1)}, "needs a time zone"),  # noqa: DTZ001
        ({"decided_at": "2026-01-01"}, "needs a time zone"),
        ({"seconds": -0.1}, "not a time"),
        ({"seconds": float("inf")}, "not a time"),
        ({"overlay_scales": ("fused", "fused")}, "not scales of the map"),
        ({"overlay_scales": ("all of them",)}, "not scales of the map"),
        ({"overlay_scales": "fused"}, "not scales of the map"),
    ],
)
def test_contradictions_are_refused(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ReviewError, match=rf"^10_left\.jpeg: .*{sentence}.*\.$"):
        decision(**changes)


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


def test_csv(store: ReviewStore) -> None:
    note = 'seen, "twice"\n=HYPERLINK("http://x")'
    store.add(decision(image="=1.jpg", note=note))
    unseen: dict[str, Any] = {"seconds": 3.96, "overlay_scales": ()}
    store.add(decision(action="ungradable", grade=None, patient=None, machine_score=-0.5, **unseen))
    store.add(decision(seconds=60.0, overlay_scales=("512", "fused")))
    text = store.csv_text()
    rows = list(csv.DictReader(io.StringIO(text, newline=""), strict=True))
    assert tuple(rows[0]) == REVIEW_COLUMNS
    assert rows[0]["image"] == "'=1.jpg"
    assert rows[0]["note"] == 'seen, "twice"\n\'=HYPERLINK("http://x")'
    assert rows[0]["decided_at"] == "2026-03-29T12:00:00.123+00:00"
    assert (rows[0]["grade"], rows[0]["machine_grade"], rows[0]["machine_score"]) == (
        "2", "2", "1.8765",
    )  # fmt: skip
    assert (rows[1]["grade"], rows[1]["patient"], rows[1]["machine_score"]) == ("", "", "-0.5000")
    looks = [(row["seconds"], row["overlay_seen"], row["overlay_scales"]) for row in rows]
    assert looks == [("", "", ""), ("4.0", "false", ""), ("60.0", "true", "512 fused")]
    assert set(REVIEW_COLUMNS) == {*Decision.__slots__, "overlay_seen", "number"}


def test_json(store: ReviewStore) -> None:
    assert json.loads(decisions_json(store.numbered_decisions())) == []
    note = '</script>"\n=1+1 é'
    store.add(decision(note=note))
    store.add(decision(seconds=3.96, overlay_scales=(), patient=None))
    store.add(decision(overlay_scales=("128", "fused")))
    first, second, third = json.loads(decisions_json(store.numbered_decisions()))
    assert tuple(first) == REVIEW_COLUMNS
    assert first["note"] == note
    assert datetime.fromisoformat(first["decided_at"]) == NOON
    assert (first["machine_score"], first["grade"]) == (1.87654321, 2)
    assert (first["seconds"], first["overlay_seen"], first["overlay_scales"]) == (None,) * 3
    assert (second["seconds"], second["overlay_seen"], second["overlay_scales"]) == (
        3.96,
        False,
        [],
    )
    assert second["patient"] is None
    assert third["overlay_scales"] == ["128", "fused"]


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
    (tmp_path / "tests_decision.py").write_text(Path(__file__).read_text(encoding="utf-8"))
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

BLINDED = {"mode": "blinded first read", "role": "first", "machine_visible": False}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"mode": "peeking"}, "the mode peeking is not known; choose open, blinded first read"),
        ({"role": "third"}, "the role third is not known; choose first"),
        ({"machine_visible": "no"}, "visible or not"),
        ({"revises": 0}, "0 is not the number of an earlier decision"),
        ({"revises": True}, "True is not the number"),
    ],
)
def test_circumstances_that_are_not_known_are_refused(
    changes: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ReviewError, match=rf"^10_left\.jpeg: .*{sentence}.*\.$"):
        decision(**changes)


def test_circumstances_are_kept(store: ReviewStore) -> None:
    blind = decision(**BLINDED)
    later = decision(**BLINDED | {"machine_visible": True}, revises=1, action="change", grade=3)
    assert [store.add(blind), store.add(later)] == [1, 2]
    assert store.numbered_decisions() == [(1, blind), (2, later)]
    first, second = csv.DictReader(io.StringIO(store.csv_text(), newline=""), strict=True)
    shown = ("number", "mode", "role", "machine_visible", "revises")
    assert [first[name] for name in shown] == ["1", "blinded first read", "first", "false", ""]
    assert [second[name] for name in shown] == ["2", "blinded first read", "first", "true", "1"]
    assert [row["revises"] for row in json.loads(decisions_json(store.numbered_decisions()))] == [
        None,
        1,
    ]
    assert json.loads(decisions_json(store.numbered_decisions()))[0]["machine_visible"] is False


def test_a_decision_revises_an_earlier_one_of_the_same_reader(store: ReviewStore) -> None:
    store.add(decision())
    store.add(decision(reader="BS"))
    for wrong in ({"revises": 9}, {"revises": 2}, {"revises": 1, "sha256": "cd" * 32}):
        with pytest.raises(ReviewError, match="is not an earlier one of the same reader"):
            store.add(decision(**wrong))
    assert len(store.decisions()) == 2
    assert store.add(decision(revises=1)) == 3


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
        store.correct_identity("ab" * 32, None, "8", "BS"),
    ]
    assert numbers == [1, 2, 3]
    last = store.identity("ab" * 32)
    assert last is not None
    assert (last.laterality, last.patient, last.reader) == (None, "8", "BS")
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
    (tmp_path / "tests_decision.py").write_text(Path(__file__).read_text(encoding="utf-8"))
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


def test_decisions_cannot_be_edited() -> None:
    with pytest.raises(AttributeError):
        decision().grade = 0  # type: ignore[misc]
    with pytest.raises(ReviewError):
        replace(decision(), grade=0)
