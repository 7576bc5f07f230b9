"""Telling by its outline whether one region is one retina, or several that touch or overlap."""

from __future__ import annotations

import math
from itertools import combinations
from typing import TYPE_CHECKING

import cv2
import numpy as np

from drcore.preprocessing.rims import (
    ONE,
    ONE_WHOLE,
    Circle,
    Region,
    clear_arc,
    outer_contours,
    rims_of,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Plane = NDArray[np.uint8]

__all__ = ["retinas_in"]

_EXPLAINED, _ALIKE = 0.5, 0.35
"""Of several discs on a page: share of the region that they fill, the second's size by the first's.
"""

_FAINT = 0.3
"""Share of an outline that may be faint where a region is taken for several retinas."""

_CLEAR = 1.2
"""Radians of a second rim that are not faint, from which it is no shadow's."""

_ALL = 3.5
"""Radians of a rim that are a whole retina's, whatever its outline does elsewhere."""

_LONG = 2.0
"""Radians of a rim, on a page or where much is faint, that are no chance."""

_NO_ROOM = 0.9
"""Share of a picture from which a disc leaves no room for a picture beside it: only for glare."""

_HANGING = 0.06
"""Radius of the largest disc within what hangs on a retina, by its radius: tabs and notches of
cameras, and discs a little squeezed, reach 0.025; insets from 0.07."""


def retinas_in(
    region: Region, faint: NDArray[np.bool_], *, on_page: bool = False
) -> tuple[int, bool]:
    """Count the retinas of a region by their rims.

    Args:
        region: reddish, or the count means nothing.
        faint: where its outline is, as `drcore.preprocessing.rims.sharpness` says: there a shadow,
            or the colour of the page in a retina, may part what is one.
        on_page: whether it lies on a white or grey page, whose colour a retina may have in places.

    Returns:
        0 where no rim is seen, 1, or 2 for two and more; and whether one circle explains the
        outline as a whole.
    """
    rims, whole = rims_of(region)
    if not rims:
        return 0, False
    if whole and rims[0].seen > _ALL and region.solidity < ONE and _much_beside(region, rims[0]):
        return 2, True
    if faint.mean() > _FAINT:
        clear = sorted((clear_arc(region, rim, faint) for rim in rims), reverse=True)
        if clear[0] < _LONG or len(clear) < 2 or clear[1] < _CLEAR:
            return 1, whole
    several = region.solidity < (ONE_WHOLE if whole else ONE) and (
        (whole and len(rims) > 1) or any(_notched(region, *pair) for pair in combinations(rims, 2))
    )
    several = several or (region.solidity < ONE and _much_beside(region, rims[0]))
    if on_page:
        sure = not whole and rims[0].seen > _LONG
        several = several and (sure or _explained(region, rims))
    elif _inset_outside(region, rims[0]) if whole else _inset_in_corner(region, rims[0]):
        return 2, False
    # Round corners and nicks are small beside the region; one of several retinas is not.
    if several and max(rim.radius for rim in rims) > 0.45 * _inscribed(region.filled):
        return 2, False
    return 1, whole


def _explained(region: Region, rims: list[Circle]) -> bool:
    """True where discs of like sizes fill half of a region: else its outline has chance notches."""
    first, second, *_ = [*sorted((rim.radius for rim in rims), reverse=True), 0.0]
    discs = math.pi * sum(rim.radius**2 for rim in rims)
    area = region.area * region.frame[0] * region.frame[1]
    return discs > _EXPLAINED * area and second > _ALIKE * first


def _inset_outside(region: Region, rim: Circle) -> bool:
    """True where something solid and small hangs on a whole disc: a picture beside the retina."""
    if region.area > _NO_ROOM:
        return False
    rest = region.filled.copy()
    centre = round(rim.x - region.left), round(rim.y - region.top)
    cv2.circle(rest, centre, round(1.03 * rim.radius + 1), 0, cv2.FILLED)
    if not rest.any():
        return False
    contour = max(outer_contours(rest, 0.0), key=cv2.contourArea)
    *_, width, height = cv2.boundingRect(contour)
    if max(width, height) > 0.9 * rim.radius:
        return False  # a rim that was fitted badly
    return _inscribed(rest) > max(5.0, _HANGING * rim.radius)


def _inset_in_corner(region: Region, rim: Circle) -> bool:
    """True where a small disc stands out of a photograph without a rim of its own."""
    share = rim.radius / max(region.filled.shape)
    large = region.area > 0.5  # else it lies in a larger frame, with writing perhaps
    return large and region.solidity < 0.99 and 0.1 < share < 0.3 and rim.seen > 1.65


def _notched(region: Region, first: Circle, second: Circle) -> bool:
    """True where the outline is drawn in at a place where two circles meet."""
    apart = math.hypot(second.x - first.x, second.y - first.y)
    r, s = first.radius, second.radius
    if (r * r + s * s - apart * apart) > 1.2 * r * s:
        return False  # they meet at too flat an angle
    height, width = region.frame
    toward = np.array([second.x - first.x, second.y - first.y]) / apart
    along = min(max((apart * apart + r * r - s * s) / (2 * apart), apart - s), r)
    half = math.sqrt(max(r * r - along * along, 0.0))
    small = min(r, s)
    for side in (-1, 1):
        across = side * np.array([-toward[1], toward[0]])
        meeting = np.array([first.x, first.y]) + along * toward + half * across
        outward = (meeting - (first.x, first.y)) / r + (meeting - (second.x, second.y)) / s
        length = math.hypot(*outward)
        outward = across if length < 0.1 else outward / length
        x, y = meeting[:, None] + outward[:, None] * np.linspace(0.1, 1, 10) * small
        gap = np.minimum(
            np.hypot(x - first.x, y - first.y) - r, np.hypot(x - second.x, y - second.y) - s
        )
        judged = (gap > 0.05 * small + 1) & (gap < 0.3 * small + 3)
        judged &= (x > 1) & (x < width - 1) & (y > 1) & (y < height - 1)
        if not region.holds(x[judged], y[judged]).all():
            return True
    return False


def _much_beside(region: Region, rim: Circle) -> bool:
    """True where a drawn-in outline parts a disc from something about as broad beside it."""
    defects = cv2.convexityDefects(
        region.contour, np.sort(cv2.convexHull(region.contour, returnPoints=False), axis=0)
    )
    if defects is None or defects[..., 3].max() / 256 < 0.2 * rim.radius:
        return False
    rest = region.filled.copy()
    centre = round(rim.x - region.left), round(rim.y - region.top)
    cv2.circle(rest, centre, round(1.06 * rim.radius + 1), 0, cv2.FILLED)
    return _inscribed(rest) > 0.35 * rim.radius


def _inscribed(mask: Plane) -> float:
    """Radius of the largest disc inside a mask."""
    framed = cv2.copyMakeBorder(mask, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    return float(cv2.distanceTransform(framed, cv2.DIST_L2, 3).max())
