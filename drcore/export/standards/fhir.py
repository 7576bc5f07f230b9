"""Grades as FHIR R4: a `DiagnosticReport` with its `Observation`s, as dicts ready for JSON.

Nothing here names a file or a patient by name: photographs go by their SHA-256, the patient by the
number that the caller gives.
"""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from drcore.errors import SourceError
from drcore.export.cautions import model_remarks
from drcore.export.final_grade import decided_at, final_findings, model_notice, reader_name
from drcore.export.standards.codes import GRADE_CODES, QUESTIONS
from drcore.export.standards.fhir_elements import (
    HASHES,
    OWN,
    Resource,
    answered,
    body_site,
    coded,
    concept_in,
    device,
    graded,
    moment_of,
    practitioner,
    quantity,
    study,
    subject,
    ungradable,
)  # fmt: skip
from drcore.eye import EYE_NAMES
from drcore.grading.statements import (
    grade_range,
    identity_sentence,
    operating_point,
    outcome_words,
    referable_words,
)  # fmt: skip
from drcore.icdr import GRADE_NAMES, MODEL_NOTICE, NOTICE, REFERABLE
from drcore.text import fold

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from drcore.agreement.adjudication import ReadingStatus
    from drcore.grading.report import GradeReport

    Readings = Mapping[str, ReadingStatus]

__all__ = ["diagnostic_report", "final_observation", "observation", "report_bundle"]


_CATEGORY = "http://terminology.hl7.org/CodeSystem/observation-category"


def observation(
    report: GradeReport,
    *,
    made_at: datetime | None = None,
    patient: str | None = None,
    study_uid: str | None = None,
    reading: ReadingStatus | None = None,
    remark: str = "",
) -> Resource:
    """Return what the model says of one photograph as an `Observation`.

    Args:
        report: of a photograph that was graded or found ungradable.
        made_at: when it was graded, with its time zone; now, where left out.
        patient: number of the patient, empty to withhold it; from the report where left out.
        study_uid: DICOM Study Instance UID, where the photograph has one.
        reading: what readers said of the photograph; the note says whether one has read it.
        remark: see `drcore.export.cautions.laser_sentence`.

    Returns:
        The resource, status "preliminary": the model's result is never final. The ICDR grade is its
        value; score, probability of referable disease and referability are components; the model
        is a contained `Device`. Its notes are the notice, the referral outcome with its operating
        point, warnings, what the heat map shows, and where eye, patient and date were read.

    Raises:
        SourceError: the photograph failed, or the time has no zone.
    """
    resource = {
        **_result(report, f"{report.sha256} {report.model_version}", made_at, patient, study_uid),
        "contained": [device(report.model_version, reading)],
        "status": "preliminary",
        "device": {"reference": "#model"},
        "note": [
            *({"text": text} for text in (model_notice(reading), *model_remarks(report, remark))),
            *_identification(report, patient),
        ],
    }
    if report.grade is None:
        return resource | ungradable(report.reason)
    components = [quantity("score", report.score, "grades")]
    if (probability := report.probability_referable) is not None:
        components.append(quantity("p_referable", probability, "probability"))
    return resource | graded(report.grade, report.grade_name, components)


def final_observation(
    report: GradeReport,
    reading: ReadingStatus,
    *,
    patient: str | None = None,
    study_uid: str | None = None,
) -> Resource:
    """Return the readers' final grade of one photograph as an `Observation`.

    Args:
        report: of the photograph.
        reading: with a final grade.
        patient: number of the patient, empty to withhold it; from the report where left out.
        study_uid: DICOM Study Instance UID, where the photograph has one.

    Returns:
        The resource, status "final", issued when the grade became final, performed by the readers.

    Raises:
        SourceError: the photograph failed, or readers have not settled its grade.
    """
    final = reading.final
    if final is None:
        raise SourceError(f"{report.name}: readers have not settled its grade. Leave it out.")
    decided = decided_at(reading)
    key = f"final {report.sha256} {decided.isoformat()}"
    resource = {
        **_result(report, key, decided, patient, study_uid),
        "status": "final",
        "performer": [practitioner(made) for made in reading.final_by],
        "note": [{"text": NOTICE}, *_identification(report, patient)],
    }
    answers = answered(final_findings(reading))
    if final.grade is None:
        return resource | ungradable("") | ({"component": answers} if answers else {})
    return resource | graded(final.grade, GRADE_NAMES[final.grade], answers)


def diagnostic_report(
    reports: Sequence[GradeReport],
    *,
    made_at: datetime | None = None,
    patient: str | None = None,
    study_uid: str | None = None,
    readings: Readings | None = None,
    caution: str = "",
) -> Resource:
    """Return the photographs of one visit of a patient as a `DiagnosticReport`.

    Args:
        reports: of one visit, one or both eyes; failed photographs are named in the conclusion.
        made_at: when they were graded, with its time zone; now, where left out.
        patient: number of the patient, empty to withhold it; from the reports where left out.
        study_uid: DICOM Study Instance UID, where the photographs have one.
        readings: what readers said, by SHA-256 of the photograph.
        caution: stands in the conclusion; see `drcore.agreement.visits.Visit.caution`.

    Returns:
        The resource, status "final" where every photograph has a final grade, "partial" where some
        have, else "preliminary"; its `result` refers to the observations by `urn:uuid:`, as
        `report_bundle` brings them, final grades first.

    Raises:
        SourceError: there is no report, they are of several patients or several visits, or the time
            has no zone.
    """
    patient = _one_patient(reports, patient)
    readings = readings or {}
    finals = [readings[r.sha256] for r in reports if _is_final(r, readings)]
    grades = {_grade_in_force(report, readings) for report in reports} - {None}
    key = " ".join(f"{report.sha256} {report.model_version}" for report in reports)
    resource: Resource = {
        **_head("DiagnosticReport", f"report {moment_of(made_at)} {key}", made_at, reports[0]),
        "status": _status(len(finals), len(reports)),
        "category": [concept_in("http://terminology.hl7.org/CodeSystem/v2-0074", "OTH", "Other")],
        "code": coded(QUESTIONS["report"]),
        "conclusion": " ".join(filter(None, [caution, _conclusion(reports, readings)])),
    }
    if finals:
        performers = [practitioner(made) for reading in finals for made in reading.final_by]
        resource["resultsInterpreter"] = list({p["display"]: p for p in performers}.values())
    results = _observations(reports, readings, made_at=made_at)
    if results:
        resource["result"] = [{"reference": f"urn:uuid:{one['id']}"} for one in results]
    if grades:
        ordered = sorted((grade for grade in grades if grade is not None), reverse=True)
        resource["conclusionCode"] = [coded(GRADE_CODES[grade]) for grade in ordered]
    if study_uid is not None:
        resource["imagingStudy"] = study(study_uid)
    return resource | subject(patient)


def report_bundle(
    reports: Sequence[GradeReport],
    *,
    made_at: datetime | None = None,
    patient: str | None = None,
    study_uid: str | None = None,
    readings: Readings | None = None,
    caution: str = "",
    remarks: Mapping[str, str] | None = None,
) -> Resource:
    """Return the `DiagnosticReport` of one visit and its `Observation`s in one `Bundle`.

    Args:
        reports: of one visit of a patient, one or both eyes.
        made_at: when they were graded, with its time zone; now, where left out.
        patient: number of the patient, empty to withhold it; from the reports where left out.
        study_uid: DICOM Study Instance UID, where the photographs have one.
        readings: what readers said, by SHA-256 of the photograph.
        caution: stands in the conclusion; see `drcore.agreement.visits.Visit.caution`.
        remarks: of `drcore.export.cautions.laser_sentence`, by SHA-256 of the photograph.

    Returns:
        A `Bundle` of the type "collection", ready for `json.dumps`.

    Raises:
        SourceError: as for `diagnostic_report`.
    """
    made_at = made_at or datetime.now(UTC)
    same: dict[str, Any] = {"made_at": made_at, "patient": patient, "study_uid": study_uid}
    resources = [
        diagnostic_report(reports, readings=readings, caution=caution, **same),
        *_observations(reports, readings or {}, remarks=remarks or {}, **same),
    ]
    # The same photograph twice is one observation: a bundle may not hold a full URL twice.
    entries = {f"urn:uuid:{resource['id']}": resource for resource in resources}
    return {
        "resourceType": "Bundle",
        "type": "collection",
        "timestamp": moment_of(made_at),
        "entry": [{"fullUrl": url, "resource": resource} for url, resource in entries.items()],
    }


def _one_patient(reports: Sequence[GradeReport], patient: str | None) -> str | None:
    """Refuse what may not be in one report; returns the patient's number."""
    if not reports:
        raise SourceError("There is nothing to export: choose at least one graded photograph.")
    known = {report.patient for report in reports if report.patient}
    if patient is None and len({fold(name) for name in known}) > 1:
        raise SourceError(
            f"The photographs are of {len(known)} patients. Export one patient at a time."
        )
    if len({report.exam_date for report in reports}) > 1:
        raise SourceError("The photographs are of several visits. Export one visit at a time.")
    return patient if patient is not None else next(iter(known), None)


def _observations(
    reports: Sequence[GradeReport],
    readings: Readings,
    *,
    made_at: datetime | None,
    patient: str | None = None,
    study_uid: str | None = None,
    remarks: Mapping[str, str] | None = None,
) -> list[Resource]:
    """Final grades, then what the model says; failed photographs have neither."""
    return [
        *(
            final_observation(r, readings[r.sha256], patient=patient, study_uid=study_uid)
            for r in reports
            if _is_final(r, readings)
        ),
        *(
            observation(
                report, made_at=made_at, patient=patient, study_uid=study_uid,
                reading=readings.get(report.sha256), remark=(remarks or {}).get(report.sha256, ""),
            )
            for report in reports
            if report.status != "failed"
        ),
    ]  # fmt: skip


def _is_final(report: GradeReport, readings: Readings) -> bool:
    reading = readings.get(report.sha256)
    return report.status != "failed" and reading is not None and reading.final is not None


def _grade_in_force(report: GradeReport, readings: Readings) -> int | None:
    """The final grade, and the model's while there is none."""
    reading = readings.get(report.sha256)
    return report.grade if reading is None or reading.final is None else reading.final.grade


def _status(finals: int, reports: int) -> str:
    if finals == 0:
        return "preliminary"
    return "final" if finals == reports else "partial"


def _head(kind: str, key: str, made_at: datetime | None, report: GradeReport) -> Resource:
    """What the resources have in common."""
    moment = moment_of(made_at)
    return {
        "resourceType": kind,
        "id": str(uuid.uuid5(OWN, key)),
        "effectiveDateTime": report.exam_date or moment,
        "issued": moment,
    }


def _result(
    report: GradeReport,
    key: str,
    made_at: datetime | None,
    patient: str | None,
    study_uid: str | None,
) -> Resource:
    """What the model's and the readers' observation of a photograph have in common."""
    if report.status == "failed":
        raise SourceError(
            f"{report.name}: there is nothing to export, because {report.reason} Choose a "
            "photograph that was graded."
        )
    photograph = {"system": HASHES, "value": report.sha256}
    return {
        **_head("Observation", key, made_at, report),
        "identifier": [photograph],
        "category": [concept_in(_CATEGORY, "imaging", "Imaging")],
        "code": coded(QUESTIONS["grade"]),
        "bodySite": body_site(report),
        "derivedFrom": [{"type": "Media", "identifier": photograph}, *study(study_uid)],
        **subject(patient if patient is not None else report.patient),
    }


def _identification(report: GradeReport, patient: str | None) -> list[Resource]:
    """Where eye, patient and date were read, and what `effectiveDateTime` is without a date."""
    told = [
        identity_sentence(report, patient=patient is None),
        "" if report.exam_date else "The date of the examination is not given; the effective time "
        "is that of the result.",
    ]  # fmt: skip
    return [{"text": text} for text in told if text]


def _conclusion(reports: Sequence[GradeReport], readings: Readings) -> str:
    """Final grades first, each beside the model's; the notice last."""
    unread = not any(_is_final(report, readings) for report in reports)
    notice = MODEL_NOTICE if unread else NOTICE
    told = [_sentence(r, readings.get(r.sha256)) for r in reports]
    points = dict.fromkeys(operating_point(r) for r in reports if r.status != "failed")
    return " ".join([*told, *points, notice])


def _sentence(report: GradeReport, reading: ReadingStatus | None) -> str:
    eye = EYE_NAMES[report.laterality] if report.laterality else "Laterality not recorded"
    if report.status == "failed":
        return f"{eye}: could not be read."
    said = _model_outcome(report)
    if reading is None or (not reading.readings and reading.final is None):
        return f"{eye}: not yet read by a clinician; model: {said}."
    if reading.final is None:
        return f"{eye}: readers disagree, no final grade; model: {said}."
    final = reading.final.grade
    name = "" if final is None else GRADE_NAMES[final]
    readers = ", ".join(reader_name(made) for made in reading.final_by)
    return f"{eye}: final {_outcome(final, name)}, by {readers}; model: {said}."


def _model_outcome(report: GradeReport) -> str:
    words = outcome_words(report)
    if report.grade is None:
        return words
    grade = f"ICDR grade {grade_range(report)} ({report.grade_name})"
    return ", ".join(filter(None, [words, referable_words(report), grade]))


def _outcome(grade: int | None, name: str) -> str:
    if grade is None:
        return "ungradable"
    answer = "referable" if grade >= REFERABLE else "not referable"
    return f"ICDR grade {grade} ({name}), {answer}"
