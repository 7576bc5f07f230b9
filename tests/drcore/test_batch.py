"""Finding photographs, rows, the stream of grades, maps and the CSV file."""

from __future__ import annotations

import csv
import io
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from drcore.batch import (
    COLUMNS,
    CsvFile,
    Found,
    csv_safe,
    csv_text,
    find_photographs,
    grade_batch,
    inside_root,
    map_files,
    row_of,
    save_map,
)
from drcore.certainty import Certainty
from drcore.checkpoint import Bundle
from drcore.errors import DrcoreError, PhotographError, SourceError
from drcore.grader import Grader
from drcore.network import PRESETS, RamNetwork
from drcore.prepare import Preparation
from training.phantom import PhantomRecipe, make_phantom


@pytest.fixture(scope="module")
def grader() -> Grader:
    torch.manual_seed(0)
    network = RamNetwork(PRESETS["tiny-128"]).eval().requires_grad_(False)
    return Grader(Bundle("tiny", "1", {128: network}, Preparation(), (0.5, 1.5, 2.5, 3.5)))


@pytest.fixture(scope="module")
def jpegs() -> list[bytes]:
    """Four gradable phantoms and one that is far too dark."""
    pictures = [make_phantom(PhantomRecipe(size=256, seed=seed)).rgb for seed in range(4)]
    pictures.append((pictures[0] // 16).astype(np.uint8))
    encoded = []
    for picture in pictures:
        file = io.BytesIO()
        Image.fromarray(picture).save(file, "JPEG", quality=92)
        encoded.append(file.getvalue())
    return encoded


@pytest.fixture
def folder(tmp_path: Path, jpegs: list[bytes]) -> Path:
    """Ten photographs in `photos`, of which 02 is dark and 05 is damaged."""
    photos = tmp_path / "photos"
    photos.mkdir()
    for index in range(10):
        data = jpegs[4] if index == 2 else jpegs[index % 4]
        (photos / f"{index:02d}_left.jpg").write_bytes(data[:700] if index == 5 else data)
    return photos


# --- cells --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("", ""),
        ("10_left.jpeg", "10_left.jpeg"),
        ("=1+1", "'=1+1"),
        ("+cmd|' /C calc'!A0", "'+cmd|' /C calc'!A0"),
        ("-2+3", "'-2+3"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\tx", "'\tx"),
        ("\rx", "'\rx"),
        ("  =1", "'  =1"),
        ("\uff1d1", "'\uff1d1"),
        ("\uff0b1", "'\uff0b1"),
        ("\uff0d1", "'\uff0d1"),
        ("\uff20x", "'\uff20x"),
        ("\u22121", "'\u22121"),
        ("-0.1234", "-0.1234"),
        ("+3", "+3"),
        ("-1e-05", "-1e-05"),
        ("-1\n", "'-1\n"),
        ("-", "'-"),
        ("a;=1", "a;'=1"),
        ("a-b, c=d", "a-b, c=d"),
        ("\udcff.jpg", "\\udcff.jpg"),
    ],
)
def test_csv_safe(text: str, cell: str) -> None:
    assert csv_safe(text) == cell
    assert csv_safe(cell) == cell
    cell.encode("utf-8")


def test_csv_text_survives_any_cell() -> None:
    hostile = {"image": 'a,"b"\nc', "reason": "=HYPERLINK()", "patient": "x\ry"}
    text = csv_text([hostile, {"image": "z"}])
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert [row["image"] for row in rows] == ['a,"b"\nc', "z"]
    assert rows[0]["reason"] == "'=HYPERLINK()"
    assert rows[0]["patient"] == "x\ny"
    assert text.splitlines()[0] == ",".join(COLUMNS)


def test_first_columns_are_the_contract() -> None:
    assert ",".join(COLUMNS[:7]) == "image,status,reason,gradable,grade,score,referable"


def test_rows(grader: Grader, jpegs: list[bytes]) -> None:
    graded = grader.grade(jpegs[0], name="=10_left.jpg")
    row = row_of(graded)
    assert tuple(row) == COLUMNS
    assert (row["image"], row["status"], row["reason"]) == ("'=10_left.jpg", "graded", "")
    assert row["gradable"] == "true"
    assert row["grade"] == str(graded.grade)
    assert row["referable"] == ("true" if graded.referable else "false")
    assert float(row["score"]) == pytest.approx(graded.score, abs=6e-5)
    assert (row["score_128"], row["score_256"]) == (row["score"], "")
    assert (row["laterality"], row["patient"]) == ("OS", "'=10")
    assert (row["width"], row["height"], row["fov_found"]) == ("256", "256", "true")
    assert row["sha256"] == graded.sha256

    ungradable = row_of(grader.grade(jpegs[4]), "sub/a.jpg")
    assert (ungradable["image"], ungradable["status"]) == ("sub/a.jpg", "ungradable")
    assert ungradable["reason"].endswith(".")
    assert (ungradable["gradable"], ungradable["grade"], ungradable["referable"]) == (
        "false", "", "",
    )  # fmt: skip
    assert ungradable["score"]

    failed = row_of(grader.failed("x.jpg", "It is\n broken."))
    assert (failed["status"], failed["reason"], failed["gradable"]) == (
        "failed", "It is broken.", "false",
    )  # fmt: skip
    empty = set(COLUMNS) - {"image", "status", "reason", "gradable", "model_version"}
    assert {failed[column] for column in empty} == {""}


def test_certainty_in_rows(grader: Grader, jpegs: list[bytes]) -> None:
    bare = row_of(grader.grade(jpegs[0]))
    assert {bare[column] for column in ("p0", "p1", "p2", "p3", "p4", "grade_set")} == {""}
    assert bare["margin"]
    certainty = Certainty(
        cuts=(0.8, 1.4, 2.4, 3.3), width=0.3, widening=0.2,
        coverage=0.9, level=0.8, sensitive=0.1,
    )  # fmt: skip
    calibrated = Grader(replace(grader.bundle, certainty=certainty))
    report = calibrated.grade(jpegs[0])
    row = row_of(report)
    shares = [float(row[f"p{grade}"]) for grade in range(5)]
    assert shares == pytest.approx(report.probabilities, abs=6e-5)
    low, _, high = row["grade_set"].partition("-")
    assert tuple(range(int(low), int(high or low) + 1)) == report.grade_set
    assert float(row["margin"]) == pytest.approx(report.margin, abs=6e-5)
    assert row_of(replace(report, grade_set=(2,)))["grade_set"] == "2"
    assert row_of(replace(report, grade_set=(2, 3, 4)))["grade_set"] == "2-4"
    for without in (calibrated.grade(jpegs[4]), calibrated.failed("x.jpg", "It is broken.")):
        cells = row_of(without)
        assert {cells[column] for column in COLUMNS[-7:]} == {""}
        assert COLUMNS[-7] == "p0"


def test_a_score_of_minus_nothing_has_no_sign(grader: Grader, jpegs: list[bytes]) -> None:
    assert row_of(replace(grader.grade(jpegs[0]), score=-1e-6))["score"] == "0.0000"


# --- finding ------------------------------------------------------------------------------------


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
    assert _images(tmp_path) == ["a/deep/z.tiff", "a/y.PnG", "a.webp", "b.JPG"]
    assert all(found.path.is_file() for found in find_photographs([tmp_path]))


def test_named_files_are_kept_whatever_they_are(tmp_path: Path) -> None:
    _touch(tmp_path / "notes.txt")
    assert _images(tmp_path / "notes.txt", tmp_path / "missing") == ["notes.txt", "missing"]


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
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, grader: Grader
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
    row, _ = list(grade_batch(grader, found))[1]
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


# --- the stream ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("workers", "batch"), [(1, 1), (3, 4), (8, 32)])
def test_rows_come_in_order_and_none_is_lost(
    grader: Grader, folder: Path, workers: int, batch: int
) -> None:
    found = find_photographs([folder, folder / "gone.jpg"])
    results = list(grade_batch(grader, found, workers=workers, batch=batch))
    assert [row["image"] for row, _ in results] == [item.image for item in found]
    statuses = [row["status"] for row, _ in results]
    assert statuses.count("graded") == 8
    assert (statuses[2], statuses[5], statuses[10]) == ("ungradable", "failed", "failed")
    assert results[10][0]["reason"].startswith("gone.jpg: there is no such file.")
    alone = grader.grade(found[3].path)
    assert results[3][1].score == pytest.approx(alone.score, abs=1e-4)
    assert results[3][1].sha256 == alone.sha256


def test_a_photograph_that_vanishes_meanwhile_fails_alone(grader: Grader, folder: Path) -> None:
    found = find_photographs([folder])
    stream = grade_batch(grader, found, workers=1, batch=1)
    rows = [next(stream)[0]]
    found[8].path.unlink()
    rows += [row for row, _ in stream]
    assert [row["status"] == "failed" for row in rows] == [i in {5, 8} for i in range(10)]


class _Watched(Grader):
    """Counts how many photographs were read and are not through the networks yet."""

    def __init__(self, grader: Grader) -> None:
        super().__init__(grader.bundle)
        self.held = self.most = self.read = 0
        self.readers: set[str] = set()
        self.counting = threading.Lock()

    def attempt(self, source: object, name: str | None = None) -> object:
        result = super().attempt(source, name)  # type: ignore[arg-type]
        with self.counting:
            self.read += 1
            self.held += 1
            self.most = max(self.most, self.held)
            self.readers.add(threading.current_thread().name)
        return result

    def finish(self, attempted: object) -> object:
        time.sleep(0.02)  # a slow network: the readers could run far ahead
        reports = super().finish(attempted)  # type: ignore[arg-type]
        with self.counting:
            self.held -= len(reports)
        return reports


def test_reading_runs_ahead_but_not_far(grader: Grader, folder: Path) -> None:
    found = find_photographs([folder])
    many = [Found(item.path, f"{n}/{item.image}") for n in range(2) for item in found]
    watched = _Watched(grader)
    stream = grade_batch(watched, many, workers=3, batch=2)
    next(stream)
    time.sleep(0.3)
    assert watched.read > 2, "nothing is read while the consumer is busy"
    assert sum(1 for _ in stream) == len(many) - 1
    assert watched.most <= 2 * 2 + 3
    assert len(watched.readers) == 3


def test_stop_ends_the_stream_early(grader: Grader, folder: Path) -> None:
    stop = threading.Event()
    stream = grade_batch(grader, find_photographs([folder]), workers=2, batch=2, stop=stop)
    next(stream)
    stop.set()
    assert sum(1 for _ in stream) == 1  # the other one of the group that was in the networks
    stopped = grade_batch(grader, find_photographs([folder]), stop=stop)
    assert list(stopped) == []


def test_closing_the_stream_ends_its_threads(grader: Grader, folder: Path) -> None:
    stream = grade_batch(grader, find_photographs([folder]), workers=4, batch=1)
    next(stream)
    stream.close()
    deadline = time.monotonic() + 20
    while any(thread.name.startswith("drcore-read") for thread in threading.enumerate()):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_broken_networks_are_an_error_not_ten_thousand_failed_rows(
    grader: Grader, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("CUDA error: out of memory")

    monkeypatch.setattr(grader.bundle.networks[128], "forward", broken)
    with pytest.raises(DrcoreError, match=r"The networks cannot run \(CUDA error: out of memory\)"):
        list(grade_batch(grader, find_photographs([folder])))


# --- maps ---------------------------------------------------------------------------------------


def test_maps_are_written_and_skipped_by_the_next_walk(grader: Grader, folder: Path) -> None:
    found = find_photographs([folder])
    report = grader.grade(found[0].path)
    save_map(report, found[0], folder)
    picture, numbers = map_files(folder, found[0].image)
    with Image.open(picture) as image:
        assert (image.format, image.size) == ("JPEG", (256, 256))
    with np.load(numbers, allow_pickle=False) as saved:
        cells = report.cells()
        assert saved["ram"].dtype == np.float32
        np.testing.assert_array_equal(saved["ram"], cells.values)
        assert (float(saved["x0"]), float(saved["step"])) == (cells.x0, cells.step)
        assert (int(saved["width"]), float(saved["score"])) == (256, report.score)
    assert sorted(set(folder.iterdir()) - {item.path for item in found}) == sorted(
        [picture, numbers]
    )
    assert find_photographs([folder]) == found


def test_map_names_neither_escape_nor_collide(tmp_path: Path) -> None:
    hostile = [
        "../../etc/passwd", "/etc/passwd", "a/b.jpg", "a_b.jpg", "a_b.png", "A/b.jpg", "..", "",
        "CON", "x" * 300, "x" * 301, "\\\\host\\share", "<b>.jpg", ".hidden",
    ]  # fmt: skip
    files = [file for image in hostile for file in map_files(tmp_path, image)]
    assert {file.parent for file in files} == {tmp_path}
    assert len({file.name.lower() for file in files}) == len(files)
    assert all(len(file.name) < 200 and not file.name.startswith(".") for file in files)


def test_a_map_is_never_of_another_photograph(
    grader: Grader, folder: Path, jpegs: list[bytes], tmp_path: Path
) -> None:
    found = find_photographs([folder])[0]
    report = grader.grade(found.path)
    found.path.write_bytes(jpegs[1])
    with pytest.raises(PhotographError, match="changed"):
        save_map(report, found, tmp_path)
    found.path.unlink()
    with pytest.raises(PhotographError, match="no such file"):
        save_map(report, found, tmp_path)
    assert not list(tmp_path.glob("*drcore-map*"))


def test_maps_that_cannot_be_written_leave_nothing_behind(
    grader: Grader, folder: Path, tmp_path: Path
) -> None:
    found = find_photographs([folder])[0]
    with pytest.raises(SourceError, match="the map cannot be written"):
        save_map(grader.grade(found.path), found, tmp_path / "missing")
    picture, _ = map_files(tmp_path, found.image)
    picture.mkdir()
    with pytest.raises(SourceError, match="the map cannot be written"):
        save_map(grader.grade(found.path), found, tmp_path)
    assert not list(tmp_path.glob(".*part"))


# --- the CSV file -------------------------------------------------------------------------------


def _row(image: str, grader: Grader) -> dict[str, str]:
    return row_of(grader.failed(image, f'{image}, "so": not a picture.'), image)


def _rows(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines, strict=True))


def test_a_cut_at_any_byte_is_continued(grader: Grader, tmp_path: Path) -> None:
    file = tmp_path / "out.csv"
    images = ["a.jpg", 'b,"c.jpg', "\u00e4 \u773c.jpg"]
    with CsvFile(file) as table:
        for image in images:
            table.append(_row(image, grader))
    whole = file.read_bytes()
    assert [row["image"] for row in _rows(file)] == images
    for size in range(len(whole) + 1):
        file.write_bytes(whole[:size])
        with CsvFile(file, resume=True) as table:
            for image in images:
                if table.status(image) is None:
                    table.append(_row(image, grader))
        assert file.read_bytes() == whole, f"cut at byte {size}"


def test_nothing_is_lost_before_the_start(grader: Grader, tmp_path: Path) -> None:
    file = tmp_path / "out.csv"
    with CsvFile(file) as table:
        table.append(_row("a.jpg", grader))
    old = file.read_bytes()
    with pytest.raises(SourceError, match=r"exists\. Continue it with --resume"):
        CsvFile(file)
    with CsvFile(file, overwrite=True):
        pass
    assert file.read_bytes() == old
    with CsvFile(file, overwrite=True) as table:
        table.append(_row("b.jpg", grader))
    assert [row["image"] for row in _rows(file)] == ["b.jpg"]


def test_a_header_alone_is_no_reason_to_refuse(grader: Grader, tmp_path: Path) -> None:
    file = tmp_path / "out.csv"
    with CsvFile(file) as table:
        table.start()
    assert file.read_text(encoding="utf-8") == ",".join(COLUMNS) + "\n"
    with CsvFile(file) as table:
        table.append(_row("a.jpg", grader))
    assert len(_rows(file)) == 1


def test_a_table_saved_by_a_spreadsheet_is_continued(grader: Grader, tmp_path: Path) -> None:
    file = tmp_path / "out.csv"
    with CsvFile(file) as table:
        table.append(_row("a.jpg", grader))
    file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))
    with CsvFile(file, resume=True) as table:
        assert table.status("a.jpg") == "failed"
        assert table.model_versions == {"tiny 1"}
        table.append(_row("b.jpg", grader))
    assert [row["image"] for row in _rows(file)] == ["a.jpg", "b.jpg"]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"name,grade\na,1\n", "is not a table of this version"),
        (",".join(COLUMNS).encode() + b"\na,b\n", "line 2 is not a row"),
        (",".join(COLUMNS).encode() + b'\n"a,' + b"," * 30 + b"\n", "line 2 is not a row"),
        (",".join(COLUMNS).encode() + b"\n\xff" + b"," * 20 + b"\n", "line 2 is not a row"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "is not a table of this version"),
    ],
)
def test_a_foreign_table_is_not_continued(tmp_path: Path, content: bytes, sentence: str) -> None:
    file = tmp_path / "out.csv"
    file.write_bytes(content)
    with pytest.raises(SourceError, match=sentence):
        CsvFile(file, resume=True)
    assert file.read_bytes() == content


def test_two_runs_cannot_write_one_table(tmp_path: Path) -> None:
    with CsvFile(tmp_path / "out.csv"), pytest.raises(SourceError, match="another run"):
        CsvFile(tmp_path / "out.csv", resume=True)
    CsvFile(tmp_path / "out.csv", resume=True).close()


def test_a_table_that_cannot_be_written_is_told(tmp_path: Path, grader: Grader) -> None:
    with pytest.raises(SourceError, match="cannot be written"):
        CsvFile(tmp_path)
    with pytest.raises(SourceError, match="cannot be written"):
        CsvFile(tmp_path / "missing" / "out.csv")
    with (
        pytest.raises(SourceError, match="No space left on device"),
        CsvFile(Path("/dev/full")) as full,
    ):
        full.append(_row("a.jpg", grader))


def test_a_disk_that_fills_up_leaves_whole_lines(tmp_path: Path, grader: Grader) -> None:
    file = tmp_path / "out.csv"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with CsvFile(file) as table:
        table.append(_row("a.jpg", grader))
        whole = file.read_bytes()
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole) + 40, hard))
        try:
            with pytest.raises(SourceError, match="cannot be written"):
                table.append(_row("b.jpg", grader))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert file.read_bytes() == whole
        table.append(_row("c.jpg", grader))  # there is room again
    assert [row["image"] for row in _rows(file)] == ["a.jpg", "c.jpg"]


_WRITER = """
import sys
from pathlib import Path
from drcore.batch import COLUMNS, CsvFile
with CsvFile(Path(sys.argv[1]), resume=True) as table:
    for number in range(10**9):
        row = dict.fromkeys(COLUMNS, "x" * (number % 97))
        row["image"] = f"{number}.jpg"
        table.append(row)
"""


def test_a_killed_writer_leaves_whole_rows(tmp_path: Path) -> None:
    file = tmp_path / "out.csv"
    with subprocess.Popen([sys.executable, "-c", _WRITER, str(file)]) as writer:
        deadline = time.monotonic() + 120
        while not file.exists() or file.stat().st_size < 200_000:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        writer.send_signal(signal.SIGKILL)
    CsvFile(file, resume=True).close()  # reads every line, or says which is damaged
    lines = file.read_bytes().split(b"\n")[1:-1]
    assert [line.split(b",")[0] for line in lines] == [b"%d.jpg" % n for n in range(len(lines))]
