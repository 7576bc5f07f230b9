"""Some hundred seeded cases of bad input, and what the many thousand of the command found."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from drcore.errors import CheckpointError, PhotographError
from drcore.model.bundle import load_bundle
from drcore.photographs.identity import parse_name
from drcore.photographs.reader import read_photograph
from drcore.preprocessing.field_of_view import FieldOfView
from drcore.preprocessing.retina_square import RetinaSquare
from drcore.text import csv_safe

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.mark.timeout(900)  # ten seconds of work, which may have to wait
def test_bad_input_becomes_a_row_or_an_error_of_ours() -> None:
    """Others than `python -m tests.hardening.fuzz --cases 5000` runs."""
    command = [sys.executable, "-m", "tests.hardening.fuzz", "--cases", "300", "--seed", "7"]
    done = subprocess.run(
        command, cwd=REPOSITORY, capture_output=True, text=True, timeout=880, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    assert "300 cases" in done.stdout
    outcomes = {line.split(maxsplit=1)[1] for line in done.stdout.splitlines()[:-1]}
    # It must have met whole files and damaged ones, or it tests nothing.
    assert any(outcome.endswith(("graded", "ungradable")) for outcome in outcomes)
    assert any(outcome.endswith("refused") for outcome in outcomes)
    assert "checkpoint: refused" in outcomes


@pytest.mark.timeout(900)
def test_cases_led_by_coverage_grow_out_of_what_reached_new_lines(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.hardening.fuzz", "--cases", "60", "--seed", "3",
               "--guided", str(tmp_path / "failed")]  # fmt: skip
    done = subprocess.run(
        command, cwd=REPOSITORY, capture_output=True, text=True, timeout=880, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    assert "60 cases" in done.stdout
    assert ", new lines" in done.stdout
    assert list((tmp_path / "failed").iterdir()) == []


def test_the_guide_keeps_what_reaches_new_lines_and_what_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.hardening import fuzz, mutate

    guide = fuzz.Guide(SimpleNamespace(files={}), tmp_path)
    begun = len(guide.corpus)
    inputs = iter([b"a", b"a", b"ab", b"a", b"abc"])
    monkeypatch.setattr(mutate, "damaged", lambda *_: next(inputs))
    monkeypatch.setattr(mutate, "oversized", lambda *_: next(inputs))
    # Lines of drcore count: names of 1, 2 and 3 characters pass through other ones.
    reads = {1: "a.jpg", 2: "\x00", 3: None}

    def graded(data: bytes, *_: object) -> str:
        return str(read_photograph_name(reads[len(data)]))

    def read_photograph_name(name: str | None) -> str:
        if name is None:
            raise ValueError("not ours")
        return "".join(map(str, parse_name(name))) if name != "\x00" else csv_safe(name)

    monkeypatch.setattr(fuzz, "_grade", graded)
    outcomes = [guide.case(number, 0) for number in range(4)]
    assert [outcome.endswith(", new lines") for outcome in outcomes] == [True, False, True, False]
    assert [data for _, data in guide.corpus[begun:]] == [b"a", b"ab"]
    with pytest.raises(ValueError, match="not ours"):
        guide.case(4, 0)
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [b"abc"]


_BROKEN = """
import os, sys
import tests.hardening.fuzz as fuzz

def broken(rng, shop):
    number = broken.number = getattr(broken, "number", START) + 1
    if number == 2:
        raise ValueError("not ours")
    if number == 4:
        os._exit(9)
    return "well"

START = int(sys.argv[1]) - 1
fuzz._CASES = ((1.0, broken),)
fuzz._work(0, range(START + 1, int(sys.argv[2])))
"""


def test_the_watch_tells_errors_and_deaths_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.hardening import fuzz

    start = subprocess.Popen

    def with_broken_cases(command: list[str], **options: object) -> subprocess.Popen[str]:
        return start([sys.executable, "-c", _BROKEN, *command[-2:]], **options)

    monkeypatch.setattr(fuzz.subprocess, "Popen", with_broken_cases)
    outcomes, findings = fuzz.fuzz(6)
    assert [finding.number for finding in findings] == [2, 4]
    assert "ValueError: not ours" in findings[0].what
    assert "died with 9" in findings[1].what
    assert outcomes == {"well": 4, "finding": 2}


# --- found --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("radius", "size"), [(1e5, 8), (3e4, 1), (4e4, 128)])
def test_a_circle_far_larger_than_the_picture_costs_no_memory(radius: float, size: int) -> None:
    """`RetinaSquare.warp` filled the picture up to whole blocks as large as the circle: 6 GB."""
    fov = FieldOfView(50.0, 40.0, radius, 0.0, 0.0, 100.0, 80.0, found=True, note="")
    picture = np.full((80, 100, 3), 200, np.uint8)
    assert RetinaSquare(fov, 100, 80, size).warp(picture).shape == (size, size, 3)


@pytest.mark.parametrize(
    "error", [MemoryError(), cv2.error("(-4:Insufficient memory) Failed to allocate 600 bytes")]
)
def test_lack_of_memory_is_not_called_damage(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """The data of a whole photograph was called "damaged or cut short (MemoryError)"."""
    data = cv2.imencode(".png", np.zeros((64, 64, 3), np.uint16))[1].tobytes()

    def starved(*_: object) -> None:
        raise error

    monkeypatch.setattr(cv2, "imdecode", starved)
    with pytest.raises(PhotographError, match="not enough memory to decode it"):
        read_photograph(data)


def test_an_error_never_quotes_a_damaged_bundle_at_length(bundle_folder: Path) -> None:
    """A header of safetensors that was one long string came back whole in the message."""
    folder = bundle_folder.parent / "quoted"
    shutil.copytree(bundle_folder, folder)
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    entry = manifest["networks"][0]
    header = json.dumps("x" * 5000).encode()
    data = len(header).to_bytes(8, "little") + header
    (folder / entry["file"]).write_bytes(data)
    entry["sha256"] = hashlib.sha256(data).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    with pytest.raises(CheckpointError, match="not whole safetensors") as caught:
        load_bundle(folder)
    assert len(str(caught.value)) < 400
    manifest["preparation"] = "y" * 5000
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    with pytest.raises(CheckpointError) as caught:
        load_bundle(folder)
    assert len(str(caught.value)) < 400
