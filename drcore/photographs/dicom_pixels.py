"""The pixels of DICOM photographs: how they lie in the file, and how they become 8-bit RGB."""

from __future__ import annotations

import io
import struct
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from drcore.errors import DrcoreError, PhotographError
from drcore.photographs.colours import in_srgb
from drcore.photographs.jpeg import blocks_of, decode_jpeg, names_its_colours, with_rgb_marker
from drcore.photographs.jpeg_2000 import check_jpeg_2000
from drcore.photographs.photograph import RGB
from drcore.photographs.pixel_damage import check_blocks, check_rows
from drcore.text import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pydicom.dataset import Dataset
from drcore.photographs.dicom_colours import to_rgb
from drcore.photographs.dicom_layout import JPEG, NATIVE, RLE, Layout

__all__ = ["decode", "with_own_colours"]


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
            rgb = to_rgb(pixels, photometric, dataset, layout)
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
            if layout.syntax != JPEG:
                check_jpeg_2000(frame)
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
