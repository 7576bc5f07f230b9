"""Encodes maps and colours for the browser."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from drcore.grading.report import Cells, GradeReport, Scale
    from drcore.preprocessing.field_of_view import FieldOfView

OUTSIDE = -32768
"""Value of a cell outside the retina."""

_STEPS_PER_GRADE = 200
"""Maps go to the browser as 16-bit integers."""


@dataclass(frozen=True, slots=True)
class Maps:
    """The maps of one photograph as one file.

    Attributes:
        data: 16-bit signed numbers, little-endian, two-hundredths of a grade, grid after grid;
            `OUTSIDE` outside the retina.
        scales: one dictionary for each refined map: name, cells a side, centre of the first cell
            and distance of cells in pixels of the original, offset in `data`.
        probes: the same for the networks' own maps, whose values the pointer shows.
    """

    data: bytes
    scales: tuple[dict[str, Any], ...]
    probes: tuple[dict[str, Any], ...]


def scales_of(report: GradeReport) -> list[Scale]:
    """Return the scales that have a map, smallest first, "fused" last."""
    return [*report.scales, "fused"]


def maps_of(report: GradeReport) -> Maps:
    """Write the maps of a report as one file, refined and as the networks gave them."""
    parts: list[NDArray[np.int16]] = []
    offset = 0

    def add(scale: Scale, cells: Cells) -> dict[str, Any]:
        nonlocal offset
        place = {
            "name": str(scale), "side": len(cells.values), "x0": float(cells.x0),
            "y0": float(cells.y0), "step": float(cells.step), "offset": offset,
        }  # fmt: skip
        steps = np.clip(np.round(cells.values * _STEPS_PER_GRADE), OUTSIDE + 1, 32767)
        parts.append(np.where(np.isnan(steps), OUTSIDE, steps).astype("<i2"))
        offset += parts[-1].nbytes
        return place

    scales = tuple(add(scale, report.focused(scale)) for scale in scales_of(report))
    probes = tuple(add(scale, report.cells(scale)) for scale in scales_of(report))
    return Maps(b"".join(part.tobytes() for part in parts), scales, probes)


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
