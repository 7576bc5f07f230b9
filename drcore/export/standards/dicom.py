"""Grades as DICOM: a structured report, and the overlay as a secondary capture.

Both join the study of the photograph that was graded and keep its patient; so both need the DICOM
file that the photograph came from.
"""

from __future__ import annotations

import io
import logging
import warnings
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from drcore import __version__
from drcore.errors import DrcoreError, PhotographError, SourceError
from drcore.export.final_grade import model_notice
from drcore.export.standards.codes import (
    PRIVATE_SCHEME,
    model_name,
)
from drcore.export.standards.dicom_content import MANUFACTURER, report_comments, report_content
from drcore.export.standards.dicom_identity import derived_uid, identity_of
from drcore.photographs.dicom_frames import DicomFrame
from drcore.photographs.dicom_header import DicomSource, Header, read_header

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pydicom.dataset import Dataset

    from drcore.agreement.adjudication import ReadingStatus
    from drcore.eye import Laterality
    from drcore.grading.report import GradeReport

__all__ = ["overlay_capture", "structured_report"]

warnings.filterwarnings("ignore", module=r"(pydicom|highdicom)\.")
logging.getLogger("highdicom").setLevel(logging.CRITICAL)

_SERIES_NUMBERS = {"SR": 9001, "OT": 9002}
"""Far above what a camera counts to, so that the new series is listed last."""

_KEPT = (
    "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex", "StudyInstanceUID",
    "StudyID", "StudyDate", "StudyTime", "AccessionNumber", "SeriesInstanceUID", "SOPClassUID",
    "SOPInstanceUID", "SpecificCharacterSet",
)  # fmt: skip


def structured_report(
    report: GradeReport,
    source: DicomSource | DicomFrame | Header,
    *,
    made_at: datetime | None = None,
    patient_name: bool = False,
    reading: ReadingStatus | None = None,
    remark: str = "",
    uid_seed: str = "",
) -> bytes:
    """Write readers' and model's result as a Comprehensive SR document (PS3.16 TID 1500).

    Args:
        report: of a photograph that was graded or found ungradable.
        source: the DICOM file that was graded, its frame, or its header; the hash must be the
            report's. `anonymous_header` gives a header without identity.
        made_at: when it was graded, by the clock of the clinic, which the study's own times
            follow; now, where left out.
        patient_name: copy the patient's name too. An archive that compares names may want it.
        reading: what readers said of the photograph; nobody has read it where left out.
        remark: see `drcore.export.cautions.laser_sentence`.
        uid_seed: documents made with the same text have the same UIDs; new ones where left out.

    Returns:
        A DICOM file in the photograph's study, in a series of its own: the readers' final grade
        where there is one, with the reader as observer, and what the model says: grade (LOINC),
        score, probability of referable disease, referability, and in words the operating point,
        warnings and the heat map; the photograph and the research-use notice. Marked as unverified,
        and as preliminary while there is no final grade.

    Raises:
        SourceError: see `overlay_capture`.
    """
    header, number = _origin(report, source)
    import highdicom as hd

    try:
        evidence = _evidence(header, patient_name=patient_name)
        comments = report_comments(report, reading, _clock(made_at), remark)
        if not all(text.isascii() for text in comments):  # names in letters that the study lacks
            evidence.SpecificCharacterSet = "ISO_IR 192"
        document = hd.sr.ComprehensiveSR(
            evidence=[evidence],
            content=report_content(report, header, number, reading, comments),
            **_new_uids(uid_seed),
            series_number=_SERIES_NUMBERS["SR"],
            instance_number=1,
            manufacturer=MANUFACTURER,
            is_complete=True,
            is_final=reading is not None and reading.final is not None,
            is_verified=False,
        )
        _sign(document, report, made_at, header)
        document.SeriesDescription = "Diabetic retinopathy grade, research use only"
        document.CodingSchemeIdentificationSequence = [_scheme()]
        return _file(document)
    except DrcoreError:
        raise
    except Exception as error:
        raise _unfit(header, error) from error


def overlay_capture(
    report: GradeReport,
    overlay: NDArray[np.uint8],
    source: DicomSource | DicomFrame | Header,
    *,
    made_at: datetime | None = None,
    patient_name: bool = False,
    reading: ReadingStatus | None = None,
    uid_seed: str = "",
) -> bytes:
    """Write the overlay as a Secondary Capture image.

    Args:
        report: of the photograph below the overlay.
        overlay: uint8 (h, w, 3), 0-255, RGB, such as `drcore.maps.overlay.overlay` returns.
        source: the DICOM file that was graded, its frame, or its header; the hash must be the
            report's. `anonymous_header` gives a header without identity.
        made_at: when it was graded, by the clock of the clinic, which the study's own times
            follow; now, where left out.
        patient_name: copy the patient's name too.
        reading: what readers said of the photograph; its description says whether one has read it.
        uid_seed: documents made with the same text have the same UIDs; new ones where left out.

    Returns:
        A DICOM file in the photograph's study, in a series of its own, that refers to the
        photograph and carries the notice in its description.

    Raises:
        SourceError: the photograph failed, did not come from DICOM, or is not the one of the
            report; its header lacks what the image must refer to; or the pixels are no picture.
    """
    header, number = _origin(report, source)
    _check_picture(overlay, header)
    try:
        evidence = _evidence(header, patient_name=patient_name)
        image = _secondary_capture(evidence, overlay, report.laterality, uid_seed)
        _sign(image, report, made_at, header)
        image.SourceImageSequence = [_reference(evidence, number if header.frames > 1 else None)]
        image.SeriesDescription = "Overlay of the grade's evidence, research use only"
        image.DerivationDescription = (
            f"Regression Activation Map of {report.model_version} over the photograph. "
            + model_notice(reading)
        )
        if header.burned_in is not None:
            image.BurnedInAnnotation = "YES" if header.burned_in else "NO"
        return _file(image)
    except DrcoreError:
        raise
    except Exception as error:
        raise _unfit(header, error) from error


def _new_uids(seed: str) -> dict[str, Any]:
    """Return the UIDs of a document and of the series that it is alone in."""
    import highdicom as hd

    return {
        f"{part}_instance_uid": derived_uid(f"{part} {seed}") if seed else str(hd.UID())
        for part in ("series", "sop")
    }


def _secondary_capture(
    evidence: Dataset, overlay: NDArray[np.uint8], laterality: Laterality | None, uid_seed: str
) -> Dataset:
    import highdicom as hd

    return hd.sc.SCImage.from_ref_dataset(
        ref_dataset=evidence,
        pixel_array=np.ascontiguousarray(overlay),
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        # Facing the patient: rows run to the patient's left, columns to the feet.
        patient_orientation=("L", "F"),
        laterality={"OD": "R", "OS": "L", None: None}[laterality],
        **_new_uids(uid_seed),
        series_number=_SERIES_NUMBERS["OT"],
        instance_number=1,
        manufacturer=MANUFACTURER,
        transfer_syntax_uid="1.2.840.10008.1.2.1",
    )


def _check_picture(overlay: NDArray[np.uint8], header: Header) -> None:
    if overlay.dtype != np.uint8 or overlay.ndim != 3 or overlay.shape[2] != 3 or not overlay.size:
        raise SourceError(
            f"{header.label}: expected an overlay of uint8 (h, w, 3), got {overlay.dtype} "
            f"{overlay.shape}."
        )
    if max(overlay.shape) > 65535:
        raise SourceError(f"{header.label}: DICOM holds at most 65535 pixels a side. Shrink it.")


def _reference(evidence: Dataset, frame: int | None) -> Dataset:
    from pydicom.dataset import Dataset

    reference = Dataset()
    reference.ReferencedSOPClassUID = evidence.SOPClassUID
    reference.ReferencedSOPInstanceUID = evidence.SOPInstanceUID
    if frame is not None:
        reference.ReferencedFrameNumber = frame
    return reference


def _origin(report: GradeReport, source: DicomSource | DicomFrame | Header) -> tuple[Header, int]:
    """Find the photograph of the report in its file; returns the frame's number too, from 1."""
    if report.status == "failed":
        raise SourceError(
            f"{report.name}: there is nothing to export, because {report.reason} Choose a "
            "photograph that was graded."
        )
    file = source.file if isinstance(source, DicomFrame) else source
    try:
        header = file if isinstance(file, Header) else read_header(file, name=report.name)
    except PhotographError as error:
        raise SourceError(
            f"{report.name}: only photographs that came as DICOM can leave as DICOM, for the "
            f"report must name their study. ({error})"
        ) from error
    if report.sha256 not in header.sha256:
        raise SourceError(
            f"{report.name}: this file is not the one that was graded (their SHA-256 differ). "
            "Give the original file."
        )
    try:
        import highdicom  # noqa: F401
    except ImportError as error:
        raise SourceError(
            f'{report.name}: writing DICOM needs the extra "dicom". Install it: '
            'python -m pip install "drcore[dicom]"'
        ) from error
    return header, header.sha256.index(report.sha256) + 1


def _evidence(header: Header, *, patient_name: bool) -> Dataset:
    """What the new file keeps of the old: identity and no more, the values checked."""
    from pydicom.dataset import Dataset
    from pydicom.uid import UID

    kept = Dataset()
    for keyword in (*_KEPT, *(("PatientName",) if patient_name else ())):
        if keyword in header.dataset:
            setattr(kept, keyword, header.dataset.get(keyword))
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPClassUID", "SOPInstanceUID"):
        if not UID(str(kept.get(keyword, ""))).is_valid:
            raise SourceError(
                f"{header.label}: the DICOM header has no valid {keyword}, to which a report must "
                "refer. Ask the archive for the original file."
            )
    # Type 2: must be there, may be empty.
    empty = ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyID", "StudyDate",
             "StudyTime", "AccessionNumber", "ReferringPhysicianName")  # fmt: skip
    for keyword in empty:
        if keyword not in kept:
            setattr(kept, keyword, "")
    kept.Rows, kept.Columns = header.height, header.width
    if header.frames > 1:
        kept.NumberOfFrames = header.frames
    return kept


def _scheme() -> Dataset:
    """Say of our own codes that they are ours (PS3.3 C.12.1.1.7)."""
    from pydicom.dataset import Dataset

    item = Dataset()
    item.CodingSchemeDesignator = PRIVATE_SCHEME
    item.CodingSchemeName = "Private codes of drcore; no published standard"
    item.CodingSchemeResponsibleOrganization = MANUFACTURER
    return item


def _sign(document: Dataset, report: GradeReport, made_at: datetime | None, header: Header) -> None:
    """Put model and time into the equipment and content modules."""
    moment = _clock(made_at)
    name, version = model_name(report.model_version)
    document.ManufacturerModelName = name[:64]
    document.SoftwareVersions = [f"drcore {__version__}", version[:64]]
    document.DeviceSerialNumber = version[:64]
    document.ContentDate = moment.strftime("%Y%m%d")
    document.ContentTime = moment.strftime("%H%M%S")
    for keyword, value in identity_of(header.dataset).items():
        setattr(document, keyword, value)


def _clock(made_at: datetime | None) -> datetime:
    return made_at or datetime.now(UTC).astimezone()


def _file(document: Dataset) -> bytes:
    buffer = io.BytesIO()
    document.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def _unfit(header: Header, error: Exception) -> SourceError:
    text = " ".join(str(error).split())[:160] or type(error).__name__
    return SourceError(
        f"{header.label}: the DICOM header holds values that a report cannot take over ({text}). "
        "Ask the archive for the original file."
    )
