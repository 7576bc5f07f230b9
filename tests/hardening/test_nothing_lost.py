"""Runs that are killed, starved and disturbed: each photograph still ends in exactly one row."""

from __future__ import annotations

import csv
import io
import json
import os
import queue
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from drcore.model.bundle import Bundle, save_bundle
from drcore.model.network import PRESETS, RamNetwork
from drcore.preprocessing.network_input import Preprocessing
from drcore.results.map_files import map_files
from training.synthetic.phantom import make_phantom
from training.synthetic.recipe import PhantomRecipe

HERE = Path(__file__).resolve().parent
COUNT = 40
PATIENCE = 200.0

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="kills need a POSIX system"),
    pytest.mark.timeout(900),  # some seconds of work, which may have to wait
]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    network = RamNetwork(PRESETS["tiny-128"]).eval()
    folder = tmp_path_factory.mktemp("weights")
    save_bundle(Bundle("tiny", "1", {128: network}, Preprocessing(), (0.5, 1.5, 2.5, 3.5)), folder)
    return folder


@pytest.fixture(scope="module")
def jpegs() -> list[bytes]:
    encoded = []
    for seed in range(6):
        rgb = make_phantom(PhantomRecipe(size=256, seed=seed)).rgb
        file = io.BytesIO()
        Image.fromarray(rgb).save(file, "JPEG", quality=90)
        encoded.append(file.getvalue())
    return encoded


@pytest.fixture
def photos(tmp_path: Path, jpegs: list[bytes]) -> Path:
    """Forty photographs, each with its own bytes; every tenth is none."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for index in range(COUNT):
        data = b"no picture" if index % 10 == 7 else jpegs[index % len(jpegs)] + b"%d" % index
        (folder / f"{index:02d}_OD.jpg").write_bytes(data)
    return folder


class Server:
    """The processes that the fork server starts."""

    def __init__(self, log: Path) -> None:
        self.log = log
        self.running = 0
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "fork_server.py")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env=os.environ | {"DRCORE_TEST_LOG": str(log), "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        self.lines: queue.Queue[int] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.put(int(line))

    def _line(self) -> int:
        """The next answer; a run that hangs is ended, and where it hung is told."""
        try:
            return self.lines.get(timeout=PATIENCE)
        except queue.Empty:
            os.kill(self.running, signal.SIGUSR1)
            time.sleep(1)
            os.kill(self.running, signal.SIGKILL)
            return pytest.fail(f"the run hangs: {self.said()}")

    def start(self, *arguments: str | Path, limits: dict[int, int] | None = None) -> int:
        assert self.process.stdin is not None
        wanted = {"arguments": [str(a) for a in arguments], "limits": list((limits or {}).items())}
        self.process.stdin.write(json.dumps(wanted) + "\n")
        self.process.stdin.flush()
        self.running = self._line()
        return self.running

    def end(self) -> int:
        """Wait for the run to end, however it does."""
        return self._line()

    def run(self, *arguments: str | Path, limits: dict[int, int] | None = None) -> int:
        self.start(*arguments, limits=limits)
        return self.end()

    def fails(self, *arguments: str | Path, limits: dict[int, int] | None = None) -> str:
        """Run to one clear error, and return its sentence."""
        assert self.run(*arguments, limits=limits) == 1, self.said()
        said = self.said()
        assert said.startswith("drcore: error: ")
        assert said.endswith(".\n")
        assert said.count("\n") == 1
        return said

    def said(self) -> str:
        return self.log.read_text(errors="replace")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    made = Server(tmp_path_factory.mktemp("log") / "log")
    yield made
    made.process.kill()
    made.process.communicate()


def rows_of(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines, strict=True))


def lines_in(file: Path) -> int:
    return file.read_bytes().count(b"\n") if file.exists() else 0


def wait_for(reached: Callable[[], bool], pid: int) -> bool:
    """Wait until something holds, or the process is gone; says which."""
    deadline = time.monotonic() + PATIENCE
    while not reached():
        assert time.monotonic() < deadline, "the run hangs"
        state = Path(f"/proc/{pid}/stat")
        if not state.exists() or ") Z" in state.read_text():
            return False
        time.sleep(0.0005)
    return True


def one_row_each(file: Path, photos: Path) -> None:
    images = [row["image"] for row in rows_of(file)]
    assert sorted(images) == sorted(path.name for path in photos.iterdir())


# --- killed ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted_kills", "with_maps"), [(14, False), (8, True)], ids=["rows", "rows and maps"]
)
def test_killed_again_and_again_the_table_is_that_of_an_undisturbed_run(
    server: Server, photos: Path, weights: Path, tmp_path: Path, wanted_kills: int, with_maps: bool
) -> None:
    rng = np.random.default_rng(int(with_maps))
    whole, out, maps = tmp_path / "whole.csv", tmp_path / "out.csv", tmp_path / "maps"
    base = ["grade", photos, "--weights", weights, "--device", "cpu", "--quiet", "--workers", "2"]
    assert server.run(*base, "--csv", whole) == 0
    arguments = [*base, "--csv", out, "--resume", *(["--maps", maps] if with_maps else [])]
    kills, moments = 0, ("start", "header", "row", "row", "map" if with_maps else "row")
    for attempt in range(60):
        if kills == wanted_kills:
            break
        moment = moments[attempt % len(moments)]
        there = lines_in(out)
        pid = server.start(*arguments)
        if moment == "start":
            time.sleep(rng.uniform(0, 0.05))
        elif moment == "header":
            wait_for(lambda: lines_in(out) >= 1, pid)
        elif moment == "row":
            wanted = there + int(rng.integers(1, 4))
            wait_for(lambda wanted=wanted: lines_in(out) >= wanted, pid)
            time.sleep(rng.uniform(0, 0.01))
        else:  # a map is there, its row not yet
            count = len(list(maps.glob("*.npz"))) if maps.exists() else 0
            wait_for(lambda count=count: len(list(maps.glob("*.npz"))) > count, pid)
        os.kill(pid, signal.SIGKILL)
        if server.end() != -signal.SIGKILL:
            assert lines_in(out) == COUNT + 1  # it was done before the blow
            out.write_bytes(b"".join(out.read_bytes().splitlines(keepends=True)[:9]))
            continue
        kills += 1
        done = out.read_bytes() if out.exists() else b""
        assert whole.read_bytes().startswith(done), f"after kill {kills} ({moment})"
        if kills % 3 == 0 and len(done) > 2000:  # as a power cut leaves it: mid-row
            out.write_bytes(done[: -int(rng.integers(1, 900))])
    assert kills == wanted_kills
    assert server.run(*arguments) == 0, server.said()
    assert out.read_bytes() == whole.read_bytes()
    one_row_each(out, photos)
    for row in rows_of(out) if with_maps else []:
        assert all(file.is_file() == (row["status"] != "failed")
                   for file in map_files(maps, row["image"]))  # fmt: skip


def test_a_process_killed_while_it_starts_leaves_nothing_in_the_way(
    photos: Path, weights: Path, tmp_path: Path
) -> None:
    """Cold starts: the interpreter, the imports and the weights are cut into, too."""
    out = tmp_path / "out.csv"
    command = [sys.executable, "-m", "drcore", "grade", str(photos), "--csv", str(out), "--weights",
               str(weights), "--device", "cpu", "--quiet", "--resume"]  # fmt: skip
    for delay in np.random.default_rng(5).uniform(0.02, 2.5, 2):
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
            time.sleep(delay)
            process.kill()
        assert not out.exists() or lines_in(out) == len(out.read_bytes().splitlines())
    assert subprocess.run(command, timeout=PATIENCE, check=False).returncode == 0
    one_row_each(out, photos)


# --- starved --------------------------------------------------------------------------------------


@pytest.fixture
def base(photos: Path, weights: Path) -> list[str | Path]:
    return ["grade", photos, "--weights", weights, "--device", "cpu", "--quiet", "--workers", "2"]


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 4 KiB, where this user may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", str(folder)]
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("mounting a small disk needs root")
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("this machine lets nobody mount a small disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk(server: Server, base: list, tmp_path: Path, tiny_disk: Path) -> None:
    out, whole = tiny_disk / "out.csv", tmp_path / "whole.csv"
    said = server.fails(*base, "--csv", out)
    assert "No space left on device" in said
    assert "--resume" in said
    assert 0 < len(rows_of(out)) < COUNT
    assert out.read_bytes().endswith(b"\n")
    subprocess.run(["mount", "-o", "remount,size=1m", str(tiny_disk)], check=True)
    assert server.run(*base, "--csv", out, "--resume") == 0
    assert server.run(*base, "--csv", whole) == 0
    assert out.read_bytes() == whole.read_bytes()


def test_a_limit_on_the_size_of_files(
    server: Server, base: list, photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.csv"
    server.fails(*base, "--csv", out, limits={resource.RLIMIT_FSIZE: 4000})
    assert 0 < len(rows_of(out)) < COUNT
    assert server.run(*base, "--csv", out, "--resume") == 0
    one_row_each(out, photos)


def test_an_output_that_may_only_be_read(
    server: Server, base: list, photos: Path, tmp_path: Path
) -> None:
    folder, out = tmp_path / "closed", tmp_path / "out.csv"
    folder.mkdir(mode=0o555)
    closed = Path("/proc") if os.geteuid() == 0 else folder  # root passes over permissions
    server.fails(*base, "--csv", closed / "out.csv")
    server.fails(*base, "--csv", out, "--maps", closed / "maps")
    assert server.run(*base, "--csv", out, "--resume") == 0
    one_row_each(out, photos)


def test_where_memory_is_too_short_a_photograph_gets_a_row_or_the_run_one_error(
    server: Server, base: list, photos: Path, tmp_path: Path
) -> None:
    huge = np.zeros((11_000, 11_000, 3), np.uint8)
    cv2.circle(huge, (5500, 5500), 5400, (60, 120, 200), -1)
    (photos / "00_huge.png").write_bytes(cv2.imencode(".png", huge)[1].tobytes())
    del huge
    # A forked process begins with what its parent has mapped.
    statm = Path(f"/proc/{server.process.pid}/statm").read_text().split()
    mapped = int(statm[0]) * resource.getpagesize()
    reasons = set()
    for mebibytes in (1, 500, 800, 1100):
        out = tmp_path / f"{mebibytes}.csv"
        limits = {resource.RLIMIT_AS: mapped + (mebibytes << 20)}
        code = server.run(*base, "--csv", out, limits=limits)
        # Below zero, or 127 by the loader: a library ended the process; nothing is lost by that.
        assert code in {0, 1, 127} or code < 0, (mebibytes, server.said())
        if code == 1:
            assert server.said().count("drcore: error: ") == 1, server.said()
            assert "Traceback" not in server.said()
        rows = rows_of(out) if out.exists() else []
        reasons.update(row["reason"] for row in rows if row["image"] == "00_huge.png")
        assert server.run(*base, "--csv", out, "--resume") == 0  # with memory enough: tried again
        one_row_each(out, photos)
        (row,) = (row for row in rows_of(out) if row["image"] == "00_huge.png")
        assert row["status"] != "failed"
    assert any("not enough memory" in reason for reason in reasons), reasons


# --- disturbed ------------------------------------------------------------------------------------


def test_a_folder_that_changes_during_the_run(
    server: Server, photos: Path, weights: Path, tmp_path: Path, jpegs: list[bytes]
) -> None:
    out, maps = tmp_path / "out.csv", tmp_path / "maps"
    before = sorted(path.name for path in photos.iterdir())
    arguments = ["grade", photos, "--weights", weights, "--device", "cpu", "--quiet", "--workers",
                 "1", "--csv", out, "--maps", maps]  # fmt: skip
    pid = server.start(*arguments)
    assert wait_for(lambda: lines_in(out) >= 2, pid)
    os.kill(pid, signal.SIGSTOP)
    for index in range(20, 28):
        (photos / f"{index}_OD.jpg").unlink()
    for index in range(28, 34):
        (photos / f"{index}_OD.jpg").write_bytes(jpegs[0][:900])
    for index in range(34, 40):
        (photos / f"{index}_OD.jpg").unlink()
        (photos / f"{index}_OD.jpg").mkdir()
    (photos / "new_OS.jpg").write_bytes(jpegs[1] + b"new")
    os.kill(pid, signal.SIGCONT)
    assert server.end() == 0, server.said()
    rows = rows_of(out)
    assert [row["image"] for row in rows] == before
    for row in rows[20:]:
        assert (row["status"], row["grade"]) == ("failed", "")
        assert row["reason"].endswith(".")
    assert server.run(*arguments, "--resume") == 0
    there = sorted(path.name for path in photos.iterdir() if path.is_file())
    assert [row["image"] for row in rows_of(out)] == there
    lost = [row["image"] for row in rows_of(tmp_path / "out.removed.csv")]
    assert sorted([*there, *lost]) == sorted([*before, "new_OS.jpg"])


def test_a_file_that_never_ends_or_never_answers_is_passed_over(
    server: Server, base: list, photos: Path, tmp_path: Path
) -> None:
    os.mkfifo(photos / "61_OD.jpg")
    (photos / "62_OD.jpg").symlink_to("62_OD.jpg")
    (photos / "63_OD.jpg").symlink_to("/dev/zero")
    out = tmp_path / "out.csv"
    assert server.run(*base, "--csv", out) == 0, server.said()
    rows = {row["image"]: row for row in rows_of(out)}
    assert rows["61_OD.jpg"]["status"] == "failed"
    assert "63_OD.jpg" not in rows or rows["63_OD.jpg"]["status"] == "failed"
    assert len(rows) >= COUNT + 1
