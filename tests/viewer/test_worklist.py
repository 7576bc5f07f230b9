"""The list of photographs behind the Review page."""

from __future__ import annotations

import gc
import threading
import weakref

import pytest

from drcore.errors import PhotographError, ReviewError
from viewer.worklist import MAX_PICTURES, Worklist


@pytest.fixture
def photographs(phantom, encoded):
    """Maker of photographs as files, each different."""
    return lambda seed: encoded(phantom(seed=seed).rgb, "JPEG", quality=85)


class Recorder:
    """Stands in for a grader and notes the order of its work."""

    def __init__(self, grader) -> None:
        self.names = []
        self._grader = grader

    def grade_many(self, sources):
        for name, source in sources:
            self.names.append(name)
            yield from self._grader.grade_many([(name, source)])

    def failed(self, name, reason):
        return self._grader.failed(name, reason)


def finish(worklist, grader, latest=None):
    while worklist.do_next(grader, latest):
        pass


def test_moving_about():
    worklist = Worklist()
    assert worklist.selected is None
    keys = [worklist.add(f"{n}.jpg", bytes([n])).key for n in range(3)]
    assert worklist.selected.key == keys[0]
    worklist.step(-1)
    assert worklist.position == 0
    worklist.step(5)
    assert worklist.selected.key == keys[2]
    worklist.select("nobody")
    assert worklist.selected.key == keys[2]
    worklist.remove(keys[2])
    assert worklist.selected.key == keys[1]
    worklist.remove(keys[0])
    worklist.remove(keys[1])
    assert (len(worklist), worklist.selected) == (0, None)


def test_the_same_bytes_are_one_entry_and_are_kept_once():
    worklist = Worklist()
    data = b"photograph"
    first = worklist.add("a.jpg", data)
    assert worklist.add("b.jpg", b"photo" + b"graph") is first
    assert first.source is data
    worklist.remove(first.key)
    assert worklist.add("a.jpg", data) is not first


def test_what_is_on_screen_is_graded_first(photographs, grader):
    worklist, recorder = Worklist(), Recorder(grader)
    entries = [worklist.add(f"{n}.jpg", photographs(n)) for n in range(4)]
    worklist.select(entries[2].key)
    finish(worklist, recorder)
    assert recorder.names == ["2.jpg", "3.jpg", "0.jpg", "1.jpg"]
    assert worklist.pending == 0
    assert all(entry.thumbnail.startswith("data:image/jpeg;base64,") for entry in entries)


def test_a_bad_photograph_gets_its_reason_and_the_rest_go_on(photographs, grader, tmp_path):
    worklist = Worklist()
    gone = worklist.add("gone.jpg", tmp_path / "gone.jpg")
    text = worklist.add("text.jpg", b"text")
    good = worklist.add("good.jpg", photographs(1))
    finish(worklist, grader)
    assert [e.report.status for e in (gone, text, good)] == ["failed", "failed", "graded"]
    assert "gone.jpg" in gone.report.reason
    with pytest.raises(PhotographError, match=r"^text\.jpg: "):
        worklist.pictures(text)


def test_pictures_are_kept_for_a_few_only(photographs, grader, monkeypatch):
    from viewer import pictures

    made = []
    real = pictures.pictures_of
    monkeypatch.setattr(
        pictures, "pictures_of", lambda source, **named: made.append(1) or real(source, **named)
    )
    worklist = Worklist()
    entries = [worklist.add(f"{n}.jpg", photographs(n)) for n in range(MAX_PICTURES + 1)]
    for entry in entries:
        worklist.pictures(entry)
    worklist.pictures(entries[-1])
    assert len(made) == MAX_PICTURES + 1
    worklist.pictures(entries[0])  # the oldest had to go
    assert len(made) == MAX_PICTURES + 2


def test_the_next_photograph_is_prepared(photographs, grader):
    worklist = Worklist()
    entries = [worklist.add(f"{n}.jpg", photographs(n)) for n in range(3)]
    finish(worklist, grader)
    assert set(worklist._pictures) == {entries[1].key}


def test_earlier_decisions_are_found_by_content(photographs, grader):
    worklist = Worklist()
    entry = worklist.add("a.jpg", photographs(1))
    finish(worklist, grader, {entry.report is None: None}.get)
    asked = []
    other = worklist.add("b.jpg", photographs(2))
    finish(worklist, grader, lambda sha256: asked.append(sha256) or "decision")
    assert other.decision == "decision"
    assert asked == [other.report.sha256]
    assert (entry.decision, worklist.decided) == (None, 1)


def test_a_record_that_cannot_be_read_does_not_stop_grading(photographs, grader):
    def broken(_sha256):
        raise ReviewError("The record cannot be read.")

    worklist = Worklist()
    entry = worklist.add("a.jpg", photographs(1))
    finish(worklist, grader, broken)
    assert entry.report.status == "graded"


def test_one_thread_works_ahead_and_ends_with_the_list(photographs, grader):
    worklist = Worklist()
    for n in range(3):
        worklist.add(f"{n}.jpg", photographs(n))
    worklist.work_ahead(grader)
    thread = worklist._thread
    worklist.work_ahead(grader)
    assert worklist._thread is thread
    thread.join(60)
    assert not thread.is_alive()
    assert worklist.pending == 0


def test_a_session_that_ends_ends_its_thread(photographs, grader):
    begun, go_on = threading.Event(), threading.Event()

    class Slow(Recorder):
        def grade_many(self, sources):
            begun.set()
            go_on.wait(30)
            yield from super().grade_many(sources)

    slow = Slow(grader)
    worklist = Worklist()
    for n in range(5):
        worklist.add(f"{n}.jpg", photographs(n))
    worklist.work_ahead(slow)
    thread, gone = worklist._thread, weakref.ref(worklist)
    begun.wait(30)
    del worklist
    go_on.set()
    thread.join(30)
    gc.collect()
    assert not thread.is_alive()
    assert gone() is None
    assert len(slow.names) == 1
