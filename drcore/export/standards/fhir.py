"""Grades as FHIR R4: a `DiagnosticReport` with its `Observation`s, as dicts ready for JSON.

Nothing here names a file or a patient by name: photographs go by their SHA-256, the patient by the
number that the caller gives.
"""

from __future__ import annotations

import re
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from drcore.errors import SourceError
from drcore.export.standards.codes import (
    GRADE_CODES,
    PRIVATE_SCHEME,
    QUESTIONS,
    RETINA,
    UNGRADABLE,
    WHOLE_EYE_CODES,
    Concept,
    model_name,
)
from drcore.eye import EYE_NAMES
from drcore.icdr import MODEL_NOTICE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from drcore.grading.report import GradeReport

__all__ = ["diagnostic_report", "observation", "report_bundle"]

Resource = dict[str, Any]

# A system of codes must be a URI; a URN of our own needs no web address that might rot.
_OWN = uuid.uuid5(uuid.NAMESPACE_OID, PRIVATE_SCHEME)
_SYSTEMS = {
    "LN": "http://loinc.org",
    "SCT": "http://snomed.info/sct",
    PRIVATE_SCHEME: f"urn:uuid:{_OWN}",
}
_HASHES = f"urn:uuid:{uuid.uuid5(_OWN, 'sha256 of a photograph')}"
_ABSENT = "http://terminology.hl7.org/CodeSystem/data-absent-reason"
_CATEGORY = "http://terminology.hl7.org/CodeSystem/observation-category"


def observation(
    report: GradeReport,
    *,
    made_at: datetime | None = None,
    patient: str | None = None,
    study_uid: str | None = None,
) -> Resource:
    """Return what the model says of one photograph as an `Observation`.

    Args:
        report: of a photograph that was graded or found ungradable.
        made_at: when it was graded, with its time zone; now, where left out.
        patient: number of the patient, where it may be told; from the report where left out.
        study_uid: DICOM Study Instance UID, where the photograph has one.

    Returns:
        The resource, status "preliminary": no clinician has confirmed it. The ICDR grade is its
        value, score and referability are components, the model is a contained `Device`.

    Raises:
        SourceError: the photograph failed, or the time has no zone.
    """
    if report.status == "failed":
        raise SourceError(
            f"{report.name}: there is nothing to export, because {report.reason} Choose a "
            "photograph that was graded."
        )
    moment = _moment(made_at)
    resource: Resource = {
        "resourceType": "Observation",
        "id": str(uuid.uuid5(_OWN, f"{report.sha256} {report.model_version}")),
        "contained": [_device(report.model_version)],
        "identifier": [{"system": _HASHES, "value": report.sha256}],
        "status": "preliminary",
        "category": [_concept_in(_CATEGORY, "imaging", "Imaging")],
        "code": _coded(QUESTIONS["grade"]),
        "effectiveDateTime": moment,
        "issued": moment,
        "device": {"reference": "#model"},
        "bodySite": _body_site(report),
        "note": [{"text": MODEL_NOTICE}],
        "derivedFrom": [
            {"type": "Media", "identifier": {"system": _HASHES, "value": report.sha256}},
            *_study(study_uid),
        ],
    }
    resource |= _subject(patient if patient is not None else report.patient)
    if report.grade is None:
        resource["dataAbsentReason"] = {
            "coding": [
                *_coded(UNGRADABLE)["coding"],
                {"system": _ABSENT, "code": "not-performed", "display": "Not Performed"},
            ],
            "text": report.reason or "The photograph is not fit for grading.",
        }
        return resource
    resource["valueCodeableConcept"] = _coded(
        GRADE_CODES[report.grade], f"ICDR grade {report.grade}: {report.grade_name}"
    )
    resource["component"] = [
        {
            "code": _coded(QUESTIONS["score"]),
            "valueQuantity": {
                "value": round(float(report.score), 4),
                "unit": "grades",
                "system": "http://unitsofmeasure.org",
                "code": "1",
            },
        },
        {"code": _coded(QUESTIONS["referable"]), "valueBoolean": bool(report.referable)},
    ]
    return resource


def diagnostic_report(
    reports: Sequence[GradeReport],
    *,
    made_at: datetime | None = None,
    patient: str | None = None,
    study_uid: str | None = None,
) -> Resource:
    """Return the photographs of one patient as a `DiagnosticReport`.

    Args:
        reports: of one patient, one or both eyes; failed photographs are named in the conclusion.
        made_at: when they were graded, with its time zone; now, where left out.
        patient: number of the patient, where it may be told; from the reports where left out.
        study_uid: DICOM Study Instance UID, where the photographs have one.

    Returns:
        The resource, status "preliminary"; its `result` refers to the observations by
        `urn:uuid:`, as `report_bundle` brings them.

    Raises:
        SourceError: there is no report, they are of several patients, or the time has no zone.
    """
    if not reports:
        raise SourceError("There is nothing to export: choose at least one graded photograph.")
    known = {report.patient for report in reports if report.patient}
    if patient is None and len(known) > 1:
        raise SourceError(
            f"The photographs are of {len(known)} patients. Export one patient at a time."
        )
    moment = _moment(made_at)
    seen = [report for report in reports if report.status != "failed"]
    results = [
        {"reference": f"urn:uuid:{observation(report, made_at=made_at)['id']}"} for report in seen
    ]
    key = " ".join(f"{report.sha256} {report.model_version}" for report in reports)
    resource: Resource = {
        "resourceType": "DiagnosticReport",
        "id": str(uuid.uuid5(_OWN, f"report {moment} {key}")),
        "status": "preliminary",
        "category": [_concept_in("http://terminology.hl7.org/CodeSystem/v2-0074", "OTH", "Other")],
        "code": _coded(QUESTIONS["report"]),
        "effectiveDateTime": moment,
        "issued": moment,
        "conclusion": " ".join([*(_sentence(report) for report in reports), MODEL_NOTICE]),
        "conclusionCode": [
            _coded(GRADE_CODES[grade])
            for grade in sorted({r.grade for r in seen if r.grade is not None}, reverse=True)
        ],
    }
    if results:
        resource["result"] = results
    if not resource["conclusionCode"]:
        del resource["conclusionCode"]
    if study_uid is not None:
        resource["imagingStudy"] = _study(study_uid)
    return resource | _subject(patient if patient is not None else next(iter(known), None))


def report_bundle(
    reports: Sequence[GradeReport],
    *,
    made_at: datetime | None = None,
    patient: str | None = None,
    study_uid: str | None = None,
) -> Resource:
    """Return the `DiagnosticReport` of one patient and its `Observation`s in one `Bundle`.

    Args:
        reports: of one patient, one or both eyes.
        made_at: when they were graded, with its time zone; now, where left out.
        patient: number of the patient, where it may be told; from the reports where left out.
        study_uid: DICOM Study Instance UID, where the photographs have one.

    Returns:
        A `Bundle` of the type "collection", ready for `json.dumps`.

    Raises:
        SourceError: as for `diagnostic_report`.
    """
    made_at = made_at or datetime.now(UTC)
    resources = [
        diagnostic_report(reports, made_at=made_at, patient=patient, study_uid=study_uid),
        *(
            observation(report, made_at=made_at, patient=patient, study_uid=study_uid)
            for report in reports
            if report.status != "failed"
        ),
    ]
    # The same photograph twice is one observation: a bundle may not hold a full URL twice.
    entries = {f"urn:uuid:{resource['id']}": resource for resource in resources}
    return {
        "resourceType": "Bundle",
        "type": "collection",
        "timestamp": _moment(made_at),
        "entry": [{"fullUrl": url, "resource": resource} for url, resource in entries.items()],
    }


def _moment(made_at: datetime | None) -> str:
    moment = made_at or datetime.now(UTC)
    if moment.tzinfo is None:
        raise SourceError("The time of grading has no time zone: FHIR needs one. Add it.")
    return moment.isoformat(timespec="seconds")


def _coded(concept: Concept, text: str | None = None) -> Resource:
    return {
        "coding": [
            {
                "system": _SYSTEMS[concept.scheme],
                "code": concept.code,
                "display": concept.meaning,
            }
        ],
        "text": text or concept.meaning,
    }


def _concept_in(system: str, code: str, display: str) -> Resource:
    return {"coding": [{"system": system, "code": code, "display": display}]}


def _device(model_version: str) -> Resource:
    name, version = model_name(model_version)
    return {
        "resourceType": "Device",
        "id": "model",
        "deviceName": [{"name": name, "type": "model-name"}],
        "version": [{"value": version}],
        "note": [{"text": MODEL_NOTICE}],
    }


def _body_site(report: GradeReport) -> Resource:
    if report.laterality is None:
        return _coded(RETINA)
    site = _coded(WHOLE_EYE_CODES[report.laterality], f"{EYE_NAMES[report.laterality]}, retina")
    return {"coding": [*site["coding"], *_coded(RETINA)["coding"]], "text": site["text"]}


def _subject(patient: str | None) -> Resource:
    return {"subject": {"type": "Patient", "identifier": {"value": patient}}} if patient else {}


def _study(study_uid: str | None) -> list[Resource]:
    if study_uid is None:
        return []
    if not re.fullmatch(r"[0-2](\.(0|[1-9][0-9]*))+", study_uid) or len(study_uid) > 64:
        raise SourceError(f"{study_uid[:64]!r} is not a DICOM UID. Give the Study Instance UID.")
    return [
        {
            "type": "ImagingStudy",
            "identifier": {"system": "urn:dicom:uid", "value": f"urn:oid:{study_uid}"},
        }
    ]


def _sentence(report: GradeReport) -> str:
    eye = EYE_NAMES[report.laterality] if report.laterality else "Eye not named"
    if report.grade is None:
        return f"{eye}: {'ungradable' if report.status == 'ungradable' else 'not read'}."
    answer = "referable" if report.referable else "not referable"
    return f"{eye}: ICDR grade {report.grade} ({report.grade_name}), {answer}."
