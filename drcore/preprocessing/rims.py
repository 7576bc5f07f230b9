"""Regions that differ from their ground, and the circular rims that explain their outlines.

What `drcore.preprocessing.retina_count` builds on; coordinates are pixels of its thumbnail.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Plane = NDArray[np.uint8]
    Points = NDArray[np.floating[Any]]

__all__ = [
    "ONE",
    "ONE_WHOLE",
    "Circle",
    "Region",
    "clear_arc",
    "outer_contours",
    "regions_of",
    "rims_of",
    "sharpness",
    "without_text",
]

_LEAST_AREA = 0.003
"""Smallest region that is looked at, share of the thumbnail."""

_SMALLEST = 12.0
"""Radius of a rim, at least, in pixels of the thumbnail."""

_POINTS = 180
"""Points of an outline, at most."""

_WHOLE = 0.4
"""Share of an outline that a circle explains if the region is one retina; straight cuts do not."""

ONE = 0.975
ONE_WHOLE = 0.99
"""Solidity from which a region is one retina; the latter where one circle explains it."""

_SPANS = (8, 14, 24, 40, 64, 100)
"""Points of an outline between the first and the last of three that a circle is drawn through."""

_grid = np.stack(np.meshgrid(*[(np.arange(20, dtype=np.float32) + 0.5) / 10 - 1] * 2))
_DISC = _grid[:, np.hypot(*_grid) <= 0.95]
"""Points spread over a disc of radius 1, (2, N)."""


@dataclass(frozen=True, slots=True)
class Circle:
    """A rim, in pixels of the thumbnail; `seen` is how much of it an outline shows, in radians."""

    x: float
    y: float
    radius: float
    seen: float


@dataclass(frozen=True, slots=True)
class Region:
    """What hangs together and differs from the ground.

    Attributes:
        contour: int32 (N, 1, 2), as OpenCV gives it.
        filled: uint8 (height, width), 1 inside the contour.
        left, top: of `filled` on the thumbnail.
        frame: height and width of the thumbnail.
        area: share of the thumbnail.
        solidity: area as a share of the convex hull's, 1 for a disc or a rectangle.
    """

    contour: NDArray[np.int32]
    filled: Plane
    left: int
    top: int
    frame: tuple[int, int]
    area: float
    solidity: float

    @property
    def short(self) -> int:
        """Short side of the bounding box."""
        return int(min(self.filled.shape))

    def holds(self, x: Points, y: Points) -> NDArray[np.bool_]:
        """Which points of the thumbnail lie inside."""
        height, width = self.filled.shape
        column = np.floor(x).astype(np.intp) - self.left
        row = np.floor(y).astype(np.intp) - self.top
        there = (column >= 0) & (column < width) & (row >= 0) & (row < height)
        there[there] = self.filled[row[there], column[there]] > 0
        return np.asarray(there, bool)


def without_text(mask: Plane) -> Plane:
    """Open a mask so that lines of text and ruled lines vanish."""
    return np.asarray(cv2.morphologyEx(mask, cv2.MORPH_OPEN, _ellipse(5)), np.uint8)


def regions_of(mask: Plane) -> list[Region]:
    """Return the regions of a mask, largest first, without thin things such as text.

    Args:
        mask: uint8 (h, w), 0 or 1.

    Returns:
        At most a few dozen, holes filled.
    """
    mask = without_text(mask)
    least = _LEAST_AREA * mask.size
    found: list[Region] = []
    for contour in outer_contours(mask, least)[:10]:
        left, top, width, height = cv2.boundingRect(contour)
        # A margin, so that opening sees the ground around it.
        filled = np.zeros((height + 2, width + 2), np.uint8)
        cv2.drawContours(filled, [contour], -1, 1, cv2.FILLED, offset=(1 - left, 1 - top))
        thin = 2 * int(0.035 * min(width, height)) + 1
        # What hangs on a large region, writing above all, is larger than text alone.
        filled = np.asarray(cv2.morphologyEx(filled, cv2.MORPH_OPEN, _ellipse(thin)), np.uint8)
        origin, frame = (left - 1, top - 1), mask.shape
        found += [_region(filled, part, origin, frame) for part in outer_contours(filled, least)]
    return sorted(found, key=lambda region: -region.area)


@functools.cache
def _ellipse(size: int) -> NDArray[np.uint8]:
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)), np.uint8)


def outer_contours(mask: Plane, least: float) -> list[NDArray[np.int32]]:
    """Return the outlines of regions of that many pixels at least, largest first; none of holes."""
    contours, hierarchy = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    if hierarchy is None:
        return []
    outer = [
        (cv2.contourArea(contour), np.asarray(contour, np.int32))
        for contour, links in zip(contours, hierarchy[0], strict=True)
        if links[3] < 0
    ]
    outer.sort(key=lambda item: -item[0])
    return [contour for area, contour in outer if area >= least]


def _region(
    mask: Plane, contour: NDArray[np.int32], origin: tuple[int, int], frame: tuple[int, ...]
) -> Region:
    """A region by its outline in a mask that lies at `origin` of the frame."""
    left, top, width, height = cv2.boundingRect(contour)
    area = cv2.contourArea(contour)
    hull = max(cv2.contourArea(cv2.convexHull(contour)), 1.0)
    return Region(
        contour=np.asarray(contour + np.array(origin, np.int32), np.int32),
        filled=np.ascontiguousarray(mask[top : top + height, left : left + width]),
        left=left + origin[0],
        top=top + origin[1],
        frame=(frame[0], frame[1]),
        area=area / (frame[0] * frame[1]),
        solidity=area / hull,
    )


def sharpness(region: Region, plane: Plane, level: float) -> tuple[float, NDArray[np.bool_]]:
    """Say how far a plane falls across the outline of a region, and where it is faint.

    Args:
        region: whose outline is looked at, less what lies on the frame.
        plane: uint8 (h, w), which is brighter inside the region.
        level: brightness at which an outline is faint.

    Returns:
        1 where it is black just outside, 0 where it is as bright as just inside; the median. And
        for each point of the outline whether the plane is darker than `level` just inside: a
        shadow within a retina makes such an outline, too.
    """
    points, _ = _outline(region)
    if len(points) < 16:
        return 0.0, np.zeros(len(points), bool)
    along = np.roll(points, -3, axis=0) - np.roll(points, 3, axis=0)
    normal = np.stack([along[:, 1], -along[:, 0]], axis=1)
    normal *= 5 / np.maximum(np.hypot(*normal.T), 1e-3)[:, None]
    height, width = region.frame
    sides = []
    for way in (-1, 1):
        column, row = np.floor(points + way * normal).astype(np.intp).T
        sides.append(plane[row.clip(0, height - 1), column.clip(0, width - 1)].astype(np.float32))
    dark, bright = np.minimum(*sides), np.maximum(*sides)
    fall = float(np.median((bright - dark) / np.maximum(bright, 1)))
    return fall, bright < level


def clear_arc(region: Region, rim: Circle, faint: NDArray[np.bool_]) -> float:
    """Radians of a rim that an outline shows where it is not faint."""
    points, spacing = _outline(region)
    away = np.abs(np.hypot(points[:, 0] - rim.x, points[:, 1] - rim.y) - rim.radius)
    return float((away[~faint] < _slack(rim.radius)).sum() * spacing / rim.radius)


def _slack(radius: Any) -> Any:
    """How far from a circle a point still lies on it."""
    return 0.015 * radius + 0.7


def rims_of(region: Region) -> tuple[list[Circle], bool]:
    """Find the circles that parts of an outline lie on.

    Args:
        region: whose outline is looked at, less what lies on the frame of the thumbnail.

    Returns:
        Up to three circles full of the region, the best first; and whether the first explains the
        outline as a whole.
    """
    points, spacing = _outline(region)
    if len(points) < 16:
        return [], False
    circles, start = _candidates(points, 1.2 * max(region.filled.shape))
    x, y, radius = circles[:, :, None]
    squared = (points[:, 0] - x) ** 2 + (points[:, 1] - y) ** 2
    slack = _slack(radius)
    close = (squared > (radius - slack) ** 2) & (squared < (radius + slack) ** 2)

    found: list[int] = []
    on_circle = close.sum(axis=1)
    for index in np.argsort(-on_circle)[:6]:
        if on_circle[index] < _WHOLE * len(points):
            break
        if _filled(region, circles[:, index]).size:
            found.append(int(index))
            break
    whole = bool(found)
    wanted = 3 if region.solidity < (ONE_WHOLE if whole else ONE) else 1
    if len(found) < wanted:
        # From here on by unbroken arcs: a circle around many discs touches each of them.
        arcs = _unbroken(close, start)
        _add_rims(region, circles, close, arcs, spacing, found, wanted)
    seen = on_circle * spacing / circles[2]
    return [_circle(circles[:, i], seen[i]) for i in found], whole


def _circle(parameters: NDArray[np.float32], seen: np.floating[Any]) -> Circle:
    x, y, radius = parameters.tolist()
    return Circle(x, y, radius, float(seen))


def _add_rims(
    region: Region,
    circles: NDArray[np.float32],
    close: NDArray[np.bool_],
    arcs: NDArray[np.bool_],
    spacing: float,
    found: list[int],
    wanted: int,
) -> None:
    """Add to `found` the circles with the longest arcs that no circle found before explains."""
    x, y, radius = circles
    while len(found) < wanted:
        free = ~close[found].any(axis=0)
        length = (arcs & free).sum(axis=1) * spacing
        able = length > 0.9 * radius
        for i in found:
            away = np.hypot(x - x[i], y - y[i])
            able &= (away > 0.45 * np.maximum(radius, radius[i])) & (radius > 0.15 * radius[i])
        rows = np.flatnonzero(able)
        for row in rows[np.argsort(-length[rows])][:12]:
            inside = _filled(region, circles[:, row])
            arc = length[row] / radius[row]
            if inside.size and all(_another(inside, circles[:, [i, row]], arc) for i in found):
                found.append(int(row))
                break
        else:
            return


def _another(inside: Points, pair: NDArray[np.float32], arc: float) -> bool:
    """True where half of a second disc lies outside the first, or a part of a small one."""
    (x, _), (y, _), (radius, small) = pair
    outside = float((np.hypot(inside[0] - x, inside[1] - y) > radius).mean())
    return outside > 0.5 or (outside > 0.15 and arc > 1.2 and small < 0.6 * radius)


def _outline(region: Region) -> tuple[NDArray[np.float32], float]:
    """Points of the outline that do not lie on the frame, and their distance along it."""
    height, width = region.frame
    points = region.contour[:, 0, :]
    spacing = max(1.0, len(points) / _POINTS)
    points = points[np.arange(0, len(points), spacing).astype(np.intp)]
    off = ((points > 1) & (points < (width - 2, height - 2))).all(axis=1)
    return points[off].astype(np.float32) + np.float32(0.5), spacing


def _candidates(
    points: NDArray[np.float32], largest: float
) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    """Circles (3, N) through three points of an outline each, and the place of the first point."""
    n = len(points)
    spans = np.array([*(span for span in _SPANS if span < n), 2 * n // 3])
    start = np.tile(np.arange(0, n, max(1, n // 40)), len(spans))
    span = np.repeat(spans, len(start) // len(spans))
    a, b, c = points[start], points[(start + span // 2) % n], points[(start + span) % n]
    ab, ac = b - a, c - a
    cross = 2 * (ab[:, 0] * ac[:, 1] - ab[:, 1] * ac[:, 0])
    cross[np.abs(cross) < 1e-3] = np.nan
    ab2, ac2 = (ab**2).sum(axis=1), (ac**2).sum(axis=1)
    x = (ac[:, 1] * ab2 - ab[:, 1] * ac2) / cross
    y = (ab[:, 0] * ac2 - ac[:, 0] * ab2) / cross
    radius = np.hypot(x, y)
    good = (radius > _SMALLEST) & (radius < largest)
    circles = np.stack([x + a[:, 0], y + a[:, 1], radius])[:, good]
    return circles.astype(np.float32), start[good]


def _unbroken(close: NDArray[np.bool_], start: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Of the points close to a circle, those joined to its first one but for gaps of two."""
    n = close.shape[1]
    places = np.arange(n)
    rows = np.arange(len(close))[:, None]
    reach = []
    for way in (1, -1):
        missed = ~close[rows, (start[:, None] + way * places) % n]
        gap = missed[:, :-2] & missed[:, 1:-1] & missed[:, 2:]
        reach.append(np.where(gap.any(axis=1), gap.argmax(axis=1), n)[:, None])
    after = (places - start[:, None]) % n
    return np.asarray(close & ((after < reach[0]) | (after > n - reach[1])))


def _filled(region: Region, circle: NDArray[np.float32]) -> Points:
    """Points of a disc that the region holds, (2, N); none where the disc is not full of it."""
    x, y = circle[:2, None] + circle[2] * _DISC
    height, width = region.filled.shape
    within = (x >= region.left) & (x < region.left + width)
    within &= (y >= region.top) & (y < region.top + height)
    held = region.holds(x, y)
    full = within.mean() >= 0.45 and held.sum() >= 0.8 * within.sum()
    return np.stack([x[held], y[held]]) if full else np.empty((2, 0), np.float32)
