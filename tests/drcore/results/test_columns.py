"""Rows and their cells."""

from __future__ import annotations

import csv
import io
from dataclasses import replace

import pytest

from drcore.grading.grader import Grader
from drcore.model.calibration import GradeCalibration
from drcore.results.columns import COLOUR_AND_LIGHT, COLUMNS, row_of
from drcore.text import csv_safe, csv_text


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("", ""),
        ("10_left.jpeg", "10_left.jpeg"),
        ("=1+1", "'=1+1"),
        ("+cmd|' /C calc'!A0", "'+cmd|' /C calc'!A0"),
        ("-2+3", "'-2+3"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\tx", "'\tx"),
        ("\rx", "'\rx"),
        ("  =1", "'  =1"),
        ("\uff1d1", "'\uff1d1"),
        ("\uff0b1", "'\uff0b1"),
        ("\uff0d1", "'\uff0d1"),
        ("\uff20x", "'\uff20x"),
        ("\u22121", "'\u22121"),
        ("-0.1234", "-0.1234"),
        ("+3", "+3"),
        ("-1e-05", "-1e-05"),
        ("-1\n", "'-1\n"),
        ("-", "'-"),
        ("a;=1", "a;'=1"),
        ("a-b, c=d", "a-b, c=d"),
        ("\udcff.jpg", "\\udcff.jpg"),
    ],
)
def test_csv_safe(text: str, cell: str) -> None:
    assert csv_safe(text) == cell
    assert csv_safe(cell) == cell
    cell.encode("utf-8")


def test_csv_text_survives_any_cell() -> None:
    hostile = {"image": 'a,"b"\nc', "reason": "=HYPERLINK()", "patient": "x\ry"}
    text = csv_text([hostile, {"image": "z"}], COLUMNS)
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert [row["image"] for row in rows] == ['a,"b"\nc', "z"]
    assert rows[0]["reason"] == "'=HYPERLINK()"
    assert rows[0]["patient"] == "x\ny"
    assert text.splitlines()[0] == ",".join(COLUMNS)


def test_first_columns_are_the_contract() -> None:
    assert ",".join(COLUMNS[:7]) == "image,status,reason,gradable,grade,score,referable"


def test_rows(tiny_grader: Grader, jpegs: list[bytes]) -> None:
    graded = tiny_grader.grade(jpegs[0], name="=10_left.jpg")
    row = row_of(graded)
    assert tuple(row) == COLUMNS
    assert (row["image"], row["status"], row["reason"]) == ("'=10_left.jpg", "graded", "")
    assert row["gradable"] == "true"
    assert row["grade"] == str(graded.grade)
    assert row["referable"] == ("true" if graded.referable else "false")
    assert float(row["score"]) == pytest.approx(graded.score, abs=6e-5)
    assert (row["score_128"], row["score_256"]) == (row["score"], "")
    fine = replace(graded, scores={**graded.scores, 1024: 1.5})
    assert (row["score_1024"], row_of(fine)["score_1024"]) == ("", "1.5000")
    assert (row["laterality"], row["patient"]) == ("OS", "'=10")
    assert (row["width"], row["height"], row["fov_found"]) == ("256", "256", "true")
    assert row["sha256"] == graded.sha256

    ungradable = row_of(tiny_grader.grade(jpegs[4]), "sub/a.jpg")
    assert (ungradable["image"], ungradable["status"]) == ("sub/a.jpg", "ungradable")
    assert ungradable["reason"].endswith(".")
    assert (ungradable["gradable"], ungradable["grade"], ungradable["referable"]) == (
        "false", "", "",
    )  # fmt: skip
    assert ungradable["score"]

    failed = row_of(tiny_grader.failed("x.jpg", "It is\n broken."))
    assert (failed["status"], failed["reason"], failed["gradable"]) == (
        "failed", "It is broken.", "false",
    )  # fmt: skip
    empty = set(COLUMNS) - {"image", "status", "reason", "gradable", "model_version"}
    assert {failed[column] for column in empty} == {""}


def test_certainty_in_rows(tiny_grader: Grader, jpegs: list[bytes]) -> None:
    bare = row_of(tiny_grader.grade(jpegs[0]))
    assert {bare[column] for column in ("p0", "p1", "p2", "p3", "p4", "grade_set")} == {""}
    assert bare["margin"]
    certainty = GradeCalibration(
        cuts=(0.8, 1.4, 2.4, 3.3), width=0.3, widening=0.2,
        coverage=0.9, level=0.8, sensitive=0.1,
    )  # fmt: skip
    calibrated = Grader(replace(tiny_grader.bundle, certainty=certainty))
    report = calibrated.grade(jpegs[0])
    row = row_of(report)
    shares = [float(row[f"p{grade}"]) for grade in range(5)]
    assert shares == pytest.approx(report.probabilities, abs=6e-5)
    low, _, high = row["grade_set"].partition(" to ")
    assert tuple(range(int(low), int(high or low) + 1)) == report.grade_set
    assert float(row["margin"]) == pytest.approx(report.margin, abs=6e-5)
    assert float(row["p_referable"]) == pytest.approx(sum(shares[2:]), abs=2e-4)
    assert row["referable_sensitive"] == str(report.score >= certainty.sensitive).lower()
    assert row_of(replace(report, grade_set=(2,)))["grade_set"] == "2"
    assert row_of(replace(report, grade_set=(2, 3, 4)))["grade_set"] == "2 to 4"
    for without in (calibrated.grade(jpegs[4]), calibrated.failed("x.jpg", "It is broken.")):
        cells = row_of(without)
        certain = COLUMNS[COLUMNS.index("p0") : COLUMNS.index("margin") + 1]
        certain += ("p_referable", "referable_sensitive")
        assert {cells[column] for column in certain} == {""}


def test_a_score_of_minus_nothing_has_no_sign(tiny_grader: Grader, jpegs: list[bytes]) -> None:
    assert row_of(replace(tiny_grader.grade(jpegs[0]), score=-1e-6))["score"] == "0.0000"


def test_where_identity_was_read_is_told(tiny_grader: Grader, jpegs: list[bytes]) -> None:
    row = row_of(tiny_grader.grade(jpegs[0], name="P7_OD_2024-03-01.jpg"))
    assert (row["laterality"], row["patient"], row["exam_date"]) == ("OD", "P7", "2024-03-01")
    assert row["identity_source"] == "eye=name patient=name date=name"
    assert row["file_size"] == str(len(jpegs[0]))
    assert COLUMNS[28:] == (
        "exam_date", "identity_source", "picture", "file_size", "note", "score_1024",
        "p_referable", "referable_sensitive", "referable_from", "borderline_from", "sharpness",
        "brightness", "camera", "quality_score", "saturation", "red_blue", "red_green_spread",
        "green_blue_spread", "light_right", "light_down",
    )  # fmt: skip


def test_the_quality_score_is_told_of_graded_and_ungradable_photographs(
    tiny_grader: Grader, jpegs: list[bytes]
) -> None:
    for jpeg in (jpegs[0], jpegs[4]):
        report = tiny_grader.grade(jpeg)
        assert 0 <= report.quality.score <= 1
        assert float(row_of(report)["quality_score"]) == pytest.approx(
            report.quality.score, abs=6e-5
        )
    assert row_of(tiny_grader.failed("x.jpg", "It is broken."))["quality_score"] == ""


def test_colour_and_light_are_as_measured(tiny_grader: Grader, jpegs: list[bytes]) -> None:
    report = tiny_grader.grade(jpegs[0])
    row = row_of(report)
    for name in COLOUR_AND_LIGHT:
        assert float(row[name]) == pytest.approx(getattr(report.quality, name), abs=6e-5)
    failed = row_of(tiny_grader.failed("x.jpg", "It is broken."))
    assert {failed[name] for name in COLOUR_AND_LIGHT} == {""}
    earlier = replace(report, quality=replace(report.quality, light_down=None))
    assert row_of(earlier)["light_down"] == ""
