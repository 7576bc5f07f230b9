"""Backups hold every row as it was at one moment, and come back equal."""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from drcore.cli import main
from drcore.errors import MissingInputError, ReviewError
from drcore.record.backup import back_up, restore
from drcore.record.checks import verify
from drcore.reviews.store import ReviewStore
from tests.support.postgresql import new_database
from tests.support.reviews import decision

STORED = Path(__file__).parents[2] / "stored"


def everything(location: str) -> list[object]:
    with ReviewStore(location) as store:
        return [store.numbered_decisions(), store.marks(), store.identities()]


def test_a_restored_record_is_equal_row_for_row(record: str, tmp_path: Path) -> None:
    backup, again = tmp_path / "backup.sqlite3", str(tmp_path / "again.sqlite3")
    found = back_up(record, backup)
    assert found is not None
    assert (found.problems, sum(found.rows.values())) == ([], 9)
    checksum = backup.with_name("backup.sqlite3.sha256").read_text(encoding="utf-8")
    assert checksum == f"{hashlib.sha256(backup.read_bytes()).hexdigest()}  backup.sqlite3\n"
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith("backup")) == [
        "backup.sqlite3", "backup.sqlite3.sha256",
    ]  # fmt: skip
    assert restore(backup, again).digests == verify(record).digests
    assert everything(again) == everything(record)
    with ReviewStore(again) as store:  # numbers go on where they were, and rows are guarded
        assert store.add(decision()) == 5
    with closing(sqlite3.connect(again)) as database, pytest.raises(sqlite3.Error, match="only"):
        database.execute("DELETE FROM decisions")
    assert verify(again).problems == []


def test_a_record_moves_into_postgresql_and_back(
    sqlite_record: Path, socket_folder: Path, tmp_path: Path
) -> None:
    url, backup = new_database(socket_folder), tmp_path / "backup.sqlite3"
    back_up(str(sqlite_record), backup)
    assert restore(backup, url).problems == []
    assert everything(url) == everything(str(sqlite_record))
    with ReviewStore(url) as store:
        assert store.add(decision()) == 5
    with pytest.raises(ReviewError, match="holds rows already"):
        restore(backup, url)
    back_up(url, backup, overwrite=True)
    assert verify(str(backup)).digests == verify(url).digests


def test_a_backup_while_readers_save_is_one_moment(location: str, tmp_path: Path) -> None:
    backup, stop = tmp_path / "backup.sqlite3", threading.Event()
    with ReviewStore(location) as store:
        store.add(decision(note="0"))

        def save(reader: str) -> None:
            number = 0
            while not stop.is_set():
                number += 1
                store.add(decision(reader=reader, note=str(number)))

        readers = [threading.Thread(target=save, args=(name,)) for name in ("AR", "BS")]
        for reader in readers:
            reader.start()
        try:
            counts = []
            for _ in range(3):
                found = back_up(location, backup, overwrite=True)
                assert found is not None
                assert found.problems == []
                counts.append(found.rows["decisions"])
        finally:
            stop.set()
            for reader in readers:
                reader.join(60)
        assert counts == sorted(counts)
        with ReviewStore(tmp_path / "restored.sqlite3") as restored:
            restore(backup, str(tmp_path / "restored.sqlite3"))
            kept = restored.numbered_decisions()
        rows = store.numbered_decisions()
    assert verify(location).problems == []
    if "://" not in location:
        assert kept == rows[: len(kept)]
    for name in ("AR", "BS"):  # of each reader the first so many, in order
        notes = [int(made.note) for _, made in kept if made.reader == name]
        assert notes == list(range(1, len(notes) + 1))


@pytest.mark.parametrize("version", ["0.4.0", "0.6.1"])
def test_an_old_record_is_upgraded_and_a_copy_is_kept(version: str, tmp_path: Path) -> None:
    file = Path(shutil.copy(STORED / version / "reviews.sqlite3", tmp_path))
    before = file.read_bytes()
    assert back_up(str(file), tmp_path / "old-backup.sqlite3") is None  # touches no old record
    assert file.read_bytes() == before
    upgraded = everything(str(file))
    assert verify(str(file)).problems == []
    copy = tmp_path / "reviews.schema-0003.sqlite3"
    with (
        closing(sqlite3.connect(copy)) as kept,
        closing(sqlite3.connect(STORED / version / "reviews.sqlite3")) as old,
    ):
        assert list(kept.iterdump()) == list(old.iterdump())
    ReviewStore(file).close()
    assert len(list(tmp_path.glob("*.schema-*.sqlite3"))) == 1
    for number, source in enumerate((copy, tmp_path / "old-backup.sqlite3")):
        again = str(tmp_path / f"again-{number}.sqlite3")
        restore(source, again)
        assert everything(again) == upgraded


def test_what_cannot_be_done_is_a_sentence(sqlite_record: Path, tmp_path: Path) -> None:
    backup, record = tmp_path / "backup.sqlite3", str(sqlite_record)
    with pytest.raises(MissingInputError, match="There is no record of decisions at nowhere"):
        back_up(str(tmp_path / "nowhere.sqlite3"), backup)
    back_up(record, backup)
    with pytest.raises(ReviewError, match="is there already"):
        back_up(record, backup)
    with pytest.raises(ReviewError, match="cannot replace the record itself"):
        back_up(record, sqlite_record, overwrite=True)
    with pytest.raises(ReviewError, match="holds rows already"):
        restore(backup, record)
    with pytest.raises(ReviewError, match=r"^b\.sqlite3: the backup cannot be written"):
        back_up(record, tmp_path / "nowhere" / "b.sqlite3")
    with pytest.raises(MissingInputError, match="no backup"):
        restore(tmp_path / "none", record)
    (tmp_path / "text.sqlite3").write_text("no database")
    with pytest.raises(ReviewError, match="not a database"):
        restore(tmp_path / "text.sqlite3", str(tmp_path / "new.sqlite3"))


def test_the_commands(
    sqlite_record: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    backup = tmp_path / "backup.sqlite3"
    monkeypatch.setenv("DRCORE_REVIEWS_URL", str(sqlite_record))
    assert main(["record", "backup", str(backup)]) == 0
    assert main(["record", "verify"]) == 0
    assert main(["record", "verify", str(backup)]) == 0
    assert "byte for byte" in capsys.readouterr().out
    assert main(["record", "backup", str(backup)]) == 1
    assert "--overwrite" in capsys.readouterr().err
    again = str(tmp_path / "again.sqlite3")
    assert main(["record", "restore", str(backup), "--record", again]) == 0
    assert "every row equals that of the backup" in capsys.readouterr().out
    assert main(["record", "verify", str(tmp_path / "none")]) == 2
    monkeypatch.delenv("DRCORE_REVIEWS_URL")
    monkeypatch.chdir(tmp_path)
    assert main(["record", "verify"]) == 2
    assert not Path(".drcore").exists()
