"""DICOM out: what an archive, a viewer and a validator find in the files.

`dciodvfy` (Debian package dicom3tools) checks the files where it is installed; the assertions that
read them back with pydicom and highdicom run everywhere.
"""

from __future__ import annotations

import io
import shutil
import subprocess
from datetime import UTC, datetime

import highdicom as hd
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from drcore.agreement.adjudication import StudyRules, reading_status
from drcore.errors import SourceError
from drcore.export.case import Case
from drcore.export.cautions import model_remarks
from drcore.export.deidentification import Disclosure
from drcore.export.dicom_documents import overlay_document, report_document
from drcore.export.standards.dicom import overlay_capture, structured_report
from drcore.icdr import MODEL_NOTICE
from drcore.maps.overlay import overlay
from drcore.photographs.dicom_reader import read_frames
from drcore.reviews.decision import Decision

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # pytest lifts drcore's filter

MADE_AT = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)


@pytest.fixture(scope="module")
def source(phantom, dicom_of) -> bytes:
    return dicom_of(phantom(seed=1).rgb)


@pytest.fixture(scope="module")
def report(grader, source):
    made = grader.grade(source, name="eye.dcm")
    assert made.grade is not None
    return made


@pytest.fixture(scope="module")
def picture(report, phantom):
    return overlay(phantom(seed=1).rgb, report.evidence(), report.width)


@pytest.fixture(scope="module")
def ungradable(grader, dicom_of):
    dark = np.full((320, 320, 3), 3, np.uint8)
    data = dicom_of(dark)
    made = grader.grade(data, name="dark.dcm")
    assert made.status == "ungradable"
    return made, data


def opened(data: bytes) -> Dataset:
    return pydicom.dcmread(io.BytesIO(data))


def answers(document: Dataset) -> dict[str, object]:
    """Every coded question of an SR with its answer, wherever it stands."""
    found: dict[str, object] = {}

    def collect(items) -> None:
        for item in items:
            asked = (
                item.ConceptNameCodeSequence[0].CodeValue
                if "ConceptNameCodeSequence" in item
                else ""
            )
            if item.ValueType == "CODE":
                found[asked] = item.ConceptCodeSequence[0].CodeValue
            elif item.ValueType == "NUM":
                found[asked] = float(item.MeasuredValueSequence[0].NumericValue)
            elif item.ValueType == "TEXT":
                found.setdefault(asked, []).append(item.TextValue)
            collect(item.get("ContentSequence", []))

    collect(document.ContentSequence)
    return found


def test_report_says_grade_score_referable_model_and_notice(report, source):
    document = opened(structured_report(report, source, made_at=MADE_AT))
    said = answers(document)
    codes = ("LA18643-9", "LA18644-7", "LA18645-4", "LA18646-2", "LA18648-8")
    assert said["ICDR-GRADE"] == codes[report.grade]
    assert said["REFERABLE"] == ("373066001" if report.referable else "373067005")
    assert said["DR-SCORE"] == pytest.approx(report.score, abs=1e-4)
    assert said["GRADABLE"] == "373066001"
    read = "Identification: eye, patient and date from DICOM header."
    assert said["121106"] == [MODEL_NOTICE, *model_remarks(report), read]
    assert any("Operating point: referable from a score of" in text for text in said["121106"])
    assert any(text.startswith("Heat map: ") for text in said["121106"])
    assert said["111001"] == ["random"]  # algorithm name
    assert said["111003"] == ["1"]  # algorithm version
    assert document.VerificationFlag == "UNVERIFIED"
    assert (document.ContentDate, document.ContentTime) == ("20260304", "050607")


def test_report_can_be_read_by_a_tool_that_knows_the_template(report, source):
    document = hd.sr.srread(io.BytesIO(structured_report(report, source)))
    assert isinstance(document, hd.sr.ComprehensiveSR)
    (group,) = document.content.get_image_measurement_groups()
    assert [m.name.value for m in group.get_measurements()] == ["DR-SCORE"]
    site = group.finding_sites[0]
    assert (site.value.value, site.laterality.value) == ("5665001", "24028007")
    (image,) = group.source_images
    assert image.referenced_sop_instance_uid == opened(source).SOPInstanceUID


def test_the_readers_group_comes_before_the_models(report, source):
    made = Decision(
        sha256=report.sha256, image=report.name, model_version=report.model_version,
        machine_status="graded", machine_grade=report.grade, machine_score=report.score,
        action="ungradable", grade=None, note="", reader="Dr A", decided_at=MADE_AT,
    )  # fmt: skip
    reading = reading_status(report.sha256, [made], StudyRules(second_read="none"))
    document = hd.sr.srread(io.BytesIO(structured_report(report, source, reading=reading)))
    assert isinstance(document, hd.sr.ComprehensiveSR)
    final, model = document.content.get_image_measurement_groups()
    answers = {e.name.value: e.value.value for e in final.get_qualitative_evaluations()}
    assert answers == {"GRADABLE": "373067005", "ICDR-GRADE": "UNGRADABLE"}
    assert not final.get_measurements()
    assert [m.name.value for m in model.get_measurements()] == ["DR-SCORE"]


@pytest.mark.parametrize("kind", ["report", "overlay"])
def test_study_and_patient_are_kept_in_a_series_of_their_own(report, source, picture, kind):
    original = opened(source)
    if kind == "report":
        made = opened(structured_report(report, source))
        evidence = made.CurrentRequestedProcedureEvidenceSequence[0]
        assert evidence.StudyInstanceUID == original.StudyInstanceUID
        reference = evidence.ReferencedSeriesSequence[0].ReferencedSOPSequence[0]
    else:
        made = opened(overlay_capture(report, picture, source))
        reference = made.SourceImageSequence[0]
    assert reference.ReferencedSOPInstanceUID == original.SOPInstanceUID
    for keyword in ("StudyInstanceUID", "StudyID", "StudyDate", "StudyTime", "AccessionNumber",
                    "PatientID", "PatientBirthDate", "PatientSex"):  # fmt: skip
        assert made.get(keyword) == original.get(keyword), keyword
    assert made.SeriesInstanceUID != original.SeriesInstanceUID
    assert made.SOPInstanceUID != original.SOPInstanceUID
    assert "research use only" in made.SeriesDescription


def test_patient_name_leaves_only_when_asked_for(report, source, picture):
    for data in (structured_report(report, source), overlay_capture(report, picture, source)):
        assert b"ller^Jane" not in data
        assert opened(data).PatientName == ""
    named = opened(structured_report(report, source, patient_name=True))
    assert str(named.PatientName) == "Müller^Jane"
    named = opened(overlay_capture(report, picture, source, patient_name=True))
    assert str(named.PatientName) == "Müller^Jane"


def test_private_codes_say_that_they_are_private(report, source):
    document = opened(structured_report(report, source))
    (scheme,) = document.CodingSchemeIdentificationSequence
    assert scheme.CodingSchemeDesignator == "99DRCORE"
    assert "no published standard" in scheme.CodingSchemeName


def test_overlay_comes_back_pixel_for_pixel(report, source, picture):
    image = opened(overlay_capture(report, picture, source))
    assert np.array_equal(image.pixel_array, picture)
    assert image.ImageType[:2] == ["DERIVED", "SECONDARY"]
    assert MODEL_NOTICE in image.DerivationDescription
    assert image.Laterality == "R"
    assert "BurnedInAnnotation" not in image


def test_burnt_in_identity_is_still_marked_in_the_overlay(grader, phantom, dicom_of):
    rgb = phantom(seed=1).rgb
    data = dicom_of(rgb, BurnedInAnnotation="YES")
    made = opened(overlay_capture(grader.grade(data), np.array(rgb), data))
    assert made.BurnedInAnnotation == "YES"


def test_ungradable_photograph_gets_a_report_without_grade_or_score(ungradable):
    report, data = ungradable
    said = answers(opened(structured_report(report, data)))
    assert (said["GRADABLE"], said["ICDR-GRADE"]) == ("373067005", "UNGRADABLE")
    assert not {"DR-SCORE", "REFERABLE"} & set(said)
    assert report.reason in said["121106"]


def test_the_frame_that_was_graded_is_the_frame_referred_to(grader, phantom, dicom_of):
    data = dicom_of(phantom(seed=1).rgb, frames=3)
    report = grader.grade(read_frames(data)[1])
    document = hd.sr.srread(io.BytesIO(structured_report(report, data)))
    (group,) = document.content.get_image_measurement_groups()
    assert group.source_images[0].referenced_frame_numbers in (2, [2])
    made = opened(overlay_capture(report, np.array(phantom(seed=1).rgb), data))
    assert made.SourceImageSequence[0].ReferencedFrameNumber == 2


def test_photograph_of_another_patient_is_never_reported_on(report, source, phantom, dicom_of):
    other = dicom_of(phantom(seed=1).rgb, PatientID="P-8")
    with pytest.raises(SourceError, match="not the one that was graded"):
        structured_report(report, other)


def test_photograph_that_is_no_dicom_cannot_leave_as_dicom(grader, encoded, phantom, picture):
    data = encoded(phantom(seed=1).rgb, "PNG")
    report = grader.grade(data, name="eye.png")
    with pytest.raises(SourceError, match=r"eye\.png: only photographs that came as DICOM"):
        structured_report(report, data)
    with pytest.raises(SourceError, match="only photographs that came as DICOM"):
        overlay_capture(report, picture, data)


def test_failed_photograph_has_no_report(grader, source):
    with pytest.raises(SourceError, match=r"bad\.dcm: there is nothing to export"):
        structured_report(grader.failed("bad.dcm", "the file is empty."), source)


@pytest.mark.parametrize(
    "attributes",
    [
        {"StudyInstanceUID": ""},
        {"StudyInstanceUID": "1.2.junk"},
        {"SOPInstanceUID": "1." + "2" * 80},
        {"PatientBirthDate": "yesterday"},
        {"StudyDate": "2026-99-99"},
        {"StudyTime": "noon"},
        {"PatientSex": "x" * 40},
    ],
)
def test_hostile_identity_gives_a_readable_file_or_a_sentence(
    grader, phantom, attributes, dicom_of
):
    with pydicom.config.disable_value_validation():
        data = dicom_of(phantom(seed=1).rgb, **attributes)
    report = grader.grade(data, name="odd.dcm")
    made, refusal = None, ""
    try:
        made = structured_report(report, data)
    except SourceError as error:
        refusal = str(error)
    assert refusal.startswith("odd.dcm: ") or answers(opened(made))["GRADABLE"] == "373066001"


@pytest.mark.parametrize("pixels", [np.zeros((9, 9), np.uint8), np.zeros((9, 9, 3), np.float32)])
def test_overlay_that_is_no_picture_is_refused(report, source, pixels):
    with pytest.raises(SourceError, match="expected an overlay"):
        overlay_capture(report, pixels, source)


@pytest.mark.parametrize("kind", ["report", "overlay", "ungradable", "frame"])
def test_validator_finds_no_error(
    tmp_path, report, source, picture, ungradable, kind, grader, phantom, dicom_of
):
    validator = shutil.which("dciodvfy")
    if validator is None:
        pytest.skip("dciodvfy is not installed (Debian package dicom3tools)")
    if kind == "frame":
        several = dicom_of(phantom(seed=1).rgb, frames=2)
        data = structured_report(grader.grade(read_frames(several)[0]), several)
    else:
        data = {
            "report": lambda: structured_report(report, source),
            "overlay": lambda: overlay_capture(report, picture, source),
            "ungradable": lambda: structured_report(*ungradable),
        }[kind]()
    file = tmp_path / "made.dcm"
    file.write_bytes(data)
    done = subprocess.run(
        [validator, "-new", str(file)],
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    said = done.stdout + done.stderr
    assert ("ComprehensiveSR" if kind != "overlay" else "SCImage") in said
    # That our own scheme is unknown to it is as it should be.
    assert not [line for line in said.splitlines() if line.startswith("Error")]


def test_documents_of_the_same_content_have_the_same_uids(report, source):
    made = Decision(
        sha256=report.sha256, image=report.name, model_version=report.model_version,
        machine_status=report.status, machine_grade=report.grade, machine_score=report.score,
        action="change", grade=2, note="", reader="AB", decided_at=MADE_AT,
    )  # fmt: skip
    unread, read = Case(report, source), Case(report, source, decisions=((1, made),))
    privacies = (Disclosure(), Disclosure(deidentified=True))

    def uids(case, privacy, day: int, write=report_document) -> tuple[str, str]:
        moment = MADE_AT.replace(day=day)
        found = opened(write(case, privacy, made_at=moment, same_uids=True))
        return found.SOPInstanceUID, found.SeriesInstanceUID

    all_uids = [uids(case, one, 1) for case in (unread, read) for one in privacies]
    assert all_uids == [uids(case, one, 2) for case in (unread, read) for one in privacies]
    all_uids.append(uids(unread, privacies[0], 1, overlay_document))
    assert len({uid for pair in all_uids for uid in pair}) == 10
    new = [opened(report_document(unread, privacies[0], made_at=MADE_AT)) for _ in range(2)]
    assert len({one.SOPInstanceUID for one in new}) == 2
