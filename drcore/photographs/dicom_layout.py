"""How the pixels of a DICOM file are stored, read from its header and checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from drcore.errors import PhotographError
from drcore.photographs.photograph import check_size

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

__all__ = ["JPEG", "JPEG_2000", "MAX_FRAMES", "NATIVE", "RLE", "Layout", "read_layout"]


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

    layout = Layout(
        syntax=syntax,
        rows=whole("Rows"),
        columns=whole("Columns"),
        frames=whole("NumberOfFrames", 1),
        samples=whole("SamplesPerPixel", 1),
        photometric=str(dataset.get("PhotometricInterpretation", "")).strip(),
        allocated=whole("BitsAllocated"),
        stored=whole("BitsStored", whole("BitsAllocated")),
        signed=whole("PixelRepresentation", 0) == 1,
        planar=whole("PlanarConfiguration", 0),
    )
    _check_layout(layout, label, max_pixels)
    return layout


def _check_layout(layout: Layout, label: str, max_pixels: int) -> None:
    """Refuse what cannot be decoded, is too large or contradicts itself."""
    check_size(layout.columns, layout.rows, label, max_pixels)
    photometric = layout.photometric
    if not 1 <= layout.frames <= MAX_FRAMES:
        raise PhotographError(
            f"{label}: the DICOM header declares {layout.frames} frames; 1 to {MAX_FRAMES} are "
            "accepted. Export the photographs one by one."
        )
    colours = {"MONOCHROME1": 1, "MONOCHROME2": 1, "PALETTE COLOR": 1, "RGB": 3, "YBR_FULL": 3}
    colours |= {"YBR_FULL_422": 3} | (
        {"YBR_ICT": 3, "YBR_RCT": 3} if layout.syntax in JPEG_2000 else {}
    )
    if colours.get(photometric) != layout.samples:
        raise PhotographError(
            f"{label}: colours of the kind {photometric[:20]!r} in {layout.samples} samples are "
            "not understood. Export the photograph as RGB or MONOCHROME2."
        )
    deep = (
        layout.allocated == 16 and layout.syntax != JPEG and not photometric.startswith("YBR_FULL")
    )
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
