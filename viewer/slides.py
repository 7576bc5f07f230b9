"""One photograph as the stage in the browser needs it: pictures, maps, and where they lie."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from drcore import logs
from drcore.errors import DrcoreError
from viewer.turns import BACKGROUND

if TYPE_CHECKING:
    from drcore.grading.report import Cells, GradeReport, Scale
    from drcore.preprocessing.field_of_view import FieldOfView
    from viewer.pictures import Picture, Pictures
    from viewer.worklist import Entry, Worklist

__all__ = ["KEPT", "Maps", "Slide", "Slides", "colour_table", "field_of", "maps_of", "scales_of"]

KEPT = 5
"""Photographs that are ready to be shown: the one on screen, and those beside it."""

NOTHING = -32768
"""Stands for a cell outside the retina."""

_UNIT = 200
"""Steps for a grade: maps go to the browser as whole numbers of 16 bits."""


@dataclass(frozen=True, slots=True)
class Maps:
    """The maps of one photograph as one file.

    Attributes:
        data: 16-bit signed numbers, little-endian, two-hundredths of a grade, grid after grid;
            `NOTHING` outside the retina.
        scales: a dictionary a focused map: its name, cells a side, centre of the first cell and
            distance of the cells in pixels of the original, and where in `data` it begins.
        probes: the same for the maps as the networks gave them, whose values the pointer tells.
    """

    data: bytes
    scales: tuple[dict[str, Any], ...]
    probes: tuple[dict[str, Any], ...]


@dataclass(eq=False)
class Slide:
    """What of one photograph goes to the browser.

    Attributes:
        pictures: original and reduced views.
        maps: of every scale; None where they could not be made.
        large: views at full size, made when they are asked for.
    """

    pictures: Pictures
    maps: Maps
    large: dict[str, Picture] = field(default_factory=dict)


class Slides:
    """The slides of one session; safe to share between the page and its threads."""

    def __init__(self) -> None:
        self._slides: OrderedDict[str, Slide] = OrderedDict()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def ready(self, entry: Entry) -> Slide | None:
        """Return the slide of an entry if it is there."""
        with self._lock:
            return self._slides.get(_identity(entry))

    def slide(self, worklist: Worklist, entry: Entry, report: GradeReport) -> Slide | None:
        """Return the slide of an entry, made now if it is not there.

        Args:
            worklist: reads the photograph.
            entry: of the list.
            report: of the entry, not failed.

        Returns:
            The slide; None where the file was changed or taken away since it was graded.
        """
        key = _identity(entry)
        with self._lock:
            if key in self._slides:
                self._slides.move_to_end(key)
                return self._slides[key]
        try:
            pictures = worklist.pictures(entry)
        except DrcoreError:
            return None
        if pictures.sha256 != report.sha256:
            return None
        made = Slide(pictures, maps_of(report))
        with self._lock:
            made = self._slides.setdefault(key, made)
            while len(self._slides) > KEPT:
                self._slides.popitem(last=False)
        return made

    def prepare(self, worklist: Worklist, entries: list[Entry]) -> bool:
        """Make the slides of entries in the background.

        Args:
            worklist: of the entries.
            entries: to be shown soon, the likeliest first; what is not graded yet has to wait.

        Returns:
            Whether it is worth while to ask again.
        """
        soon = [e for e in entries[: KEPT - 1] if e.report is None or e.report.status != "failed"]
        waiting = [entry for entry in soon if self.ready(entry) is None]
        missing = [entry for entry in waiting if entry.report is not None]
        with self._lock:
            busy = self._thread is not None and self._thread.is_alive()
            if missing and not busy:
                self._thread = threading.Thread(
                    target=self._make, args=(worklist, missing), daemon=True, name="drcore-slides"
                )
                self._thread.start()
        return bool(waiting)

    def drop(self, present: list[Entry]) -> None:
        """Let go of what left the list."""
        keys = {_identity(entry) for entry in present}
        with self._lock:
            for key in [key for key in self._slides if key not in keys]:
                del self._slides[key]

    def _make(self, worklist: Worklist, entries: list[Entry]) -> None:
        for entry in entries:
            try:
                if entry.report is not None:
                    with BACKGROUND:
                        self.slide(worklist, entry, entry.report)
            except Exception as error:  # noqa: BLE001 - it is made again when it is shown
                logs.accident("preparing a photograph", error)
                return


def scales_of(report: GradeReport) -> list[Scale]:
    """Return the scales that have a map, smallest first, "fused" last."""
    return [*report.scales, "fused"]


def maps_of(report: GradeReport) -> Maps:
    """Write the maps of a report as one file.

    Args:
        report: not failed.

    Returns:
        The maps, focused and as the networks gave them.
    """
    parts: list[NDArray[np.int16]] = []
    offset = 0

    def add(scale: Scale, cells: Cells) -> dict[str, Any]:
        nonlocal offset
        place = {
            "name": str(scale), "side": len(cells.values), "x0": float(cells.x0),
            "y0": float(cells.y0), "step": float(cells.step), "offset": offset,
        }  # fmt: skip
        steps = np.clip(np.round(cells.values * _UNIT), NOTHING + 1, 32767)
        parts.append(np.where(np.isnan(steps), NOTHING, steps).astype("<i2"))
        offset += parts[-1].nbytes
        return place

    scales = tuple(add(scale, report.focused(scale)) for scale in scales_of(report))
    probes = tuple(add(scale, report.cells(scale)) for scale in scales_of(report))
    return Maps(b"".join(part.tobytes() for part in parts), scales, probes)


@cache
def colour_table() -> dict[str, Any]:
    """Return the fixed colour scale: 256 colours as bytes (red, green, blue, alpha), and range."""
    from drcore.maps.overlay import (  # brings OpenCV, which the first page spares
        MAP_RANGE,
        colour_stops,
    )

    table = [
        value
        for _, rgb, alpha in colour_stops(255)
        for value in (*rgb, round(alpha * 255))
    ]  # fmt: skip
    return {"table": table, "range": list(MAP_RANGE)}


def field_of(fov: FieldOfView | None, width: int, height: int) -> dict[str, float]:
    """Return what is seen at first: the whole retina and little else, in pixels."""
    if fov is None or not fov.found:
        return {"left": 0, "top": 0, "right": width, "bottom": height}
    return {
        "left": max(fov.x - fov.radius, fov.left, 0),
        "top": max(fov.y - fov.radius, fov.top, 0),
        "right": min(fov.x + fov.radius, fov.right, width),
        "bottom": min(fov.y + fov.radius, fov.bottom, height),
    }


def _identity(entry: Entry) -> str:
    # With identity shown or covered, the same photograph is another picture.
    return f"{entry.key} {entry.image_id} {entry.show_identity}"
