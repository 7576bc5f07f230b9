"""Command line, Batch and Review: the same files give the same rows."""

import csv
from collections import Counter

import pytest

from drcore.batch.command import GradeOptions, grade
from drcore.batch.pipeline import grade_batch
from drcore.grading.grader import Grader
from drcore.sources.find import find_inputs
from tests.support.hostile_folder import hostile_files, write_files
from training.synthetic.phantom import make_phantom
from training.synthetic.recipe import PhantomRecipe
from viewer.batch.uploads import save_upload
from viewer.worklist.importing import import_files
from viewer.worklist.worklist import Worklist

pytest.importorskip("pydicom", reason="pydicom is not installed (extra 'dicom')")


def test_one_hostile_folder_three_ways(tmp_path, grader, monkeypatch):
    pictures = [make_phantom(PhantomRecipe(size=256, seed=seed)).rgb for seed in range(2)]
    files = hostile_files([*pictures, pictures[0] // 16])
    folder = write_files(tmp_path / "hostile", files)
    monkeypatch.setattr(Grader, "bundled", classmethod(lambda *_: grader))
    assert grade(GradeOptions((str(folder),), str(tmp_path / "o.csv"), quiet=True)) == 0
    with (tmp_path / "o.csv").open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))

    uploads = [(f"hostile/{name}", data) for name, data in files.items()]
    found, copies, _ = save_upload(uploads)
    batch = [row for row, _ in grade_batch(grader, found)]
    by_name = {row["image"].removeprefix("hostile/"): {**row, "image": ""} for row in batch}
    assert by_name == {row["image"].lstrip("'"): {**row, "image": ""} for row in rows}
    copies.cleanup()

    worklist = Worklist()
    result = import_files(worklist, uploads)
    problems = sum(bool(item.problem) for item in find_inputs([folder]).photographs)
    contents = Counter(row["sha256"] for row in rows if row["sha256"])
    reviewed = Counter()
    failed = 0
    for entry in worklist.everything:
        (report,) = grader.grade_many([(entry.file_name, entry.source)])
        reviewed[report.sha256] += 1
        failed += report.status == "failed"
    assert {sha256 for sha256 in reviewed if sha256} == set(contents)
    # What is no picture for certain is a sentence; the rest is an entry that says why.
    unreadable = [row for row in rows if row["status"] == "failed"]
    assert failed >= len({row["reason"] for row in unreadable}) - problems
    assert any(sentence.startswith("Skipped (exported by drcore)") for sentence in result.sentences)
