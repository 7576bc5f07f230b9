"""The DICOM objects of one photograph: structured report and overlay."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Literal

from drcore.errors import SourceError
from drcore.export.case import Case, header_of
from drcore.export.cautions import laser_sentence
from drcore.export.deidentification import Disclosure
from drcore.export.standards.dicom_identity import anonymous_header

__all__ = ["dicom_documents", "laser_remark"]


def dicom_documents(
    case: Case, privacy: Disclosure, made_at: datetime, *, with_overlay: bool = True
) -> Iterator[tuple[Literal["report", "overlay"], bytes]]:
    """Write what is said of a photograph as DICOM objects of its study.

    Args:
        case: graded or ungradable, from a DICOM file, as `privacy` leaves it.
        privacy: identifiers to include.
        made_at: date of the documents, with a time zone.
        with_overlay: whether the picture may leave at all.

    Yields:
        Kind and file: the structured report, then the overlay as a secondary capture where its
        picture may be shown.

    Raises:
        SourceError: it did not come from DICOM, or its header lacks what a report needs.
        PhotographError: it vanished, changed, or carries identity that nobody asked for.
    """
    from drcore.export.legend import with_legend
    from drcore.export.pictures import illustrate
    from drcore.export.standards.dicom import overlay_capture, structured_report

    header = header_of(case)
    if header is None:
        raise SourceError(f"{case.report.name}: the file is no DICOM file any more. Open it again.")
    if privacy.deidentified:
        header = anonymous_header(header)
    yield "report", structured_report(
        case.report, header, made_at=made_at, patient_name=privacy.with_names,
        reading=case.reading, remark=laser_remark(case),
    )  # fmt: skip
    if with_overlay and privacy.may_show(case):
        picture = with_legend(illustrate(case, privacy).overlay, case)
        yield "overlay", overlay_capture(
            case.report, picture, header, made_at=made_at, patient_name=privacy.with_names,
            reading=case.reading,
        )  # fmt: skip


def laser_remark(case: Case) -> str:
    """Return what marks of laser scars mean for the model's result; empty without any."""
    return laser_sentence(case.report, (mark for _, mark in case.marks))
