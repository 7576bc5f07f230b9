"""The readers' result stands first in every document, the model's beside it and named as such."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pydicom
import pypdf
import pytest
from fhir.resources.R4B.bundle import Bundle

from drcore.agreement.adjudication import StudyRules
from drcore.export.case import Case
from drcore.export.deidentification import Disclosure
from drcore.export.export import RESULT_COLUMNS, write_export
from drcore.export.result_json import result
from drcore.icdr import MODEL_NOTICE, NOTICE
from drcore.results.columns import COLUMNS
from drcore.reviews.decision import Decision

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # pytest lifts drcore's filter

NOON = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
SUMMER = timezone(timedelta(hours=2))


@pytest.fixture(scope="module")
def unread(grader, phantom, dicom_of) -> Case:
    """A photograph that the model calls grade 4; nobody has read it."""
    data = dicom_of(np.array(phantom(seed=2).rgb), PatientID="ZQ-4711")
    report = grader.grade(data, name="eye.dcm")
    report = replace(report, status="graded", grade=4, score=3.6, reason="", exam_date="2026-03-01")
    return Case(report, data)


def said(case: Case, number: int, reader: str, grade: int | None, role: str | None = "first"):
    report = case.report
    action = "agree" if grade == report.grade else "change" if grade is not None else "ungradable"
    return number, Decision(
        sha256=report.sha256, image=report.name, model_version=report.model_version,
        machine_status=report.status, machine_grade=report.grade, machine_score=report.score,
        action=action, grade=grade, note="", reader=reader, role=role,
        decided_at=NOON + timedelta(minutes=number),
    )  # fmt: skip


@pytest.fixture(scope="module")
def settled(unread) -> Case:
    """Two readers differ, the arbiter says grade 0."""
    made = (said(unread, 1, "AR", 3), said(unread, 2, "BS", 4), said(unread, 3, "CT", 0, "arbiter"))
    return replace(unread, decisions=made)


def exported(cases, tmp_path, *kinds):
    file = tmp_path / "export"
    write_export(cases, (*kinds, "csv"), file, made_at=NOON.astimezone(SUMMER))
    with zipfile.ZipFile(file) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def pdf_text(data: bytes) -> str:
    pages = pypdf.PdfReader(io.BytesIO(data)).pages
    return " ".join(" ".join(page.extract_text().split()) for page in pages)


def comments_of(document: pydicom.Dataset) -> list[str]:
    return [
        item.TextValue
        for item in document.ContentSequence
        if item.ConceptNameCodeSequence[0].CodeValue == "121106"
    ]


def resources(documents) -> list[dict]:
    (data,) = (data for name, data in documents.items() if name.startswith("fhir/"))
    Bundle.model_validate_json(data)
    return [entry["resource"] for entry in json.loads(data)["entry"]]


def test_arbiter_is_final_in_the_pdf(settled, tmp_path):
    documents = exported([settled], tmp_path, "pdf")
    text = pdf_text(documents["reports/ZQ-4711-2026-03-01-report.pdf"])
    final, model = "Final grade 0: No apparent retinopathy", "Model: grade 4"
    assert text.index(final) < text.index(model)
    head = text[: text.index("Model (worse eye)")]
    assert "Grade 0: No apparent retinopathy" in head
    assert "arbiter CT, 2026-03-04 14:03 UTC+02:00" in head
    assert "Examination 2026-03-01" in head
    assert "NOT YET READ" not in text


def test_arbiter_is_final_in_fhir(settled, tmp_path):
    report, final, model = resources(exported([settled], tmp_path, "fhir"))
    assert (report["status"], final["status"], model["status"]) == ("final", "final", "preliminary")
    assert final["performer"] == [{"type": "Practitioner", "display": "CT"}]
    assert report["resultsInterpreter"] == final["performer"]
    assert final["issued"] == "2026-03-04T12:03:00+00:00"
    assert final["valueCodeableConcept"]["coding"][0]["code"] == "LA18643-9"
    assert "device" not in final
    assert model["valueCodeableConcept"]["coding"][0]["code"] == "LA18648-8"
    assert model["device"] == {"reference": "#model"}
    assert "without a clinician" not in json.dumps([report, final, model])
    assert [code["coding"][0]["code"] for code in report["conclusionCode"]] == ["LA18643-9"]
    assert (
        "final ICDR grade 0 (No apparent retinopathy), not referable, by CT; model: Referable DR"
        in (report["conclusion"])
    )
    assert {r["effectiveDateTime"] for r in (report, final, model)} == {"2026-03-01"}


def test_arbiter_is_final_in_the_structured_report(settled, tmp_path):
    documents = exported([settled], tmp_path, "dicom")
    (data,) = (data for name, data in documents.items() if name.endswith("-report.dcm"))
    document = pydicom.dcmread(io.BytesIO(data))
    text = str(document)
    comments = comments_of(document)
    assert document.PreliminaryFlag == "FINAL"
    assert text.index("LA18643-9") < text.index("LA18648-8")
    assert comments[:2] == [
        "Final grade 0: No apparent retinopathy, arbiter CT, 2026-03-04 14:03 UTC+02:00.",
        f"Model result; a clinician has read this photograph. {NOTICE}",
    ]
    names = [item for item in document.ContentSequence if item.ValueType == "PNAME"]
    assert [str(item.PersonName) for item in names] == ["CT"]


def test_any_letters_in_a_readers_name_make_a_structured_report(unread, tmp_path):
    odd = replace(unread, decisions=(said(unread, 1, "山田=太郎^\\\u202e", 2),))
    documents = exported([odd], tmp_path, "dicom")
    (data,) = (data for name, data in documents.items() if name.endswith("-report.dcm"))
    document = pydicom.dcmread(io.BytesIO(data))
    assert "山田 太郎" in str(document)
    assert document.PatientID == "ZQ-4711"


def test_arbiter_is_final_in_tables_and_json(settled, tmp_path):
    documents = exported([settled], tmp_path, "json")
    (row,) = csv.DictReader(io.StringIO(documents["results.csv"].decode(), newline=""))
    assert tuple(row) == RESULT_COLUMNS
    assert set(COLUMNS) < set(RESULT_COLUMNS)
    shown = ("status", "grade", "referable", "basis", "by", "at")
    assert [row[f"final_{name}"] for name in shown] == [
        "graded", "0", "false", "arbiter", "CT", "2026-03-04T12:03:00+00:00",
    ]  # fmt: skip
    assert row["grade"] == "4"  # the model's, as ever
    (found,) = json.loads(documents["results.json"])
    assert (found["final"]["grade"], found["grade"]) == (0, 4)


@pytest.mark.parametrize(
    ("readings", "status", "grade", "basis", "by"),
    [
        ([], "unread", None, None, []),
        ([("AR", 2)], "graded", 2, "reader", ["AR"]),
        ([("AR", 2), ("BS", 2)], "graded", 2, "agreement", ["AR", "BS"]),
        ([("AR", 2), ("BS", 3)], "disagreement", None, None, []),
        ([("AR", 3), ("BS", 2), ("ar ", 2)], "graded", 2, "agreement", ["ar", "BS"]),
        ([("", None)], "ungradable", None, "reader", ["Unnamed reader"]),
    ],
)
def test_final_grade_is_what_readers_agree_on(unread, readings, status, grade, basis, by):
    made = tuple(said(unread, n, *reading) for n, reading in enumerate(readings, start=1))
    final = result(replace(unread, decisions=made))["final"]
    assert (final["status"], final["grade"], final["basis"]) == (status, grade, basis)
    assert sorted(final["by"], key=str.casefold) == sorted(by, key=str.casefold)


def test_rules_of_a_study_say_who_agrees(unread):
    made = (said(unread, 1, "AR", 2), said(unread, 2, "BS", 3))
    lenient = replace(unread, decisions=made, rules=StudyRules(tolerance=1))
    assert result(lenient)["final"]["grade"] == 3


def test_what_nobody_has_read_says_so_everywhere(unread, tmp_path):
    documents = exported([unread], tmp_path, "pdf", "fhir", "dicom")
    text = pdf_text(documents["reports/ZQ-4711-2026-03-01-report.pdf"])
    assert text.count("NOT YET READ BY A CLINICIAN") == 2
    report, model = resources(documents)
    assert (report["status"], model["status"]) == ("preliminary", "preliminary")
    assert "not yet read by a clinician; model: Referable DR, ICDR grade 4" in report["conclusion"]
    assert [code["coding"][0]["code"] for code in report["conclusionCode"]] == ["LA18648-8"]
    (data,) = (data for name, data in documents.items() if name.endswith("-report.dcm"))
    document = pydicom.dcmread(io.BytesIO(data))
    assert document.PreliminaryFlag == "PRELIMINARY"
    assert comments_of(document)[0] == MODEL_NOTICE


def test_an_open_eye_keeps_a_patient_from_looking_settled(settled, unread, tmp_path):
    other = replace(unread.report, laterality="OS", sha256="ab" * 32, grade=4)
    apart = replace(unread, report=other)
    apart = replace(apart, decisions=(said(apart, 5, "AR", 4), said(apart, 6, "BS", 1)))
    documents = exported([settled, apart], tmp_path, "pdf", "fhir")
    text = pdf_text(documents["reports/ZQ-4711-2026-03-01-report.pdf"])
    assert "Incomplete: 1 photograph not judged. So far: Grade 0" in text
    assert "No final grade: readers disagree (AR grade 4, BS grade 1)" in text
    report = resources(documents)[0]
    assert report["status"] == "partial"
    codes = [code["coding"][0]["code"] for code in report["conclusionCode"]]
    assert codes == ["LA18648-8", "LA18643-9"]  # the open eye's by the model


def test_two_visits_are_two_documents(settled, unread, tmp_path):
    later = replace(unread.report, exam_date="2026-09-01", sha256="ab" * 32)
    undated = replace(unread.report, exam_date=None, sha256="cd" * 32)
    cases = [settled, replace(unread, report=later), replace(unread, report=undated)]
    documents = exported(cases, tmp_path, "pdf", "fhir")
    names = sorted(name for name in documents if name.startswith(("reports/", "fhir/")))
    assert names == [
        f"{folder}/ZQ-4711{date}-{ending}"
        for folder, ending in (("fhir", "fhir.json"), ("reports", "report.pdf"))
        for date in ("-2026-03-01", "-2026-09-01", "")
    ]
    first = pdf_text(documents["reports/ZQ-4711-2026-03-01-report.pdf"])
    assert "Model (worse eye) Grade 4" in first
    assert "NOT YET READ" not in first
    assert "NOT YET READ" in pdf_text(documents["reports/ZQ-4711-2026-09-01-report.pdf"])
    told = pdf_text(documents["reports/ZQ-4711-report.pdf"])
    assert "may be of any visit (known: 2026-03-01, 2026-09-01)." in told


def test_dates_of_examinations_do_not_leave_deidentified(settled, unread, tmp_path):
    undated = replace(unread.report, exam_date=None, sha256="cd" * 32)
    cases = [settled, replace(unread, report=undated), replace(unread, report=undated)]
    file = tmp_path / "export"
    write_export(
        cases, ("pdf", "fhir", "csv", "json"), file, made_at=NOON,
        privacy=Disclosure(deidentified=True),
    )  # fmt: skip
    with zipfile.ZipFile(file) as archive:
        documents = {name: archive.read(name) for name in archive.namelist()}
    told = {n: pdf_text(d) if n.endswith(".pdf") else d.decode() for n, d in documents.items()}
    assert not [name for name, text in told.items() if "2026-03-01" in name + text]
    assert [n for n, text in told.items() if "may be of several visits" in text]
    assert [n for n, text in told.items() if "Examination de-identified" in text]
