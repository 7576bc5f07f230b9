"""Encodes maps and colours for the browser."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from drcore.grading.report import GradeReport, Scale
    from drcore.maps.evidence import Evidence
    from drcore.preprocessing.field_of_view import FieldOfView

OUTSIDE = 255
"""Value of a cell outside the retina."""

_STEPS = 254
"""Of the colour scale: see `drcore.maps.overlay.position_of`."""

_AVERAGED_STEPS = 10_000
"""Of one unit of what outlines follow, score added per disc area."""


@dataclass(frozen=True, slots=True)
class Maps:
    """The maps of one photograph as one file.

    Attributes:
        data: for each map: what outlines follow (int16, little-endian, `_AVERAGED_STEPS` of the
            score added per disc area), the number of the region of each of these cells (uint8),
            and the colours (uint8, `_STEPS` of the scale, `OUTSIDE` outside the retina).
        scales: one dictionary for each map: name, regions, score that they add to, place of the
            square in pixels of the original, cells a side and offset in `data` of each grid.
    """

    data: bytes
    scales: tuple[dict[str, Any], ...]


def scales_of(report: GradeReport) -> list[Scale]:
    """Return the scales that have a map, smallest first, "fused" last."""
    return [*report.scales, "fused"]


def maps_of(report: GradeReport) -> Maps:
    """Write the maps of a report as one file; of grade 0, those in full detail (see `is_raw`)."""
    parts: list[bytes] = []
    scales, offset = [], 0
    for scale in scales_of(report):
        evidence = report.evidence(scale, raw=is_raw(report))
        described: dict[str, Any] = {
            "name": str(scale), "left": evidence.left, "top": evidence.top, "size": evidence.side,
            "score": report.score if scale == "fused" else report.scores[int(scale)],
            "regions": [] if is_raw(report) else [
                {**asdict(region), "place": region.place} for region in evidence.regions
            ],
        }  # fmt: skip
        for name, grid in _grids(evidence).items():
            described[name] = {"side": len(grid), "offset": offset}
            parts.append(grid.tobytes())
            offset += len(parts[-1]) + len(parts[-1]) % 2
            parts.append(bytes(len(parts[-1]) % 2))
        scales.append(described)
    return Maps(b"".join(parts), tuple(scales))


def is_raw(report: GradeReport) -> bool:
    """Whether the viewer shows the map as the networks gave it, under a warning: of grade 0."""
    return report.grade == 0


def _grids(evidence: Evidence) -> dict[str, NDArray[Any]]:
    from drcore.maps.overlay import position_of

    averaged = np.clip(np.round(evidence.averaged * _AVERAGED_STEPS), -32768, 32767)
    colours = np.round(position_of(evidence.density) * _STEPS)
    colours = np.where(np.isnan(evidence.density), OUTSIDE, colours)
    return {
        "averaged": averaged.astype("<i2"),
        "labels": evidence.labels,
        "colours": colours.astype(np.uint8),
    }


@cache
def colour_table() -> dict[str, Any]:
    """Return colours, opacities, ticks and outline levels, which are the same for every map.

    `table` holds 255 colours of the scale as bytes (red, green, blue, alpha).
    """
    from drcore.maps import overlay  # OpenCV: not for the first page
    from drcore.maps.region import LEVELS

    table = [
        value
        for _, rgb, alpha in overlay.colour_stops(_STEPS)
        for value in (*rgb, round(alpha * 255))
    ]  # fmt: skip
    return {
        "table": table, "ticks": overlay.tick_places(), "levels": list(LEVELS),
        "tones": [overlay.HALO, *overlay.outline_colours()],
        "fills": [overlay.LIGHT_FILL, overlay.FULL_FILL],
    }  # fmt: skip


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
