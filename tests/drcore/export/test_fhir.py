"""FHIR out: valid for the models of a maintained library, and saying what the report says."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
from fhir.resources.R4B.bundle import Bundle
from fhir.resources.R4B.diagnosticreport import DiagnosticReport
from fhir.resources.R4B.observation import Observation

from drcore.errors import SourceError
from drcore.export.standards.fhir import diagnostic_report, observation, report_bundle
from drcore.grading.statements import operating_point
from drcore.icdr import MODEL_NOTICE

MADE_AT = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
STUDY = "1.2.840.99.7"


@pytest.fixture(scope="module")
def report(grader, phantom):
    made = grader.grade(np.array(phantom(seed=1).rgb), name="7_right.png")
    return replace(made, grade=2, score=2.3125)


@pytest.fixture(scope="module")
def ungradable(report):
    return replace(
        report, status="ungradable", grade=None, sha256="ab" * 32, laterality="OS",
        reason="It is too dark to be graded.",
    )  # fmt: skip


def test_observation_is_valid_and_says_what_the_report_says(report):
    made = observation(report, made_at=MADE_AT, study_uid=STUDY)
    read = Observation.model_validate_json(json.dumps(made))
    assert read.status == "preliminary"
    answer = read.valueCodeableConcept.coding[0]
    assert (answer.system, answer.code) == ("http://loinc.org", "LA18645-4")
    assert "grade 2" in read.valueCodeableConcept.text
    score, referable = read.component
    assert float(score.valueQuantity.value) == 2.3125
    assert referable.valueBoolean is True
    assert {coding.code for coding in read.bodySite.coding} == {"18944008", "5665001"}
    assert read.subject.identifier.value == "7"
    assert read.note[0].text == MODEL_NOTICE
    device = read.contained[0]
    assert read.device.reference == f"#{device.id}"
    assert (device.deviceName[0].name, device.version[0].value) == ("random", "1")
    assert read.effectiveDateTime == MADE_AT
    assert f"urn:oid:{STUDY}" in json.dumps(made)


def test_observation_says_where_eye_patient_and_date_were_read(report):
    assert report.identity_source == "eye=name patient=name"
    notes = [note["text"] for note in observation(report, made_at=MADE_AT)["note"]]
    assert "Identification: eye and patient from file name." in notes
    assert notes[-1].startswith("The date of the examination is not given")
    dated = replace(report, exam_date="2026-03-01", identity_source="eye=name date=dicom")
    made = observation(dated, made_at=MADE_AT, patient="")
    read = Observation.model_validate_json(json.dumps(made))
    assert read.note[-1].text == "Identification: eye from file name; date from DICOM header."


def test_ungradable_has_a_reason_and_no_value(ungradable):
    made = observation(ungradable, made_at=MADE_AT)
    read = Observation.model_validate(made)
    assert read.valueCodeableConcept is None
    assert read.component is None
    assert read.dataAbsentReason.text == "It is too dark to be graded."
    assert {coding.code for coding in read.dataAbsentReason.coding} == {
        "UNGRADABLE", "not-performed",
    }  # fmt: skip


def test_every_grade_has_its_own_code(report):
    codes = {
        observation(replace(report, grade=g))["valueCodeableConcept"]["coding"][0]["code"]
        for g in range(5)
    }
    assert len(codes) == 5


def test_report_refers_to_its_observations_and_concludes(report, ungradable, grader):
    failed = grader.failed("9.png", "The file is empty.")
    made = report_bundle([report, ungradable, failed], made_at=MADE_AT, study_uid=STUDY)
    Bundle.model_validate_json(json.dumps(made))
    first, *rest = [entry["resource"] for entry in made["entry"]]
    read = DiagnosticReport.model_validate(first)
    assert [item.reference for item in read.result] == [
        entry["fullUrl"] for entry in made["entry"][1:]
    ]
    assert [item["resourceType"] for item in rest] == ["Observation"] * 2
    assert read.conclusion == (
        "Right eye: not yet read by a clinician; model: Referable DR, ICDR grade 2 (Moderate "
        "non-proliferative). Left eye: not yet read by a clinician; model: Ungradable: refer or "
        "repeat the photograph. Laterality not recorded: could not be read. "
        f"{operating_point(report)} {MODEL_NOTICE}"
    )
    assert [concept.coding[0].code for concept in read.conclusionCode] == ["LA18645-4"]
    assert read.imagingStudy[0].identifier.value == f"urn:oid:{STUDY}"


def test_bundle_of_nothing_gradable_is_still_valid(ungradable, grader):
    Bundle.model_validate(report_bundle([ungradable]))
    made = report_bundle([grader.failed("9.png", "The file is empty.")])
    Bundle.model_validate(made)
    assert len(made["entry"]) == 1


def test_the_same_photograph_twice_is_one_observation(report):
    made = report_bundle([report, report], made_at=MADE_AT)
    urls = [entry["fullUrl"] for entry in made["entry"]]
    assert len(urls) == len(set(urls)) == 2


def test_file_name_is_not_exported(report):
    named = replace(report, name="Jane Doe right.png")
    assert "Jane" not in json.dumps(report_bundle([named]))


def test_patient_can_be_withheld(report):
    made = report_bundle([report], patient="")
    assert not [e for e in made["entry"] if "subject" in e["resource"]]


def test_two_patients_are_never_in_one_report(report, ungradable):
    with pytest.raises(SourceError, match="2 patients"):
        diagnostic_report([report, replace(ungradable, patient="8")])


def test_nothing_to_export_is_a_sentence(report, grader):
    with pytest.raises(SourceError, match="nothing to export"):
        diagnostic_report([])
    with pytest.raises(SourceError, match=r"9\.png: there is nothing to export"):
        observation(grader.failed("9.png", "The file is empty."))
    with pytest.raises(SourceError, match="time zone"):
        observation(report, made_at=datetime(2026, 1, 1))  # noqa: DTZ001
    with pytest.raises(SourceError, match="not a DICOM UID"):
        observation(report, study_uid="1.2.<script>")
