"""One photograph as DICOM documents that join its study: structured report and overlay."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from drcore.errors import PhotographError, SourceError
from drcore.export.case import header_of
from drcore.export.cautions import laser_sentence
from drcore.export.legend import with_legend
from drcore.export.pictures import illustrate
from drcore.export.standards.dicom import overlay_capture, structured_report
from drcore.export.standards.dicom_identity import anonymous_header

if TYPE_CHECKING:
    from datetime import datetime

    from drcore.export.case import Case
    from drcore.export.deidentification import Disclosure
    from drcore.photographs.dicom_header import Header

__all__ = ["overlay_document", "report_document"]


def report_document(
    case: Case, privacy: Disclosure, *, made_at: datetime, same_uids: bool = False
) -> bytes:
    """Write the structured report of a photograph.

    Args:
        case: that came as a DICOM file.
        privacy: identifiers to include.
        made_at: date of the document, with a time zone.
        same_uids: give documents of the same content the same UIDs, so that an archive knows what
            it has already; new ones where false.

    Returns:
        A DICOM file.

    Raises:
        SourceError: see `drcore.export.standards.dicom.structured_report`.
    """
    told = privacy.apply(case)
    return structured_report(
        told.report, _header(told, privacy), made_at=made_at, patient_name=privacy.with_names,
        reading=told.reading,
        remark=laser_sentence(told.report, (mark for _, mark in told.marks)),
        uid_seed=_seed("report", told, privacy) if same_uids else "",
    )  # fmt: skip


def overlay_document(
    case: Case, privacy: Disclosure, *, made_at: datetime, same_uids: bool = False
) -> bytes:
    """Write the overlay of a photograph, with legend, results and notice below it.

    Args:
        case: that came as a DICOM file.
        privacy: identifiers to include.
        made_at: date of the document, with a time zone.
        same_uids: as for `report_document`.

    Returns:
        A DICOM file.

    Raises:
        PhotographError: the photograph vanished, changed, or its picture may not leave.
        SourceError: see `drcore.export.standards.dicom.overlay_capture`.
    """
    told = privacy.apply(case)
    if not privacy.may_show(told):
        raise PhotographError(
            f"{told.report.name}: its overlay is left out, because its header says that the "
            "picture shows the patient\u2019s identity. Allow such pictures to include it."
        )
    header = _header(told, privacy)
    picture = with_legend(illustrate(told, privacy).overlay, told)
    return overlay_capture(
        told.report, picture, header, made_at=made_at, patient_name=privacy.with_names,
        reading=told.reading, uid_seed=_seed("overlay", told, privacy) if same_uids else "",
    )  # fmt: skip


def _header(told: Case, privacy: Disclosure) -> Header:
    header = header_of(told)
    if header is None:
        raise SourceError(f"{told.report.name}: the file is no DICOM file any more. Open it again.")
    return anonymous_header(header) if privacy.deidentified else header


def _seed(kind: str, told: Case, privacy: Disclosure) -> str:
    """Return what tells a document from others, its date apart."""
    report = told.report
    score = None if report.score is None else round(report.score, 4)
    facts = (
        kind, report.sha256, report.model_version, report.status, report.grade, score,
        report.laterality, told.decisions, told.marks, told.rules,
        privacy.deidentified, privacy.with_names, privacy.with_notes, privacy.burned_in,
    )  # fmt: skip
    return hashlib.sha256(repr(facts).encode("utf-8", "backslashreplace")).hexdigest()
