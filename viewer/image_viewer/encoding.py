"""Encodes maps and colours for the browser."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from drcore.grading.report import GradeReport, Scale
    from drcore.preprocessing.field_of_view import FieldOfView

OUTSIDE = -32768
"""Value of a cell outside the retina."""

_STEPS = 800
"""Of the square root of a value: 16 bits reach 1,600 grades and are fine near zero."""


@dataclass(frozen=True, slots=True)
class Maps:
    """The refined maps of one photograph as one file.

    Attributes:
        data: 16-bit signed numbers, little-endian, grid after grid: `_STEPS` times the square root
            of the value in grades, with its sign; `OUTSIDE` outside the retina.
        scales: one dictionary for each map: name, cells a side, centre of the first cell and
            distance of cells in pixels of the original, offset in `data`.
    """

    data: bytes
    scales: tuple[dict[str, Any], ...]


def scales_of(report: GradeReport) -> list[Scale]:
    """Return the scales that have a map, smallest first, "fused" last."""
    return [*report.scales, "fused"]


def maps_of(report: GradeReport) -> Maps:
    """Write the maps of a report as one file."""
    parts: list[bytes] = []
    scales, offset = [], 0
    for scale in scales_of(report):
        cells = report.focused(scale)
        scales.append({
            "name": str(scale), "side": len(cells.values), "x0": float(cells.x0),
            "y0": float(cells.y0), "step": float(cells.step), "offset": offset,
        })  # fmt: skip
        steps = np.sign(cells.values) * np.sqrt(np.abs(cells.values)) * _STEPS
        steps = np.where(np.isnan(steps), OUTSIDE, np.clip(np.round(steps), OUTSIDE + 1, 32767))
        parts.append(steps.astype("<i2").tobytes())
        offset += len(parts[-1])
    return Maps(b"".join(parts), tuple(scales))


@cache
def colour_table() -> dict[str, Any]:
    """Return the fixed colour scale: 256 colours as bytes (red, green, blue, alpha), and range."""
    from drcore.maps.overlay import MAP_RANGE, colour_stops  # OpenCV: not for the first page

    table = [
        value
        for _, rgb, alpha in colour_stops(255)
        for value in (*rgb, round(alpha * 255))
    ]  # fmt: skip
    return {"table": table, "range": list(MAP_RANGE)}


def disc_diameter(fov: FieldOfView | None, width: int, height: int) -> float:
    """Return a disc diameter in pixels: a seventh of the field of view, as in one of 45 degrees."""
    across = 2 * fov.radius if fov is not None and fov.found else min(width, height)
    return float(across) / 7


def field_of(fov: FieldOfView | None, width: int, height: int) -> dict[str, float]:
    """Return the initial view in pixels: the field of view, or all of the photograph."""
    if fov is None or not fov.found:
        return {"left": 0, "top": 0, "right": width, "bottom": height}
    return {
        "left": max(fov.x - fov.radius, fov.left, 0),
        "top": max(fov.y - fov.radius, fov.top, 0),
        "right": min(fov.x + fov.radius, fov.right, width),
        "bottom": min(fov.y + fov.radius, fov.bottom, height),
    }
