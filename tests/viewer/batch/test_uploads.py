"""Copies of uploads on the disk: harmless names, gone when they should be."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from drcore.errors import SourceError
from viewer.batch import uploads
from viewer.batch.uploads import check_upload, save_upload
from viewer.server import temporary_folder
from viewer.server.temporary_folder import TemporaryFolder, sweep


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    """A temporary folder of this test alone."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    yield tmp_path
    monkeypatch.setattr(tempfile, "tempdir", None)


def test_files_left_out_are_returned_with_the_reason():
    names = ["clinic/10_left.jpg", "clinic/notes.txt", "clinic/.hidden.jpg"]
    found, folder, left_out = save_upload([(name, b"a") for name in names])
    assert [item.image for item in found] == names[:1]
    assert {(left.path, left.reason) for left in left_out} == {
        (names[1], "not a photograph"), (names[2], "hidden"),
    }  # fmt: skip
    folder.cleanup()


def test_uploads_are_spooled_under_harmless_names(temporary):
    files = [
        ("clinic/10_left.jpg", b"a"),
        ("clinic/../../etc/passwd_right.png", b"b"),
        ("clinic/sub/=cmd|' /C calc'!A0_OD.JPG", b"c"),
        ("clinic/\u202egpj.exe", b"d"),
        ("clinic/.hidden.jpg", b"e"),
        ("clinic/notes.txt", b"f"),
        ("clinic/" + "\u00fc" * 180 + "_left.jpg", b"g"),
        ("clinic/10_left.jpg", b"h"),
        ("clinic\\..\\up_left.jpg", b"i"),
        ("C:\\scans\\con_left.jpg", b"j"),
        ("/etc/11_left.jpg", b"k"),
        ("clinic/nul\0byte_left.jpg", b"l"),
        ("x" * 4096 + "_left.jpg", b"m"),
        ("x" * 4097 + "_left.jpg", b"n"),
    ]
    found, folder, _ = save_upload(files)
    assert sorted(item.path.read_bytes() for item in found) == [
        b"a", b"c", b"g", b"h", b"j", b"k", b"l", b"m", b"n",
    ]  # fmt: skip
    assert "10_left.jpg" in {item.path.name for item in found}
    for item in found:
        assert item.path.resolve().is_relative_to(folder.path)
        assert len(os.fsencode(item.path.name)) < 255
        assert item.path.name.endswith("_OD.jpg" if "calc" in item.image else "_left.jpg")
    assert "clinic/10_left.jpg" in {item.image for item in found}
    assert len({item.image for item in found}) == len(found)
    assert folder.path.parent == temporary
    assert folder.path.stat().st_mode & 0o077 == 0
    folder.cleanup()
    assert list(temporary.iterdir()) == []
    folder.cleanup()


def test_a_folder_without_photographs_is_told_and_leaves_nothing(temporary):
    with pytest.raises(SourceError, match="No images in this folder"):
        save_upload([("clinic/notes.txt", b"x")])
    assert list(temporary.iterdir()) == []


def test_a_full_disk_is_a_sentence_and_leaves_nothing(temporary, monkeypatch):
    def write_bytes(self, data):
        raise OSError(28, "No space left on device", str(self))

    monkeypatch.setattr(Path, "write_bytes", write_bytes)
    with pytest.raises(SourceError, match=r"\(No space left on device\)\. Free some space"):
        save_upload([("clinic/10_left.jpg", b"x")])
    assert list(temporary.iterdir()) == []


def test_the_last_of_the_disk_is_left_to_others(temporary, monkeypatch):
    monkeypatch.setattr(uploads, "RESERVE", 1 << 60)
    with pytest.raises(SourceError, match="the disk is nearly full"):
        save_upload([("clinic/10_left.jpg", b"x")])
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("sizes", [[1] * (uploads.MAX_FILES + 1), [uploads.MAX_BYTES, 1]])
def test_more_than_a_browser_may_send_is_told(sizes):
    check_upload(sizes[:-1])
    with pytest.raises(SourceError, match=r"Split it, or use a folder on the server\.$"):
        check_upload(sizes)


def test_a_temporary_folder_that_is_missing_is_a_sentence(temporary, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(temporary / "gone"))
    with pytest.raises(SourceError, match="cannot be stored for the batch"):
        save_upload([("clinic/10_left.jpg", b"x")])


def test_an_upload_that_breaks_off_leaves_nothing(temporary):
    def files():
        yield "clinic/10_left.jpg", b"x"
        raise ConnectionError

    with pytest.raises(SourceError):
        save_upload(files())
    assert list(temporary.iterdir()) == []


def test_copies_go_with_their_last_reference(temporary):
    found, folder, _ = save_upload([("clinic/10_left.jpg", b"x")])
    assert found[0].path.exists()
    del folder
    gc.collect()
    assert list(temporary.iterdir()) == []


CHILD = """
import sys
from viewer.batch.uploads import save_upload
found, folder, _ = save_upload([("clinic/10_left.jpg", b"x")])
print(folder.path, flush=True)
sys.stdin.read()
"""


def child():
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    return process, Path(process.stdout.readline().strip())


def test_what_a_killed_server_left_behind_is_swept_and_nothing_else(temporary):
    mine = TemporaryFolder()
    alive, in_use = child()
    killed, abandoned = child()
    killed.send_signal(signal.SIGKILL)
    killed.wait(30)
    killed.stdout.close()
    killed.stdin.close()
    (temporary / "drcore-notes").mkdir()
    target = temporary / "target"
    target.mkdir()
    (temporary / f"{temporary_folder.PREFIX}link").symlink_to(target)
    young = temporary / f"{temporary_folder.PREFIX}young"
    young.mkdir()
    old = temporary / f"{temporary_folder.PREFIX}old"
    old.mkdir()
    os.utime(old, (time.time() - 3600,) * 2)
    try:
        assert abandoned.exists()
        assert sweep() == 2
        assert not abandoned.exists()
        assert not old.exists()
        assert in_use.exists()
        assert mine.path.exists()
        assert target.exists()
        assert young.exists()
    finally:
        alive.communicate("", timeout=30)
    assert not in_use.exists()  # an ordinary end cleans up by itself
    mine.cleanup()
