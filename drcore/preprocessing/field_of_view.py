"""Finding the field of view: the circle of retina in a photograph, and where it is cut off."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
from drcore.preprocessing.circle_fit import fit_circle, share_inside

__all__ = ["FieldOfView", "find_field_of_view", "thumbnail"]


_WORKING_SIDE = 320
"""The circle is fitted on a copy of this long side: finer brings nothing, coarser loses arcs."""

_CORNER = 0.03
"""Side of the corners in which a lit ground is looked for, share of the short side."""

_SMALLEST = 32
"""Side of a photograph on a page on that copy, at least."""

_SMALLEST_DISC = 12
"""The same of a photograph in a black frame."""

_BLACK = 12
"""Level up to which a frame is black, 0-255."""

_LIT = 24.0
"""Level from which the ground around the retina is not black, 0-255."""

_EVEN = 8.0
"""How far levels of an even ground lie apart."""


@dataclass(frozen=True, slots=True)
class FieldOfView:
    """A circle of retina and the rectangle within which it is visible.

    All lengths are in pixels of the photograph, continuous coordinates: pixel (row i, column j)
    covers [j, j + 1) x [i, i + 1).

    Attributes:
        x, y: centre of the circle; may lie outside the photograph.
        radius: radius of the circle.
        left, top, right, bottom: the visible rectangle; beyond it the circle is cut off.
        found: False where no rim could be found and the full frame stands in for it.
        note: a sentence on what was found, empty when the circle is whole.
    """

    x: float
    y: float
    radius: float
    left: float
    top: float
    right: float
    bottom: float
    found: bool
    note: str

    @property
    def cut(self) -> tuple[str, ...]:
        """Sides on which more than 2 % of the radius is missing: left, top, right, bottom."""
        slack = 0.02 * self.radius
        gaps = {
            "left": self.left - (self.x - self.radius),
            "top": self.top - (self.y - self.radius),
            "right": (self.x + self.radius) - self.right,
            "bottom": (self.y + self.radius) - self.bottom,
        }
        return tuple(side for side, gap in gaps.items() if gap > slack)

    @property
    def visible_fraction(self) -> float:
        """Share of the circle's area that is not cut off, 0-1."""
        grid = (np.arange(128) + 0.5) / 64 - 1
        u, v = np.meshgrid(grid * self.radius + self.x, grid * self.radius + self.y)
        circle = (u - self.x) ** 2 + (v - self.y) ** 2 <= self.radius**2
        seen = (u >= self.left) & (u <= self.right) & (v >= self.top) & (v <= self.bottom)
        return float((circle & seen).sum() / circle.sum())

    def scaled(self, factor: float) -> FieldOfView:
        """Return the same field of view in pixels that are `factor` times as many a side."""
        return FieldOfView(
            self.x * factor, self.y * factor, self.radius * factor,
            self.left * factor, self.top * factor, self.right * factor, self.bottom * factor,
            self.found, self.note,
        )  # fmt: skip

    def moved(self, across: float, down: float) -> FieldOfView:
        """Return the same field of view so many pixels further to the right and down."""
        return replace(
            self, x=self.x + across, y=self.y + down, left=self.left + across, top=self.top + down,
            right=self.right + across, bottom=self.bottom + down,
        )  # fmt: skip

    def mask(self, height: int, width: int, margin: float = 0.0) -> NDArray[np.bool_]:
        """Return the visible retina as pixels of a photograph.

        Args:
            height, width: size of the photograph in pixels.
            margin: share of the radius to leave out along the rim and along cut edges, 0-1.

        Returns:
            bool (height, width), True where a pixel's centre is inside.
        """
        inset = margin * self.radius
        x = np.arange(width, dtype=np.float32) + np.float32(0.5)
        y = np.arange(height, dtype=np.float32) + np.float32(0.5)
        dx = (x - np.float32(self.x)) ** 2
        dx[(x < self.left + inset) | (x > self.right - inset)] = np.inf
        dy = (y - np.float32(self.y)) ** 2
        dy[(y < self.top + inset) | (y > self.bottom - inset)] = np.inf
        inside: NDArray[np.bool_] = dx[None, :] + dy[:, None] <= (self.radius - inset) ** 2
        return inside


def thumbnail(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Shrink a photograph to what the checks of the whole picture look at.

    Args:
        rgb: uint8 (H, W, 3), 0-255.

    Returns:
        uint8 (h, w, 3), at most 320 pixels a side and at least 8.
    """
    height, width = rgb.shape[:2]
    factor = max(1.0, max(height, width) / _WORKING_SIDE)
    size = max(8, round(width / factor)), max(8, round(height / factor))
    return np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)


def find_field_of_view(
    rgb: NDArray[np.uint8], small: NDArray[np.uint8] | None = None
) -> FieldOfView:
    """Find the circular field of view; never raises on a hard photograph.

    The retina is what is clearly brighter than the darkest part of the frame or, where the frame
    is white or grey around it, what differs from that. Its outline, less the parts that lie on the
    frame or on a straight cut, is fitted with a circle by RANSAC and least squares. Where no arc of
    a rim is seen, the full frame stands in: its circumscribed circle, so that no retina is lost.

    Args:
        rgb: uint8 (H, W, 3), 0-255.
        small: its `thumbnail`, where it is there.

    Returns:
        The field of view in pixels of `rgb`.
    """
    height, width = rgb.shape[:2]
    small = thumbnail(rgb) if small is None else small
    h, w = small.shape[:2]
    # Anisotropy of the rounding to whole pixels is below 0.2 %: kept apart per axis all the same.
    fx, fy = width / w, height / h

    ground = _lit_ground(small)
    place = None if ground is None else _on_page(small, ground)
    if place is not None:
        # What lies on a page, a slide or a report is looked at without its margins.
        rows, columns = _in_photograph(place, fx, fy)
        return find_field_of_view(rgb[rows, columns]).moved(columns.start, rows.start)

    if ground is None and (place := _small_in_black(small)) is not None:
        rows, columns = _in_photograph(place, fx, fy)
        return find_field_of_view(rgb[rows, columns]).moved(columns.start, rows.start)

    retina = _retina_mask(small, ground)
    if retina is None:
        return _full_frame(width, height, "No retina stands out from the frame.")
    outline = _outline(retina)
    if outline is None:
        return _full_frame(width, height, "No rim is seen: the retina fills the frame.")
    circle = _circle_of(_off_frame(outline, w, h), retina, 0.45)
    if circle is None:
        # A photograph cut close and put on a larger ground: most of its outline is cuts.
        circle = _circle_of(_off_cuts(outline), retina, 0.8)
    if circle is None:
        return _full_frame(width, height, "No circular rim is seen; the full frame is used.")
    x, y, radius = circle
    left, top, right, bottom = _visible_rectangle(outline, circle, w, h)
    fov = FieldOfView(
        x * fx, y * fy, radius * (fx + fy) / 2,
        left * fx, top * fy, right * fx, bottom * fy,
        found=True, note="",
    )  # fmt: skip
    if fov.cut:
        fov = replace(fov, note=f"The field of view is cut off: {', '.join(fov.cut)}.")
    return fov


def _full_frame(width: int, height: int, note: str) -> FieldOfView:
    radius = float(np.hypot(width, height)) / 2
    return FieldOfView(
        width / 2, height / 2, radius, 0.0, 0.0, float(width), float(height),
        found=False, note=note,
    )  # fmt: skip


def _on_page(small: NDArray[np.uint8], ground: NDArray[np.uint8]) -> tuple[slice, slice] | None:
    """Rows and columns of a photograph on a page of that colour; None where there is none."""
    apart = cv2.absdiff(small, np.full_like(small, ground)).max(axis=2) > 2 * _EVEN
    # The largest thing on the page: a line of text or a stray dot is no photograph, not even where
    # it touches one.
    mask = cv2.morphologyEx(apart.astype(np.uint8), cv2.MORPH_OPEN, np.ones((5, 5), np.uint8))
    largest = _largest_region(np.asarray(mask, np.uint8), connectivity=8)
    if largest is None:
        return None
    x, y, width, height = cv2.boundingRect(_without_thin_parts(largest, cv2.MORPH_RECT))
    # Its outermost pixels are mixed with the page.
    box = slice(y + 1, y + height - 1), slice(x + 1, x + width - 1)
    if min(width, height) < _SMALLEST:
        return None
    # The retina itself may lie on the page, without a black frame; then this ends here.
    closer = small[box].size < 0.85 * small.size
    return box if closer or _lit_ground(small[box]) is None else None


def _in_photograph(place: tuple[slice, slice], fx: float, fy: float) -> tuple[slice, slice]:
    """Rows and columns of the photograph that lie wholly within those of its small copy."""
    rows, columns = (
        slice(math.ceil(side.start * f), math.floor(side.stop * f))
        for side, f in zip(place, (fy, fx), strict=True)
    )
    return rows, columns


def _small_in_black(small: NDArray[np.uint8]) -> tuple[slice, slice] | None:
    """Rows and columns of a photograph that is small in a black frame; None where there is none."""
    height, width = small.shape[:2]
    red, green, blue = cv2.split(small)
    value = cv2.medianBlur(cv2.max(cv2.max(red, green), blue), 5)
    largest = _largest_region((value > _LIT).astype(np.uint8), connectivity=8)
    if largest is None:
        return None
    x, y, w, h = cv2.boundingRect(largest)
    if max(w, h) > 0.5 * min(height, width) or min(w, h) < _SMALLEST_DISC:
        return None
    margin = max(3, round(0.08 * max(w, h)))
    box = (
        slice(max(0, y - margin), min(height, y + h + margin)),
        slice(max(0, x - margin), min(width, x + w + margin)),
    )
    # A lit spot in a dark retina has retina around it.
    around = value.copy()
    around[box] = 0
    return None if np.count_nonzero(around > _BLACK) > 0.001 * around.size else box


def _largest_region(mask: NDArray[np.uint8], connectivity: int) -> NDArray[np.uint8] | None:
    """The largest connected region of a mask; None where it is empty."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=connectivity)
    if count < 2:
        return None
    largest = 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
    return np.asarray(labels == largest, np.uint8)


def _retina_mask(
    small: NDArray[np.uint8], ground: NDArray[np.uint8] | None
) -> NDArray[np.uint8] | None:
    """Largest bright region, holes filled; None where nothing stands out."""
    # The brightest channel: in dark photographs only red rises above the rim.
    shown = small if ground is None else cv2.absdiff(small, np.full_like(small, ground))
    red, green, blue = cv2.split(shown)
    value = cv2.medianBlur(cv2.max(cv2.max(red, green), blue), 5)
    dark, bright = (float(v) for v in np.percentile(value, (1, 90)))
    if bright - dark < 8:
        return None
    if dark > 0.4 * bright:
        # Even the darkest part is lit: a crop from inside the rim.
        return np.ones(value.shape, np.uint8)
    threshold = dark + max(4.0, 0.12 * (bright - dark))
    mask = (value > threshold).astype(np.uint8)
    region = _largest_region(mask, connectivity=4)
    if region is None or np.count_nonzero(region) < 0.05 * mask.size:
        return None
    contours, _ = cv2.findContours(region, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled = cv2.drawContours(np.zeros_like(region), contours, -1, 1, cv2.FILLED)
    if ground is not None:  # writing that touches the retina
        filled = _without_thin_parts(np.asarray(filled, np.uint8), cv2.MORPH_ELLIPSE)
    return np.asarray(filled, np.uint8)


def _without_thin_parts(region: NDArray[np.uint8], shape: int) -> NDArray[np.uint8]:
    """The largest part of a region that is left without what is thin beside it."""
    _, _, width, height = cv2.boundingRect(region)
    kernel = cv2.getStructuringElement(shape, (2 * (min(width, height) // 20) + 1,) * 2)
    pad = kernel.shape[0]
    framed = cv2.copyMakeBorder(region, pad, pad, pad, pad, cv2.BORDER_REPLICATE)
    opened = cv2.morphologyEx(framed, cv2.MORPH_OPEN, kernel)[pad:-pad, pad:-pad]
    largest = _largest_region(np.ascontiguousarray(opened, np.uint8), connectivity=8)
    # Where much is lost, it was no writing: parts of the retina have the colour of the page.
    if largest is None or np.count_nonzero(largest) < 0.85 * np.count_nonzero(region):
        return region
    return largest


def _lit_ground(small: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
    """Colour of the frame around the retina where it is white or grey, not black; else None.

    A page, a slide or a report has such a ground. All four corners show it, and no retina is so
    even or so free of colour.
    """
    side = max(3, round(_CORNER * min(small.shape[:2])))
    corners = np.stack(
        [small[rows, columns].reshape(-1, 3) for rows in (slice(side), slice(-side, None))
         for columns in (slice(side), slice(-side, None))]
    ).astype(np.float32)  # fmt: skip
    levels = np.median(corners, axis=1)  # (4, 3)
    ground = np.median(levels, axis=0)
    darkest, brightest = float(ground.min()), float(ground.max())
    # One corner may hold a label.
    alike = int((np.abs(levels - ground).max(axis=1) < _EVEN).sum())
    even = float(np.median(np.abs(corners - ground)))
    if darkest < _LIT or brightest - darkest > 0.1 * brightest or alike < 3 or even > _EVEN / 2:
        return None
    return np.round(ground).astype(np.uint8)


def _outline(retina: NDArray[np.uint8]) -> NDArray[np.float64] | None:
    """Outline of the convex hull of the region, (N, 2) x and y; None where it fills the frame."""
    if float(retina.mean()) > 0.995:
        return None
    contours, _ = cv2.findContours(retina, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    points = max(contours, key=len)[:, 0, :]
    # The hull bridges dark crescents and haemorrhages at the rim, which the threshold bites out.
    hull = cv2.convexHull(points)
    canvas = cv2.drawContours(np.zeros_like(retina), [hull], -1, 1, cv2.FILLED)
    both = cv2.findContours(canvas, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0]
    dense = max(both, key=len)[:, 0, :].astype(np.float64)
    # Keep hull points that the region itself reaches; bridges are chords, not rim.
    distance = cv2.distanceTransform(1 - retina, cv2.DIST_L2, 3)
    near = distance[dense[:, 1].astype(int), dense[:, 0].astype(int)] <= 1.5
    kept = dense[near]
    return (kept if len(kept) >= 24 else dense) + 0.5  # pixel centres


def _off_frame(outline: NDArray[np.float64], w: int, h: int) -> NDArray[np.float64]:
    x, y = outline[:, 0], outline[:, 1]
    kept: NDArray[np.float64] = outline[(x > 2.5) & (x < w - 2.5) & (y > 2.5) & (y < h - 2.5)]
    return kept


def _off_cuts(outline: NDArray[np.float64]) -> NDArray[np.float64]:
    """The outline less the sides of its bounding box along which it runs straight."""
    kept = np.ones(len(outline), bool)
    for axis in (0, 1):
        values, along = outline[:, axis], outline[:, 1 - axis]
        for edge in (values.min(), values.max()):
            near = np.abs(values - edge) < 1.5
            # A circle touches its box along a sixth of the side.
            if np.ptp(along[near]) > 0.3 * np.ptp(along):
                kept &= np.abs(values - edge) > 2.5
    return outline[kept]


def _circle_of(
    arc: NDArray[np.float64], retina: NDArray[np.uint8], least: float
) -> tuple[float, float, float] | None:
    """Circle through at least that share of an arc, if there is one and it holds the retina."""
    if len(arc) < 24:
        return None
    circle = fit_circle(arc, retina.shape[1], retina.shape[0], least)
    return circle if circle is not None and share_inside(retina, circle) >= 0.9 else None


def _visible_rectangle(
    outline: NDArray[np.float64], circle: tuple[float, float, float], w: int, h: int
) -> tuple[float, float, float, float]:
    """The frame, narrowed where the outline runs along a straight black bar inside it."""
    x, y, radius = circle
    limits = {"left": 0.0, "top": 0.0, "right": float(w), "bottom": float(h)}
    for side, axis, centre, sign in (
        ("left", 0, x, -1), ("top", 1, y, -1), ("right", 0, x, 1), ("bottom", 1, y, 1),
    ):  # fmt: skip
        values = outline[:, axis]
        edge = float(values.max() if sign > 0 else values.min())
        offset = abs(edge - centre)
        if (edge - centre) * sign <= 0 or offset > 0.97 * radius:
            continue
        chord = 2 * float(np.sqrt(radius**2 - offset**2))
        along = outline[np.abs(values - edge) < 1.5, 1 - axis]
        if len(along) and np.ptp(along) > 0.6 * chord:
            limits[side] = edge + 0.5 * sign
    return limits["left"], limits["top"], limits["right"], limits["bottom"]
