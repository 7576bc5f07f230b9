"""Work in the background, of all readers, takes turns."""

from __future__ import annotations

import threading
import time

import pytest

from drcore.grading.grader import Grader
from viewer.image_viewer import preloading
from viewer.worklist import background_grading
from viewer.worklist.background_grading import work_ahead
from viewer.worklist.worklist import Worklist

READERS = 8


class Crowd:
    """Counts how many do something at once."""

    def __init__(self) -> None:
        self.most = self.done = self._now = 0
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)
        time.sleep(0.02)

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._now -= 1
            self.done += 1


@pytest.fixture(autouse=True)
def two_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    turns = threading.BoundedSemaphore(2)
    monkeypatch.setattr(background_grading, "BACKGROUND", turns)
    monkeypatch.setattr(preloading, "BACKGROUND", turns)


def wait_for(crowd: Crowd, done: int) -> None:
    deadline = time.monotonic() + 60
    while crowd.done < done:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_lists_are_graded_a_few_at_a_time_and_none_is_forgotten(grader: Grader) -> None:
    crowd = Crowd()

    class Slow:
        def grade_many(self, sources):
            with crowd:
                for name, _ in sources:
                    yield grader.failed(name, "no photograph.")

        failed = grader.failed

    lists = [Worklist() for _ in range(READERS)]
    for number, mine in enumerate(lists):
        mine.add("a.jpg", b"a%d" % number)
        mine.add("b.jpg", b"b%d" % number)
        work_ahead(mine, Slow())
    wait_for(crowd, 2 * READERS)
    assert crowd.most == 2


def test_views_are_made_a_few_at_a_time(
    monkeypatch: pytest.MonkeyPatch, grader: Grader, phantom
) -> None:
    crowd = Crowd()
    report = grader.grade(phantom(seed=1).rgb, name="a.jpg")

    def slow(*_: object) -> None:
        with crowd:
            return

    monkeypatch.setattr(preloading.SlideCache, "slide", slow)
    for number in range(READERS):
        mine = Worklist()
        entry = mine.add("a.jpg", b"a%d" % number)
        entry.report = report
        assert preloading.SlideCache().prepare([entry])
    wait_for(crowd, READERS)
    assert crowd.most == 2
