"""Elements that FHIR resources of drcore share."""

from __future__ import annotations

import re
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from drcore.errors import SourceError
from drcore.export.final_grade import model_notice, reader_name
from drcore.export.standards.codes import (
    GRADE_CODES,
    PRIVATE_SCHEME,
    QUESTIONS,
    RETINA,
    UNGRADABLE,
    WHOLE_EYE_CODES,
    Concept,
    field_concept,
    model_name,
    option_concept,
)  # fmt: skip
from drcore.eye import EYE_NAMES
from drcore.icdr import REFERABLE

if TYPE_CHECKING:
    from drcore.agreement.adjudication import ReadingStatus
    from drcore.grading.report import GradeReport
    from drcore.reviews.decision import Decision
    from drcore.reviews.findings import Findings

Resource = dict[str, Any]

# A system of codes must be a URI; a URN of our own needs no web address that might rot.
OWN = uuid.uuid5(uuid.NAMESPACE_OID, PRIVATE_SCHEME)
_SYSTEMS = {
    "LN": "http://loinc.org",
    "SCT": "http://snomed.info/sct",
    PRIVATE_SCHEME: f"urn:uuid:{OWN}",
}
HASHES = f"urn:uuid:{uuid.uuid5(OWN, 'sha256 of a photograph')}"
_ABSENT = "http://terminology.hl7.org/CodeSystem/data-absent-reason"


def graded(grade: int, name: str, components: list[Resource]) -> Resource:
    """Value and components of a grade; referability comes last."""
    referable = {"code": coded(QUESTIONS["referable"]), "valueBoolean": grade >= REFERABLE}
    return {
        "valueCodeableConcept": coded(GRADE_CODES[grade], f"ICDR grade {grade}: {name}"),
        "component": [*components, referable],
    }


def answered(findings: Findings | None) -> list[Resource]:
    """Components of a structured reading; several options of one field are several components."""
    components: list[Resource] = []
    for field, answer in findings.answers if findings else ():
        question = {"code": coded(field_concept(field))}
        if isinstance(answer, int):
            components.append(question | {"valueInteger": answer})
            continue
        options = answer if isinstance(answer, tuple) else (answer,)
        components += [
            question | {"valueCodeableConcept": coded(option_concept(option))} for option in options
        ]
    texts = findings.texts if findings else ()
    told = [{"code": coded(field_concept(field)), "valueString": text} for field, text in texts]
    return [*components, *told]


def ungradable(reason: str) -> Resource:
    """Why there is no value."""
    not_performed = {"system": _ABSENT, "code": "not-performed", "display": "Not Performed"}
    return {
        "dataAbsentReason": {
            "coding": [*coded(UNGRADABLE)["coding"], not_performed],
            "text": reason or "The photograph is not fit for grading.",
        }
    }


def quantity(question: str, value: float, unit: str) -> Resource:
    """A component with a number that has no unit of measurement."""
    return {
        "code": coded(QUESTIONS[question]),
        "valueQuantity": {
            "value": round(float(value), 4),
            "unit": unit,
            "system": "http://unitsofmeasure.org",
            "code": "1",
        },
    }


def practitioner(decision: Decision) -> Resource:
    """A reader, by the name given in the viewer."""
    return {"type": "Practitioner", "display": reader_name(decision)}


def moment_of(made_at: datetime | None) -> str:
    """Date and time with its zone, now where left out."""
    moment = made_at or datetime.now(UTC)
    if moment.tzinfo is None:
        raise SourceError("The time of grading has no time zone: FHIR needs one. Add it.")
    return moment.isoformat(timespec="seconds")


def coded(concept: Concept, text: str | None = None) -> Resource:
    """A coded concept with its words."""
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


def concept_in(system: str, code: str, display: str) -> Resource:
    """A concept of a published system."""
    return {"coding": [{"system": system, "code": code, "display": display}]}


def device(model_version: str, reading: ReadingStatus | None) -> Resource:
    """The model, as a contained resource."""
    name, version = model_name(model_version)
    return {
        "resourceType": "Device",
        "id": "model",
        "deviceName": [{"name": name, "type": "model-name"}],
        "version": [{"value": version}],
        "note": [{"text": model_notice(reading)}],
    }


def body_site(report: GradeReport) -> Resource:
    """The retina of the right or left eye, or of one that is not known."""
    if report.laterality is None:
        return coded(RETINA)
    site = coded(WHOLE_EYE_CODES[report.laterality], f"{EYE_NAMES[report.laterality]}, retina")
    return {"coding": [*site["coding"], *coded(RETINA)["coding"]], "text": site["text"]}


def subject(patient: str | None) -> Resource:
    """The patient by number; nothing where withheld."""
    return {"subject": {"type": "Patient", "identifier": {"value": patient}}} if patient else {}


def study(study_uid: str | None) -> list[Resource]:
    """The DICOM study, where there is one."""
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
