"""Batch runs in the background."""

from __future__ import annotations

import os
import threading

import pytest

from drcore.batch import Found, find_photographs
from drcore.errors import CheckpointError, SourceError
from viewer import jobs
from viewer.engine import Engine
from viewer.jobs import BatchJob, Jobs, duration, filtered, spool


@pytest.fixture
def folder(tmp_path, phantom, encoded):
    """Two eyes and a file that is no photograph."""
    for n in (1, 2):
        (tmp_path / f"{n}_left.jpg").write_bytes(encoded(phantom(seed=n).rgb, "JPEG"))
    (tmp_path / "3_left.jpg").write_bytes(b"text")
    return tmp_path


@pytest.fixture
def ready(grader):
    return Engine(lambda: grader)


def test_a_run_has_a_row_for_every_photograph(folder, ready):
    job = BatchJob(find_photographs([folder]), "eyes")
    assert job.active
    assert job.progress.rate == 0
    job.start(ready)
    job.join(120)
    assert job.state == "finished"
    assert [row["image"] for row in job.rows] == ["1_left.jpg", "2_left.jpg", "3_left.jpg"]
    assert [row["status"] for row in job.rows][2] == "failed"
    progress = job.progress
    assert (progress.done, progress.total, progress.seconds_left) == (3, 3, None)
    assert progress.rate > 0
    assert job.progress == progress  # an ended run does not slow down


def test_a_cancelled_run_keeps_its_rows(folder, grader, monkeypatch):
    first, go_on = threading.Event(), threading.Event()

    def slow(_grader, found, *, workers, stop):
        for item in found:
            if stop.is_set():
                return
            yield {"image": item.image}, None
            first.set()
            go_on.wait(30)

    monkeypatch.setattr("drcore.batch.grade_batch", slow)
    job = BatchJob(find_photographs([folder]), "eyes")
    job.start(Engine(lambda: grader))
    assert first.wait(30)
    assert job.progress.seconds_left is not None or job.progress.done == 0
    job.cancel()
    go_on.set()
    job.join(30)
    assert (job.state, len(job.rows), job.active) == ("cancelled", 1, False)


def test_a_run_without_a_model_says_why(folder):
    def load():
        raise CheckpointError("The weights are missing. Get them again.")

    job = BatchJob(find_photographs([folder]), "eyes")
    job.start(Engine(load))
    job.join(30)
    assert (job.state, job.error) == ("failed", "The weights are missing. Get them again.")


def test_an_accident_ends_the_run_in_a_sentence(folder, ready, monkeypatch):
    def broken(*_args, **_options):
        raise ZeroDivisionError
        yield

    monkeypatch.setattr("drcore.batch.grade_batch", broken)
    job = BatchJob(find_photographs([folder]), "eyes")
    job.start(ready)
    job.join(30)
    assert job.state == "failed"
    assert job.error.endswith(".")


def test_runs_are_found_by_token_and_the_oldest_ended_goes():
    kept = Jobs()
    runs = [BatchJob([], str(n)) for n in range(jobs.KEPT + 2)]
    for run in runs[1:]:
        run.state = "finished"
    for run in runs:
        kept.add(run)
    assert kept.get(runs[0].token) is runs[0]  # still active
    assert kept.get(runs[1].token) is None
    assert kept.get(runs[-1].token) is runs[-1]
    assert kept.get(None) is None
    assert kept.get("guess") is None
    assert len({run.token for run in runs}) == len(runs)


def test_uploads_are_spooled_under_harmless_names():
    files = [
        ("clinic/10_left.jpg", b"a"),
        ("clinic/../../etc/passwd_right.png", b"b"),
        ("clinic/sub/=cmd|' /C calc'!A0_OD.JPG", b"c"),
        ("clinic/\u202egpj.exe", b"d"),
        ("clinic/.hidden.jpg", b"e"),
        ("clinic/notes.txt", b"f"),
        ("clinic/" + "\u00fc" * 180 + "_left.jpg", b"g"),
        ("clinic/10_left.jpg", b"h"),
    ]
    found, folder = spool(files)
    with folder:
        assert [item.path.read_bytes() for item in found] == [b"a", b"c", b"g", b"h"]
        assert found[0].path.name == "10_left.jpg"
        for item in found:
            assert item.path.resolve().is_relative_to(folder.name)
            assert len(os.fsencode(item.path.name)) < 255
        assert found[2].path.name.endswith("\u00fc_left.jpg")
        assert found[0].image == "clinic/10_left.jpg"
        assert len({item.image for item in found}) == len(found)


def test_a_folder_without_photographs_is_told():
    with pytest.raises(SourceError, match="no photograph in this folder"):
        spool([("clinic/notes.txt", b"x")])


def test_forgetting_a_run_deletes_its_copies(ready):
    found, folder = spool([("clinic/10_left.jpg", b"a")])
    kept = Jobs()
    job = BatchJob(found, "clinic", folder)
    kept.add(job)
    job.start(ready)
    job.join(60)
    assert found[0].path.exists()
    kept.forget(job.token)
    assert not found[0].path.exists()
    assert kept.get(job.token) is None


def test_filter_by_grade_state_and_text():
    rows = [
        {"image": "A_left.jpg", "grade": "0", "status": "graded", "reason": "", "patient": "A"},
        {
            "image": "b.jpg",
            "grade": "",
            "status": "ungradable",
            "reason": "Blurred.",
            "patient": "",
        },
        {"image": "c.jpg", "grade": "", "status": "failed", "reason": "Empty.", "patient": ""},
    ]
    assert filtered(rows) == [0, 1, 2]
    assert filtered(rows, show=["0", "failed"]) == [0, 2]
    assert filtered(rows, text=" blur ") == [1]
    assert filtered(rows, show=["0"], text="blur") == []
    assert filtered(rows, text="LEFT") == [0]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0 s"), (59.4, "59 s"), (185, "3 min 5 s"), (7800, "2 h 10 min"), (-1, "0 s")],
)
def test_times_in_words(seconds, words):
    assert duration(seconds) == words


def test_the_root_comes_from_the_environment(monkeypatch, tmp_path):
    monkeypatch.delenv("DRCORE_BATCH_ROOT", raising=False)
    assert jobs.root_from_environment() is None
    monkeypatch.setenv("DRCORE_BATCH_ROOT", str(tmp_path))
    assert jobs.root_from_environment() == tmp_path


def test_a_vanished_file_is_a_row(ready, tmp_path):
    job = BatchJob([Found(tmp_path / "gone.jpg", "gone.jpg")], "eyes")
    job.start(ready)
    job.join(60)
    assert [row["status"] for row in job.rows] == ["failed"]
