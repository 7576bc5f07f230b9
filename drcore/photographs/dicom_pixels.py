"""The pixels of DICOM photographs: how they lie in the file, and how they become 8-bit RGB."""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from drcore.errors import DrcoreError, PhotographError
from drcore.photographs.colours import in_srgb
from drcore.photographs.damage import check_blocks, check_rows
from drcore.photographs.jpeg import blocks_of, decode_jpeg, names_its_colours, with_rgb_marker
from drcore.photographs.photograph import RGB, check_size
from drcore.text import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pydicom.dataset import Dataset

__all__ = [
    "JPEG", "JPEG_2000", "MAX_FRAMES", "NATIVE", "RLE", "Layout", "decode", "read_layout",
    "with_own_colours",
]  # fmt: skip

NATIVE = {
    "1.2.840.10008.1.2": "implicit little endian",
    "1.2.840.10008.1.2.1": "explicit little endian",
}
JPEG = "1.2.840.10008.1.2.4.50"
JPEG_2000 = frozenset({"1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91"})
RLE = "1.2.840.10008.1.2.5"

MAX_FRAMES = 1000
"""Frames of one file at most: beyond any photograph, and far below what could exhaust memory."""


@dataclass(frozen=True, slots=True)
class Layout:
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


def read_layout(dataset: Dataset, syntax: str, label: str, max_pixels: int) -> Layout:
    """Read from a header how the pixels lie, and refuse what cannot be decoded or is too large.

    Args:
        dataset: image attributes.
        syntax: UID of the transfer syntax.
        label: display name, for the error.
        max_pixels: refuse frames of more pixels than this.

    Returns:
        The layout, every value checked.

    Raises:
        PhotographError: something is missing, contradicts itself, or is of another kind.
    """

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
    layout = Layout(
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
    colours = {"MONOCHROME1": 1, "MONOCHROME2": 1, "PALETTE COLOR": 1, "RGB": 3, "YBR_FULL": 3}
    colours |= {"YBR_FULL_422": 3} | ({"YBR_ICT": 3, "YBR_RCT": 3} if syntax in JPEG_2000 else {})
    if colours.get(photometric) != layout.samples:
        raise PhotographError(
            f"{label}: colours of the kind {photometric[:20]!r} in {layout.samples} samples are "
            "not understood. Export the photograph as RGB or MONOCHROME2."
        )
    deep = layout.allocated == 16 and syntax != JPEG and not photometric.startswith("YBR_FULL")
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


def with_own_colours(layout: Layout, length: int) -> Layout:
    """Correct a header that says that two pixels share their colours where each has its own.

    Args:
        layout: as the header says.
        length: bytes of the pixel element.

    Returns:
        The layout, YBR_FULL instead of YBR_FULL_422 where three bytes a pixel are stored.
    """
    if layout.photometric != "YBR_FULL_422" or layout.syntax not in NATIVE:
        return layout
    full = layout.frame_bytes * layout.frames
    return replace(layout, photometric="YBR_FULL") if length >= full else layout


def decode(
    encoded: bytes, layout: Layout, wanted: Sequence[int], dataset: Dataset, label: str
) -> Iterator[RGB]:
    """Decode frames one by one.

    Args:
        encoded: value of the pixel element.
        layout: of the same file.
        wanted: numbers of the frames, from 0, rising.
        dataset: image attributes, for palette and window.
        label: display name, for the error.

    Yields:
        uint8 (h, w, 3), 0-255, one frame wanted after the other.

    Raises:
        PhotographError: the pixels are damaged, cut short, or belie the header.
    """
    found = 0
    profile = dataset.get("ICCProfile") if layout.samples == 3 else None
    try:
        if layout.syntax not in NATIVE:
            _check_frames(encoded, layout, frozenset(wanted), label)
        one_by_one = _jpegs if layout.syntax == JPEG else _by_pydicom
        for pixels, photometric in one_by_one(encoded, layout, wanted):
            found += 1
            rgb = _to_rgb(pixels, photometric, dataset, layout)
            if layout.syntax in NATIVE:
                check_rows(rgb)
            yield in_srgb(rgb, profile if isinstance(profile, bytes) else b"")
    except DrcoreError:
        raise
    except Exception as error:  # decoders raise whatever they like on hostile bytes
        raise PhotographError(
            f"{label}: the DICOM pixel data is damaged or cut short ({one_line(error)}). Export "
            "the photograph again."
        ) from error
    if found != len(wanted):
        raise PhotographError(
            f"{label}: {len(wanted)} photographs were declared, but there are {found}. Export them "
            "again."
        )


def _by_pydicom(
    encoded: bytes, layout: Layout, wanted: Sequence[int]
) -> Iterator[tuple[NDArray[np.generic], str]]:
    """Frames as they are stored, and the kind of their colours."""
    from pydicom.pixels.decoders.base import get_decoder

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
    decoder = get_decoder(layout.syntax)
    for pixels, said in decoder.iter_array(encoded, raw=True, indices=wanted, **options):
        yield pixels, str(said["photometric_interpretation"])


def _jpegs(
    encoded: bytes, layout: Layout, wanted: Sequence[int]
) -> Iterator[tuple[NDArray[np.generic], str]]:
    """Frames of JPEG, as RGB or grey: strictly decoded, colours converted once."""
    from pydicom.encaps import generate_frames

    numbers = frozenset(wanted)
    for number, frame in enumerate(generate_frames(encoded, number_of_frames=layout.frames)):
        if number not in numbers:
            continue
        if layout.photometric == "RGB" and not names_its_colours(frame):
            frame = with_rgb_marker(frame)  # noqa: PLW2901
        rgb = decode_jpeg(frame, layout.columns, layout.rows)
        blocks = blocks_of(frame)
        if blocks is not None:
            check_blocks(rgb, blocks)
        yield (rgb, "RGB") if layout.samples == 3 else (rgb[..., 0], layout.photometric)


def _check_frames(encoded: bytes, layout: Layout, wanted: frozenset[int], label: str) -> None:
    """Look into compressed frames: a decoder allocates what the frame says, not the header."""
    from pydicom.encaps import generate_frames

    found = 0
    for frame in generate_frames(encoded, number_of_frames=layout.frames):
        found += 1
        if found > layout.frames:
            break
        if found - 1 not in wanted:
            continue
        if layout.syntax == RLE:
            _check_run_lengths(frame, layout)
        else:
            size = _jpeg_size(frame) if layout.syntax == JPEG else _jpeg_2000_size(frame)
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


def _check_run_lengths(frame: bytes, layout: Layout) -> None:
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


def _to_rgb(pixels: NDArray[np.generic], photometric: str, dataset: Dataset, layout: Layout) -> RGB:
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
        return _coloured(pixels, dataset)
    table = _grey_table(dataset, layout)
    if photometric == "MONOCHROME1":
        table = 255 - table
    # Stored bits alone: what lies above them may be an old overlay plane.
    index = pixels.astype(np.int32) & ((1 << layout.stored) - 1)
    return np.repeat(table[index][..., None], 3, axis=2)


def _shifted(pixels: NDArray[np.generic], stored: int) -> NDArray[np.uint8]:
    whole = pixels.astype(np.uint16, copy=False)
    scaled = whole >> (stored - 8) if stored > 8 else whole << (8 - stored)
    return np.asarray(scaled & 255).astype(np.uint8)


def _grey_table(dataset: Dataset, layout: Layout) -> NDArray[np.uint8]:
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
