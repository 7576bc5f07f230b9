"""The command line, in this process and, where a process must die, in one of its own."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import drcore.batch.command
import drcore.batch.maps
from drcore import __version__
from drcore.cli import main
from drcore.model.bundle import Bundle, save_bundle
from drcore.model.network import PRESETS, RamNetwork
from drcore.preprocessing.network_input import Preprocessing
from drcore.results.columns import COLUMNS
from drcore.results.map_files import map_files
from drcore.results.parquet import parquet_to_csv
from drcore.sources.find import find_photographs
from training.synthetic.phantom import make_phantom
from training.synthetic.recipe import PhantomRecipe


def _save_tiny(folder: Path, version: str) -> Path:
    torch.manual_seed(0)
    network = RamNetwork(PRESETS["tiny-128"]).eval()
    save_bundle(
        Bundle(
            "tiny", version, {128: network}, Preprocessing(), (0.5, 1.5, 2.5, 3.5),
            created="2026-01-02", metrics={"phantoms": {"kappa": 0.25}},
        ),
        folder,
    )  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _save_tiny(tmp_path_factory.mktemp("weights"), "1")


@pytest.fixture(scope="module")
def jpegs() -> list[bytes]:
    encoded = []
    for seed in range(3):
        file = io.BytesIO()
        picture = make_phantom(PhantomRecipe(size=256, seed=seed)).rgb
        Image.fromarray(picture // 16 if seed == 2 else picture).save(file, "JPEG", quality=92)
        encoded.append(file.getvalue())
    return encoded


@pytest.fixture
def photos(tmp_path: Path, jpegs: list[bytes]) -> Path:
    """Twelve photographs in two folders, of which 03 is no picture and 07 too dark."""
    folder = tmp_path / "photos"
    (folder / "deep" / "er").mkdir(parents=True)
    for index in range(12):
        data = {3: b"not a picture", 7: jpegs[2]}.get(index, jpegs[index % 2])
        where = folder if index < 6 else folder / "deep" / "er"
        (where / f"{index:02d}_right.jpg").write_bytes(data)
    return folder


def _rows(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines, strict=True))


def grade(*arguments: str | Path, weights: Path) -> int:
    return main(["grade", *map(str, arguments), "--weights", str(weights), "--device", "cpu"])


# --- what is written ----------------------------------------------------------------------------


def test_a_folder_becomes_a_table(
    photos: Path, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "notes.txt").write_text("no picture")
    (photos / "notes.txt").write_text("no picture")
    (photos / ".hidden.jpg").write_text("no picture")
    out = tmp_path / "out.csv"
    code = grade(photos, tmp_path / "notes.txt", "--csv", out, "--workers", "2", weights=weights)
    assert code == 0
    rows = _rows(out)
    assert out.read_text(encoding="utf-8").startswith(
        "image,status,reason,gradable,grade,score,referable,"
    )
    assert [row["image"] for row in rows] == [
        *(f"{index:02d}_right.jpg" for index in range(6)),
        *(f"deep/er/{index:02d}_right.jpg" for index in range(6, 12)),
        "notes.txt",
    ]
    statuses = [row["status"] for row in rows]
    assert [i for i, status in enumerate(statuses) if status == "failed"] == [3, 12]
    assert [i for i, status in enumerate(statuses) if status == "ungradable"] == [7]
    for row in rows:
        assert (row["grade"] in set("01234")) == (row["status"] == "graded")
        assert (row["referable"] != "") == (row["status"] == "graded")
        assert (row["reason"] != "") == (row["status"] != "graded")
        assert (row["score"] != "") == (row["status"] != "failed")
        assert row["model_version"] == "tiny 1"
    assert (rows[0]["laterality"], rows[0]["patient"]) == ("OD", "00")
    told = capsys.readouterr()
    assert told.out == ""
    summary = told.err.rstrip().splitlines()[-1]
    referable = [row["referable"] for row in rows].count("true")
    assert re.fullmatch(
        rf"13 images: 10 graded \({referable} referable\), 1 ungradable, 2 failed "
        r"\(see 'reason'\); 2 left out: 1 \S[^,]+, 1 \S[^,]+\. Written to out\.csv\. "
        r"[\d.]+ images/s\.",
        summary,
    )
    assert "1 not a photograph" in summary
    assert "1 hidden" in summary
    assert "13/13" in told.err


def test_quiet_says_nothing(
    photos: Path, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert grade(photos, "--csv", tmp_path / "o.csv", "--quiet", weights=weights) == 0
    assert capsys.readouterr() == ("", "")


def test_hostile_names(weights: Path, tmp_path: Path, jpegs: list[bytes]) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    names = [
        b"=cmd|' calc'!A0.jpg", b"\xff\xfe.jpg", b"a\nb.jpg", b"<script>.jpg", b"-1.jpg",
        b'x,"y.jpg', "\u202egpj.exe.jpg".encode(), "\u773c\u5e95.jpg".encode(),
    ]  # fmt: skip
    for name in names:
        (folder / os.fsdecode(name)).write_bytes(jpegs[0])
    out, maps = tmp_path / "o.csv", tmp_path / "maps"
    assert grade(folder, "--csv", out, "--maps", maps, weights=weights) == 0
    text = out.read_bytes().decode("utf-8")
    assert text.count("\n") == len(names) + 1
    rows = _rows(out)
    assert {row["status"] for row in rows} == {"graded"}
    images = {row["image"] for row in rows}
    assert {"'=cmd|' calc'!A0.jpg", "'-1.jpg", "a\\nb.jpg", "\u773c\u5e95.jpg"} < images
    assert len(images) == len(names)
    assert len(list(maps.iterdir())) == 2 * len(names)
    again = grade(folder, "--csv", out, "--maps", maps, "--resume", weights=weights)
    assert (again, out.read_bytes().decode("utf-8")) == (0, text)


def test_maps_beside_the_photographs(photos: Path, weights: Path, tmp_path: Path) -> None:
    maps = photos / "maps" / "fused"
    assert grade(photos, "--csv", photos / "o.csv", "--maps", maps, weights=weights) == 0
    rows = _rows(photos / "o.csv")
    readable = [row["image"] for row in rows if row["status"] != "failed"]
    assert len(readable) == 11
    wanted = {file for image in readable for file in map_files(maps, image)}
    assert set(maps.iterdir()) == wanted
    with np.load(map_files(maps, readable[0])[1], allow_pickle=False) as saved:
        cells = PRESETS["tiny-128"].map_size
        assert (saved["ram"].shape, saved["ram"].dtype) == ((cells, cells), np.float32)
    # The overlays lie in the folder now, and are not taken for photographs.
    assert grade(photos, "--csv", tmp_path / "again.csv", weights=weights) == 0
    assert (tmp_path / "again.csv").read_bytes() == (photos / "o.csv").read_bytes()


# --- going on -----------------------------------------------------------------------------------


def test_a_table_cut_anywhere_is_continued_to_the_same_bytes(
    photos: Path, weights: Path, tmp_path: Path
) -> None:
    out = tmp_path / "o.csv"
    assert grade(photos, "--csv", out, "--resume", weights=weights) == 0  # nothing there: begins
    whole = out.read_bytes()
    lines = whole.splitlines(keepends=True)
    assert len(lines) == 13
    for size in (10, len(lines[0]), len(b"".join(lines[:6])) + 9, len(b"".join(lines[:10])),
                 len(whole) - 1, len(whole)):  # fmt: skip
        out.write_bytes(whole[:size])
        assert grade(photos, "--csv", out, "--resume", weights=weights) == 0
        assert out.read_bytes() == whole, f"cut at byte {size}"


def test_rows_that_are_there_are_kept_and_new_photographs_added(
    photos: Path, weights: Path, tmp_path: Path, jpegs: list[bytes]
) -> None:
    out = tmp_path / "o.csv"
    assert grade(photos / "deep", "--csv", out, weights=weights) == 0
    first = out.read_bytes()
    (photos / "deep" / "a_new.jpg").write_bytes(jpegs[0])
    (photos / "deep" / "er" / "06_right.jpg").unlink()
    kept = ("--resume", "--keep-missing")
    assert grade(photos / "deep", "--csv", out, *kept, weights=weights) == 0
    lines = out.read_bytes().splitlines()
    assert set(first.splitlines()) < set(lines)
    assert [row["image"] for row in _rows(out)][:2] == ["er/06_right.jpg", "a_new.jpg"]
    assert len(lines) == 8


def test_missing_maps_are_made_without_a_second_row(
    photos: Path, weights: Path, tmp_path: Path
) -> None:
    out, maps = tmp_path / "o.csv", tmp_path / "maps"
    assert grade(photos, "--csv", out, weights=weights) == 0
    whole = out.read_bytes()
    assert grade(photos, "--csv", out, "--maps", maps, "--resume", weights=weights) == 0
    assert len(list(maps.iterdir())) == 22
    kept, lost = map_files(maps, "00_right.jpg")
    lost.unlink()
    before = map_files(maps, "01_right.jpg")[0].stat().st_mtime_ns
    assert grade(photos, "--csv", out, "--maps", maps, "--resume", weights=weights) == 0
    assert lost.is_file()
    assert kept.is_file()
    assert map_files(maps, "01_right.jpg")[0].stat().st_mtime_ns == before
    assert out.read_bytes() == whole


def test_one_table_one_model(
    photos: Path, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "o.csv"
    assert grade(photos / "deep", "--csv", out, weights=weights) == 0
    whole = out.read_bytes()
    other = _save_tiny(tmp_path / "weights", "2")
    assert grade(photos, "--csv", out, "--resume", weights=other) == 1
    assert "was made with model tiny 1, and the current model is tiny 2" in capsys.readouterr().err
    assert out.read_bytes() == whole


def test_an_old_table_is_only_replaced_when_told_and_able(
    photos: Path, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "o.csv"
    assert grade(photos, "--csv", out, weights=weights) == 0
    whole = out.read_bytes()
    assert grade(photos / "deep", "--csv", out, weights=weights) == 1
    assert "Continue it with --resume, replace it with --overwrite" in capsys.readouterr().err
    assert grade(photos / "deep", "--csv", out, "--overwrite", weights=tmp_path / "none") == 1
    assert out.read_bytes() == whole
    assert grade(photos / "deep", "--csv", out, "--overwrite", weights=weights) == 0
    assert len(_rows(out)) == 6


def test_an_input_is_never_overwritten(
    photos: Path, weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photograph = photos / "00_right.jpg"
    content = photograph.read_bytes()
    assert grade(photos, "--csv", photograph, "--overwrite", weights=weights) == 1
    assert "is one of the inputs" in capsys.readouterr().err
    assert photograph.read_bytes() == content


def test_neither_is_an_archive_or_an_object_that_is_read(
    s3: Any, photos: Path, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shard = _packed(photos, tmp_path / "s.tar")
    content = shard.read_bytes()
    s3.upload_file(str(shard), "clinic", "s.tar")
    for place in (str(shard), "s3://clinic/s.tar"):
        assert grade(place, "--csv", place, "--overwrite", weights=weights) == 1
        assert "s.tar is one of the inputs" in capsys.readouterr().err
    assert shard.read_bytes() == content
    assert s3.get_object(Bucket="clinic", Key="s.tar")["Body"].read() == content


# --- other places -------------------------------------------------------------------------------


def _packed(photos: Path, file: Path) -> Path:
    with tarfile.open(file, "w") as tape:
        for path in sorted(photos.rglob("*.jpg"), key=lambda p: p.relative_to(photos).parts):
            tape.add(path, path.relative_to(photos).as_posix())
    return file


def _without_folder(table: bytes) -> bytes:
    return table.replace(b"s.tar/", b"")


@pytest.mark.parametrize(
    "out", ["o.csv", "o.parquet", "s3://clinic/o.csv", "s3://clinic/o.parquet"]
)
def test_shards_and_buckets_give_the_same_table_also_after_an_interruption(
    s3: Any, photos: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: str
) -> None:
    whole = tmp_path / "whole.csv"
    assert grade(photos, "--csv", whole, weights=weights) == 0
    _packed(photos, tmp_path / "s.tar")
    s3.upload_file(str(tmp_path / "s.tar"), "clinic", "shards/s.tar")
    where = out if "://" in out else str(tmp_path / out)
    stream = drcore.batch.command.grade_batch

    def interrupted(*arguments: Any, **options: Any) -> Iterator[Any]:
        with closing(stream(*arguments, **options)) as results:
            for number, result in enumerate(results):
                if number == 10:
                    raise KeyboardInterrupt
                yield result

    with monkeypatch.context() as patch:
        patch.setattr(drcore.batch.command, "grade_batch", interrupted)
        assert grade("s3://clinic/shards/", "--out", where, weights=weights) == 130
    assert grade("s3://clinic/shards/", "--out", where, weights=weights) == 1  # not asked for
    assert grade("s3://clinic/shards/", "--out", where, "--resume", weights=weights) == 0
    got = tmp_path / Path(out).name
    if "://" in out:
        s3.download_file("clinic", Path(out).name, str(got))
    if out.endswith(".parquet"):
        parquet_to_csv(got, tmp_path / "back.csv")
        got = tmp_path / "back.csv"
    assert _without_folder(got.read_bytes()) == whole.read_bytes()


def test_maps_of_members_of_a_shard(photos: Path, weights: Path, tmp_path: Path) -> None:
    shard = _packed(photos, tmp_path / "s.tar")
    maps = tmp_path / "maps"
    assert grade(shard, "--csv", tmp_path / "o.csv", "--maps", maps, weights=weights) == 0
    assert len(list(maps.iterdir())) == 22


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (("s3://no-such-bucket/", "--csv", "o.csv"), 2, "s3://no-such-bucket/: there is no such"),
        (("gone.png", "photos", "--csv", "o.csv"), 2, "gone.png: there is no such file"),
        (("ftp://host/x", "--csv", "o.csv"), 1, "ftp://host/x: give a folder, or an address"),
        (("photos", "--csv", "s3://no-such-bucket/o.csv"), 1, "there is no such"),
        (("photos", "--csv", "https://localhost/o.csv"), 1, "no table can be written there"),
    ],
)
def test_places_that_are_not_there_are_one_sentence(
    s3: Any, photos: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], code: int, sentence: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert grade(*arguments, "--quiet", weights=weights) == code
    told = capsys.readouterr().err
    assert re.fullmatch(r"drcore: error: .+\.\n", told)
    assert sentence in told
    assert not Path("o.csv").exists()


def test_maps_go_to_a_folder_only(photos: Path, weights: Path) -> None:
    with pytest.raises(SystemExit) as caught:
        grade(photos, "--csv", "o.csv", "--maps", "s3://clinic/maps", weights=weights)
    assert caught.value.code == 2


# --- what is told -------------------------------------------------------------------------------


def test_lines_of_json_tell_of_each_photograph_and_name_none(
    photos: Path, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "o.csv"
    (photos / "a.zip").write_bytes(b"no archive")  # known beforehand, as is a missing file's
    assert grade(photos, "--csv", out, "--verbose", "--log-json", weights=weights) == 0
    told = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line["event"] for line in told].count("photograph") == 13
    assert {key: told[-1][key] for key in ("event", "graded", "ungradable", "failed")} == {
        "event": "finished", "graded": 10, "ungradable": 1, "failed": 2,
    }  # fmt: skip
    assert "right" not in json.dumps(told)
    assert grade(photos, "--csv", out, "--log-json", weights=weights) == 1
    (line,) = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert (line["event"], line["code"]) == ("ended", 1)
    assert "o.csv already exists" in line["says"]


# --- interruptions ------------------------------------------------------------------------------


@pytest.mark.parametrize("with_maps", [False, True])
def test_interrupted_in_the_middle(
    photos: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str], with_maps: bool,
) -> None:  # fmt: skip
    maps = ["--maps", str(tmp_path / "maps")] if with_maps else []
    whole, out = tmp_path / "whole.csv", tmp_path / "o.csv"
    assert grade(photos, "--csv", whole, weights=weights) == 0
    stream = drcore.batch.command.grade_batch

    def interrupted(*arguments: Any, **options: Any) -> Iterator[Any]:
        with closing(stream(*arguments, **options)) as results:
            for number, result in enumerate(results):
                if number == 10:
                    raise KeyboardInterrupt
                yield result

    with monkeypatch.context() as patch:
        patch.setattr(drcore.batch.command, "grade_batch", interrupted)
        assert grade(photos, "--csv", out, *maps, weights=weights) == 130
    told = capsys.readouterr().err
    assert "go on with --resume" in told
    assert "Traceback" not in told
    assert 1 <= len(_rows(out)) <= 10
    assert whole.read_bytes().startswith(out.read_bytes())
    assert grade(photos, "--csv", out, *maps, "--resume", weights=weights) == 0
    assert out.read_bytes() == whole.read_bytes()


BLOWS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL]


@pytest.mark.parametrize("blow", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_process_that_dies_leaves_a_table_to_go_on_with(
    weights: Path, tmp_path: Path, jpegs: list[bytes], blow: signal.Signals
) -> None:
    folder, out = tmp_path / "photos", tmp_path / "o.csv"
    folder.mkdir()
    for index in range(600):
        (folder / f"{index:03d}.jpg").write_bytes(jpegs[0])
    command = [sys.executable, "-m", "drcore", "grade", str(folder), "--csv", str(out),
               "--weights", str(weights), "--device", "cpu"]  # fmt: skip
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 200
        while not out.exists() or out.read_bytes().count(b"\n") < 10:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(blow)
        told = process.communicate(timeout=60)[1]
    assert process.returncode == (-signal.SIGKILL if blow == signal.SIGKILL else 130)
    assert "Traceback" not in told
    assert ("go on with --resume" in told) == (blow != signal.SIGKILL)
    lines = out.read_bytes().splitlines(keepends=True)
    assert all(line.endswith(b"\n") for line in lines[:-1])
    done = len(_rows(out))
    assert 9 <= done < 600
    # Go on with the first forty only: the point is what becomes of the cut, not of the rest.
    for index in range(max(40, done + 2), 600):
        (folder / f"{index:03d}.jpg").unlink()
    assert grade(folder, "--csv", out, "--resume", weights=weights) == 0
    images = [row["image"] for row in _rows(out)]
    assert images == [found.image for found in find_photographs([folder])]


_INTERRUPTED = """
import os, signal, sys, time
from drcore.batch.signals import interruptible
for ignored in sys.argv[2:]:
    signal.signal(int(ignored), signal.SIG_IGN)
try:
    with interruptible():
        os.kill(os.getpid(), int(sys.argv[1]))
        time.sleep(0.2)
        print("not interrupted")
except KeyboardInterrupt:
    print("interrupted", flush=True)
    os.kill(os.getpid(), int(sys.argv[1]))
    time.sleep(5)
    print("still there")
"""


def test_a_second_signal_ends_at_once_and_an_ignored_one_stays_ignored() -> None:
    def told(*arguments: int) -> tuple[int, str, str]:
        command = [sys.executable, "-c", _INTERRUPTED, *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        return done.returncode, done.stdout, done.stderr

    for number in (signal.SIGINT, signal.SIGTERM):
        code, out, err = told(number)
        assert (code, out) == (130, "interrupted\n")
        assert err == "\ndrcore: ended at once; go on with --resume.\n"
    assert told(signal.SIGHUP, signal.SIGHUP) == (0, "not interrupted\n", "")  # as nohup does


def test_signals_are_as_before_when_all_went_well(
    photos: Path, weights: Path, tmp_path: Path
) -> None:
    before = [signal.getsignal(number) for number in BLOWS]
    assert grade(photos / "deep", "--csv", tmp_path / "o.csv", weights=weights) == 0
    assert [signal.getsignal(number) for number in BLOWS] == before


# --- streams that are closed --------------------------------------------------------------------


@pytest.mark.skipif(os.name != "posix", reason="closes streams as a POSIX shell does")
def test_without_standard_streams_the_table_is_that_of_others(
    photos: Path, weights: Path, tmp_path: Path
) -> None:
    """The table was opened as standard error, and what libraries say went into it."""
    whole, out = tmp_path / "whole.csv", tmp_path / "o.csv"
    assert grade(photos / "deep", "--csv", whole, weights=weights) == 0
    command = [sys.executable, "-m", "drcore", "grade", str(photos / "deep"), "--csv", str(out),
               "--weights", str(weights), "--device", "cpu", "--verbose"]  # fmt: skip
    shell = ["sh", "-c", 'exec "$@" 0<&- 1>&- 2>&-', "sh", *command]
    assert subprocess.run(shell, timeout=200, check=False).returncode == 0
    assert out.read_bytes() == whole.read_bytes()


def test_a_reader_that_has_seen_enough_is_no_traceback(weights: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    for arguments in (["model", "--weights", str(weights)], ["--help"]):
        done = subprocess.run(
            [sys.executable, "-m", "drcore", *arguments], stdout=writing, stderr=subprocess.PIPE,
            timeout=200, check=False,
        )  # fmt: skip
        assert done.stderr == b""
        assert done.returncode in {0, 1}  # argparse passes over it where nothing is held back
    os.close(writing)


# --- what cannot be done ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("csv_name", "maps"),
    [
        ("missing/o.csv", None),
        ("photos", None),
        ("/dev/full", None),
        ("o.csv", "photos/00_right.jpg"),
    ],
)
def test_outputs_that_cannot_be_written(
    photos: Path, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    csv_name: str, maps: str | None,
) -> None:  # fmt: skip
    arguments = [] if maps is None else ["--maps", str(tmp_path / maps)]
    out = tmp_path / csv_name
    assert grade(photos, "--csv", out, "--quiet", *arguments, weights=weights) == 1
    told = capsys.readouterr().err
    assert re.fullmatch(r"drcore: error: .+\.\n", told)


def test_a_disk_that_fills_up_while_maps_are_written(
    photos: Path, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, maps = tmp_path / "o.csv", tmp_path / "maps"
    map_files(maps, "02_right.jpg")[0].mkdir(parents=True)  # in the way of the third overlay
    assert grade(photos, "--csv", out, "--quiet", "--maps", maps, weights=weights) == 1
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "the map cannot be written" in told
    assert [row["image"] for row in _rows(out)] == ["00_right.jpg", "01_right.jpg"]


def test_a_photograph_without_its_map_keeps_its_row(
    photos: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    save = drcore.batch.maps.save_map

    def vanished(report: Any, found: Any, folder: Path) -> None:
        if found.image == "04_right.jpg":
            found.path.unlink()
        save(report, found, folder)

    monkeypatch.setattr(drcore.batch.maps, "save_map", vanished)
    out = tmp_path / "o.csv"
    assert grade(photos, "--csv", out, "--maps", tmp_path / "maps", weights=weights) == 0
    assert "no map: 04_right.jpg: there is no such file" in capsys.readouterr().err
    assert len(_rows(out)) == 12
    assert len(list((tmp_path / "maps").iterdir())) == 20


def test_a_folder_without_photographs_is_told(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    assert grade(tmp_path / "empty", "--csv", tmp_path / "o.csv", weights=weights) == 1
    assert "No photographs found" in capsys.readouterr().err
    assert not (tmp_path / "o.csv").exists()


def test_weights_that_are_not_there_are_told(
    photos: Path, tmp_path: Path, weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert grade(photos, "--csv", tmp_path / "o.csv", weights=tmp_path / "none") == 1
    assert "no readable manifest.json" in capsys.readouterr().err
    # What is left is a header, and is no obstacle to the next try.
    assert grade(photos, "--csv", tmp_path / "o.csv", weights=weights) == 0


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_without_a_device_is_told(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["grade", str(photos), "--csv", str(tmp_path / "o.csv"), "--device", "cuda"]
    assert main(arguments) == 1
    assert "No CUDA device found" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["grade"],
        ["grade", "x"],
        ["grade", "x", "--csv", "o.csv", "--workers", "0"],
        ["grade", "x", "--csv", "o.csv", "--workers", "two"],
        ["grade", "x", "--csv", "o.csv", "--resume", "--overwrite"],
        ["grade", "x", "--csv", "o.csv", "--device", "tpu"],
        ["grade", "", "--csv", "o.csv"],
        ["grade", "x", "--csv", " "],
        ["grade", "x", "--csv", "o.csv", "--maps", ""],
        ["grade", "x", "--csv", "o.csv", "--name-pattern", "("],
        ["grade", "x", "--csv", "o.csv", "--name-pattern", "(?P<name>x)"],
        ["diagnose"],
    ],
)
def test_wrong_usage(arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert not list(tmp_path.iterdir())


# --- help, version, model -----------------------------------------------------------------------


def test_help_is_light() -> None:
    script = (
        "import sys; from drcore.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "print(sorted({'torch', 'cv2', 'numpy', 'PIL', 'sqlalchemy'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    assert "Research use only" in done.stdout
    assert done.stdout.endswith("[]\n")


def test_help_tells_the_exit_codes_and_the_maps(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["grade", "--help"])
    told = capsys.readouterr().out
    assert "130 when interrupted" in told
    assert ".drcore-map.npz" in told


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["--version"])
    assert stopped.value.code == 0
    assert capsys.readouterr().out == f"drcore {__version__}\n"


def test_model(weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["model", "--weights", str(weights)]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0] == "tiny 1"
    assert "created: 2026-01-02" in told
    assert "thresholds: 0.5, 1.5, 2.5, 3.5" in told
    assert "certainty: not given" in told
    assert told[-3:] == ["metrics:", "  phantoms:", "    kappa: 0.25"]
    assert main(["model"]) == 0  # the bundled weights have a manifest, too
    assert main(["model", "--weights", str(tmp_path)]) == 1


def test_columns_are_all_written(photos: Path, weights: Path, tmp_path: Path) -> None:
    assert grade(photos / "deep", "--csv", tmp_path / "o.csv", weights=weights) == 0
    header = (tmp_path / "o.csv").read_text(encoding="utf-8").splitlines()[0]
    assert header == ",".join(COLUMNS)
