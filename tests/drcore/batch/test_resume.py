"""Going on with a table gives the table of an uninterrupted run, whatever became of the files."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import drcore.sources.remote
from drcore.batch.command import OUTAGE, GradeOptions, grade
from drcore.errors import PhotographError
from drcore.grading.grader import Grader
from drcore.photographs.identity import NameRules
from drcore.results.columns import COLUMNS
from drcore.results.csv_file import CsvFile


@pytest.fixture(autouse=True)
def _tiny_weights(tiny_grader: Grader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Grader, "bundled", classmethod(lambda *_: tiny_grader))


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "o.csv"


def _grade(out: Path, *paths: Path | str, **options: Any) -> int:
    return grade(GradeOptions(tuple(map(str, paths)), str(out), quiet=True, **options))


def _rows(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8-sig", newline="") as lines:
        return list(csv.DictReader(lines, strict=True))


def _whole(tmp_path: Path, *paths: Path | str, **options: Any) -> bytes:
    """The table of an uninterrupted run."""
    assert _grade(tmp_path / "whole.csv", *paths, overwrite=True, **options) == 0
    return (tmp_path / "whole.csv").read_bytes()


def _folder(folder: Path, **files: bytes) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / f"{name}.jpg").write_bytes(data)
    return folder


def test_a_photograph_replaced_under_its_name_is_graded_again(
    out: Path, tmp_path: Path, jpegs: list[bytes]
) -> None:
    for count in (1, 3):
        folder = _folder(tmp_path / str(count), **{f"a{n}": jpegs[0] for n in range(count)})
        assert _grade(out, folder, overwrite=True) == 0
        (folder / "a0.jpg").write_bytes(jpegs[1])
        assert _grade(out, folder, resume=True) == 0
        assert out.read_bytes() == _whole(tmp_path, folder)


def test_one_of_the_same_size_is_too(out: Path, tmp_path: Path, jpegs: list[bytes]) -> None:
    folder = _folder(tmp_path / "a", x=jpegs[0] + b"1", y=jpegs[1])
    assert _grade(out, folder) == 0
    (folder / "x.jpg").write_bytes(jpegs[0] + b"2")
    assert _grade(out, folder, resume=True) == 0
    assert out.read_bytes() == _whole(tmp_path, folder)


def test_a_parquet_table_knows_its_folders_too(tmp_path: Path, jpegs: list[bytes]) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    out = tmp_path / "o.parquet"
    first = _folder(tmp_path / "a", IMG_0001=jpegs[0])
    second = _folder(tmp_path / "b", IMG_0001=jpegs[1])
    assert _grade(out, first) == 0
    (first / "IMG_0001.jpg").write_bytes(jpegs[2])
    for folder in (first, second):
        assert _grade(out, folder, resume=True) == 0
    images = parquet.read_table(out)["image"].to_pylist()
    assert images == ["IMG_0001.jpg", f"{second}/IMG_0001.jpg"]


def test_another_site_has_the_same_names(out: Path, tmp_path: Path, jpegs: list[bytes]) -> None:
    first = _folder(tmp_path / "a", IMG_0001=jpegs[0])
    second = _folder(tmp_path / "b", IMG_0001=jpegs[1])
    assert _grade(out, first) == 0
    old = out.read_bytes()
    for _ in range(2):
        assert _grade(out, second, resume=True) == 0
        assert out.read_bytes().startswith(old)
        rows = _rows(out)
        assert [row["image"] for row in rows] == ["IMG_0001.jpg", f"{second}/IMG_0001.jpg"]
        assert rows[0]["sha256"] != rows[1]["sha256"]


def test_first_one_folder_then_both(out: Path, tmp_path: Path, jpegs: list[bytes]) -> None:
    first = _folder(tmp_path / "a", IMG_0001=jpegs[0], only=jpegs[2])
    second = _folder(tmp_path / "b", IMG_0001=jpegs[1])
    assert _grade(out, first) == 0
    assert _grade(out, first, second, resume=True) == 0
    assert out.read_bytes() == _whole(tmp_path, first, second)


def test_the_same_photograph_under_two_names_has_two_rows(
    out: Path, tmp_path: Path, jpegs: list[bytes]
) -> None:
    folder = _folder(tmp_path / "a", m=jpegs[0])
    assert _grade(out, folder) == 0
    _folder(folder, b=jpegs[0], z=jpegs[0])
    assert _grade(out, folder, resume=True) == 0
    assert out.read_bytes() == _whole(tmp_path, folder)


def test_a_folder_that_was_moved_is_not_graded_again(
    out: Path, tmp_path: Path, jpegs: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = _folder(tmp_path / "a", x=jpegs[0], y=jpegs[1])
    assert _grade(out, folder) == 0
    old = out.read_bytes()
    folder.rename(tmp_path / "moved")
    monkeypatch.setattr(Grader, "finish", None)
    assert _grade(out, tmp_path / "moved", resume=True) == 0
    assert out.read_bytes() == old


def _zipped(**files: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, data in files.items():
            archive.writestr(f"{name}.jpg", data)
    return packed.getvalue()


def _pages(*jpegs: bytes) -> bytes:
    first, *others = (Image.open(io.BytesIO(data)) for data in jpegs)
    file = io.BytesIO()
    first.save(file, "TIFF", save_all=True, append_images=others)
    return file.getvalue()


def _deleted(folder: Path, _: list[bytes]) -> None:
    (folder / "b" / "1.jpg").unlink()


def _renamed(folder: Path, _: list[bytes]) -> None:
    (folder / "b" / "1.jpg").rename(folder / "b" / "0.jpg")


def _moved_below(folder: Path, _: list[bytes]) -> None:
    (folder / "b").rename(folder / "z")


def _exchanged(folder: Path, _: list[bytes]) -> None:
    first, second = (folder / name / "1.jpg" for name in "ab")
    first.rename(folder / "1.jpg")
    second.rename(first)
    (folder / "1.jpg").rename(second)


def _pushed_down(folder: Path, _: list[bytes]) -> None:
    (folder / "a" / "1.jpg").replace(folder / "b" / "1.jpg")


def _one_page_less(folder: Path, jpegs: list[bytes]) -> None:
    (folder / "pages.tif").write_bytes(_pages(*jpegs[:2]))


def _only_one_page(folder: Path, jpegs: list[bytes]) -> None:
    (folder / "pages.tif").write_bytes(_pages(jpegs[1]))


def _member_dropped(folder: Path, jpegs: list[bytes]) -> None:
    (folder / "z.zip").write_bytes(_zipped(y=jpegs[1]))


GONE = [
    _deleted, _renamed, _moved_below, _exchanged, _pushed_down, _one_page_less, _only_one_page,
    _member_dropped,
]  # fmt: skip


@pytest.fixture
def mixed(tmp_path: Path, jpegs: list[bytes]) -> Path:
    folder = _folder(tmp_path / "mixed", x=jpegs[0])
    _folder(folder / "a", **{"1": jpegs[1]})
    _folder(folder / "b", **{"1": jpegs[2]})
    (folder / "pages.tif").write_bytes(_pages(*jpegs[:3]))
    (folder / "z.zip").write_bytes(_zipped(x=jpegs[0], y=jpegs[1]))
    return folder


@pytest.mark.parametrize("change", GONE)
def test_images_that_are_gone_have_no_row(
    change: Callable[[Path, list[bytes]], None], mixed: Path, out: Path, jpegs: list[bytes]
) -> None:
    assert _grade(out, mixed) == 0
    before = {row["image"]: row["sha256"] for row in _rows(out)}
    change(mixed, jpegs)
    assert _grade(out, mixed, resume=True) == 0
    assert out.read_bytes() == _whole(out.parent, mixed)
    removed = out.with_name("o.removed.csv")  # nothing is lost
    kept = _rows(out) + (_rows(removed) if removed.exists() else [])
    images, contents = ({row[name] for row in kept} for name in ("image", "sha256"))
    assert all(image in images or sha256 in contents for image, sha256 in before.items())


def test_rows_of_gone_images_stay_where_asked(
    mixed: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _grade(out, mixed) == 0
    whole = out.read_bytes()
    _deleted(mixed, [])
    assert _grade(out, mixed, resume=True, keep_missing=True) == 0
    assert out.read_bytes() == whole
    assert grade(GradeOptions((str(mixed),), str(out), resume=True)) == 0
    said = capsys.readouterr().err
    assert "1 row of an image that is gone was moved to o.removed.csv" in said
    assert "Nothing was left to do" in said


def test_only_inputs_that_are_given_again_lose_rows(
    out: Path, tmp_path: Path, jpegs: list[bytes]
) -> None:
    first = _folder(tmp_path / "a", x=jpegs[0], y=jpegs[1])
    second = _folder(tmp_path / "b", x=jpegs[2], z=jpegs[1])
    assert _grade(out, first, second) == 0
    for folder, name in ((first, "y"), (second, "z")):
        (folder / f"{name}.jpg").unlink()
    assert _grade(out, first, resume=True) == 0
    images = [row["image"] for row in _rows(out)]
    assert images == ["x.jpg", f"{second}/x.jpg", "z.jpg"]
    assert _grade(out, tmp_path, resume=True) == 0  # of which both are parts
    assert out.read_bytes() == _whole(tmp_path, tmp_path)


def test_what_cannot_be_opened_now_keeps_its_rows(mixed: Path, out: Path) -> None:
    assert _grade(out, mixed) == 0
    before = [row["image"] for row in _rows(out)]
    (mixed / "z.zip").write_bytes(b"PK\3\4 and then nothing")
    assert _grade(out, mixed, resume=True) == 0
    assert {row["image"] for row in _rows(out)} == {*before, "z.zip"}


@pytest.mark.parametrize("keep_failed", [False, True])
def test_failed_rows_are_tried_again(
    out: Path, tmp_path: Path, jpegs: list[bytes], keep_failed: bool
) -> None:
    folder = _folder(tmp_path / "a", a=jpegs[0], b=b"no picture", c=jpegs[1])
    assert _grade(out, folder) == 0
    old = out.read_bytes()
    (folder / "b.jpg").write_bytes(jpegs[2])
    assert _grade(out, folder, resume=True, keep_failed=keep_failed) == 0
    assert out.read_bytes() == (old if keep_failed else _whole(tmp_path, folder))


def test_a_table_saved_by_a_spreadsheet(out: Path, tmp_path: Path, jpegs: list[bytes]) -> None:
    folder = _folder(tmp_path / "a", a=jpegs[0], b=jpegs[1])
    assert _grade(out, folder) == 0
    data = out.read_bytes()
    (folder / "c.jpg").write_bytes(jpegs[2])
    out.write_bytes(b"\xef\xbb\xbf" + data.replace(b"\n", b"\r\n"))  # "CSV UTF-8"
    assert _grade(out, folder, resume=True) == 0
    assert [row["image"] for row in _rows(out)] == ["a.jpg", "b.jpg", "c.jpg"]
    assert list(_rows(out)[0]) == list(COLUMNS)


@pytest.mark.parametrize("first_new", ["exam_date", "saturation"], ids=["0.6", "0.7"])
def test_a_table_of_an_earlier_release_is_continued(
    out: Path, tmp_path: Path, jpegs: list[bytes], first_new: str
) -> None:
    folder = _folder(tmp_path / "a", a_OD=jpegs[0], b=jpegs[1])
    assert _grade(out, folder) == 0
    whole = out.read_bytes()
    old = COLUMNS[: COLUMNS.index(first_new)]
    with out.open("w", newline="") as file:
        table = csv.DictWriter(file, old, extrasaction="ignore", lineterminator="\n")
        table.writeheader()
        table.writerow(next(csv.DictReader(io.StringIO(whole.decode()))))
    (tmp_path / ".o.csv.inputs").unlink()
    assert _grade(out, folder, resume=True) == 0
    rows = _rows(out)
    assert [row["image"] for row in rows] == ["a_OD.jpg", "b.jpg"]
    assert rows[0]["identity_source"] == "eye=name patient=name"


def test_whose_eye_it_is_follows_the_pattern_of_today(
    out: Path, tmp_path: Path, jpegs: list[bytes]
) -> None:
    folder = _folder(tmp_path / "a", **{"12x20240301": jpegs[0], "13x20240302": jpegs[1]})
    assert _grade(out, folder) == 0
    rules = NameRules(r"(?P<patient>\d+)x(?P<date>\d+)")
    assert _grade(out, folder, resume=True, rules=rules) == 0
    assert [(row["patient"], row["exam_date"]) for row in _rows(out)] == [
        ("12", "2024-03-01"), ("13", "2024-03-02"),
    ]  # fmt: skip
    assert out.read_bytes() == _whole(tmp_path, folder, rules=rules)


def test_two_folders_are_never_one_patient(out: Path, tmp_path: Path, jpegs: list[bytes]) -> None:
    for name in ("anna", "ben"):
        _folder(tmp_path / "all" / name, **{"Right Eye": jpegs[0], "7_OS": jpegs[1]})
    assert _grade(out, tmp_path / "all") == 0
    assert [(row["laterality"], row["patient"]) for row in _rows(out)] == [
        ("OS", ""),
        ("OD", ""),
    ] * 2
    folders = NameRules(patient_from_folder=True)
    assert _grade(out, tmp_path / "all", resume=True, rules=folders) == 0
    assert [row["patient"] for row in _rows(out)] == ["anna", "anna", "ben", "ben"]


def test_numbers_of_patients_stay_what_they_are(
    out: Path, tmp_path: Path, jpegs: list[bytes]
) -> None:
    folder = _folder(tmp_path / "a", **{"007_OD": jpegs[0], "=7_OS": jpegs[1]})
    assert _grade(out, folder, spreadsheet=True) == 0
    data = out.read_bytes()
    assert data.startswith(b"\xef\xbb\xbfimage,")
    assert b',"=""007""",' in data
    assert b",'=7," in data
    (folder / "008_OD.jpg").write_bytes(jpegs[2])
    assert _grade(out, folder, resume=True) == 0
    assert out.read_bytes() == _whole(tmp_path, folder, spreadsheet=True)


def test_an_outage_is_not_the_end(
    s3: Any, out: Path, folder: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    for file in folder.iterdir():
        s3.upload_file(str(file), "clinic", file.name)
    reading = drcore.sources.remote.Remote.read

    def broken(self: Any, *limit: int) -> bytes:
        if self.name == "03_left.jpg":
            raise PhotographError("03_left.jpg: the server fails (status 503). Try again later.")
        return reading(self, *limit)

    with monkeypatch.context() as patch:
        patch.setattr(drcore.sources.remote.Remote, "read", broken)
        assert _grade(out, "s3://clinic/") == OUTAGE == 3
    assert "1 image could not be fetched" in capsys.readouterr().err
    s3.delete_object(Bucket="clinic", Key="00_right.jpg")
    assert _grade(out, "s3://clinic/", resume=True) == 0
    whole = _whole(out.parent, "s3://clinic/")
    assert out.read_bytes() == whole


def test_a_server_that_stays_away_ends_the_run(
    s3: Any, out: Path, folder: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    for file in folder.iterdir():
        s3.upload_file(str(file), "clinic", file.name)

    def broken(self: Any, *_: int) -> bytes:
        raise PhotographError(f"{self.name}: the server fails (status 503). Try again later.")

    monkeypatch.setattr("drcore.batch.command._GIVE_UP", 4)
    with monkeypatch.context() as patch:
        patch.setattr(drcore.sources.remote.Remote, "read", broken)
        assert _grade(out, "s3://clinic/") == OUTAGE
    assert "4 images could not be fetched (see 'reason'), 6 were not" in capsys.readouterr().err
    assert _grade(out, "s3://clinic/", resume=True) == 0
    assert out.read_bytes() == _whole(out.parent, "s3://clinic/")


def test_a_killed_revision_leaves_the_old_table_or_the_new(
    tmp_path: Path, tiny_grader: Grader
) -> None:
    from drcore.results.columns import row_of

    file = tmp_path / "o.csv"
    with CsvFile(file) as table:
        for name in "abc":
            table.append(row_of(tiny_grader.failed(name, "No."), name))
    old = file.read_bytes()
    with CsvFile(file, resume=True) as table:
        with pytest.raises(ZeroDivisionError):
            table.refresh(lambda row: {**row, "reason": str(1 // (row["image"] != "b"))})
        assert file.read_bytes() == old
        table.rename({"b": "y", "a": "z"})
        assert [row["image"] for row in _rows(file)] == ["z", "y", "c"]
        table.append(row_of(tiny_grader.failed("d", "No."), "d"))
        table.refresh(lambda row: {**row, "reason": row["image"]})
    assert [row["reason"] for row in _rows(file)] == ["z", "y", "c", "d"]
    assert list(tmp_path.iterdir()) == [file]
