"""Many photographs graded as a stream."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from drcore.batch.pipeline import grade_batch
from drcore.errors import DrcoreError
from drcore.grading.grader import Grader
from drcore.model.inference import TorchRunner
from drcore.sources.find import find_photographs
from drcore.sources.source import PhotographSource


@pytest.fixture(params=["compiled", "torch"])
def either_grader(
    request: pytest.FixtureRequest, tiny_grader: Grader, monkeypatch: pytest.MonkeyPatch
) -> Grader:
    """The tiny grader on each of the two ways to run networks."""
    if request.param == "torch":
        plain = TorchRunner(tiny_grader.bundle.networks, "cpu")
        monkeypatch.setattr(tiny_grader, "runner", plain)
    return tiny_grader


@pytest.mark.parametrize(("workers", "batch"), [(1, 1), (3, 4), (8, 32)])
def test_rows_come_in_order_and_none_is_lost(
    either_grader: Grader, folder: Path, workers: int, batch: int
) -> None:
    found = find_photographs([folder, folder / "gone.jpg"])
    results = list(grade_batch(either_grader, found, workers=workers, batch=batch))
    assert [row["image"] for row, _ in results] == [item.image for item in found]
    statuses = [row["status"] for row, _ in results]
    assert statuses.count("graded") == 8
    assert (statuses[2], statuses[5], statuses[10]) == ("ungradable", "failed", "failed")
    assert results[10][0]["reason"].startswith("gone.jpg: there is no such file.")
    alone = either_grader.grade(found[3].path)
    assert results[3][1].score == pytest.approx(alone.score, abs=1e-4)
    assert results[3][1].sha256 == alone.sha256


def test_a_photograph_that_vanishes_meanwhile_fails_alone(
    tiny_grader: Grader, folder: Path
) -> None:
    found = find_photographs([folder])
    stream = grade_batch(tiny_grader, found, workers=1, batch=1)
    rows = [next(stream)[0]]
    found[8].path.unlink()
    rows += [row for row, _ in stream]
    assert [row["status"] == "failed" for row in rows] == [i in {5, 8} for i in range(10)]


class _Watched(Grader):
    """Counts how many photographs were read, and by which threads."""

    def __init__(self, grader: Grader) -> None:
        super().__init__(grader.bundle)
        self.read = 0
        self.readers: set[str] = set()
        self.counting = threading.Lock()

    def attempt(self, source: object, name: str | None = None) -> object:
        result = super().attempt(source, name)  # type: ignore[arg-type]
        with self.counting:
            self.read += 1
            self.readers.add(threading.current_thread().name)
        return result


def test_reading_runs_ahead_but_not_far(either_grader: Grader, folder: Path) -> None:
    found = find_photographs([folder])
    many = [PhotographSource(item.path, f"{n}/{item.image}") for n in range(2) for item in found]
    watched = _Watched(either_grader)
    watched.runner = either_grader.runner
    stream = grade_batch(watched, many, workers=3, batch=2)
    next(stream)
    deadline = time.monotonic() + 60
    while watched.read <= 2:
        assert time.monotonic() < deadline, "nothing is read while the consumer is busy"
        time.sleep(0.01)
    for yielded, _ in enumerate(stream, start=2):
        time.sleep(0.02)  # a slow consumer: the readers could run far ahead
        assert watched.read - yielded <= 2 * 2 + 3
    assert watched.read == len(many)
    assert len(watched.readers) == 3


def test_stop_ends_the_stream_early(either_grader: Grader, folder: Path) -> None:
    stop = threading.Event()
    found = find_photographs([folder])
    stream = grade_batch(either_grader, found, workers=2, batch=2, stop=stop)
    next(stream)
    stop.set()
    assert sum(1 for _ in stream) <= 1  # the other one of a group that was in the networks
    stopped = grade_batch(either_grader, found, stop=stop)
    assert list(stopped) == []


def test_closing_the_stream_ends_its_threads(tiny_grader: Grader, folder: Path) -> None:
    stream = grade_batch(tiny_grader, find_photographs([folder]), workers=4, batch=1)
    next(stream)
    stream.close()
    deadline = time.monotonic() + 20
    while any(thread.name.startswith("drcore-read") for thread in threading.enumerate()):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_broken_networks_are_an_error_not_ten_thousand_failed_rows(
    either_grader: Grader, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("CUDA error: out of memory")

    monkeypatch.setattr(either_grader.runner, "run", broken)
    with pytest.raises(DrcoreError, match=r"The networks cannot run \(CUDA error: out of memory\)"):
        list(grade_batch(either_grader, find_photographs([folder])))
