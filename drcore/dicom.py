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
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from drcore.errors import DrcoreError, PhotographError
from drcore.photograph import (
    MAX_PIXELS,
    RGB,
    Laterality,
    Photograph,
    check_size,
    encoded_bytes,
    parse_name,
)

if TYPE_CHECKING:
    from pathlib import Path
    from typing import BinaryIO

    from pydicom.dataset import Dataset

__all__ = ["Header", "read_frames", "read_header", "read_single_frame"]

# What pydicom warns of and logs, our errors say better; see `drcore.photograph`.
warnings.filterwarnings("ignore", module=r"pydicom\.")
logging.getLogger("pydicom").setLevel(logging.CRITICAL)

MAX_ELEMENTS = 200_000
"""Elements of a header at most, nested ones counted: twenty times a talkative camera's."""

MAX_FRAMES = 1000
"""Frames of one file at most: beyond any photograph, and far below what could exhaust memory."""

_NATIVE = {
    "1.2.840.10008.1.2": "implicit little endian",
    "1.2.840.10008.1.2.1": "explicit little endian",
}
_JPEG = "1.2.840.10008.1.2.4.50"
_JPEG_2000 = frozenset({"1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91"})
_RLE = "1.2.840.10008.1.2.5"

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
    "WindowWidth", "BurnedInAnnotation", "ImageLaterality", "Laterality",
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


@dataclass(frozen=True, slots=True)
class _Layout:
    """How the pixels lie in the file; every value checked."""

    syntax: str
    rows: int
    columns: int
    frames: int
    samples: int
    photometric: str
    allocated: int
    stored: int
    signed: bool
    planar: int

    @property
    def frame_bytes(self) -> int:
        """Bytes of one decoded frame."""
        return self.rows * self.columns * self.samples * self.allocated // 8

    @property
    def stored_bytes(self) -> int:
        """Bytes of one frame without compression, as it lies in the file."""
        if self.photometric == "YBR_FULL_422":  # two pixels share their colours
            return self.rows * self.columns * 2
        return self.frame_bytes


def read_header(
    source: str | Path | bytes | bytearray | memoryview | BinaryIO,
    *,
    name: str | None = None,
    max_pixels: int = MAX_PIXELS,
) -> Header:
    """Read what a DICOM file says of its photographs, without decoding them.

    Args:
        source: a path, the encoded bytes, or a binary file object.
        name: display name; taken from the path or the file object where left out.
        max_pixels: refuse files that declare more pixels than this, all frames together.

    Returns:
        The header.

    Raises:
        PhotographError: the source is missing, no DICOM photograph, damaged, or too large.
    """
    data, label = encoded_bytes(source, name)
    return _open(data, label, max_pixels)[0]


def read_frames(
    source: str | Path | bytes | bytearray | memoryview | BinaryIO,
    *,
    name: str | None = None,
    max_pixels: int = MAX_PIXELS,
) -> list[Photograph]:
    """Read every photograph of a DICOM file.

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
    return _photographs(data, *_open(data, label, max_pixels))


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
            "the others. Open it frame by frame (drcore.dicom.read_frames), or export each "
            "photograph as a file of its own."
        )
    return _photographs(data, header, layout, pixels)[0]


def _photographs(
    data: bytes, header: Header, layout: _Layout, pixels: tuple[int, int]
) -> list[Photograph]:
    decoded = _decode(data[pixels[0] : pixels[1]], header, layout)
    side, rest = parse_name(header.label)
    stem, dot, ending = header.label.rpartition(".")
    if not stem or len(ending) > 5:
        stem, dot, ending = header.label, "", ""
    return [
        Photograph(
            rgb=rgb,
            width=layout.columns,
            height=layout.rows,
            reduction=1,
            name=header.label if header.frames == 1 else f"{stem} frame {number}{dot}{ending}",
            sha256=header.sha256[number - 1],
            laterality=header.laterality or side,
            patient=header.patient or rest,
            burned_in=header.burned_in,
        )
        for number, rgb in enumerate(decoded, start=1)
    ]


# --- header -------------------------------------------------------------------------------------


def _open(data: bytes, label: str, max_pixels: int) -> tuple[Header, _Layout, tuple[int, int]]:
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
        layout = _layout(dataset, syntax, label, max_pixels)
        start, end = _pixel_bounds(data, place, layout, label)
        header = _header(data, label, dataset, layout)
    except DrcoreError:
        raise
    except Exception as error:  # a parser raises whatever it likes on hostile bytes
        raise PhotographError(
            f"{label}: the DICOM header is damaged ({_short(error)}). Export the photograph again."
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
    if syntax not in {*_NATIVE, _JPEG, *_JPEG_2000, _RLE}:
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


def _layout(dataset: Dataset, syntax: str, label: str, max_pixels: int) -> _Layout:
    def whole(keyword: str, default: int | None = None) -> int:
        value = dataset.get(keyword)
        if value is None or value == "":
            if default is not None:
                return default
            raise PhotographError(
                f"{label}: the DICOM header lacks {keyword}. Export the photograph again."
            )
        return int(str(value))

    photometric = str(dataset.get("PhotometricInterpretation", "")).strip()
    layout = _Layout(
        syntax=syntax,
        rows=whole("Rows"),
        columns=whole("Columns"),
        frames=whole("NumberOfFrames", 1),
        samples=whole("SamplesPerPixel", 1),
        photometric=photometric,
        allocated=whole("BitsAllocated"),
        stored=whole("BitsStored", whole("BitsAllocated")),
        signed=whole("PixelRepresentation", 0) == 1,
        planar=whole("PlanarConfiguration", 0),
    )
    check_size(layout.columns, layout.rows, label, max_pixels)
    if not 1 <= layout.frames <= MAX_FRAMES:
        raise PhotographError(
            f"{label}: the DICOM header declares {layout.frames} frames; 1 to {MAX_FRAMES} are "
            "accepted. Export the photographs one by one."
        )
    total = layout.rows * layout.columns * layout.frames
    if total > max_pixels:
        raise PhotographError(
            f"{label}: {layout.frames} frames of {layout.columns} x {layout.rows} are "
            f"{total / 1e6:.0f} megapixels; at most {max_pixels / 1e6:.0f} are accepted in one "
            "file. Export the photographs one by one."
        )
    colours = {"MONOCHROME1": 1, "MONOCHROME2": 1, "PALETTE COLOR": 1, "RGB": 3, "YBR_FULL": 3}
    colours |= {"YBR_FULL_422": 3} | ({"YBR_ICT": 3, "YBR_RCT": 3} if syntax in _JPEG_2000 else {})
    if colours.get(photometric) != layout.samples:
        raise PhotographError(
            f"{label}: colours of the kind {photometric[:20]!r} in {layout.samples} samples are "
            "not understood. Export the photograph as RGB or MONOCHROME2."
        )
    deep = layout.allocated == 16 and syntax != _JPEG and not photometric.startswith("YBR_FULL")
    if (layout.allocated != 8 and not deep) or not 1 <= layout.stored <= layout.allocated:
        raise PhotographError(
            f"{label}: {layout.stored} bits in {layout.allocated} are not understood for "
            f"{photometric}. Export the photograph with 8 bits."
        )
    if layout.planar not in {0, 1} or (layout.signed and layout.samples > 1):
        raise PhotographError(
            f"{label}: the DICOM header contradicts itself on how the colours are stored. Export "
            "the photograph again."
        )
    return layout


def _header(data: bytes, label: str, dataset: Dataset, layout: _Layout) -> Header:
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


def _pixel_bounds(data: bytes, place: int, layout: _Layout, label: str) -> tuple[int, int]:
    """Find where the value of the pixel element starts and ends, and whether it is all there."""
    explicit = data[place + 4 : place + 6] in {b"OB", b"OW", b"UN"}
    start = place + (12 if explicit else 8)
    length = int.from_bytes(data[start - 4 : start], "little")
    compressed = layout.syntax not in _NATIVE
    if compressed != (length == _UNDEFINED):
        raise PhotographError(
            f"{label}: the DICOM header contradicts itself on whether the pixels are compressed. "
            "Export the photograph again."
        )
    end = len(data) if compressed else start + length
    if not compressed and min(end, len(data)) - start < layout.stored_bytes * layout.frames:
        raise PhotographError(f"{label}: the pixel data is cut short. Export the photograph again.")
    return start, end


# --- pixels -------------------------------------------------------------------------------------


def _decode(encoded: bytes, header: Header, layout: _Layout) -> list[RGB]:
    from pydicom.pixels.decoders.base import get_decoder

    label = header.label
    try:
        if layout.syntax not in _NATIVE:
            _check_frames(encoded, layout, label)
        options: dict[str, Any] = {
            "rows": layout.rows,
            "columns": layout.columns,
            "number_of_frames": layout.frames,
            "samples_per_pixel": layout.samples,
            "photometric_interpretation": layout.photometric,
            "bits_allocated": layout.allocated,
            "bits_stored": layout.stored,
            "pixel_representation": int(layout.signed),
            "planar_configuration": layout.planar,
            "pixel_keyword": "PixelData",
        }
        # Raw: what becomes of the colours is decided below, in 8 bits instead of 32 a sample.
        frames = get_decoder(layout.syntax).iter_array(encoded, raw=True, **options)
        decoded = [
            _to_rgb(pixels, str(said["photometric_interpretation"]), header, layout)
            for pixels, said in frames
        ]
    except DrcoreError:
        raise
    except Exception as error:  # decoders raise whatever they like on hostile bytes
        raise PhotographError(
            f"{label}: the DICOM pixel data is damaged or cut short ({_short(error)}). Export the "
            "photograph again."
        ) from error
    if len(decoded) != layout.frames:
        raise PhotographError(
            f"{label}: the DICOM header declares {layout.frames} photographs, but there are "
            f"{len(decoded)}. Export them again."
        )
    return decoded


def _check_frames(encoded: bytes, layout: _Layout, label: str) -> None:
    """Look into compressed frames: a decoder allocates what the frame says, not the header."""
    from pydicom.encaps import generate_frames

    found = 0
    for frame in generate_frames(encoded, number_of_frames=layout.frames):
        found += 1
        if found > layout.frames:
            break
        if layout.syntax == _RLE:
            _check_run_lengths(frame, layout)
        else:
            size = _jpeg_size(frame) if layout.syntax == _JPEG else _jpeg_2000_size(frame)
            if size != (layout.columns, layout.rows, layout.samples):
                raise PhotographError(
                    f"{label}: the header says {layout.columns} x {layout.rows} with "
                    f"{layout.samples} samples, the compressed picture {size[0]} x {size[1]} with "
                    f"{size[2]}. Export the photograph again."
                )
    if found != layout.frames:
        raise PhotographError(
            f"{label}: the DICOM header declares {layout.frames} photographs, but there are "
            f"{found}. Export them again."
        )


def _jpeg_size(frame: bytes) -> tuple[int, int, int]:
    if not frame.rstrip(b"\0").endswith(b"\xff\xd9"):
        raise ValueError("the JPEG has no end")
    with Image.open(io.BytesIO(frame), formats=("JPEG",)) as image:
        return image.width, image.height, len(image.getbands())


def _jpeg_2000_size(frame: bytes) -> tuple[int, int, int]:
    """Read the SIZ marker of a JPEG 2000 code stream (ISO/IEC 15444-1, A.5.1)."""
    place = frame[:4096].find(b"\xff\x4f\xff\x51")
    if place < 0:
        raise ValueError("the JPEG 2000 has no beginning")
    if not frame.rstrip(b"\0").endswith(b"\xff\xd9"):
        raise ValueError("the JPEG 2000 has no end")
    x1, y1, x0, y0, *tile = struct.unpack_from(">8I", frame, place + 8)
    (samples,) = struct.unpack_from(">H", frame, place + 40)
    if not tile[0] or not tile[1] or -(-x1 // tile[0]) * -(-y1 // tile[1]) > 65535:
        raise ValueError("the JPEG 2000 declares too many tiles")
    return x1 - x0, y1 - y0, samples


def _check_run_lengths(frame: bytes, layout: _Layout) -> None:
    """Add up what the run lengths expand to (PS3.5 G.3): 2 bytes can stand for 128."""
    segments, *offsets = struct.unpack_from("<16L", frame)
    if segments != layout.samples * layout.allocated // 8:
        raise ValueError("the number of RLE segments is wrong")
    wanted = layout.rows * layout.columns
    for start, end in zip(offsets, [*offsets[1:segments], len(frame)], strict=False):
        if not 64 <= start <= end <= len(frame):
            raise ValueError("an RLE segment lies outside the frame")
        place = expanded = 0
        segment = frame[start:end]
        while place < len(segment) and expanded <= wanted + 1:
            control = segment[place]
            if control < 128:
                expanded += control + 1
                place += control + 2
            else:
                expanded += 0 if control == 128 else 257 - control
                place += 1 if control == 128 else 2
        if not wanted <= expanded <= wanted + 1:  # one more, where a byte pads the segment
            raise ValueError("an RLE segment holds more or less than it declares")


def _to_rgb(pixels: NDArray[np.generic], photometric: str, header: Header, layout: _Layout) -> RGB:
    """Bring one decoded frame, uint8 or 16 bits of any photometric kind, to 8-bit RGB."""
    shape = (layout.rows, layout.columns) + ((3,) if layout.samples == 3 else ())
    if pixels.shape != shape:
        raise ValueError(f"the decoder returned {pixels.shape}, not {shape}")
    if layout.samples == 3:
        eight = (
            np.asarray(pixels, np.uint8)
            if layout.allocated == 8
            else _shifted(pixels, layout.stored)
        )
        if photometric.startswith("YBR"):
            # OpenCV wants red before blue; the coefficients are JPEG's, as DICOM demands
            # (PS3.3 C.7.6.3.1.2).
            ordered = np.ascontiguousarray(eight[..., [0, 2, 1]])
            return np.asarray(cv2.cvtColor(ordered, cv2.COLOR_YCrCb2RGB), np.uint8)
        return np.ascontiguousarray(eight)
    if photometric == "PALETTE COLOR":
        return _coloured(pixels, header.dataset)
    table = _grey_table(header.dataset, layout)
    if photometric == "MONOCHROME1":
        table = 255 - table
    # Stored bits alone: what lies above them may be an old overlay plane.
    index = pixels.astype(np.int32) & ((1 << layout.stored) - 1)
    return np.repeat(table[index][..., None], 3, axis=2)


def _shifted(pixels: NDArray[np.generic], stored: int) -> NDArray[np.uint8]:
    whole = pixels.astype(np.uint16, copy=False)
    scaled = whole >> (stored - 8) if stored > 8 else whole << (8 - stored)
    return np.asarray(scaled & 255).astype(np.uint8)


def _grey_table(dataset: Dataset, layout: _Layout) -> NDArray[np.uint8]:
    """For each stored value its grey: the header's first window, or the whole range."""
    values = np.arange(1 << layout.stored, dtype=np.float64)
    if layout.signed:  # two's complement
        values[len(values) // 2 :] -= len(values)
    low, high = float(values.min()), float(values.max())
    centre, width = (_first_number(dataset.get(k)) for k in ("WindowCenter", "WindowWidth"))
    if centre is not None and width is not None and width > 1:  # PS3.3 C.11.2.1.2.1
        low, high = centre - 0.5 - (width - 1) / 2, centre - 0.5 + (width - 1) / 2
    grey = (values - low) / max(high - low, 1e-6) * 255
    return np.asarray(np.clip(grey + 0.5, 0, 255), np.uint8)


def _first_number(value: Any) -> float | None:
    if value is None or isinstance(value, str | float | int):
        first = value
    else:
        first = value[0] if len(value) else None
    try:
        number = float(first) if first is not None else float("nan")
    except ValueError:
        return None
    return number if np.isfinite(number) and abs(number) < 1e9 else None


def _coloured(indices: NDArray[np.generic], dataset: Dataset) -> RGB:
    """Look up palette colours (PS3.3 C.7.9)."""
    planes = []
    whole = indices.astype(np.int32)
    for colour in ("Red", "Green", "Blue"):
        entries, first, bits = (
            int(n) for n in dataset[f"{colour}PaletteColorLookupTableDescriptor"].value
        )
        entries = entries or 65536
        # Segmented tables are refused here: a few bytes of them expand without limit.
        data = dataset[f"{colour}PaletteColorLookupTableData"].value
        if bits not in {8, 16} or not isinstance(data, bytes):
            raise ValueError("its palette is not understood")
        wide = len(data) >= 2 * entries
        table = np.frombuffer(data, "<u2" if wide else np.uint8)[:entries].astype(np.uint16)
        if len(table) < entries:
            raise ValueError("its palette is cut short")
        # Some writers put 8-bit entries into 16-bit words; the values tell.
        eight = (table >> 8 if bits == 16 and wide and table.max() > 255 else table).astype(
            np.uint8
        )
        planes.append(eight[np.clip(whole - first, 0, entries - 1)])
    return np.dstack(planes)


def _short(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text[:120] or type(error).__name__
