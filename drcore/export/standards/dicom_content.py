"""What the structured report of a photograph says (PS3.16 TID 1500)."""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING, Any

from drcore.export.cautions import model_remarks
from drcore.export.final_grade import (
    final_findings,
    model_notice,
    reader_name,
    signature,
    status_words,
)
from drcore.export.standards.codes import (
    GRADE_CODES,
    QUESTIONS,
    RETINA,
    SIDE_CODES,
    UNGRADABLE,
    YES_NO,
    Concept,
    field_concept,
    model_name,
    option_concept,
)  # fmt: skip
from drcore.grading.statements import identity_sentence
from drcore.icdr import REFERABLE
from drcore.photographs.dicom_header import Header
from drcore.text import printable

if TYPE_CHECKING:
    from highdicom.sr import (
        CodedConcept,
        MeasurementsAndQualitativeEvaluations,
        QualitativeEvaluation,
    )
    from pydicom.dataset import Dataset

    from drcore.agreement.adjudication import ReadingStatus
    from drcore.grading.report import GradeReport
    from drcore.reviews.decision import Decision
    from drcore.reviews.findings import Findings

__all__ = ["MANUFACTURER", "report_comments", "report_content"]

MANUFACTURER = "drcore"


def report_comments(
    report: GradeReport, reading: ReadingStatus | None, made_at: datetime, remark: str = ""
) -> list[str]:
    """The readers' result, the notice, why there is no grade, what the model says, whose eye."""
    told = []
    if reading is not None and reading.final is not None:
        told.append(f"{status_words(reading)}, {signature(reading, made_at)}.")
    elif reading is not None and reading.readings:
        told.append(f"{status_words(reading)}.")
    findings = final_findings(reading)
    told += [f"{field_concept(f).meaning}: {t}" for f, t in (findings.texts if findings else ())]
    reason = report.reason if report.grade is None else ""
    told += [model_notice(reading), reason, *model_remarks(report, remark)]
    told.append(identity_sentence(report))
    if {"patient=hand", "date=hand"} & set(report.identity_source.split()):
        told.append("Patient and study of this document are those of the DICOM header.")
    return [printable(text) for text in told if text]


def report_content(
    report: GradeReport,
    header: Header,
    number: int,
    reading: ReadingStatus | None,
    comments: list[str],
) -> Dataset:
    """Return the root of the document: observers, the readers' group, the model's, comments."""
    import highdicom as hd
    from pydicom.sr.codedict import codes

    name, version = model_name(report.model_version)
    observer = hd.sr.ObserverContext(
        observer_type=codes.DCM.Device,
        observer_identifying_attributes=hd.sr.DeviceObserverIdentifyingAttributes(
            uid=hd.UID(), name=name, manufacturer_name=MANUFACTURER, model_name=name,
            serial_number=version,
        ),
    )  # fmt: skip
    final = None if reading is None else reading.final
    groups = (
        [] if reading is None or final is None else [_final_group(report, reading, header, number)]
    )
    document = hd.sr.MeasurementReport(
        observation_context=hd.sr.ObservationContext(
            observer_person_context=None if final is None else _person(final),
            observer_device_context=observer,
        ),
        procedure_reported=codes.SCT.Imaging,
        imaging_measurements=[*groups, _group(report, header, number)],
        title=codes.DCM.ImagingMeasurementReport,
    )
    root = document[0]
    for text in comments:
        comment = hd.sr.TextContentItem(
            name=hd.sr.CodedConcept("121106", "DCM", "Comment"),
            value=text,
            relationship_type=hd.sr.RelationshipTypeValues.CONTAINS,
        )
        root.ContentSequence.append(comment)
    return root


def _person(decision: Decision) -> Any:
    """The reader as observer; what a DICOM name uses as separators becomes a space."""
    import highdicom as hd
    from pydicom.sr.codedict import codes

    name = " ".join(re.sub(r"[\\^=]", " ", printable(reader_name(decision))).split())[:64]
    return hd.sr.ObserverContext(
        observer_type=codes.DCM.Person,
        observer_identifying_attributes=hd.sr.PersonObserverIdentifyingAttributes(
            name=name or "Unnamed reader"
        ),
    )


def _group(
    report: GradeReport, header: Header, number: int
) -> MeasurementsAndQualitativeEvaluations:
    """What the model says of one photograph (TID 1501): grade, score and referability."""
    import highdicom as hd
    from pydicom.sr.codedict import codes

    name, version = model_name(report.model_version)
    algorithm = hd.sr.AlgorithmIdentification(
        name=name,
        version=version,
        family=codes.DCM.ArtificialIntelligence,
        manufacturer=MANUFACTURER,
    )
    probability = report.probability_referable
    values = {"score": None if report.grade is None else report.score, "p_referable": probability}
    measurements = [
        hd.sr.Measurement(
            name=_code(QUESTIONS[question]), value=round(float(value), 4), unit=codes.UCUM.NoUnits
        )
        for question, value in values.items()
        if value is not None
    ]
    return hd.sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=hd.sr.TrackingIdentifier(uid=hd.UID(), identifier=report.sha256[:16]),
        algorithm_id=algorithm,
        measurements=measurements or None,
        qualitative_evaluations=_answers(report.grade),
        **_site_and_image(report, header, number),
    )


def _final_group(
    report: GradeReport, reading: ReadingStatus, header: Header, number: int
) -> MeasurementsAndQualitativeEvaluations:
    """The readers' result of one photograph (TID 1501): grade, referability, findings."""
    import highdicom as hd

    grade = None if reading.final is None else reading.final.grade
    identifier = f"final {report.sha256[:16]}"
    return hd.sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=hd.sr.TrackingIdentifier(uid=hd.UID(), identifier=identifier),
        qualitative_evaluations=[*_answers(grade), *_findings(final_findings(reading))],
        **_site_and_image(report, header, number),
    )


def _answers(grade: int | None) -> list[QualitativeEvaluation]:
    import highdicom as hd

    said = {"gradable": YES_NO[grade is not None], "grade": UNGRADABLE}
    if grade is not None:
        said |= {"grade": GRADE_CODES[grade], "referable": YES_NO[grade >= REFERABLE]}
    return [
        hd.sr.QualitativeEvaluation(_code(QUESTIONS[question]), _code(answer))
        for question, answer in said.items()
    ]


def _findings(findings: Findings | None) -> list[QualitativeEvaluation]:
    import highdicom as hd

    return [
        hd.sr.QualitativeEvaluation(_code(field_concept(field)), _code(option_concept(str(option))))
        for field, answer in (findings.answers if findings else ())
        for option in (answer if isinstance(answer, tuple) else (answer,))
    ]


def _site_and_image(report: GradeReport, header: Header, number: int) -> dict[str, Any]:
    import highdicom as hd

    side = None if report.laterality is None else _code(SIDE_CODES[report.laterality])
    return {
        "finding_sites": [hd.sr.FindingSite(_code(RETINA), laterality=side)],
        "source_images": [
            hd.sr.SourceImageForMeasurementGroup(
                referenced_sop_class_uid=str(header.dataset.SOPClassUID),
                referenced_sop_instance_uid=str(header.dataset.SOPInstanceUID),
                referenced_frame_numbers=[number] if header.frames > 1 else None,
            )
        ],
    }


def _code(concept: Concept) -> CodedConcept:
    from highdicom.sr import CodedConcept

    return CodedConcept(
        value=concept.code, scheme_designator=concept.scheme, meaning=concept.meaning
    )
