"""Batch runs in the background."""

from __future__ import annotations

import shutil
import threading
from types import SimpleNamespace

import pytest

from drcore.errors import CheckpointError
from drcore.sources.find import find_photographs
from drcore.sources.source import PhotographSource
from viewer.batch import job as batch_job
from viewer.batch.job import BatchJob, duration
from viewer.batch.results_table import filtered
from viewer.batch.uploads import save_upload
from viewer.server import jobs, settings
from viewer.server.jobs import JobRegistry
from viewer.server.model_loader import Engine


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

    def slow(_grader, found, *, workers, batch, stop):
        for item in found:
            if stop.is_set():
                return
            yield {"image": item.image}, None
            first.set()
            go_on.wait(30)

    monkeypatch.setattr("drcore.batch.pipeline.grade_batch", slow)
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


def test_an_accident_ends_the_run_in_a_sentence(folder, ready, monkeypatch, capsys):
    def broken(*_args, **_options):
        raise ZeroDivisionError("of /data/Smith_left.jpg")
        yield

    monkeypatch.setattr("drcore.batch.pipeline.grade_batch", broken)
    job = BatchJob(find_photographs([folder]), "eyes")
    job.start(ready)
    job.join(30)
    assert job.state == "failed"
    assert job.error == "The batch was stopped by an error. See the server log for details."
    assert len(job.rows) < len(job.found)


class Fragile:
    """A grader whose networks break on some photographs, or for some time."""

    def __init__(self, grader, *, poison=(), breaks=0):
        self._grader, self._poison, self._breaks = grader, set(poison), breaks
        self.attempt, self.failed = grader.attempt, grader.failed
        self.runner = SimpleNamespace(prefers_single=False)  # one batch for several

    def finish(self, prepared):
        reports = self._grader.finish(prepared)
        if self._breaks:
            self._breaks -= 1
            raise RuntimeError("out of memory")
        if self._poison & {report.name for report in reports}:
            raise RuntimeError("poison")
        return reports


def eleven(tmp_path, phantom, encoded):
    data = encoded(phantom(seed=1).rgb, "JPEG")
    for n in range(11):
        (tmp_path / f"{n:02d}_left.jpg").write_bytes(data)
    return find_photographs([tmp_path])


def test_a_photograph_that_breaks_the_networks_costs_only_its_own_grade(
    tmp_path, phantom, encoded, grader
):
    found = eleven(tmp_path, phantom, encoded)
    job = BatchJob(found, "eyes")
    job.start(Engine(lambda: Fragile(grader, poison=["03_left.jpg", "09_left.jpg"])))
    job.join(120)
    assert (job.state, job.error) == ("finished", "")
    assert [row["image"] for row in job.rows] == [item.image for item in found]
    lost = {row["image"]: row["reason"] for row in job.rows if row["status"] == "failed"}
    assert list(lost) == ["03_left.jpg", "09_left.jpg"]
    assert lost["03_left.jpg"].endswith("grading failed. Try this image on its own.")


def test_a_device_that_comes_back_costs_nothing(tmp_path, phantom, encoded, grader):
    found = eleven(tmp_path, phantom, encoded)
    plain, shaken = BatchJob(found, "plain"), BatchJob(found, "shaken")
    for job, network in ((plain, grader), (shaken, Fragile(grader, breaks=1))):
        job.start(Engine(lambda network=network: network))
        job.join(120)
        assert job.state == "finished"
    assert {row["status"] for row in shaken.rows} == {row["status"] for row in plain.rows}
    assert [row["grade"] for row in shaken.rows] == [row["grade"] for row in plain.rows]


def test_a_run_that_broke_off_goes_on_with_its_rows(tmp_path, phantom, encoded, grader):
    found = eleven(tmp_path, phantom, encoded)
    engine = Engine(lambda: Fragile(grader, breaks=1 + batch_job.MAX_FAILURES))
    job = BatchJob(found, "eyes")
    job.start(engine)
    job.join(120)
    assert job.state == "failed"
    assert job.error.startswith("The networks cannot run (out of memory)")
    before = job.rows
    assert 0 < len(before) < len(found)
    job.start(engine)
    job.join(120)
    assert (job.state, job.error) == ("finished", "")
    assert job.rows[: len(before)] == before
    assert [row["image"] for row in job.rows] == [item.image for item in found]
    assert job.progress.rate > 0


def test_a_folder_that_vanishes_during_the_run_gives_rows_with_reasons(
    tmp_path, phantom, encoded, grader
):
    (tmp_path / "eyes").mkdir()
    found = eleven(tmp_path / "eyes", phantom, encoded)

    def load():
        shutil.rmtree(tmp_path / "eyes")
        return grader

    job = BatchJob(found, "eyes")
    job.start(Engine(load))
    job.join(60)
    assert job.state == "finished"
    assert [row["status"] for row in job.rows] == ["failed"] * len(found)
    assert all(row["reason"].endswith(".") for row in job.rows)
    assert str(tmp_path) not in str(job.rows)


def test_two_starts_are_one_run(folder, ready):
    job = BatchJob(find_photographs([folder]), "eyes")
    for _ in range(5):
        job.start(ready)
    job.join(120)
    assert [row["image"] for row in job.rows] == ["1_left.jpg", "2_left.jpg", "3_left.jpg"]


def test_runs_are_found_by_token_and_the_oldest_ended_goes():
    kept = JobRegistry()
    runs = [BatchJob([], str(n)) for n in range(jobs.MAX_JOBS + 2)]
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


def test_a_run_is_forgotten_a_day_after_its_end_and_its_copies_with_it(monkeypatch):
    found, folder, _ = save_upload([("clinic/10_left.jpg", b"a")])
    kept = JobRegistry()
    job = BatchJob(found, "clinic", folder)
    kept.add(job)
    assert kept.get(job.token) is job
    job.start(Engine(lambda: (_ for _ in ()).throw(CheckpointError("There are no weights."))))
    job.join(30)
    assert kept.get(job.token) is job
    monkeypatch.setattr(jobs, "MAX_IDLE", -1.0)
    assert kept.get(job.token) is None
    assert not found[0].path.exists()


def test_forgetting_a_run_deletes_its_copies(ready):
    found, folder, _ = save_upload([("clinic/10_left.jpg", b"a")])
    kept = JobRegistry()
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
    assert settings.batch_root() is None
    monkeypatch.setenv("DRCORE_BATCH_ROOT", str(tmp_path))
    assert settings.batch_root() == tmp_path


def test_a_vanished_file_is_a_row(ready, tmp_path):
    job = BatchJob([PhotographSource(tmp_path / "gone.jpg", "gone.jpg")], "eyes")
    job.start(ready)
    job.join(60)
    assert [row["status"] for row in job.rows] == ["failed"]
