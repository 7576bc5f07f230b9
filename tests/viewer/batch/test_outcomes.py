"""Outcomes of a batch."""

import pytest

from viewer.batch.outcomes import outcome_of, patient_outcomes, patient_table


def row(patient="7", eye="OD", grade="0", sensitive="false", date="", status="graded"):
    grade = grade if status == "graded" else ""
    return {
        "status": status, "patient": patient, "laterality": eye, "grade": grade, "exam_date": date,
        "referable": str(int(grade) >= 2).lower() if grade else "",
        "referable_sensitive": sensitive if grade else "",
    }  # fmt: skip


LEFT = {"eye": "OS"}


@pytest.mark.parametrize(
    ("changes", "outcome"),
    [
        ({"grade": "2"}, "Referable"),
        ({"grade": "1", "sensitive": "true"}, "Borderline"),
        ({}, "No referable DR"),
        ({"status": "ungradable"}, "Ungradable"),
        ({"status": "failed"}, "Unreadable"),
    ],
)
def test_an_image(changes, outcome):
    assert outcome_of(row(**changes)) == outcome


@pytest.mark.parametrize(
    ("rows", "outcome"),
    [
        ([row(), row(**LEFT, grade="3")], "Referable"),
        ([row(sensitive="true"), row(**LEFT, status="ungradable")], "Borderline"),
        ([row(), row(**LEFT, status="ungradable")], "Ungradable"),
        ([row(), row(**LEFT)], "No referable DR"),
        ([row(), row(**LEFT, status="failed")], "Incomplete"),
        ([row()], "Incomplete"),
        ([row(), row(eye="")], "Incomplete"),
    ],
)
def test_a_patient(rows, outcome):
    (patient,) = patient_outcomes(rows)
    assert patient.outcome == outcome


def test_visits_are_apart_and_unknown_patients_are_none():
    rows = [
        row(date="2024-01-01", grade="2"), row(date="2025-01-01"), row(),
        row(date="2025-01-01", **LEFT), row(patient=""),
    ]  # fmt: skip
    found = patient_outcomes(rows)
    assert [(one.exam_date, one.outcome, one.rows) for one in found] == [
        ("2024-01-01", "Referable", (0,)),
        ("2025-01-01", "No referable DR", (1, 3)),
        ("", "Incomplete", (2,)),
    ]
    table = patient_table(found)
    assert table["left"].tolist() == ["\u2013", "0", "\u2013"]
    assert "any visit (known: 2024-01-01, 2025-01-01)" in table["missing"][2]
