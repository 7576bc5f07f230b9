"""What the parts of a map add to the score, on a scale that is the same for every photograph.

The score is the mean of a map plus a constant, so a part of the retina adds exactly its share of
that mean. Divided by its area in areas of the optic disc, that is a density, which does not depend
on camera, resolution or photograph: how much of the score one disc area adds.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from drcore.eye import FIELD_DEGREES
from drcore.maps.region import LEVELS, Region

__all__ = ["Evidence", "disc_areas", "find_evidence"]

_DISCS_ACROSS = 7.0
"""Disc diameters across a field of 45 degrees."""

_AVERAGED = 0.1
"""Disc diameters: standard deviation of the neighbourhood over which outlines average."""

_CELLS = 128
"""Cells a side in which regions are found: a cell is a twentieth of a disc diameter wide."""

_MOST = 254
"""Regions that are numbered: the largest contributions."""

Map = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """What each part of the retina adds to the score.

    All grids cover the square around the field of view.

    Attributes:
        density: float32 (n, n), score added per disc area; NaN in cells without retina.
        averaged: float32 (k, k), the same averaged over a neighbourhood; 0 without retina. Outlines
            follow it.
        adds: float64 (k, k), score added by each cell; its sum and the bias are the score.
        labels: uint8 (k, k), number of the region of each cell, from 1; 0 outside regions.
        regions: by number less 1, largest contribution first.
        raising: sum of all that raises the score, in grades.
        disc_areas: area of the visible retina.
        left, top, side: of the square, in pixels of the photograph.
    """

    density: Map
    averaged: Map
    adds: NDArray[np.float64]
    labels: NDArray[np.uint8]
    regions: tuple[Region, ...]
    raising: float
    disc_areas: float
    left: float
    top: float
    side: float

    def within(self, boxes: Iterable[tuple[float, float, float, float]]) -> float:
        """Return what parts of the photograph add to the score, parts that overlap once.

        Args:
            boxes: left, upper, right and lower edge in pixels of the photograph. A point stands
                for the region that it lies in, or the cell.

        Returns:
            The sum in grades, in whole cells of `adds`.
        """
        count = len(self.adds)
        chosen = np.zeros(self.adds.shape, np.bool_)
        for box in boxes:
            left, top, right, bottom = (
                min(max(math.floor((at - edge) / self.side * count), 0), count - 1)
                for at, edge in zip(box, (self.left, self.top) * 2, strict=True)
            )
            chosen[top : bottom + 1, left : right + 1] = True
            number = int(self.labels[top, left])
            if box[:2] == box[2:] and number:
                chosen |= self.labels == number
        return float(self.adds[chosen].sum())


def _across(degrees: float) -> float:
    """Disc diameters across a field of view."""
    return _DISCS_ACROSS * degrees / FIELD_DEGREES


def disc_areas(coverage: Map, degrees: float = FIELD_DEGREES) -> float:
    """Return the area of the visible retina in areas of the optic disc.

    Args:
        coverage: float32 (n, n), 0-1, share of each cell that is retina, over the square around the
            field of view.
        degrees: width of the field of view.

    Returns:
        About 49 for a whole field of 45 degrees.
    """
    return float(coverage.mean(dtype=np.float64)) * _across(degrees) ** 2 * 4 / math.pi


def find_evidence(
    ram: Map,
    coverage: Map,
    *,
    degrees: float = FIELD_DEGREES,
    square: tuple[float, float, float] = (0.0, 0.0, 1.0),
    outlined: bool = True,
) -> Evidence:
    """Find what each part of a map adds to the score, and the regions that stand out.

    Args:
        ram: float32 (n, n), grades, over the square around the field of view.
        coverage: float32 (n, n), 0-1, share of each cell that is retina.
        degrees: width of the field of view.
        square: left and upper edge and side of the square, in pixels of the photograph.
        outlined: whether regions are looked for; a flat map has none, whatever its level.

    Returns:
        The evidence. `adds` sums to the mean of the map over the retina.
    """
    total = max(float(coverage.sum(dtype=np.float64)), 1e-9)
    whole = max(disc_areas(coverage, degrees), 1e-9)
    adds = np.where(coverage > 0, ram, 0).astype(np.float64) * coverage / total
    cells, areas = _in_blocks(adds), _in_blocks(coverage.astype(np.float64)) * whole / total
    averaged = _averaged(cells, areas, _AVERAGED * len(cells) / _across(degrees))
    raising = float(np.maximum(adds, 0).sum())
    above = averaged >= (LEVELS[0] if outlined else np.inf)
    labels, regions = _regions(cells, areas, averaged, above, raising, _across(degrees))
    return Evidence(
        density=np.where(coverage > 0, ram / np.float32(whole), np.float32(np.nan)),
        averaged=averaged, adds=cells, labels=labels, regions=regions, raising=raising,
        disc_areas=whole, left=square[0], top=square[1], side=square[2],
    )  # fmt: skip


def _in_blocks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sums over the blocks that leave `_CELLS` a side, or all cells where they do not divide."""
    size = len(values)
    block = size // _CELLS if size % _CELLS == 0 and size > _CELLS else 1
    blocks = values.reshape(size // block, block, size // block, block)
    return np.asarray(blocks.sum(axis=(1, 3)), np.float64)


def _averaged(cells: NDArray[np.float64], areas: NDArray[np.float64], sigma: float) -> Map:
    added, area = (cv2.GaussianBlur(values, (0, 0), sigma) for values in (cells, areas))
    # The last cells at the rim hold little retina: they must not stand out by a small divisor.
    mean = added / np.maximum(area, 0.2 * max(float(area.max()), 1e-12))
    return np.where(areas > 0, mean, 0).astype(np.float32)


def _regions(
    cells: NDArray[np.float64],
    areas: NDArray[np.float64],
    averaged: Map,
    above: NDArray[np.bool_],
    raising: float,
    across: float,
) -> tuple[NDArray[np.uint8], tuple[Region, ...]]:
    count, found = cv2.connectedComponents(above.astype(np.uint8), connectivity=4)
    # Of each region: contribution, area, and the centre of what is averaged to draw its outline.
    adds, area, weight = (
        np.bincount(found.ravel(), values.ravel(), count) for values in (cells, areas, averaged)
    )
    row, column = np.indices(found.shape)
    centres = [
        np.bincount(found.ravel(), (averaged * place).ravel(), count) / np.maximum(weight, 1e-12)
        for place in (column, row)
    ]
    order = [i for i in np.argsort(-adds) if i > 0][:_MOST]
    numbers = np.zeros(count, np.uint8)
    numbers[order] = np.arange(1, len(order) + 1)
    right, down = ((place + 0.5 - len(cells) / 2) * across / len(cells) for place in centres)
    regions = tuple(
        Region(
            adds=float(adds[i]), share=float(adds[i]) / max(raising, 1e-9),
            disc_areas=float(area[i]), right=float(right[i]), down=float(down[i]),
        )
        for i in order
    )  # fmt: skip
    return np.asarray(numbers[found], np.uint8), regions
