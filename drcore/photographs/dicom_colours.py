"""Colours of decoded DICOM frames as 8-bit RGB.

pydicom has functions for this, too, but they expand segmented palettes without limit and take 32
bits a sample, which a hostile header or a large photograph does not allow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from drcore.photographs.photograph import RGB
from drcore.photographs.raster import to_eight_bits

if TYPE_CHECKING:
    from pydicom.dataset import Dataset
from drcore.photographs.dicom_layout import Layout

__all__ = ["to_rgb"]


def to_rgb(pixels: NDArray[np.generic], photometric: str, dataset: Dataset, layout: Layout) -> RGB:
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
    if stored == 16:  # of which cameras may use 12 only
        return to_eight_bits(pixels.astype(np.uint16, copy=False))
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
