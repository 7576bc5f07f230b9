"""Reading ophthalmic photographs from DICOM: header and frames, within limits set beforehand.

The file is taken as hostile. Its header is walked over, only what is wanted is parsed, sizes are
checked before anything is decoded, and only then do pydicom's decoders see the pixels.
"""

from __future__ import annotations

import hashlib
import io
import logging
import re
import struct
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from drcore.dicom_frame import DicomFrame, file_name, frame_name
from drcore.dicom_pixels import (
    JPEG,
    JPEG_2000,
    NATIVE,
    RLE,
    Layout,
    decode,
    read_layout,
    short,
    with_own_colours,
)
from drcore.errors import DrcoreError, PhotographError
from drcore.photograph import (
    MAX_PIXELS,
    Laterality,
    Photograph,
    Source,
    clean_name,
    encoded_bytes,
    is_dicom,
    parse_name,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydicom.dataset import Dataset

__all__ = [
    "DicomSource", "Header", "holds_dicom", "photographs_in", "read_frame", "read_frames",
    "read_header", "read_single_frame",
]  # fmt: skip

DicomSource = str | Path | bytes | bytearray | memoryview | BinaryIO

# What pydicom warns of and logs, our errors say better; see `drcore.photograph`.
warnings.filterwarnings("ignore", module=r"pydicom\.")
logging.getLogger("pydicom").setLevel(logging.CRITICAL)

MAX_ELEMENTS = 200_000
"""Elements of a header at most, nested ones counted: twenty times a talkative camera's."""

_PIXEL_DATA = 0x7FE00010
_TRANSFER_SYNTAX = 0x00020010
_BODY = 0x00030000
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_UNDEFINED = 0xFFFFFFFF
_LONG_KINDS = frozenset(
    {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
)
"""Value representations whose length takes four bytes (PS3.5 7.1.2)."""
_LONGEST_VALUE = 1 << 20
_IMAGE_KEYWORDS = (
    "SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "NumberOfFrames", "Rows",
    "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "WindowCenter",
    "WindowWidth", "ICCProfile", "BurnedInAnnotation", "ImageLaterality", "Laterality",
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
_SIDES: dict[str, Laterality] = {"R": "OD", "L": "OS"}


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

    @property
    def frames(self) -> int:
        """Number of photographs in the file."""
        return len(self.sha256)


def read_header(
    source: DicomSource, *, name: str | None = None, max_pixels: int = MAX_PIXELS
) -> Header:
    """Read what a DICOM file says of its photographs, without decoding them.

    Args:
        source: a path, the encoded bytes, or a binary file object.
        name: display name; taken from the path or the file object where left out.
        max_pixels: refuse files whose frames declare more pixels than this.

    Returns:
        The header.

    Raises:
        PhotographError: the source is missing, no DICOM photograph, damaged, or too large.
    """
    data, label = encoded_bytes(source, name)
    return _open(data, label, max_pixels)[0]


def read_frames(
    source: DicomSource, *, name: str | None = None, max_pixels: int = MAX_PIXELS
) -> list[Photograph]:
    """Read every photograph of a DICOM file at once; `photographs_in` costs less memory.

    Args:
        source: a path, the encoded bytes, or a binary file object.
        name: display name; taken from the path or the file object where left out.
        max_pixels: refuse files that declare more pixels than this, all frames together.

    Returns:
        One photograph for each frame, in order; `drcore.Grader.grade` takes each as it is. Of
        several, the names tell the number: `eye frame 2.dcm`.

    Raises:
        PhotographError: the source is missing, no DICOM photograph, damaged, too large, or of a
            kind that cannot be decoded.
    """
    data, label = encoded_bytes(source, name)
    header, layout, pixels = _open(data, label, max_pixels)
    total = layout.rows * layout.columns * layout.frames
    if total > max_pixels:
        raise PhotographError(
            f"{label}: {layout.frames} frames of {layout.columns} x {layout.rows} are "
            f"{total / 1e6:.0f} megapixels; at most {max_pixels / 1e6:.0f} are read at once. "
            "Read them one by one."
        )
    return _photographs(data, header, layout, pixels, range(header.frames))


def read_frame(
    source: DicomSource, number: int, *, name: str | None = None, max_pixels: int = MAX_PIXELS
) -> Photograph:
    """Read one photograph of a DICOM file; only this one is decoded.

    Args:
        source: a path, the encoded bytes, or a binary file object.
        number: of the frame, from 1.
        name: display name of the photograph; from the file's and the number where left out.
        max_pixels: refuse frames that declare more pixels than this.

    Returns:
        The photograph.

    Raises:
        PhotographError: as for `read_frames`, or there is no frame of this number.
    """
    data, label = encoded_bytes(source, name)
    header, layout, pixels = _open(data, label, max_pixels)
    if not 1 <= number <= header.frames:
        raise PhotographError(
            f"{label}: there is no frame {number}; this DICOM file holds {header.frames}."
        )
    photograph = _photographs(data, header, layout, pixels, [number - 1])[0]
    return photograph if name is None else replace(photograph, name=label)


def photographs_in(
    source: str | Path | bytes | bytearray | memoryview, name: str | None = None
) -> list[tuple[str, Source]]:
    """Return the photographs of a file of any kind, without decoding them.

    Args:
        source: a path, or the encoded bytes.
        name: display name; taken from the path where left out.

    Returns:
        Display name and source of each photograph, for `read_photograph` and `Grader.grade`:
        the file as it is, or the frames of a DICOM file that holds several. What cannot be opened
        comes back as it is too: reading it tells why.
    """
    label = clean_name(str(source) if isinstance(source, str | Path) else "upload")
    label = label if name is None else name
    try:
        count = read_header(source, name=name).frames if holds_dicom(source) else 1
    except PhotographError:
        count = 1
    if count == 1:
        return [(label, source)]
    kept = source if isinstance(source, str | Path) else bytes(source)
    return [(frame_name(label, n), DicomFrame(kept, n)) for n in range(1, count + 1)]


def read_single_frame(data: bytes, label: str, max_pixels: int) -> Photograph:
    """Read a DICOM file that holds one photograph; see `drcore.photograph.read_photograph`.

    Several frames may be stereo pairs, other fields or the other eye: to grade the first and pass
    over the rest in silence could miss disease, so such a file is refused here.

    Args:
        data: the encoded file.
        label: cleaned display name.
        max_pixels: refuse files that declare more pixels than this.

    Returns:
        The photograph.

    Raises:
        PhotographError: as for `read_frames`, or the file holds more than one photograph.
    """
    header, layout, pixels = _open(data, label, max_pixels)
    if header.frames > 1:
        raise PhotographError(
            f"{label}: this DICOM file holds {header.frames} photographs, and none may stand for "
            "the others. Open it frame by frame (drcore.dicom.photographs_in), or export each "
            "photograph as a file of its own."
        )
    return _photographs(data, header, layout, pixels, [0])[0]


def _photographs(
    data: bytes, header: Header, layout: Layout, pixels: tuple[int, int], wanted: Sequence[int]
) -> list[Photograph]:
    encoded = data[pixels[0] : pixels[1]]
    file = file_name(header.label) if header.frames > 1 else header.label
    side, rest = parse_name(file)
    decoded = decode(encoded, layout, wanted, header.dataset, header.label)
    return [
        Photograph(
            rgb=rgb,
            width=layout.columns,
            height=layout.rows,
            reduction=1,
            name=header.label if header.frames == 1 else frame_name(file, index + 1),
            sha256=header.sha256[index],
            laterality=header.laterality or side,
            patient=header.patient or rest,
            burned_in=header.burned_in,
        )
        for index, rgb in zip(wanted, decoded, strict=True)
    ]


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
        header = _header(data, label, dataset, layout)
    except DrcoreError:
        raise
    except Exception as error:  # a parser raises whatever it likes on hostile bytes
        raise PhotographError(
            f"{label}: the DICOM header is damaged ({short(error)}). Export the photograph again."
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
        meta, place = _walk(data, start, {_TRANSFER_SYNTAX}, _BODY)
        value = meta.get(_TRANSFER_SYNTAX, b"")
        syntax = value[8:].rstrip(b"\0 ").decode("ascii", "replace")
    explicit = _names_its_kind(data, place)
    if start == place:  # no meta information: one of the two native kinds
        syntax = "1.2.840.10008.1.2" + (".1" if explicit else "")
    if syntax not in {*NATIVE, JPEG, *JPEG_2000, RLE}:
        what = "".join(c for c in UID(syntax).name if c.isprintable())[:80] or "an unnamed kind"
        raise PhotographError(
            f"{label}: the pixels are stored as {what}, which cannot be read here. Export the "
            "photograph uncompressed, or as JPEG baseline, JPEG 2000 or RLE."
        )
    tags = {tag_for_keyword(keyword) for keyword in (*_IMAGE_KEYWORDS, *_IDENTITY_KEYWORDS)}
    found, place = _walk(data, place, {tag for tag in tags if tag is not None}, _PIXEL_DATA)
    if data[place : place + 4] != struct.pack("<HH", 0x7FE0, 0x0010):
        raise PhotographError(
            f"{label}: this DICOM file holds no photograph (there is no pixel data). Choose an "
            "ophthalmic photograph."
        )
    wanted = io.BytesIO(b"".join(found[tag] for tag in sorted(found)))
    return syntax, read_dataset(wanted, not explicit, is_little_endian=True), place


def _names_its_kind(data: bytes, place: int) -> bool:
    """Whether the element there is explicit: two capitals stand where else the length would."""
    return re.fullmatch(rb"[A-Z]{2}", data[place + 4 : place + 6]) is not None


def _walk(data: bytes, place: int, wanted: set[int], stop: int) -> tuple[dict[int, bytes], int]:
    """Walk over elements without parsing them, up to the first tag that is not below `stop`.

    pydicom builds an object for everything that it passes, nested or not: a header made of a
    million empty items would cost gigabytes. Here it costs a number.

    Returns:
        The encoded elements whose tags are wanted, and where the walk stopped.
    """
    found: dict[int, bytes] = {}
    explicit = _names_its_kind(data, place)
    depth = 0
    for _ in range(MAX_ELEMENTS):
        if place + 8 > len(data):
            return found, len(data)
        group, element = struct.unpack_from("<HH", data, place)
        tag = group << 16 | element
        if depth == 0 and tag >= stop:
            return found, place
        (length,) = struct.unpack_from("<L", data, place + 4)
        body = place + 8
        if tag in {_ITEM_END, _SEQUENCE_END}:
            depth -= 1
        elif explicit and tag != _ITEM and _names_its_kind(data, place):
            if data[place + 4 : place + 6] in _LONG_KINDS:
                (length,) = struct.unpack_from("<L", data, place + 8)
                body = place + 12
            else:
                (length,) = struct.unpack_from("<H", data, place + 6)
        if depth < 0:
            raise ValueError("a sequence ends that never began")
        if length == _UNDEFINED:
            depth += 1
            length = 0
        elif depth == 0 and tag in wanted and length <= _LONGEST_VALUE:
            found[tag] = data[place : body + length]
        place = body + length
    raise ValueError(f"it has more than {MAX_ELEMENTS} elements")


def _header(data: bytes, label: str, dataset: Dataset, layout: Layout) -> Header:
    side = None
    for keyword in ("ImageLaterality", "Laterality"):
        side = side or _SIDES.get(str(dataset.get(keyword) or "").strip().upper())
    burned = str(dataset.get("BurnedInAnnotation") or "").strip().upper()
    digest = hashlib.sha256(data)
    hashes = (
        (digest.hexdigest(),)
        if layout.frames == 1
        else tuple(
            hashlib.sha256(digest.digest() + number.to_bytes(4, "big")).hexdigest()
            for number in range(1, layout.frames + 1)
        )
    )
    return Header(
        label=label,
        patient=_plain(dataset.get("PatientID")),
        laterality=side,
        burned_in={"YES": True, "NO": False}.get(burned),
        width=layout.columns,
        height=layout.rows,
        sha256=hashes,
        dataset=dataset,
    )


def _plain(value: object) -> str | None:
    """A PatientID as one line of printable text, at most the 64 characters that DICOM allows."""
    kept = "".join(c for c in str(value or "") if c.isprintable()).strip()[:64]
    return kept or None


def _pixel_bounds(data: bytes, place: int, layout: Layout, label: str) -> tuple[int, int]:
    """Find where the value of the pixel element starts and ends, and whether it is all there."""
    explicit = data[place + 4 : place + 6] in {b"OB", b"OW", b"UN"}
    start = place + (12 if explicit else 8)
    length = int.from_bytes(data[start - 4 : start], "little")
    compressed = layout.syntax not in NATIVE
    if compressed != (length == _UNDEFINED):
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
