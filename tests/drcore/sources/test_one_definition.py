"""What is an input is decided once: the same files give the same rows wherever they come in."""

from __future__ import annotations

import csv
from collections import defaultdict
from pathlib import Path

import pytest

from drcore.batch.pipeline import grade_batch
from drcore.cli import main
from drcore.grading.grader import Grader
from drcore.results.columns import Row
from drcore.sources.find import Inputs, find_inputs, find_uploads
from drcore.sources.listing import LeftOut
from tests.support.hostile_folder import LEFT_OUT, hostile_files, write_files
from training.synthetic.phantom import make_phantom
from training.synthetic.recipe import PhantomRecipe

pytest.importorskip("pydicom", reason="pydicom is not installed (extra 'dicom')")


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    pictures = [make_phantom(PhantomRecipe(size=256, seed=seed)).rgb for seed in range(2)]
    return hostile_files([*pictures, pictures[0] // 16])


@pytest.fixture
def folder(tmp_path: Path, files: dict[str, bytes]) -> Path:
    return write_files(tmp_path / "hostile", files)


def _reasons(left_out: list[LeftOut]) -> dict[str, set[str]]:
    found = defaultdict(set)
    for item in left_out:
        found[item.reason].add(item.path)
    return found


def test_every_file_is_accounted_for(folder: Path, files: dict[str, bytes]) -> None:
    assert len(files) > 50
    found = find_inputs([folder])
    assert _reasons(found.left_out) == LEFT_OUT
    named = {item.image for item in found.photographs} | {left.path for left in found.left_out}
    for name in files:
        if not name.startswith("packed/"):
            assert any(image.partition("#frame")[0] == name for image in named), name


def _rows(grader: Grader, found: Inputs) -> list[Row]:
    return [row for row, _ in grade_batch(grader, found.photographs)]


def test_uploads_give_the_rows_of_the_folder(
    folder: Path, files: dict[str, bytes], tiny_grader: Grader, tmp_path: Path
) -> None:
    here = find_inputs([folder])
    ordered = sorted(files.items(), key=lambda entry: entry[0].split("/"))
    in_memory = find_uploads(ordered)
    for number, (_, data) in enumerate(ordered):  # as a server stores them: names are ours
        (tmp_path / f"{number}").write_bytes(data)
    stored = find_uploads(
        (name, tmp_path / f"{number}") for number, (name, _) in enumerate(ordered)
    )
    rows = _rows(tiny_grader, here)
    assert len(rows) > 40
    assert {row["status"] for row in rows} == {"graded", "ungradable", "failed"}
    for found in (in_memory, stored):
        assert _reasons(found.left_out) == LEFT_OUT
        assert _rows(tiny_grader, found) == rows


def test_the_command_line_accounts_for_all(
    folder: Path, tiny_grader: Grader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(Grader, "bundled", classmethod(lambda *_: tiny_grader))
    out = tmp_path / "o.csv"
    assert main(["grade", str(folder), "--csv", str(out)]) == 0
    last = capsys.readouterr().err.rstrip().splitlines()[-1]
    with out.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines, strict=True))
    found = find_inputs([folder])
    assert rows == _rows(tiny_grader, found)
    assert last.startswith(f"{len(rows)} images: ")
    for reason, names in LEFT_OUT.items():
        assert f"{len(names)} {reason}" in last
    assert main(["grade", str(folder), "--list"]) == 0
    told = capsys.readouterr()
    assert [line.split("\t")[0] for line in told.out.splitlines()] == [r["image"] for r in rows]
    assert told.err.count("left out, ") == sum(map(len, LEFT_OUT.values()))


def test_nobody_is_mixed_up(folder: Path, tiny_grader: Grader) -> None:
    rows = {row["image"]: row for row in _rows(tiny_grader, find_inputs([folder]))}
    assert rows["O'Brien_OD.jpg"]["patient"] == "O'Brien"
    assert rows["Meier, Anna OS.jpg"]["patient"] == "Meier, Anna"
    for name in ("a/1_OD.jpg", "b/1_OD.jpg", "anna/Right Eye.jpg", "ben/Right Eye.jpg"):
        assert (rows[name]["laterality"], rows[name]["patient"]) == ("OD", "")


def test_each_picture_of_a_file_has_its_row(folder: Path, tiny_grader: Grader) -> None:
    rows = _rows(tiny_grader, find_inputs([folder]))
    several = ("stereo.mpo", "pages.tiff", "moving.webp", "moving.gif", "moving.png",
               "study/frames.dcm", "packed/pages.zip/pages.tif")  # fmt: skip
    for name in several:
        frames = [row for row in rows if row["image"].startswith(f"{name}#frame")]
        assert [row["picture"] for row in frames] == ["1", "2"], name
        assert {row["status"] for row in frames} == {"graded"}, frames
        assert len({row["sha256"] for row in frames}) == 2
    for name in ("still.gif", "web.webp", "scan.tif", "lossless.png"):
        (row,) = (row for row in rows if row["image"] == name)
        assert (row["status"], row["picture"]) == ("graded", "")
