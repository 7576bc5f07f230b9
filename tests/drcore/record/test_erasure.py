"""Erasing a patient takes away who it was and leaves counts."""

from __future__ import annotations

import shutil
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from drcore.cli import main
from drcore.errors import MissingInputError, ReviewError
from drcore.record.backup import back_up
from drcore.record.checks import verify
from drcore.record.erasure import erase_patient
from drcore.reviews.store import ReviewStore
from tests.drcore.record.conftest import fill
from tests.support.postgresql import sql
from tests.support.reviews import decision

STORED = Path(__file__).parents[2] / "stored" / "0.6.1"
NO_LISTS = Path("/nonexistent")


def told(location: str) -> str:
    with ReviewStore(location) as store:
        return repr([store.numbered_decisions(), store.marks(), store.identities()])


def test_names_go_and_counts_stay(record: str) -> None:
    before = told(record)
    counted = erase_patient(record, NO_LISTS, "10", by="", confirmed=False)
    assert told(record) == before
    with pytest.raises(ReviewError, match="--by NAME"):
        erase_patient(record, NO_LISTS, "10", by=" ", confirmed=True)
    erased = erase_patient(record, NO_LISTS, " 10 ", by="Data protection", confirmed=True)
    assert erased == counted
    assert (erased.photographs, erased.decisions, erased.marks, erased.corrections) == (1, 2, 2, 1)
    left = told(record)
    for gone in ("ab" * 32, "10_left", "neighbour", "by the disc", "'10'"):
        assert gone not in left
    with ReviewStore(record) as store:
        first, second, *others = store.decisions()
        assert (first.reader, first.grade, first.machine_grade, first.patient) == (
            "Dr. Adams", 2, 2, "erased-1",
        )  # fmt: skip
        assert first.sha256 == second.sha256  # still two readings of one photograph
        assert [other.patient for other in others] == ["11", " 11"]
        assert Counter(mark.lesion for _, mark in store.marks()) == {"IRMA": 1, "microaneurysm": 1}
        assert store.add(decision()) == 5
    assert verify(record).problems == []
    assert verify(record).rows["erasures"] == 1
    with pytest.raises(MissingInputError, match="nothing of patient nobody"):
        erase_patient(record, NO_LISTS, "nobody", by="AR", confirmed=True)
    with pytest.raises(MissingInputError, match="No patient was named"):
        erase_patient(record, NO_LISTS, " ", by="AR", confirmed=True)


def test_the_entry_of_an_erasure_names_no_patient(record: str) -> None:
    erase_patient(record, NO_LISTS, "11", by="AR", confirmed=True)
    query = (
        "SELECT erased_by, photographs, decisions, marks, corrections, list_entries FROM erasures"
    )
    if "://" in record:
        assert sql(record, query) == [("AR", 1, 2, 1, 0, 0)]
        with pytest.raises(Exception, match="only ever added"):
            sql(record, "DELETE FROM decisions")
        return
    with closing(sqlite3.connect(record)) as database:
        assert database.execute(query).fetchall() == [("AR", 1, 2, 1, 0, 0)]
        for statement in ("UPDATE decisions SET grade = 0", "DELETE FROM erasures"):
            with pytest.raises(sqlite3.IntegrityError, match="only ever added"):
                database.execute(statement)


def test_no_byte_of_the_file_tells_who_it_was(sqlite_record: Path) -> None:
    with ReviewStore(sqlite_record) as reader:  # a viewer has it open
        erased = erase_patient(str(sqlite_record), NO_LISTS, "10", by="AR", confirmed=True)
        assert erased.problems == []
        for file in sqlite_record.parent.glob("reviews.sqlite3*"):
            data = file.read_bytes()
            for gone in (b"ab" * 32, b"10_left", b"neighbour", b"by the disc"):
                assert gone not in data, file.name
        assert len(reader.decisions()) == 4


def test_the_last_correction_says_whose_a_photograph_is(location: str) -> None:
    fill(location)
    with ReviewStore(location) as store:
        store.correct_identity("cd" * 32, "OS", "12", "AR")
        store.correct_identity("ab" * 32, "OD", None, "AR")  # not known any more
    erased = erase_patient(location, NO_LISTS, "12", by="AR", confirmed=True)
    assert (erased.decisions, erased.marks, erased.corrections) == (2, 1, 1)
    erased = erase_patient(location, NO_LISTS, "10", by="AR", confirmed=True)
    assert (erased.decisions, erased.marks, erased.corrections) == (2, 0, 1)
    with ReviewStore(location) as store:
        assert {made.patient for made in store.decisions()} == {"erased-1", "erased-2"}


def test_copies_of_upgrades_and_stored_lists_go_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record, lists = tmp_path / "reviews.sqlite3", tmp_path / "worklists"
    shutil.copy(STORED / "reviews.sqlite3", record)
    shutil.copytree(STORED / "worklists", lists)
    ReviewStore(record).close()  # upgrades it
    arguments = ["record", "erase-patient", "--record", str(record), "--worklists", str(lists)]
    assert main([*arguments, "8"]) == 0
    assert "Nothing was erased" in capsys.readouterr().out
    index = lists / "index.sqlite3"
    with closing(sqlite3.connect(index)) as database:
        query = "SELECT list, key, file FROM photograph WHERE patient = '8'"
        ((folder, key, file),) = database.execute(query).fetchall()
        rows = database.execute("SELECT count(*) FROM photograph").fetchone()[0]
    assert (lists / folder / file).is_file()
    assert (lists / folder / f"{key}.report").is_file()
    assert main([*arguments, "8", "--yes", "--by", "AR"]) == 0
    told = capsys.readouterr().out
    assert "1 entries of 1 lists, 2 files" in told
    assert "copy kept by an upgrade: reviews.schema-0003.sqlite3" in told
    assert not (lists / folder / file).exists()
    assert not (lists / folder / f"{key}.report").exists()
    with closing(sqlite3.connect(index)) as database, database:
        assert database.execute("SELECT count(*) FROM photograph").fetchone()[0] == rows - 1
        again = "INSERT OR REPLACE INTO photograph (list, key, patient) VALUES (?, ?, '8')"
        database.execute(again, (folder, key))  # by a page that still holds it
        assert database.execute("SELECT count(*) FROM photograph").fetchone()[0] == rows - 1
    assert not list(tmp_path.glob("*.schema-*"))
    assert main([*arguments, "7", "--yes", "--by", "AR"]) == 0
    assert main([*arguments, "nobody"]) == 2


def test_backups_are_reached_where_they_are_named(
    sqlite_record: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    backup, later, other = (tmp_path / f"{name}.sqlite3" for name in ("first", "later", "other"))
    back_up(str(sqlite_record), backup)
    back_up(str(sqlite_record), later)
    with ReviewStore(other) as store:
        store.add(decision(sha256="ef" * 32, patient="99"))
    untouched = other.read_bytes()
    command = ["record", "erase-patient", "--record", str(sqlite_record), "10"]
    named = ["--backup", str(backup), "--backup", str(other)]
    before = backup.read_bytes()
    assert main([*command, *named]) == 0
    assert backup.read_bytes() == before
    assert main([*command, *named, "--yes", "--by", "AR"]) == 0
    told = capsys.readouterr().out
    assert "backup: first.sqlite3" in told
    assert "backup: other" not in told
    assert "Not reached: other backups" in told
    for gone in (b"ab" * 32, b"10_left", b"neighbour", b"by the disc"):
        assert gone in before
        assert gone not in backup.read_bytes()
    assert other.read_bytes() == untouched
    found = verify(str(backup))  # with its checksum beside it
    assert found.problems == []
    assert (found.rows["decisions"], found.rows["erasures"]) == (4, 1)
    assert not list(tmp_path.glob(".drcore-erase-*"))
    # A backup that comes to light after the record was erased.
    assert main([*command, "--backup", str(later), "--yes", "--by", "AR"]) == 0
    assert b"10_left" not in later.read_bytes()
    assert main([*command, "--backup", str(tmp_path / "none")]) == 2
    assert main([*command, "--backup", str(sqlite_record)]) == 1
    (tmp_path / "text").write_text("no database")
    assert main([*command, "--backup", str(tmp_path / "text")]) == 1
    assert "Give an SQLite file" in capsys.readouterr().err


def test_a_copy_that_names_the_patient_in_a_correction_only_goes_too(sqlite_record: Path) -> None:
    with ReviewStore(sqlite_record) as store:
        store.correct_identity("ef" * 32, "OD", "77", "AR")  # never decided on
    copy = sqlite_record.with_name("reviews.schema-0007.sqlite3")
    shutil.copy(sqlite_record, copy)
    erased = erase_patient(str(sqlite_record), NO_LISTS, "77", by="AR", confirmed=True)
    assert erased.copies == [copy.name]
    assert not copy.exists()


def test_tables_kept_by_an_upgrade_go_too(location: str) -> None:
    if "://" not in location:
        pytest.skip("files of SQLite are above")
    fill(location)
    sql(location, "CREATE TABLE decisions_schema_0003 AS TABLE decisions",
        "CREATE TABLE marks_schema_0003 AS TABLE marks")  # fmt: skip
    erased = erase_patient(location, NO_LISTS, "10", by="AR", confirmed=True)
    assert erased.copies == ["decisions_schema_0003", "marks_schema_0003"]
    assert erased.problems == []
