"""The CSV file of a batch."""

from __future__ import annotations

import csv
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from drcore.errors import SourceError
from drcore.grading.grader import Grader
from drcore.results.columns import COLUMNS, row_of
from drcore.results.csv_file import CsvFile


def _row(image: str, grader: Grader) -> dict[str, str]:
    return row_of(grader.failed(image, f'{image}, "so": not a picture.'), image)


def _rows(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines, strict=True))


def test_a_cut_at_any_byte_is_continued(tiny_grader: Grader, tmp_path: Path) -> None:
    file = tmp_path / "out.csv"
    images = ["a.jpg", 'b,"c.jpg', "\u00e4 \u773c.jpg"]
    with CsvFile(file) as table:
        for image in images:
            table.append(_row(image, tiny_grader))
    whole = file.read_bytes()
    assert [row["image"] for row in _rows(file)] == images
    for size in range(len(whole) + 1):
        file.write_bytes(whole[:size])
        with CsvFile(file, resume=True) as table:
            for image in images:
                if table.status(image) is None:
                    table.append(_row(image, tiny_grader))
        assert file.read_bytes() == whole, f"cut at byte {size}"


def test_nothing_is_lost_before_the_start(tiny_grader: Grader, tmp_path: Path) -> None:
    file = tmp_path / "out.csv"
    with CsvFile(file) as table:
        table.append(_row("a.jpg", tiny_grader))
    old = file.read_bytes()
    with pytest.raises(SourceError, match=r"exists\. Continue it with --resume"):
        CsvFile(file)
    with CsvFile(file, overwrite=True):
        pass
    assert file.read_bytes() == old
    with CsvFile(file, overwrite=True) as table:
        table.append(_row("b.jpg", tiny_grader))
    assert [row["image"] for row in _rows(file)] == ["b.jpg"]


def test_a_header_alone_is_no_reason_to_refuse(tiny_grader: Grader, tmp_path: Path) -> None:
    file = tmp_path / "out.csv"
    with CsvFile(file) as table:
        table.start()
    assert file.read_text(encoding="utf-8") == ",".join(COLUMNS) + "\n"
    with CsvFile(file) as table:
        table.append(_row("a.jpg", tiny_grader))
    assert len(_rows(file)) == 1


def test_a_table_saved_by_a_spreadsheet_is_continued(tiny_grader: Grader, tmp_path: Path) -> None:
    file = tmp_path / "out.csv"
    with CsvFile(file) as table:
        table.append(_row("a.jpg", tiny_grader))
    file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))
    with CsvFile(file, resume=True) as table:
        assert table.status("a.jpg") == "failed"
        assert table.model_versions == {"tiny 1"}
        table.append(_row("b.jpg", tiny_grader))
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


def test_a_table_that_is_taken_away_before_it_is_locked_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its rows would go into a file without a name."""
    fcntl = pytest.importorskip("fcntl")
    lock = fcntl.flock

    def late(file: int, how: int) -> None:
        (tmp_path / "out.csv").unlink()
        lock(file, how)

    monkeypatch.setattr(fcntl, "flock", late)
    with pytest.raises(SourceError, match="another run"):
        CsvFile(tmp_path / "out.csv")


def test_a_table_that_cannot_be_written_is_told(tmp_path: Path, tiny_grader: Grader) -> None:
    with pytest.raises(SourceError, match="cannot be written"):
        CsvFile(tmp_path)
    with pytest.raises(SourceError, match="cannot be written"):
        CsvFile(tmp_path / "missing" / "out.csv")
    with (
        pytest.raises(SourceError, match="No space left on device"),
        CsvFile(Path("/dev/full")) as full,
    ):
        full.append(_row("a.jpg", tiny_grader))


def test_a_disk_that_fills_up_leaves_whole_lines(tmp_path: Path, tiny_grader: Grader) -> None:
    file = tmp_path / "out.csv"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with CsvFile(file) as table:
        table.append(_row("a.jpg", tiny_grader))
        whole = file.read_bytes()
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole) + 40, hard))
        try:
            with pytest.raises(SourceError, match="cannot be written"):
                table.append(_row("b.jpg", tiny_grader))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert file.read_bytes() == whole
        table.append(_row("c.jpg", tiny_grader))  # there is room again
    assert [row["image"] for row in _rows(file)] == ["a.jpg", "c.jpg"]


_WRITER = """
import sys
from pathlib import Path
from drcore.results.columns import COLUMNS
from drcore.results.csv_file import CsvFile
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
