"""Reading the header of a DICOM file without trusting it."""

from __future__ import annotations

import hashlib
import io
import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from drcore.errors import DrcoreError, PhotographError
from drcore.eye import Laterality, degrees_of
from drcore.photographs.dicom_elements import (
    BODY,
    TRANSFER_SYNTAX,
    UNDEFINED,
    names_its_kind,
    walk_elements,
)
from drcore.photographs.dicom_frames import frame_sha256
from drcore.photographs.dicom_layout import JPEG, JPEG_2000, NATIVE, RLE, Layout, read_layout
from drcore.photographs.dicom_pixels import with_own_colours
from drcore.photographs.formats import encoded_bytes, is_dicom
from drcore.photographs.identity import Identity, parse_date
from drcore.photographs.name_words import NO_PATIENT
from drcore.photographs.photograph import MAX_PIXELS
from drcore.text import one_line

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

__all__ = ["DicomSource", "Header", "holds_dicom", "read_header"]


DicomSource = str | Path | bytes | bytearray | memoryview | BinaryIO

_PIXEL_DATA = 0x7FE00010
_IMAGE_KEYWORDS = (
    "SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "NumberOfFrames", "Rows",
    "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "WindowCenter",
    "WindowWidth", "AcquisitionDateTime", "AcquisitionDate",
    "ContentDate", "ICCProfile", "BurnedInAnnotation", "ImageLaterality", "Laterality",
    "HorizontalFieldOfView", "ManufacturerModelName",
    "RedPaletteColorLookupTableDescriptor", "GreenPaletteColorLookupTableDescriptor",
    "BluePaletteColorLookupTableDescriptor", "RedPaletteColorLookupTableData",
    "GreenPaletteColorLookupTableData", "BluePaletteColorLookupTableData",
)  # fmt: skip
_IDENTITY_KEYWORDS = (
    "SpecificCharacterSet", "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "StudyID",
    "StudyDate", "StudyTime", "AccessionNumber", "SeriesInstanceUID", "SeriesNumber", "Modality",
    "PatientID", "IssuerOfPatientID", "PatientName", "PatientBirthDate", "PatientSex",
    "PatientOrientation", "FrameOfReferenceUID",
)  # fmt: skip
_DATE_KEYWORDS = ("AcquisitionDateTime", "AcquisitionDate", "StudyDate", "ContentDate")
_SIDES: dict[str, Laterality] = {"R": "OD", "L": "OS"}
_FRAME_LATERALITY = re.compile(rb"\x20\0\x72\x90(?:CS)?\x02\0(?:\0\0)?([RLBU]) ")
"""In the frame anatomy of a functional group, a sequence that is not parsed."""


@dataclass(frozen=True, slots=True, eq=False)
class Header:
    """What a DICOM file says of its photographs.

    Attributes:
        label: display name of the file.
        patient: PatientID, without control characters; None where there is none. Never the name.
        laterality: "OD", "OS", or None where the header names neither or both.
        burned_in: whether identity is said to be burnt into the pixels; None where nothing is said.
        width, height: of one frame, in pixels.
        sha256: of each frame, hex: for a single frame that of the file; else that of the file's
            digest and the frame's number, so that decisions on two frames are never mixed up.
        file_size: of the file, in bytes.
        dataset: identity and image attributes, values as they stand in the file; no pixels.
    """

    label: str
    patient: str | None
    laterality: Laterality | None
    burned_in: bool | None
    width: int
    height: int
    sha256: tuple[str, ...]
    dataset: Dataset
    file_size: int = 0

    @property
    def field_degrees(self) -> float | None:
        """Width of the field of view; None where the header gives none that a camera has."""
        return degrees_of(self.dataset.get("HorizontalFieldOfView"))

    @property
    def camera(self) -> str:
        """Model of the camera; empty where the header gives none."""
        return one_line(str(self.dataset.get("ManufacturerModelName") or "").strip())[:64]

    @property
    def frames(self) -> int:
        """Number of photographs in the file."""
        return len(self.sha256)

    @property
    def identity(self) -> Identity:
        """Eye, patient and date of the examination."""
        days = (parse_date(str(self.dataset.get(keyword) or "")) for keyword in _DATE_KEYWORDS)
        day = next(filter(None, days), None)
        return Identity(
            laterality=self.laterality, patient=self.patient, exam_date=day,
            laterality_from="dicom" if self.laterality else "",
            patient_from="dicom" if self.patient else "", date_from="dicom" if day else "",
        )  # fmt: skip


def read_header(
    source: DicomSource, *, name: str | None = None, max_pixels: int = MAX_PIXELS
) -> Header:
    """Read what a DICOM file says of its photographs, without decoding them.

    Args:
        source: a path, the encoded bytes, or a binary file object.
        name: display name; from the path or file object if None.
        max_pixels: refuse files whose frames declare more pixels than this.

    Returns:
        The header.

    Raises:
        PhotographError: the source is missing, no DICOM photograph, damaged, or too large.
    """
    data, label = encoded_bytes(source, name)
    return _open(data, label, max_pixels)[0]


def holds_dicom(source: str | Path | bytes | bytearray | memoryview) -> bool:
    """Tell from its first bytes alone whether a file is DICOM.

    Args:
        source: a path, or the encoded bytes.

    Returns:
        False also for what cannot be looked at.
    """
    if not isinstance(source, str | Path):
        return is_dicom(bytes(source[:140]))
    try:
        if not Path(source).is_file():  # a pipe would block
            return False
        with Path(source).open("rb") as file:
            return is_dicom(file.read(140))
    except (OSError, ValueError):
        return False


# --- header -------------------------------------------------------------------------------------


def _open(data: bytes, label: str, max_pixels: int) -> tuple[Header, Layout, tuple[int, int]]:
    """Parse and check the header; returns it, the layout, and where the pixels start and end."""
    try:
        import pydicom  # noqa: F401 - asked for before anything else is said of the file
    except ImportError as error:
        raise PhotographError(
            f'{label}: this is a DICOM file, and reading it needs the extra "dicom". '
            'Install it: python -m pip install "drcore[dicom]"'
        ) from error
    try:
        syntax, dataset, place = _parse(data, label)
        layout = read_layout(dataset, syntax, label, max_pixels)
        start, end = _pixel_bounds(data, place, layout, label)
        layout = with_own_colours(layout, end - start)
        header = _header(data, label, dataset, layout, place)
    except DrcoreError:
        raise
    except Exception as error:  # a parser raises whatever it likes on hostile bytes
        raise PhotographError(
            f"{label}: the DICOM header is damaged ({one_line(error)}). Export the photograph "
            "again."
        ) from error
    return header, layout, (start, end)


def _parse(data: bytes, label: str) -> tuple[str, Dataset, int]:
    """Read transfer syntax and wanted attributes; returns also where the pixel element starts."""
    from pydicom.datadict import tag_for_keyword
    from pydicom.filereader import read_dataset
    from pydicom.uid import UID

    start = 132 if data[128:132] == b"DICM" else 0
    place, syntax = start, ""
    if data[start : start + 2] == b"\x02\x00":
        meta, place = walk_elements(data, start, {TRANSFER_SYNTAX}, BODY)
        value = meta.get(TRANSFER_SYNTAX, b"")
        syntax = value[8:].rstrip(b"\0 ").decode("ascii", "replace")
    explicit = names_its_kind(data, place)
    if start == place:  # no meta information: one of the two native kinds
        syntax = "1.2.840.10008.1.2" + (".1" if explicit else "")
    if syntax not in {*NATIVE, JPEG, *JPEG_2000, RLE}:
        what = "".join(c for c in UID(syntax).name if c.isprintable())[:80] or "an unnamed kind"
        raise PhotographError(
            f"{label}: the pixels are stored as {what}, which cannot be read here. Export the "
            "photograph uncompressed, or as JPEG baseline, JPEG 2000 or RLE."
        )
    tags = {tag_for_keyword(keyword) for keyword in (*_IMAGE_KEYWORDS, *_IDENTITY_KEYWORDS)}
    found, place = walk_elements(data, place, {tag for tag in tags if tag is not None}, _PIXEL_DATA)
    if data[place : place + 4] != struct.pack("<HH", 0x7FE0, 0x0010):
        raise PhotographError(
            f"{label}: this DICOM file holds no photograph (there is no pixel data). Choose an "
            "ophthalmic photograph."
        )
    wanted = io.BytesIO(b"".join(found[tag] for tag in sorted(found)))
    return syntax, read_dataset(wanted, not explicit, is_little_endian=True), place


def _header(data: bytes, label: str, dataset: Dataset, layout: Layout, place: int) -> Header:
    said = [
        str(dataset.get(keyword) or "").strip().upper()
        for keyword in ("ImageLaterality", "Laterality")
    ]
    side = None if said[0] == "B" else _SIDES.get(said[0]) or _SIDES.get(said[1])
    frames = {match[1].decode() for match in _FRAME_LATERALITY.finditer(data, 0, place)}
    if side is None and len(frames) == 1:
        side = _SIDES.get(frames.pop())
    burned = str(dataset.get("BurnedInAnnotation") or "").strip().upper()
    digest = hashlib.sha256(data)
    hashes = (
        (digest.hexdigest(),)
        if layout.frames == 1
        else tuple(frame_sha256(digest, number) for number in range(1, layout.frames + 1))
    )
    return Header(
        label=label,
        patient=_patient(dataset.get("PatientID")),
        laterality=side,
        burned_in={"YES": True, "NO": False}.get(burned),
        width=layout.columns,
        height=layout.rows,
        sha256=hashes,
        dataset=dataset,
        file_size=len(data),
    )


def _patient(value: object) -> str | None:
    """A PatientID as one line of printable text, at most the 64 characters that DICOM allows.

    None for what stands for no patient, such as ANONYMOUS or 0000: many people share it.
    """
    kept = "".join(c for c in str(value or "") if c.isprintable()).strip()[:64]
    words = re.findall(r"[^\W_]+", kept.lower())
    stand_in = all(word in NO_PATIENT or not word.strip("0x") for word in words)
    return None if stand_in or "".join(words) in NO_PATIENT else kept


def _pixel_bounds(data: bytes, place: int, layout: Layout, label: str) -> tuple[int, int]:
    """Find where the value of the pixel element starts and ends, and whether it is all there."""
    explicit = data[place + 4 : place + 6] in {b"OB", b"OW", b"UN"}
    start = place + (12 if explicit else 8)
    length = int.from_bytes(data[start - 4 : start], "little")
    compressed = layout.syntax not in NATIVE
    if compressed != (length == UNDEFINED):
        raise PhotographError(
            f"{label}: the DICOM header contradicts itself on whether the pixels are compressed. "
            "Export the photograph again."
        )
    end = len(data) if compressed else start + length
    if not compressed and min(end, len(data)) - start < layout.stored_bytes * layout.frames:
        raise PhotographError(f"{label}: the pixel data is cut short. Export the photograph again.")
    after = data[end : end + 4]
    if not compressed and after.strip(b"\0") and after[1::-1] < b"\x7f\xe0":
        raise ValueError("something else than an element follows the pixels")
    return start, end
