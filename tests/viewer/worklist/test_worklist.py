"""The list of photographs behind the Review page."""

from __future__ import annotations

import gc
import hashlib
import threading
import weakref
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from drcore.errors import PhotographError, ReviewError, SourceError
from drcore.grading.grader import Grader
from drcore.reviews.store import ReviewStore
from viewer.worklist.background_grading import do_next, work_ahead
from viewer.worklist.ordering import ViewOptions
from viewer.worklist.storage import Limits, WorklistStore
from viewer.worklist.worklist import Worklist


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
    while do_next(worklist, grader, latest):
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


def test_the_same_file_is_one_entry_but_two_names_are_two():
    worklist = Worklist()
    data = b"photograph"
    first = worklist.add("a.jpg", data)
    assert worklist.add("a.jpg", b"photo" + b"graph") is first
    assert first.source is data
    other = worklist.add("b.jpg", data)
    assert [entry.file_name for entry in worklist.everything] == ["a.jpg", "b.jpg"]
    worklist.remove(first.key)
    assert worklist.everything == [other]
    assert worklist.add("a.jpg", data) is not first


def test_a_file_under_two_names_is_stored_once(store, photographs):
    worklist = Worklist(store)
    first, other = worklist.add("a.jpg", photographs(1)), worklist.add("b.jpg", photographs(1))
    assert first.source == other.source
    worklist.remove(first.key)
    back = Worklist.reopened(store, worklist.token)
    assert back.everything[0].source.read_bytes() == photographs(1)
    assert back.add("b.jpg", photographs(1)) is back.everything[0]


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
        text.renditions()


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
    work_ahead(worklist, grader)
    thread = worklist.thread
    work_ahead(worklist, grader)
    assert worklist.thread is thread
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
    work_ahead(worklist, slow)
    thread, gone = worklist.thread, weakref.ref(worklist)
    begun.wait(30)
    del worklist
    go_on.set()
    thread.join(30)
    gc.collect()
    assert not thread.is_alive()
    assert gone() is None
    assert len(slow.names) == 1


# --- the list as the reader wants it ------------------------------------------------------------


def test_next_and_previous_follow_the_order_shown(photographs, grader):
    worklist = Worklist()
    entries = [worklist.add(f"{n}.jpg", photographs(n)) for n in range(4)]
    finish(worklist, grader)
    by_score = sorted(entries, key=lambda e: (-(e.report.grade or 0), -e.report.score))
    worklist.select(by_score[1].key)
    worklist.arrangement = ViewOptions("severity")
    assert worklist.selected is by_score[1]  # sorting moves nothing away from the screen
    assert (worklist.entries, worklist.position) == (by_score, 1)
    worklist.step(1)
    assert worklist.selected is by_score[2]
    worklist.step(-9)
    assert worklist.selected is by_score[0]
    assert worklist.everything == entries


def test_a_decision_and_the_step_after_it_leave_nobody_out():
    worklist = Worklist()
    entries = [worklist.add(f"{n}.jpg", bytes([n])) for n in range(4)]
    worklist.arrangement = ViewOptions("unreviewed", reviewed=False)
    seen = []
    for _ in entries:
        seen.append(worklist.selected)
        worklist.selected.decision = "decision"
        worklist.step(1)
    assert seen == entries
    assert worklist.decided == 4
    assert worklist.entries == [worklist.selected]


def test_what_is_left_out_is_counted_and_graded_too(photographs, grader):
    worklist = Worklist()
    entries = [worklist.add(f"{n}.jpg", photographs(n)) for n in range(3)]
    worklist.arrangement = ViewOptions(text="1.jpg")
    assert worklist.entries == entries[:2]  # the one on screen stays
    assert (len(worklist), worklist.total) == (2, 3)
    finish(worklist, grader)
    assert worklist.pending == 0
    worklist.remove(entries[0].key)
    assert worklist.selected is entries[1]
    worklist.remove(entries[1].key)
    assert worklist.selected is entries[2]


def test_a_blinded_reader_counts_own_decisions():
    worklist = Worklist()
    entries = [worklist.add(f"{n}.jpg", bytes([n])) for n in range(2)]
    entries[0].decision = entries[1].decision = "decision"
    worklist.hidden = frozenset({entries[1].key})
    assert worklist.decided == 1


def test_the_list_is_full_at_some_time(monkeypatch):
    monkeypatch.setattr("viewer.worklist.worklist.MAX_ENTRIES", 2)
    worklist = Worklist()
    first = worklist.add("a.jpg", b"a")
    worklist.add("b.jpg", b"b")
    assert worklist.add("a.jpg", b"a") is first
    with pytest.raises(SourceError, match=r"full \(2 images\)"):
        worklist.add("c.jpg", b"c")
    worklist.clear()
    worklist.add("c.jpg", b"c")


# --- eye and patient ----------------------------------------------------------------------------


def test_corrections_by_hand_reach_the_report(photographs, grader):
    worklist = Worklist()
    entry = worklist.add("10_left.jpg", photographs(1))
    assert (entry.laterality, entry.patient) == ("OS", "10")
    worklist.correct(entry.key, "OD", "  A  7 ")
    finish(worklist, grader)
    assert (entry.report.laterality, entry.report.patient) == ("OD", "A 7")
    worklist.correct(entry.key, None, None)
    assert (entry.report.laterality, entry.report.patient) == (None, None)
    worklist.correct("nobody", "OD", "x")


def test_corrections_in_the_record_are_found_by_content(photographs, grader, tmp_path):
    with ReviewStore(tmp_path / "reviews.sqlite3") as store:
        worklist = Worklist()
        worklist.correction_of = store.identity
        data = photographs(1)
        store.correct_identity(hashlib.sha256(data).hexdigest(), "OD", "B-8", "AR")
        entry = worklist.add("10_left.jpg", data)
        other = worklist.add("10_right.jpg", photographs(2))
        finish(worklist, grader)
    assert (entry.laterality, entry.patient, entry.report.patient) == ("OD", "B-8", "B-8")
    assert other.report.patient == "10"


def test_the_eyes_of_a_patient_are_one_study(photographs, grader):
    worklist = Worklist()
    left, right = (worklist.add(f"10_{eye}.jpg", photographs(eye == "left")) for eye in
                   ("left", "right"))  # fmt: skip
    finish(worklist, grader)
    (study,) = worklist.studies
    assert study.entries == (right, left)
    assert study.grade.grade == max(left.report.grade, right.report.grade)


# --- coming back --------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path):
    return WorklistStore(tmp_path / "lists", Limits(reserve=0))


def restarted(store: WorklistStore) -> WorklistStore:
    """The same folder, as a new server sees it."""
    return WorklistStore(store.root, store.limits)


class NoGrader:
    """Stands in for a grader that must not be asked."""

    def __init__(self, grader) -> None:
        self.version = grader.version

    def grade_many(self, sources):
        raise AssertionError(f"graded again: {list(sources)}")


def test_a_list_comes_back_as_it_was_left(store, photographs, grader):
    worklist = Worklist(store)
    assert (worklist.token, list(store.root.glob("*/"))) == ("", [])  # nothing for mere visitors
    entries = [worklist.add(f"{n}_left.jpg", photographs(n), origin="synthetic") for n in range(3)]
    assert all(isinstance(entry.source, Path) for entry in entries)  # not in memory
    finish(worklist, grader)
    worklist.correct(entries[0].key, "OD", "A-7")
    worklist.arrangement = ViewOptions("severity", by_patient=True)
    worklist.select(entries[2].key)

    back = Worklist.reopened(restarted(store), worklist.token)
    assert back.selected.name == "2_left.jpg"
    assert back.arrangement == worklist.arrangement
    assert [e.file_name for e in back.everything] == [e.file_name for e in entries]
    assert [e.thumbnail for e in back.everything] == [e.thumbnail for e in entries]
    decision = SimpleNamespace(grade=4)
    finish(back, NoGrader(grader), {entries[1].report.sha256: decision}.get)
    for entry, before in zip(back.everything, entries, strict=True):
        assert entry.report.score == before.report.score
        np.testing.assert_array_equal(entry.report.ram(), before.report.ram())
        assert (entry.laterality, entry.patient) == (before.laterality, before.patient)
        assert entry.report.patient == before.patient
    assert [e.decision for e in back.everything] == [None, decision, None]
    assert back.add("3_left.jpg", photographs(3)).key == "p4"
    assert back.add(back.everything[1].file_name, photographs(1)) is back.everything[1]
    assert back.selected.renditions().sha256 == back.selected.report.sha256


def test_two_pages_of_one_list_share_what_was_graded(store, photographs, grader):
    worklist = Worklist(store)
    entry = worklist.add("a.jpg", photographs(1))
    finish(worklist, grader)
    other = Worklist.reopened(store, worklist.token)
    assert other.everything == [entry]
    added = worklist.add("b.jpg", photographs(2)), other.add("c.jpg", photographs(3))
    assert added[0].key != added[1].key
    back = Worklist.reopened(restarted(store), worklist.token)
    assert [e.file_name for e in back.everything] == ["a.jpg", "b.jpg", "c.jpg"]


def test_reports_of_other_weights_are_graded_anew(store, photographs, grader, tiny_bundle):
    worklist = Worklist(store)
    worklist.add("a.jpg", photographs(1))
    finish(worklist, grader)
    newer = Grader(replace(tiny_bundle, version="2"))
    back = Worklist.reopened(restarted(store), worklist.token)
    finish(back, newer)
    assert back.selected.report.model_version == "random 2"


def test_damaged_reports_and_lost_files_do_not_stop_the_return(store, photographs, grader):
    worklist = Worklist(store)
    damaged, lost = (worklist.add(f"{n}.jpg", photographs(n)) for n in range(2))
    finish(worklist, grader)
    (damaged.source.parent / "p1.report").write_bytes(b"nonsense")
    lost.source.unlink()
    back = Worklist.reopened(restarted(store), worklist.token)
    finish(back, grader)
    assert [e.report.status for e in back.everything] == ["graded", "failed"]
    assert back.everything[1].report.reason.startswith("1.jpg: the file no longer exists")


def test_files_of_the_server_stay_where_they_are_and_are_looked_at_again(
    store, photographs, grader, tmp_path
):
    root = tmp_path / "clinic"
    root.mkdir()
    files = [root / f"{n}.jpg" for n in range(3)]
    for n, file in enumerate(files):
        file.write_bytes(photographs(n))
    worklist = Worklist(store, [root])
    for file in files:
        worklist.add(file.name, file)
    finish(worklist, grader)
    assert [e.source for e in worklist.everything] == files
    assert not list(store.root.glob("*/" + "?" * 64))  # no copies
    before = worklist.everything[0].report.score
    files[0].write_bytes(photographs(9))
    files[1].unlink()
    back = Worklist.reopened(restarted(store), worklist.token, [root])
    finish(back, grader)
    assert back.everything[0].report.score != before
    assert back.everything[0].report.sha256 == hashlib.sha256(photographs(9)).hexdigest()
    assert [e.report.status for e in back.everything] == ["graded", "failed", "graded"]


def test_paths_outside_the_root_are_never_opened_on_return(store, photographs, grader, tmp_path):
    root, secret = tmp_path / "clinic", tmp_path / "secret.jpg"
    root.mkdir()
    (root / "a.jpg").write_bytes(photographs(1))
    secret.write_bytes(photographs(2))
    worklist = Worklist(store, [root])
    worklist.add("a.jpg", root / "a.jpg")
    finish(worklist, grader)
    (root / "a.jpg").unlink()
    (root / "a.jpg").symlink_to(secret)
    for roots in ([root], []):
        back = Worklist.reopened(restarted(store), worklist.token, roots)
        finish(back, grader)
        assert back.selected.report.status == "failed"


def test_files_in_a_temporary_folder_are_copied(store, photographs, grader, tmp_path):
    file = tmp_path / "spooled.jpg"
    file.write_bytes(photographs(1))
    worklist = Worklist(store)
    worklist.add("spooled.jpg", file)
    finish(worklist, grader)
    file.unlink()
    back = Worklist.reopened(restarted(store), worklist.token)
    finish(back, NoGrader(grader))
    assert back.selected.report.status == "graded"


def test_clearing_deletes_and_a_new_list_has_another_token(store, photographs, grader):
    worklist = Worklist(store)
    worklist.add("a.jpg", photographs(1))
    finish(worklist, grader)
    token = worklist.token
    worklist.clear()
    assert (worklist.total, worklist.token, worklist.selected) == (0, "", None)
    assert list(store.root.glob("*/")) == []
    assert Worklist.reopened(store, token).total == 0
    entry = worklist.add("a.jpg", photographs(1))
    assert entry.key == "p2"  # no widget of before is taken for one of now
    assert worklist.token not in {"", token}


def test_what_cannot_be_kept_is_told_and_the_work_goes_on(tmp_path, photographs, grader):
    store = WorklistStore(tmp_path, Limits(lists=0))
    worklist = Worklist(store)
    entry = worklist.add("a.jpg", photographs(1))
    finish(worklist, grader)
    assert "Clear a finished list" in worklist.trouble
    assert (entry.report.status, worklist.token) == ("graded", "")


def test_no_room_for_a_file_is_an_error_with_a_sentence(tmp_path, photographs):
    worklist = Worklist(WorklistStore(tmp_path, Limits(size=10, reserve=0)))
    with pytest.raises(SourceError, match="Clear a finished list"):
        worklist.add("a.jpg", photographs(1))
    assert worklist.total == 0


def test_a_list_that_was_cleared_elsewhere_lets_the_work_go_on(store, photographs, grader):
    worklist = Worklist(store)
    worklist.add("a.jpg", photographs(1))
    Worklist.reopened(store, worklist.token).clear()
    worklist.step(1)
    finish(worklist, grader)
    assert worklist.selected.report.status == "failed"  # its copy is deleted
    assert worklist.trouble


# --- privacy ------------------------------------------------------------------------------------


def test_de_identified_names_are_hashes_everywhere(store, photographs, grader):
    worklist = Worklist(store)
    entry = worklist.add("Doe_left.jpg", photographs(1))
    bad = worklist.add("Doe_right.jpg", b"text")
    worklist.deidentified = True
    finish(worklist, grader)
    assert entry.name == entry.report.name == hashlib.sha256(photographs(1)).hexdigest()[:8]
    assert entry.report is entry.report
    assert (entry.report.patient, entry.report_shown.patient, entry.patient_shown) == (None,) * 3
    assert "Doe" not in f"{bad.name} {bad.report.name} {bad.report.reason}"
    assert len(worklist.studies) == 1  # eyes are still paired
    back = Worklist.reopened(restarted(store), worklist.token)
    assert back.everything[0].name == entry.name
    worklist.deidentified = False
    assert (entry.name, entry.report.patient) == ("Doe_left.jpg", "Doe")
