"""Finding photographs in files and folders."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

from drcore.batch.pipeline import grade_batch
from drcore.errors import SourceError
from drcore.grading.grader import Grader
from drcore.sources.find import find_inputs, find_photographs
from drcore.sources.folders import inside_root
from drcore.text import csv_safe


def _touch(*files: Path) -> None:
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x")


def _images(*inputs: Path) -> list[str]:
    return [found.image for found in find_photographs(inputs)]


def test_folders_are_walked_sorted_and_filtered(tmp_path: Path) -> None:
    _touch(
        tmp_path / "b.JPG", tmp_path / "a" / "deep" / "z.tiff", tmp_path / "a" / "y.PnG",
        tmp_path / "a.webp", tmp_path / "notes.txt", tmp_path / "._b.jpg",
        tmp_path / ".thumbnails" / "c.jpg", tmp_path / "jpg",
    )  # fmt: skip
    found = find_inputs([tmp_path])
    assert Counter(item.reason for item in found.left_out) == {
        "not a photograph": 2, "hidden": 1, "resource fork": 1,
    }  # fmt: skip
    assert _images(tmp_path) == ["a/deep/z.tiff", "a/y.PnG", "a.webp", "b.JPG"]
    assert all(found.path.is_file() for found in find_photographs([tmp_path]))


def test_named_files_are_kept_whatever_they_are(tmp_path: Path) -> None:
    _touch(tmp_path / "notes.txt")
    assert _images(tmp_path / "notes.txt", tmp_path / "missing") == ["notes.txt", "missing"]
    for gone in (tmp_path / "missing", Path("a\0b"), Path("x" * 5000)):
        assert len(find_inputs([tmp_path / "notes.txt", gone]).missing) == 1


def test_a_file_reached_twice_is_found_once(tmp_path: Path) -> None:
    _touch(tmp_path / "a.jpg", tmp_path / "sub" / "b.jpg")
    assert _images(tmp_path, tmp_path / "a.jpg", tmp_path / "sub") == ["a.jpg", "sub/b.jpg"]


def test_equal_names_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    _touch(Path("one/1.jpg"), Path("one/2.jpg"), Path("two/1.jpg"))
    assert _images(Path("one"), Path("two")) == ["one/1.jpg", "2.jpg", "two/1.jpg"]
    assert _images(Path("one/1.jpg"), Path("two/1.jpg")) == ["one/1.jpg", "two/1.jpg"]


def test_odd_names_become_one_printable_unique_line(tmp_path: Path) -> None:
    names = [b"a\nb.jpg", b"a\\nb.jpg", b"\xff.jpg", b"=x.jpg", b"'=x.jpg", "\u202ex.jpg".encode()]
    for name in names:
        (tmp_path / os.fsdecode(name)).write_bytes(b"x")
    found = find_photographs([tmp_path])
    images = [item.image for item in found]
    assert len({csv_safe(image) for image in images}) == len(names)
    assert all(image.isprintable() for image in images)
    assert {os.fsencode(item.path.name) for item in found} == set(names)


def test_links_out_of_the_folder_are_not_followed(tmp_path: Path) -> None:
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    _touch(inside / "a.jpg", outside / "secret.jpg")
    (inside / "link.jpg").symlink_to(outside / "secret.jpg")
    (inside / "folder").symlink_to(outside)
    (inside / "circle").symlink_to(inside)
    (inside / "self.jpg").symlink_to(inside / "self.jpg")
    (inside / "good.jpg").symlink_to(inside / "a.jpg")
    assert _images(inside) == ["a.jpg", "good.jpg"]
    (tmp_path / "door").symlink_to(inside)
    assert _images(tmp_path / "door") == ["a.jpg", "good.jpg"]  # a link that was named is meant


def test_a_folder_that_cannot_be_opened_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_grader: Grader
) -> None:
    _touch(tmp_path / "a.jpg", tmp_path / "locked" / "b.jpg")
    scandir = os.scandir

    def guarded(path: str | Path) -> object:
        if Path(path).name == "locked":  # as the owner's rights would; root may open anything
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)
    found = find_photographs([tmp_path])
    assert [item.image for item in found] == ["a.jpg", "locked"]
    row, _ = list(grade_batch(tiny_grader, found))[1]
    assert row["status"] == "failed"
    assert "cannot be opened (Permission denied)" in row["reason"]


def test_inside_root(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "a" / "b").mkdir(parents=True)
    (root / "inner").symlink_to(root / "a")
    assert inside_root(root, "") == root.resolve()
    assert inside_root(root, "a/b") == (root / "a" / "b").resolve()
    assert inside_root(root, "inner") == (root / "a").resolve()


@pytest.mark.parametrize(
    "wanted",
    ["..", "a/../..", "a/../a", "/etc", "\\etc", "..\\x", "C:\\x", "out", "out/deep", "loop/x",
     "missing", "file.jpg", "a\0b", "x" * 5000],
)  # fmt: skip
def test_nothing_outside_the_root_is_reached(tmp_path: Path, wanted: str) -> None:
    root = tmp_path / "root"
    (root / "a").mkdir(parents=True)
    (tmp_path / "outside" / "deep").mkdir(parents=True)
    (root / "out").symlink_to(tmp_path / "outside")
    (root / "loop").symlink_to(root / "loop")
    _touch(root / "file.jpg")
    with pytest.raises(SourceError, match=r"\.$"):
        inside_root(root, wanted)


def test_a_missing_root_is_told(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="cannot be opened"):
        inside_root(tmp_path / "none", "")
