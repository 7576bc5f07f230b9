"""ZIP and TAR shards, honest, damaged and hostile."""

from __future__ import annotations

import gzip
import io
import os
import struct
import tarfile
import threading
import warnings
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import drcore.sources.archive_cache
import drcore.sources.archives
from drcore.batch.pipeline import grade_batch
from drcore.errors import PhotographError
from drcore.grading.grader import Grader
from drcore.sources.archives import Member
from drcore.sources.find import find_inputs, find_photographs
from drcore.sources.source import PhotographSource


def _zip(file: Path, members: dict[str, bytes], packing: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(file, "w", packing) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return file


def _tar(file: Path, members: dict[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(file, mode) as archive:
        for name, data in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return file


PACKERS = {
    "s.zip": _zip,
    "stored.ZIP": lambda file, members: _zip(file, members, zipfile.ZIP_STORED),
    "s.tar": _tar,
    "s.tar.gz": lambda file, members: _tar(file, members, "w:gz"),
    "s.tgz": lambda file, members: _tar(file, members, "w:gz"),
}


@pytest.mark.parametrize("name", PACKERS)
def test_an_archive_gives_the_rows_of_its_files(
    tiny_grader: Grader, folder: Path, tmp_path: Path, name: str
) -> None:
    files = {f"a/b/{path.name}": path.read_bytes() for path in sorted(folder.iterdir())}
    shard = PACKERS[name](tmp_path / name, {**files, "labels.json": b"{}", "a/.hidden.jpg": b"x"})
    found = find_photographs([shard])
    assert [item.image for item in found] == [f"{name}/{member}" for member in files]
    rows = [row for row, _ in grade_batch(tiny_grader, found, workers=3)]
    plain = [row for row, _ in grade_batch(tiny_grader, find_photographs([folder]))]
    assert [{**row, "image": ""} for row in rows] == [{**row, "image": ""} for row in plain]
    assert {row["status"] for row in rows} == {"graded", "ungradable", "failed"}


def test_archives_in_a_folder_and_equal_names(tmp_path: Path) -> None:
    for side in "ab":
        (tmp_path / side).mkdir()
        _tar(tmp_path / side / "s.tar", {"1.jpg": b"x", "2.jpg": b"y"})
    assert [item.image for item in find_photographs([tmp_path])] == [
        "a/s.tar/1.jpg", "a/s.tar/2.jpg", "b/s.tar/1.jpg", "b/s.tar/2.jpg",
    ]  # fmt: skip
    shards = [tmp_path / "a" / "s.tar", tmp_path / "b" / "s.tar", tmp_path / "a"]
    assert [item.image for item in find_photographs(shards)] == [
        f"{tmp_path}/{side}/s.tar/{number}.jpg" for side in "ab" for number in "12"
    ]


def test_members_of_one_name_are_all_kept(tmp_path: Path) -> None:
    with warnings.catch_warnings(), zipfile.ZipFile(tmp_path / "s.zip", "w") as archive:
        warnings.simplefilter("ignore")
        archive.writestr("1.jpg", b"first")
        archive.writestr("1.jpg", b"second")
    found = find_photographs([tmp_path / "s.zip"])
    assert [item.image for item in found][1].endswith("s.zip/1.jpg (2)")
    assert [item.source()[0] for item in found] == [b"first", b"second"]


def test_names_that_lead_out_are_harmless(tmp_path: Path) -> None:
    hostile = {
        "../../../etc/x.jpg": b"1", "/etc/y.jpg": b"2", "a/../../z.jpg": b"3",
        "c:\\windows\\w.jpg": b"4", "=cmd|'!A0.jpg": b"5", "n\nl.jpg": b"6", "..": b"7",
    }  # fmt: skip
    for name in ("s.zip", "s.tar"):
        found = find_photographs([PACKERS[name](tmp_path / name, hostile)])
        assert [item.image for item in found] == [
            f"{name}/{inner}"
            for inner in ("etc/x.jpg", "etc/y.jpg", "a/z.jpg", "c:/windows/w.jpg",
                          "=cmd|'!A0.jpg", "n\\nl.jpg")
        ]  # fmt: skip
        assert [item.source()[0] for item in found] == [b"%d" % n for n in range(1, 7)]
    assert {path.name for path in tmp_path.iterdir()} == {"s.zip", "s.tar"}


# --- what is not read ---------------------------------------------------------------------------


def _problems(file: Path) -> dict[str, str]:
    return {item.image: item.problem for item in find_photographs([file])}


def test_encrypted_members_and_nested_archives_are_told(tmp_path: Path) -> None:
    file = _zip(tmp_path / "s.zip", {"a.jpg": b"x" * 99, "in.tar.gz": b"x", "b.jpg": b"y" * 99})
    data = bytearray(file.read_bytes())
    central = data.index(b"PK\1\2")
    data[central + 8] |= 1  # the flag of encryption, of the first member
    file.write_bytes(data)
    problems = _problems(file)
    assert "encrypted" in problems["s.zip/a.jpg"]
    assert "an archive in an archive" in problems["s.zip/in.tar.gz"]
    assert problems["s.zip/b.jpg"] == ""


def test_links_in_a_tar_file_are_told_and_never_followed(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "s.tar", "w") as archive:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE):
            entry = tarfile.TarInfo(f"{kind.decode()}.jpg")
            entry.type, entry.linkname = kind, "/etc/passwd"
            archive.addfile(entry)
    problems = _problems(tmp_path / "s.tar")
    assert len(problems) == 4
    assert all("a link or no plain file" in problem for problem in problems.values())


@pytest.mark.parametrize("name", PACKERS)
@pytest.mark.parametrize("damage", [b"", b"no archive", b"PK\3\4 and then nonsense" * 99])
def test_what_is_no_archive_is_one_entry(tmp_path: Path, name: str, damage: bytes) -> None:
    (tmp_path / name).write_bytes(damage)
    problems = _problems(tmp_path / name)
    assert list(problems) == [name]
    assert problems[name].startswith(f"{name}: the archive is damaged")


@pytest.mark.parametrize("name", PACKERS)
def test_a_cut_at_any_place_is_told(tmp_path: Path, name: str) -> None:
    members = {f"{number}.jpg": bytes([number]) * 3000 for number in range(4)}
    whole = PACKERS[name](tmp_path / name, members).read_bytes()
    for share in (0.03, 0.175, 0.3, 0.6):
        (tmp_path / name).write_bytes(whole[: int(len(whole) * share)])
        readable, told = {}, 0
        for item in find_photographs([tmp_path / name]):
            if item.problem:
                told += 1
            else:
                readable[item.path.name] = item.source()[0]
        assert told
        assert readable.items() <= members.items()


def test_a_damaged_member_fails_alone(tmp_path: Path) -> None:
    file = _zip(tmp_path / "s.zip", {f"{n}.jpg": bytes([n]) * 500 + b"end" for n in range(3)})
    data = bytearray(file.read_bytes())
    second = data.index(b"PK\3\4", 4)
    data[second + 45] ^= 0xFF
    file.write_bytes(data)
    found = find_photographs([file])
    assert found[0].source()[0].endswith(b"end")
    with pytest.raises(PhotographError, match=r"1\.jpg: this part of the archive is damaged"):
        found[1].source()
    assert found[2].source()[0].endswith(b"end")


def test_an_archive_that_vanishes_is_a_failed_row_each(
    tiny_grader: Grader, folder: Path, tmp_path: Path
) -> None:
    file = _tar(tmp_path / "s.tar.gz", {p.name: p.read_bytes() for p in folder.iterdir()}, "w:gz")
    found = find_photographs([file])
    drcore.sources.archive_cache.copies._copies.clear()
    file.unlink()
    rows = [row for row, _ in grade_batch(tiny_grader, found)]
    assert len(rows) == len(found) == 10
    assert all("the archive cannot be read" in row["reason"] for row in rows)


# --- bombs --------------------------------------------------------------------------------------


def test_a_member_that_declares_too_much_is_told_before_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drcore.sources.archives, "MAX_BYTES", 1000)
    members = {"small.jpg": b"x" * 900, "large.jpg": b"x" * 1001}
    for name in ("s.zip", "s.tar"):
        problems = _problems(PACKERS[name](tmp_path / name, members))
        assert problems[f"{name}/small.jpg"] == ""
        assert "are accepted" in problems[f"{name}/large.jpg"]


def test_a_member_that_unpacks_to_more_than_it_declares_is_cut_off(tmp_path: Path) -> None:
    file = _zip(tmp_path / "s.zip", {"bomb.jpg": bytes(50_000_000)})
    data = bytearray(file.read_bytes())
    struct.pack_into("<I", data, data.index(b"PK\1\2") + 24, 1000)  # the declared size
    file.write_bytes(data)
    (item,) = find_photographs([file])
    assert item.problem == ""
    with pytest.raises(PhotographError, match="damaged"):
        item.source()
    assert isinstance(item.path, Member)
    assert len(item.path._unpacked()) == 1001


def test_an_archive_of_overlapping_members_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many entries of the directory that share one kernel, as in 42.zip's successors."""
    monkeypatch.setattr(drcore.sources.archives, "MAX_BYTES", 10_000_000)
    file = _zip(tmp_path / "s.zip", {"0.jpg": bytes(9_000_000)})
    data = file.read_bytes()
    central, end = data.index(b"PK\1\2"), data.index(b"PK\5\6")
    entry = data[central:end]
    copies = b"".join(entry.replace(b"0.jpg", b"%d.jpg" % n) for n in range(10))
    tail = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 10, 10, len(copies), central, 0)
    file.write_bytes(data[:central] + copies + tail)
    problems = _problems(file)
    assert list(problems) == ["s.zip"]
    assert "unpacks to more than 100 times its own size" in problems["s.zip"]


def test_a_gzip_bomb_ends_at_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drcore.sources.archive_cache, "MAX_BYTES", 1_000_000)
    with gzip.open(tmp_path / "s.tar.gz", "wb") as file:
        file.write(bytes(200_000_000))
    problems = _problems(tmp_path / "s.tar.gz")
    assert list(problems) == ["s.tar.gz"]
    assert "unpacks to more than" in problems["s.tar.gz"]


def test_too_many_members_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drcore.sources.archives, "MAX_MEMBERS", 3)
    for name in ("s.zip", "s.tar"):
        problems = _problems(PACKERS[name](tmp_path / name, {f"{n}.jpg": b"x" for n in range(5)}))
        assert len(problems) == 4
        assert "holds more than 3 files" in problems[name]


def test_a_header_that_declares_gigabytes_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drcore.sources.archives, "MAX_INDEX", 100_000)
    entry = tarfile.TarInfo("x")
    entry.type, entry.size = tarfile.XHDTYPE, 50_000_000
    with (tmp_path / "s.tar").open("wb") as file:
        file.write(entry.tobuf())
        file.truncate(60_000_000)
    problems = _problems(tmp_path / "s.tar")
    assert "table of contents of this archive is too large" in problems["s.tar"]
    many = _zip(tmp_path / "s.zip", {f"{'n' * 200}{n}.jpg": b"" for n in range(500)})
    assert "table of contents of this archive is too large" in _problems(many)["s.zip"]


# --- many readers -------------------------------------------------------------------------------


def test_a_copy_stays_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever another thread does to it; else a photograph of another archive is read."""
    shard = _tar(tmp_path / "1.tgz", {"a.jpg": b"one"}, "w:gz")
    other = _tar(tmp_path / "2.tgz", {"a.jpg": b"two"}, "w:gz")
    kept = drcore.sources.archive_cache._Copies()
    monkeypatch.setattr(drcore.sources.archives, "copies", kept)
    (found,) = find_photographs([shard])
    read, later = os.pread, []

    def meanwhile(number: int, size: int, start: int) -> bytes:
        kept._copies.clear()
        later.append(drcore.sources.archive_cache._copy_of(other))
        return read(number, size, start)

    monkeypatch.setattr(os, "pread", meanwhile)
    assert found.source()[0] == b"one"
    assert later


def test_threads_read_members_at_once_and_copies_are_few(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    make, lock = drcore.sources.archive_cache._copy_of, threading.Lock()

    def counted(archive: Path) -> object:
        with lock:
            made.append(archive.name)
        return make(archive)

    monkeypatch.setattr(drcore.sources.archive_cache, "_copy_of", counted)
    shards = [
        _tar(tmp_path / f"{s}.tgz", {f"{n}.jpg": b"%d %d" % (s, n) for n in range(20)}, "w:gz")
        for s in range(4)
    ]
    found = find_photographs(shards)
    with ThreadPoolExecutor(8) as pool:
        contents = list(pool.map(lambda item: item.source()[0], found))
    assert contents == [b"%d %d" % (s, n) for s in range(4) for n in range(20)]
    assert (
        len(drcore.sources.archive_cache.copies._copies) <= drcore.sources.archive_cache.MAX_COPIES
    )
    assert len(made) <= 4 + 4 + 4, "a shard is unpacked again for each of its members"


def test_hidden_members_and_other_files_are_skipped(tmp_path: Path) -> None:
    skipped = ("__MACOSX/._a.jpg", ".b.jpg", "c.txt", "README", "e.drcore-map.jpg")
    members = {**dict.fromkeys(skipped, b"x"), "d.jpg": b"x", "0001": b"\0" * 128 + b"DICM"}
    for name in ("s.zip", "s.tar"):
        found = find_inputs([PACKERS[name](tmp_path / name, members)])
        assert sorted(item.image for item in found.photographs) == [f"{name}/0001", f"{name}/d.jpg"]
        assert [item.reason for item in found.left_out] == [
            "resource fork", "hidden", "not a photograph", "not a photograph", "drcore export",
        ]  # fmt: skip


def test_found_tells_no_more_than_a_name(tmp_path: Path) -> None:
    (item,) = find_photographs([_zip(tmp_path / "s.zip", {"a/10_left.jpeg": b"x"})])
    assert isinstance(item, PhotographSource)
    assert item.source() == (b"x", "10_left.jpeg")


def test_archives_that_were_appended_to_each_other_are_read_whole(tmp_path: Path) -> None:
    first = _tar(tmp_path / "1.tar", {"a.jpg": b"one"}).read_bytes()
    second = _tar(tmp_path / "2.tar", {"b.jpg": b"two" * 500, "c.jpg": b"three"}).read_bytes()
    (tmp_path / "s.tar").write_bytes(first + second)
    with gzip.open(tmp_path / "s.tar.gz", "wb") as file:
        file.write(first + bytes(5120) + second)
    for name in ("s.tar", "s.tar.gz"):
        found = find_photographs([tmp_path / name])
        assert [item.image for item in found] == [f"{name}/{n}.jpg" for n in "abc"]
        assert [item.source()[0] for item in found] == [b"one", b"two" * 500, b"three"]
    (tmp_path / "s.tar").write_bytes(first + b"no archive" * 99)
    assert [bool(item.problem) for item in find_photographs([tmp_path / "s.tar"])] == [False, True]
