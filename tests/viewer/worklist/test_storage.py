"""Worklists on the server's disk."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import stat
from dataclasses import replace

import pytest

from drcore.errors import SourceError
from viewer.worklist.storage import KeptPhotograph, Limits, WorklistStore, location

DATA = b"a photograph of Doe"
SHA256 = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def shelf(tmp_path):
    return WorklistStore(tmp_path / "lists", Limits(reserve=0))


def row(key: str, **values) -> KeptPhotograph:
    base = KeptPhotograph(
        key, int(key[1:]), f"{key}.jpg", "", SHA256, "", 0, SHA256, "OD", "Doe", "name", 0, ""
    )
    return replace(base, **values)


def contents(folder) -> bytes:
    return b"".join(file.read_bytes() for file in folder.rglob("*") if file.is_file())


def age(shelf: WorklistStore, kept, days: float) -> None:
    with sqlite3.connect(shelf.root / "index.sqlite3") as index:
        index.execute("UPDATE list SET used = used - ? WHERE id = ?", (days * 86400, kept.id))


def test_a_list_comes_back_to_whoever_has_its_token(shelf):
    kept = shelf.begin()
    kept.store(DATA, SHA256)
    kept.put([row("p2"), row("p1", thumbnail="data:")])
    kept.settle(selected="p2", settings="{}")
    again = WorklistStore(shelf.root).open(kept.token)
    assert again.photographs() == [row("p1", thumbnail="data:"), row("p2")]
    assert again.settled() == ("p2", "{}")
    assert again.file_of(SHA256).read_bytes() == DATA


def test_strangers_open_nothing(shelf):
    kept = shelf.begin()
    kept.store(DATA, SHA256)
    other = shelf.begin().token
    for token in (None, "", "x", kept.id, kept.token[:-1], kept.token + "a", "../" + kept.token):
        assert shelf.open(token) is None
    assert shelf.open(other).photographs() == []
    # Nor does the disk tell the token.
    assert kept.token.encode() not in contents(shelf.root)
    assert not any(kept.token in str(path) for path in shelf.root.rglob("*"))


def test_only_this_user_can_read_what_is_kept(shelf):
    kept = shelf.begin()
    file = kept.store(DATA, SHA256)
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (shelf.root, kept.folder, file)]
    assert modes == [0o700, 0o700, 0o600]


def test_deleting_leaves_nothing(shelf):
    kept, other = shelf.begin(), shelf.begin()
    for one in (kept, other):
        one.store(DATA, SHA256)
    kept.put([row("p1", name="Doe-Jane.jpg", patient="Doe-Jane")])
    kept.store_report("p1", b"report of Doe-Jane")
    kept.delete()
    assert shelf.open(kept.token) is None
    assert not kept.folder.exists()
    assert b"Doe-Jane" not in contents(shelf.root)
    assert other.file_of(SHA256).read_bytes() == DATA  # each list has its own copy


def test_what_comes_late_for_a_deleted_list_brings_nothing_back(shelf):
    kept = shelf.begin()
    kept.delete()
    for late in (
        lambda: kept.store_report("p1", b"report"),
        lambda: kept.put([row("p1")]),
        lambda: kept.store(DATA, SHA256),
    ):
        with pytest.raises(SourceError):
            late()
    with pytest.raises(SourceError, match="cleared in another window"):
        kept.put([row("p1")])
    assert [path.name for path in shelf.root.iterdir() if path.is_dir()] == []


def test_a_file_goes_with_its_last_frame(shelf):
    kept = shelf.begin()
    file = kept.store(DATA, SHA256)
    kept.put([row("p1", frame=1), row("p2", frame=2)])
    kept.store_report("p1", b"report")
    kept.drop("p1")
    assert file.exists()
    assert kept.report("p1") is None
    kept.drop("p2")
    assert not file.exists()
    kept.drop("p2")


def test_a_photograph_is_there_whole_or_not_at_all(shelf, monkeypatch):
    kept = shelf.begin()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.replace", full)
    with pytest.raises(SourceError, match="No space left on device"):
        kept.store(DATA, SHA256)
    assert list(kept.folder.iterdir()) == []


def test_old_lists_are_deleted(shelf):
    old, new = shelf.begin(), shelf.begin()
    old.store(DATA, SHA256)
    age(shelf, old, 31)
    age(shelf, new, 29)
    shelf.sweep()
    assert shelf.open(old.token) is None
    assert not old.folder.exists()
    assert shelf.open(new.token) is not None
    age(shelf, new, 29)  # opening it has begun its time anew
    shelf.sweep()
    assert shelf.open(new.token) is not None


def test_folders_of_no_list_are_swept_away_when_old(shelf):
    (shelf.root / "stray").mkdir()
    (shelf.root / "young").mkdir()
    os.utime(shelf.root / "stray", (0, 0))
    shelf.sweep()
    assert not (shelf.root / "stray").exists()
    assert (shelf.root / "young").exists()


def test_there_are_so_many_lists_and_no_more(tmp_path):
    shelf = WorklistStore(tmp_path, Limits(lists=2, reserve=0))
    first, second = shelf.begin(), shelf.begin()
    with pytest.raises(SourceError, match=r"keeps 2 lists.* Clear a list"):
        shelf.begin()
    age(shelf, first, 8)  # idle: makes room
    shelf.begin()
    assert shelf.open(first.token) is None
    assert shelf.open(second.token) is not None


def test_there_are_so_many_bytes_and_no_more(tmp_path):
    shelf = WorklistStore(tmp_path, Limits(size=len(DATA) + 5, reserve=0))
    first = shelf.begin()
    first.store(DATA, SHA256)
    first.store(DATA, SHA256)  # the same costs nothing
    second = shelf.begin()
    with pytest.raises(SourceError, match="Clear a list that is done with"):
        second.store(b"another photograph", "0" * 64)
    age(shelf, first, 8)
    assert second.store(b"another photograph", "0" * 64).is_file()


def test_a_nearly_full_disk_is_told(tmp_path):
    shelf = WorklistStore(tmp_path, Limits(reserve=1 << 60))
    with pytest.raises(SourceError, match="disk of this server is nearly full"):
        shelf.begin().store(DATA, SHA256)


def test_a_folder_that_cannot_be_used_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SourceError, match="cannot be kept on this server"):
        WorklistStore(tmp_path / "file")
    (tmp_path / "index.sqlite3").write_bytes(b"no database at all" * 100)
    with pytest.raises(SourceError, match="cannot be kept on this server"):
        WorklistStore(tmp_path)


def test_an_index_of_another_release_is_left_alone(shelf):
    kept = shelf.begin()
    with sqlite3.connect(shelf.root / "index.sqlite3") as index:
        index.execute("PRAGMA user_version = 99")
    with pytest.raises(SourceError, match="another release"):
        WorklistStore(shelf.root)
    assert kept.folder.exists()


def test_where_lists_are_kept(monkeypatch, tmp_path):
    monkeypatch.setenv("DRCORE_WORKLISTS", str(tmp_path / "x"))
    assert location() == tmp_path / "x"
    monkeypatch.delenv("DRCORE_WORKLISTS")
    monkeypatch.chdir(tmp_path)
    assert location() == tmp_path / ".drcore" / "worklists"
