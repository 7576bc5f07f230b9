"""Worklists on the server's disk."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import stat
from dataclasses import replace

import pytest

from drcore.errors import SourceError
from viewer.server.settings import worklists_folder
from viewer.worklist.storage import Limits, WorklistStore
from viewer.worklist.stored_worklist import StoredPhotograph, StoredWorklist

DATA = b"a photograph of Doe"
SHA256 = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def store(tmp_path):
    return WorklistStore(tmp_path / "lists", Limits(reserve=0))


def row(key: str, **values) -> StoredPhotograph:
    base = StoredPhotograph(
        key, int(key[1:]), f"{key}.jpg", "", SHA256, "", 0, SHA256, "OD", "Doe", "name", 0, ""
    )
    return replace(base, **values)


def contents(folder) -> bytes:
    return b"".join(file.read_bytes() for file in folder.rglob("*") if file.is_file())


def age(store: WorklistStore, kept, days: float) -> None:
    with sqlite3.connect(store.root / "index.sqlite3") as index:
        index.execute("UPDATE list SET used = used - ? WHERE id = ?", (days * 86400, kept.id))


def test_a_list_comes_back_to_whoever_has_its_token(store):
    kept = StoredWorklist.begin(store)
    kept.store_file(DATA)
    kept.put([row("p2"), row("p1", thumbnail="data:")])
    kept.save_position(selected="p2", settings="{}")
    again = StoredWorklist.open(WorklistStore(store.root), kept.token)
    assert again.photographs() == [row("p1", thumbnail="data:"), row("p2")]
    assert again.position() == ("p2", "{}")
    assert (again.folder / SHA256).read_bytes() == DATA


def test_strangers_open_nothing(store):
    kept = StoredWorklist.begin(store)
    kept.store_file(DATA)
    other = StoredWorklist.begin(store).token
    for token in (None, "", "x", kept.id, kept.token[:-1], kept.token + "a", "../" + kept.token):
        assert StoredWorklist.open(store, token) is None
    assert StoredWorklist.open(store, other).photographs() == []
    # Nor does the disk tell the token.
    assert kept.token.encode() not in contents(store.root)
    assert not any(kept.token in str(path) for path in store.root.rglob("*"))


def test_only_this_user_can_read_what_is_kept(store):
    kept = StoredWorklist.begin(store)
    file = kept.store_file(DATA)
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (store.root, kept.folder, file)]
    assert modes == [0o700, 0o700, 0o600]


def test_deleting_leaves_nothing(store):
    kept, other = StoredWorklist.begin(store), StoredWorklist.begin(store)
    for one in (kept, other):
        one.store_file(DATA)
    kept.put([row("p1", name="Doe-Jane.jpg", patient="Doe-Jane")])
    kept.store_report("p1", b"report of Doe-Jane")
    kept.delete()
    assert StoredWorklist.open(store, kept.token) is None
    assert not kept.folder.exists()
    assert b"Doe-Jane" not in contents(store.root)
    assert (other.folder / SHA256).read_bytes() == DATA  # each list has its own copy


def test_what_comes_late_for_a_deleted_list_brings_nothing_back(store):
    kept = StoredWorklist.begin(store)
    kept.delete()
    for late in (
        lambda: kept.store_report("p1", b"report"),
        lambda: kept.put([row("p1")]),
        lambda: kept.store_file(DATA),
    ):
        with pytest.raises(SourceError):
            late()
    with pytest.raises(SourceError, match="cleared in another window"):
        kept.put([row("p1")])
    assert [path.name for path in store.root.iterdir() if path.is_dir()] == []


def test_a_file_goes_with_its_last_frame(store):
    kept = StoredWorklist.begin(store)
    file = kept.store_file(DATA)
    kept.put([row("p1", frame=1), row("p2", frame=2)])
    kept.store_report("p1", b"report")
    kept.drop("p1")
    assert file.exists()
    assert kept.report("p1") is None
    kept.drop("p2")
    assert not file.exists()
    kept.drop("p2")


def test_a_photograph_is_there_whole_or_not_at_all(store, monkeypatch):
    kept = StoredWorklist.begin(store)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(SourceError, match="No space left on device"):
        kept.store_file(DATA)
    assert list(kept.folder.iterdir()) == []


def test_old_lists_are_deleted(store):
    old, new = StoredWorklist.begin(store), StoredWorklist.begin(store)
    old.store_file(DATA)
    age(store, old, 31)
    age(store, new, 29)
    store.sweep()
    assert StoredWorklist.open(store, old.token) is None
    assert not old.folder.exists()
    assert StoredWorklist.open(store, new.token) is not None
    age(store, new, 29)  # opening it has begun its time anew
    store.sweep()
    assert StoredWorklist.open(store, new.token) is not None


def test_folders_of_no_list_are_swept_away_when_old(store):
    (store.root / "stray").mkdir()
    (store.root / "young").mkdir()
    os.utime(store.root / "stray", (0, 0))
    store.sweep()
    assert not (store.root / "stray").exists()
    assert (store.root / "young").exists()


def test_there_are_so_many_lists_and_no_more(tmp_path):
    store = WorklistStore(tmp_path, Limits(lists=2, reserve=0))
    first, second = StoredWorklist.begin(store), StoredWorklist.begin(store)
    with pytest.raises(SourceError, match=r"limit of 2 lists.* Clear a finished list"):
        StoredWorklist.begin(store)
    age(store, first, 8)  # idle: makes room
    StoredWorklist.begin(store)
    assert StoredWorklist.open(store, first.token) is None
    assert StoredWorklist.open(store, second.token) is not None


def test_there_are_so_many_bytes_and_no_more(tmp_path):
    store = WorklistStore(tmp_path, Limits(size=len(DATA) + 5, reserve=0))
    first = StoredWorklist.begin(store)
    first.store_file(DATA)
    first.store_file(DATA)  # the same costs nothing
    second = StoredWorklist.begin(store)
    with pytest.raises(SourceError, match="Clear a finished list"):
        second.store_file(b"another photograph")
    age(store, first, 8)
    assert second.store_file(b"another photograph").is_file()


def test_a_nearly_full_disk_is_told(tmp_path):
    store = WorklistStore(tmp_path, Limits(reserve=1 << 60))
    with pytest.raises(SourceError, match="disk is nearly full"):
        StoredWorklist.begin(store).store_file(DATA)


def test_a_folder_that_cannot_be_used_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SourceError, match="cannot be saved on this server"):
        WorklistStore(tmp_path / "file")
    (tmp_path / "index.sqlite3").write_bytes(b"no database at all" * 100)
    with pytest.raises(SourceError, match="cannot be saved on this server"):
        WorklistStore(tmp_path)


def test_an_index_of_another_release_is_left_alone(store):
    kept = StoredWorklist.begin(store)
    with sqlite3.connect(store.root / "index.sqlite3") as index:
        index.execute("PRAGMA user_version = 99")
    with pytest.raises(SourceError, match="different version"):
        WorklistStore(store.root)
    assert kept.folder.exists()


def test_where_lists_are_kept(monkeypatch, tmp_path):
    monkeypatch.setenv("DRCORE_WORKLISTS", str(tmp_path / "x"))
    assert worklists_folder() == tmp_path / "x"
    monkeypatch.delenv("DRCORE_WORKLISTS")
    monkeypatch.chdir(tmp_path)
    assert worklists_folder() == tmp_path / ".drcore" / "worklists"
