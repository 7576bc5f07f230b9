"""The pages with inputs that did harm once: command line, Batch and Review say the same of them."""

import os
from pathlib import Path

import pytest

from drcore.batch.pipeline import grade_batch
from drcore.sources.find import find_inputs
from viewer.batch import panel

CASES = Path(os.environ.get("DRCORE_CASES", Path(__file__).parents[3] / "shared/cases/inputs"))

pytestmark = pytest.mark.skipif(not CASES.is_dir(), reason="the inputs are not here (DRCORE_CASES)")


def test_every_case_on_batch_and_review(open_app, grader_of, wait_graded):
    pytest.importorskip("pydicom", reason="pydicom is not installed (extra 'dicom')")
    found = find_inputs([CASES])
    rows = [row for row, _ in grade_batch(grader_of(4), found.photographs)]
    assert len(rows) > 10

    app = open_app(grade=4, page="batch/page.py")
    files = [(path.name, path.read_bytes(), "") for path in sorted(CASES.iterdir())]
    app.file_uploader[0].set_value(files).run()
    job = panel.jobs().get(app.session_state["run"])
    job.join(120)
    app.run()
    assert not app.exception
    assert job.rows == rows
    assert len(app.dataframe[0].value) == len(rows)

    app = open_app(grade=4)
    app.file_uploader[0].set_value(files).run()
    wait_graded(app)
    reports = [entry.report for entry in app.session_state["worklist"].everything]
    told = [(report.status, report.sha256, report.reason) for report in reports]
    assert [(row["status"], row["sha256"], row["reason"]) for row in rows] == told
    for step in range(len(rows)):
        assert not app.exception, rows[step]["image"]
        if not app.button(key="next").disabled:
            app.button(key="next").click().run()
