"""Telling a photograph of one retina from a page of several, a report, a montage or a screen.

All is decided on a thumbnail. What differs from the ground, be it black or a lit page, falls into
regions; a retina is a region, or a part of one, that a circular rim explains. A second retina has a
rim of its own; a report or a screen has other content beside the retina.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from drcore.preprocessing.field_of_view import thumbnail
from drcore.preprocessing.merged_retinas import retinas_in
from drcore.preprocessing.rims import (
    Region,
    regions_of,
    rims_of,
    sharpness,
    without_text,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Plane = NDArray[np.uint8]

__all__ = ["PART_OF_A_PICTURE", "SEVERAL_RETINAS", "why_not_single"]

SEVERAL_RETINAS = (
    "There is more than one retina in this picture. Save each as a picture of its own and grade "
    "them separately."
)
PART_OF_A_PICTURE = (
    "The retina is only a part of this picture, such as a report or a screen. Save the photograph "
    "of the retina as a picture of its own and grade that."
)

_OTHER = 0.03
"""Lit content beside a retina that makes a picture more than a photograph, share of its area."""


_FRAME_FILLED = 0.94
"""Share of a picture from which a region is no disc, whatever circle explains its outline."""

_ALONE = 0.7
"""Share of a picture up to which a retina, with nothing else on black, is on no screen."""

_OPTIC_DISC = 0.05
"""Share of a picture that no optic disc has, however near it was photographed."""

_FADED = 0.3
"""Share of an outline that fades into the page, from which a region may be a part of a retina."""

_NARROW = 0.15
"""Height of the narrowest picture on a page by its width: what is narrower is a line of text."""

_CRUMB = 0.02
"""Share of the largest region that the smallest picture beside it has at least."""

_APART = 10
"""Grey levels by which what lies on a page differs from it."""

_SHARP = 0.5
"""How far brightness falls across the rim of a photograph; shadows within a retina are softer."""


def why_not_single(rgb: NDArray[np.uint8], small: NDArray[np.uint8] | None = None) -> str:
    """Say why a picture is not the photograph of one retina.

    Args:
        rgb: uint8 (H, W, 3), 0-255, upright.
        small: its `drcore.preprocessing.field_of_view.thumbnail`, where it is there.

    Returns:
        `SEVERAL_RETINAS`, `PART_OF_A_PICTURE`, or an empty string where nothing speaks against a
        single photograph; whether it shows a retina at all is not decided here.
    """
    small = thumbnail(rgb) if small is None else small
    lit = _brightest(small)
    page = _page_colour(small)
    shown, blocks, apart = (lit, [], None) if page is None else _on_page(small, lit, page)
    mask, cut = _mask(shown)
    regions = regions_of(mask)
    reason = _reason(small, (shown, apart), cut, regions, None if page is None else blocks)
    place = _small_place([*regions, *blocks], small, rgb) if reason else None
    # A rim a few pixels wide is too coarse to refuse a picture for.
    return reason if place is None else why_not_single(rgb[place])


def _reason(
    small: NDArray[np.uint8],
    planes: tuple[Plane, Plane | None],
    cut: float,
    regions: list[Region],
    blocks: list[Region] | None,
) -> str:
    """The reason against a thumbnail; `blocks` lie on its page, None where there is none."""
    seen = _Seen()
    on_page = blocks is not None
    shown, apart = planes
    for region in regions:
        fall, faint = sharpness(region, shown, 2 * cut)
        retina = fall > _SHARP and _reddish(small, region) and not _scribble(region)
        faded = sharpness(region, apart, 2 * _APART)[1] if apart is not None else faint & False
        part = faded.sum() > _FADED * len(faded) or (on_page and _crumb(regions[0], region))
        seen.add(region, faint | faded, retina=retina, on_page=on_page, part=part)
        if seen.retinas + seen.rimless > 1:
            return SEVERAL_RETINAS
    other = seen.other > _OTHER if blocks is None else _pictures(blocks, small) > 1
    if seen.retinas and other:
        return PART_OF_A_PICTURE
    lit = _brightest(small)
    whole = seen.whole and regions[0].area < _FRAME_FILLED
    alone = len(regions) == 1 and seen.retinas == 1 and regions[0].area < _ALONE
    if blocks is None and not whole and not alone and _parted_by_colour(small, lit, cut):
        return PART_OF_A_PICTURE
    if regions and _reddish(small, regions[0]):
        largest = regions[0]
        if _has_seam(lit, largest) or (not on_page and _has_corner(small, lit, largest)):
            return SEVERAL_RETINAS
    return ""


@dataclass(slots=True)
class _Seen:
    """What the regions of a picture add up to.

    Attributes:
        retinas: discs with a rim, those of one region counted up to two.
        rimless: what may be photographs cut from inside the rim.
        other: area of all that is no disc, share of the picture.
        whole: True where one circle explains a region.
    """

    retinas: int = 0
    rimless: int = 0
    other: float = 0.0
    whole: bool = False

    def add(
        self, region: Region, faint: NDArray[np.bool_], *, retina: bool, on_page: bool, part: bool
    ) -> None:
        count, whole = retinas_in(region, faint, on_page=on_page) if retina else (0, False)
        part &= self.retinas > 0  # of a retina that has the colour of the page in places
        count = 0 if part else count
        self.retinas += count
        self.whole |= whole
        if count == 0:
            self.other += region.area
            solid = region.area > 0.03 and region.solidity > 0.93
            self.rimless += (
                retina and solid and not part and region.short > 0.5 * max(region.filled.shape)
            )


# --- planes -------------------------------------------------------------------------------------


def _brightest(small: NDArray[np.uint8]) -> Plane:
    """The brightest channel of each pixel."""
    red, green, blue = cv2.split(small)
    return np.asarray(cv2.max(cv2.max(red, green), blue), np.uint8)


def _page_colour(small: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
    """Colour of a white or grey page, shown by a third of the border at least; else None."""
    border = _border(small, 0.012)
    darkest, brightest = border.min(axis=1), border.max(axis=1)
    neutral = border[(brightest - darkest <= 0.1 * brightest) & (darkest >= 24)]
    if len(neutral) == 0:
        return None
    alike = np.convolve(np.bincount(neutral[:, 1], minlength=256), np.ones(9), "same")
    level = int(alike.argmax())
    if alike[level] < 0.35 * len(border):
        return None
    near = neutral[np.abs(neutral[:, 1] - level) <= 4]
    return np.asarray(np.median(near, axis=0), np.uint8)


def _border(small: NDArray[np.uint8], share: float) -> NDArray[np.int16]:
    """Colours of the pixels along the border, (N, 3), in strips of that share of the short side."""
    side = max(2, round(share * min(small.shape[:2])))
    strips = small[:side], small[-side:], small[:, :side], small[:, -side:]
    return np.concatenate([strip.reshape(-1, 3) for strip in strips]).astype(np.int16)


def _on_page(
    small: NDArray[np.uint8], lit: Plane, page: NDArray[np.uint8]
) -> tuple[Plane, list[Region], Plane]:
    """Brightness of what lies on a page, 0 elsewhere, its pieces, and how far all is from it."""
    apart = _brightest(np.asarray(cv2.absdiff(small, np.full_like(small, page)), np.uint8))
    blocks = regions_of((apart > _APART).astype(np.uint8))
    inside = np.zeros_like(lit)
    cv2.drawContours(inside, [block.contour for block in blocks], -1, 255, cv2.FILLED)
    return np.asarray(cv2.min(lit, inside), np.uint8), blocks, apart


def _small_place(
    regions: list[Region], small: NDArray[np.uint8], rgb: NDArray[np.uint8]
) -> tuple[slice, slice] | None:
    """Rows and columns of a photograph within which all lies, if they are few; else None."""
    if not regions or max(rgb.shape[:2]) <= max(small.shape[:2]):
        return None
    x, y, width, height = cv2.boundingRect(np.concatenate([r.contour for r in regions]))
    if max(width, height) > 0.5 * max(small.shape[:2]):
        return None
    margin = 4 + max(width, height) // 8
    factor = rgb.shape[0] / small.shape[0]
    return (
        slice(int(max(0, y - margin) * factor), int((y + height + margin) * factor)),
        slice(int(max(0, x - margin) * factor), int((x + width + margin) * factor)),
    )


def _pictures(blocks: list[Region], small: NDArray[np.uint8]) -> int:
    """How many pictures lie on a page: a line of text or a ruled table is none."""
    if not blocks:
        return 0
    least = 0.04 * min(blocks[0].frame)
    pictures = [
        block for block in blocks
        if block.short > max(least, _NARROW * max(block.filled.shape))
        and ((block.area > 0.01 and block.solidity > 0.4) or _small_photograph(block, small))
    ]  # fmt: skip
    return min(1, len(pictures)) + sum(not _pieces_of_one(pictures[0], b) for b in pictures[1:])


def _small_photograph(block: Region, small: NDArray[np.uint8]) -> bool:
    """True for a block about as high as wide, full and reddish, as text and logos hardly are."""
    compact = block.area > 0.004 and block.solidity > 0.93
    return compact and block.short > 0.6 * max(block.filled.shape) and _reddish(small, block)


def _scribble(region: Region) -> bool:
    """True for what is small and ragged, as letters are that melt into each other."""
    return region.area < 0.01 and region.solidity < 0.9


def _crumb(first: Region, second: Region) -> bool:
    """True for a crumb of a photograph beyond a part of it that has the colour of the page."""
    return second.area < _CRUMB * first.area and _pieces_of_one(first, second)


def _pieces_of_one(first: Region, second: Region) -> bool:
    """True for parts of a photograph between which it has the colour of the page."""
    spans = []
    for axis in (0, 1):
        low = first.contour[..., axis].min(), second.contour[..., axis].min()
        high = first.contour[..., axis].max(), second.contour[..., axis].max()
        alike = abs(low[0] - low[1]) <= 4 and abs(high[0] - high[1]) <= 4
        spans.append((alike, int(min(high) - max(low))))
    (across, shared_x), (down, shared_y) = spans
    gap = max(-shared_x, -shared_y)
    crescent = second.solidity < 0.8  # its rim, beyond a band of that colour
    return bool((gap <= 8 and (across or down or crescent)) or gap < 0)


def _mask(plane: Plane) -> tuple[Plane, float]:
    """Where a plane is well above the dark, and the brightness from which it is."""
    plane = np.asarray(cv2.medianBlur(plane, 3), np.uint8)
    counts = np.cumsum(np.bincount(plane.ravel(), minlength=256)[13:])
    bright = 13 + int(np.searchsorted(counts, 0.75 * counts[-1]))
    cut = max(12.0, 0.15 * bright)
    return (plane > cut).astype(np.uint8), cut


def _reddish(small: NDArray[np.uint8], region: Region) -> bool:
    """True where red outweighs blue, as in every colour photograph of a retina."""
    height, width = region.filled.shape
    part = small[region.top : region.top + height, region.left : region.left + width]
    red, _, blue, _ = cv2.mean(part, region.filled)
    return bool(red > 1.05 * blue)


# --- pictures in pictures -----------------------------------------------------------------------


def _parted_by_colour(small: NDArray[np.uint8], lit: Plane, cut: float) -> bool:
    """True where a photograph stands out by colour alone from lit things around it: a screen."""
    faintest = 255 - _brightest(255 - small)
    colourful = np.asarray(cv2.subtract(lit, faintest), np.uint8)
    regions = sorted(regions_of(_mask(colourful)[0]), key=_roundness, reverse=True)[:3]
    if _in_a_room(small, cut) and any(_is_shown(small, region) for region in regions):
        return True
    return any(_is_disc_among_others(lit, region) for region in regions)


def _in_a_room(small: NDArray[np.uint8], cut: float) -> bool:
    """True where most of the border is lit, and much of it in colours that no retina has."""
    border = _border(small, 0.03)
    bright = border.max(axis=1) > cut
    cold = bright & (border[:, 0] <= 1.05 * border[:, 2])
    return bool(bright.mean() > 0.6 and cold.mean() > 0.4)


def _is_shown(small: NDArray[np.uint8], region: Region) -> bool:
    """True for what may be a photograph of a retina clear of the border, with a rim or cut."""
    height, width = region.frame
    x, y, across, down = cv2.boundingRect(region.contour)
    clear = min(x, y, width - x - across, height - y - down) > 0.06 * min(height, width)
    fits = 0.04 < region.area < 0.6 and region.solidity > 0.9
    return clear and fits and _reddish(small, region)


def _is_disc_among_others(lit: Plane, region: Region) -> bool:
    """True for a whole disc, clear of the border, with lit things around it."""
    height, width = lit.shape
    may_be = region.solidity > 0.97 and region.area > _OPTIC_DISC
    rims, _ = rims_of(region) if may_be else ([], False)
    if not rims:
        return False
    rim = rims[0]
    clear = min(rim.x, rim.y, width - rim.x, height - rim.y)
    fits = 0.9 * rim.radius < min(clear, 0.4 * min(height, width))
    if rim.seen < 1.6 or not fits or region.area * lit.size > 4 * rim.radius**2:
        return False
    beside = without_text(_mask(lit)[0])
    centre = int(rim.x), int(rim.y)
    cv2.circle(beside, centre, int(1.15 * rim.radius) + 2, 0, cv2.FILLED)
    return bool(beside.mean() > 0.05)


def _roundness(region: Region) -> float:
    """Area by that of the smallest circle around."""
    radius = cv2.minEnclosingCircle(region.contour)[1]
    return region.area / max(radius, 1.0) ** 2


def _has_seam(lit: Plane, region: Region) -> bool:
    """True where straight edges run across a whole region: both ways, or across a long one."""
    height, width = region.filled.shape
    if region.short < 30:
        return False
    part = lit[region.top : region.top + height, region.left : region.left + width]
    upright = (cv2.absdiff(part[:, 2:], part[:, :-2]) > 8).mean(axis=0)
    level = (cv2.absdiff(part[2:], part[:-2]) > 8).mean(axis=1)
    # Where there are edges everywhere, in noise, none is a seam.
    beside = float(upright[width // 10 : -(width // 10)].max()) > max(0.7, 2 * np.median(upright))
    above = float(level[height // 10 : -(height // 10)].max()) > max(0.7, 2 * np.median(level))
    # A damaged file may have one seam, at the row where it was damaged.
    return bool((beside and (above or width > 1.7 * height)) or (above and height > 1.7 * width))


def _has_corner(small: NDArray[np.uint8], lit: Plane, region: Region) -> bool:
    """True where a level and an upright edge end at each other within a region, as an inset's."""
    leg = max(24, int(0.2 * region.short))
    upright, level = np.zeros_like(lit), np.zeros_like(lit)
    upright[:, 1:-1] = cv2.absdiff(lit[:, 2:], lit[:, :-2]) > 14
    level[1:-1] = cv2.absdiff(lit[2:], lit[:-2]) > 14
    upright = _opened(upright, leg, 1)
    level = _opened(level, 1, leg)
    near = np.ones((5, 5), np.uint8)
    meeting = np.asarray(cv2.dilate(upright, near), np.uint8)
    meeting &= np.asarray(cv2.dilate(level, near), np.uint8)
    if not meeting.any():
        return False
    # The rim and straight cuts make corners too, along the border of the region.
    inside = np.zeros_like(lit)
    cv2.fillConvexPoly(inside, cv2.convexHull(region.contour), 1)
    border = np.ones((2 * int(0.06 * region.short) + 1,) * 2, np.uint8)
    meeting &= np.asarray(
        cv2.erode(inside, border, borderType=cv2.BORDER_CONSTANT, borderValue=0), np.uint8
    )
    for x, y in cv2.connectedComponentsWithStats(meeting)[3][1:6].astype(int):
        # An edge that goes on beyond the other is a seam, not the side of a picture.
        sides = [level[y - 4 : y + 5, x + a : x + a + 4].any() for a in (-10, 6)]
        ends = [upright[y + a : y + a + 4, x - 4 : x + 5].any() for a in (-10, 6)]
        if sides[0] != sides[1] and ends[0] != ends[1]:
            down, right = (3 if ends[0] else -11), (3 if sides[0] else -11)  # beyond the corner
            beyond = small[max(0, y + down) : y + down + 8, max(0, x + right) : x + right + 8]
            red, _, blue, _ = cv2.mean(beyond)
            if red > 1.05 * blue:  # else it is a photograph on its page, no inset in a retina
                return True
    return False


def _opened(mask: Plane, rows: int, columns: int) -> Plane:
    kernel = np.ones((rows, columns), np.uint8)
    return np.asarray(cv2.morphologyEx(mask, cv2.MORPH_OPEN, kernel), np.uint8)
