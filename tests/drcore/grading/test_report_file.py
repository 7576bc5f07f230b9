"""Reports that are kept as files."""

from __future__ import annotations

import io
import json
from dataclasses import fields

import numpy as np
import pytest

from drcore.errors import DrcoreError
from drcore.grading.report_file import report_from_bytes, report_to_bytes


@pytest.fixture(scope="module")
def reports(grader, phantom, encoded):
    """A graded, an ungradable and a failed report."""
    good = encoded(phantom(seed=3).rgb, "JPEG")
    dark = encoded(phantom(seed=3, exposure=0.05).rgb, "JPEG")
    sources = [("10_right.jpg", good), ("\u00e9 dark.jpg", dark), ("text.jpg", b"text")]
    made = list(grader.grade_many(sources))
    assert [report.status for report in made] == ["graded", "ungradable", "failed"]
    return made


def rewritten(data: bytes, **changes) -> bytes:
    with np.load(io.BytesIO(data)) as archive:
        arrays = {name: archive[name] for name in archive.files}
    head = json.loads(arrays["head"].tobytes())
    for name, value in changes.items():
        if value is None:
            del head[name]
        else:
            head[name] = value
    arrays["head"] = np.frombuffer(json.dumps(head).encode(), np.uint8)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


@pytest.mark.parametrize("index", range(3))
def test_a_report_comes_back_as_it_was(reports, index):
    report = reports[index]
    back = report_from_bytes(report_to_bytes(report))
    for field in fields(report):
        if field.name not in {"_maps", "_contrast"}:
            before, after = getattr(report, field.name), getattr(back, field.name)
            assert repr(after) == repr(before), field.name  # as text, for NaN
            assert type(after) is type(before), field.name
    assert back.scales == report.scales
    assert (back.referable, back.margin) == (report.referable, report.margin)
    if report.status != "failed":
        for scale in (*report.scales, "fused"):
            np.testing.assert_array_equal(back.ram(scale), report.ram(scale))
            np.testing.assert_array_equal(back.cells(scale).values, report.cells(scale).values)


@pytest.mark.parametrize("data", [b"", b"text", b"PK\x03\x04", b"\x93NUMPY"])
def test_what_is_no_report_is_refused(data):
    with pytest.raises(DrcoreError, match="Grade the photograph again"):
        report_from_bytes(data)


def test_a_damaged_report_is_refused(reports):
    whole = report_to_bytes(reports[0])
    for cut in (100, len(whole) // 2, len(whole) - 10):
        with pytest.raises(DrcoreError):
            report_from_bytes(whole[:cut])


@pytest.mark.parametrize(
    "changes",
    [
        {"grade": 7}, {"status": "perfect"}, {"status": "ungradable"}, {"score": float("nan")},
        {"kind": "drcore report 0"}, {"patient": None}, {"more": 1}, {"thresholds": [1, 2]},
    ],
)  # fmt: skip
def test_a_report_of_another_release_or_with_an_impossible_grade_is_refused(reports, changes):
    with pytest.raises(DrcoreError):
        report_from_bytes(rewritten(report_to_bytes(reports[0]), **changes))


def test_pickles_are_not_loaded(reports):
    buffer = io.BytesIO()
    np.savez(buffer, head=np.array([{"a": object}], dtype=object))
    with pytest.raises(DrcoreError):
        report_from_bytes(buffer.getvalue())
