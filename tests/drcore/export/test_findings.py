"""The structured reading in what leaves: JSON, FHIR, structured report, de-identified too."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import replace

import pydicom
import pytest
from fhir.resources.R4B.observation import Observation
from pypdf import PdfReader

from drcore.export.case import Case
from drcore.export.deidentification import Disclosure
from drcore.export.export import write_export
from drcore.export.pdf.report import patient_pdf
from drcore.export.result_json import result
from drcore.export.standards.dicom import structured_report
from drcore.export.standards.fhir import final_observation
from drcore.reviews.findings import Findings
from tests.support.reviews import NOON, decision

FINDINGS = Findings(
    "Screening 1",
    (("macular_oedema", "referable"), ("other_findings", ("drusen", "glaucoma suspect")),
     ("outcome", "rescreen"), ("rescreen_months", 6)),
    (("other_text", "seen with Mr. X"),),
)  # fmt: skip


@pytest.fixture(scope="module")
def source(phantom, dicom_of) -> bytes:
    return dicom_of(phantom(seed=2).rgb)


@pytest.fixture(scope="module")
def case(grader, source):
    report = replace(grader.grade(source, name="7_right.dcm"), grade=2, status="graded")
    made = decision(sha256=report.sha256, findings=FINDINGS)
    return Case(report, source, ((1, made),))


def test_json(case):
    assert result(case)["final"]["findings"] == {
        "form": "Screening 1", "macular_oedema": "referable",
        "other_findings": ("drusen", "glaucoma suspect"), "outcome": "rescreen",
        "rescreen_months": 6, "other_text": "seen with Mr. X",
    }  # fmt: skip
    assert "Mr. X" not in json.dumps(result(case, Disclosure(deidentified=True)))


def test_readers_who_settled_a_grade_together_are_quoted_where_they_agree(case):
    other = Findings("Screening 1", (("macular_oedema", "referable"), ("outcome", "refer routine")))
    made = decision(sha256=case.report.sha256, reader="BS", findings=other)
    both = replace(case, decisions=(*case.decisions, (2, made)))
    assert both.reading.basis == "agreement"
    assert result(both)["final"]["findings"] == {
        "form": "Screening 1", "macular_oedema": "referable",
    }  # fmt: skip


def test_fhir(case):
    made = Observation.model_validate(final_observation(case.report, case.reading))
    told = [(part.code.text, part) for part in made.component]
    assert [name for name, _ in told] == [
        "Suspicion of macular oedema", "Other findings", "Other findings", "Outcome of the reading",
        "Rescreen in months", "Other finding in words", "Referable (ICDR grade 2 or more)",
    ]  # fmt: skip
    oedema, _, glaucoma, _, months, words, _ = (part for _, part in told)
    assert oedema.valueCodeableConcept.text == "referable"
    assert glaucoma.valueCodeableConcept.coding[0].code == "GLAUCOMA-SUSPECT"
    assert (months.valueInteger, words.valueString) == (6, "seen with Mr. X")


def test_structured_report(case, source):
    data = structured_report(case.report, source, made_at=NOON, reading=case.reading)
    document = pydicom.dcmread(io.BytesIO(data))
    told = []

    def visit(items):
        for item in items:
            if item.ValueType == "CODE":
                name, value = item.ConceptNameCodeSequence[0], item.ConceptCodeSequence[0]
                told.append((name.CodeValue, value.CodeMeaning))
            if item.ValueType == "TEXT":
                told.append(("text", item.TextValue))
            visit(item.get("ContentSequence", []))

    visit(document.ContentSequence)
    assert {
        ("MACULAR-OEDEMA", "referable"), ("OTHER-FINDINGS", "drusen"),
        ("OTHER-FINDINGS", "glaucoma suspect"), ("OUTCOME", "rescreen"), ("RESCREEN-MONTHS", "6"),
    } <= set(told)  # fmt: skip
    assert ("text", "Other finding in words: seen with Mr. X") in told


def test_pdf(case):
    for privacy, shown in ((Disclosure(), True), (Disclosure(deidentified=True), False)):
        data = patient_pdf([privacy.apply(case)], made_at=NOON, privacy=privacy)
        text = " ".join(PdfReader(io.BytesIO(data)).pages[0].extract_text().split())
        assert "macular oedema: referable; other findings: drusen, glaucoma suspect" in text
        assert ("seen with Mr. X" in text) is shown


def test_an_export_has_a_table_of_findings(case, tmp_path):
    file = tmp_path / "export"
    hidden = Disclosure(deidentified=True)
    write_export([case], ["csv"], file, made_at=NOON, privacy=hidden)
    with zipfile.ZipFile(file) as archive:
        table = archive.read("findings.csv").decode()
    assert "macular_oedema,referable" in table
    assert "Mr. X" not in table
