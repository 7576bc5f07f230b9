"""Evidence and photograph in one picture: fixed colours and outline levels, for all to share."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import cv2
import numpy as np

from drcore.maps.region import LEVELS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from drcore.maps.evidence import Evidence

__all__ = [
    "DENSITY_RANGE", "FULL_FILL", "HALO", "LIGHT_FILL", "TICKS", "colour_stops", "colourise",
    "outline_colours", "overlay", "position_of", "tick_places",
]  # fmt: skip

DENSITY_RANGE = (0.05, 5.0)
"""Score added per disc area that the colours span, on a logarithmic scale. Fixed: a map is never
stretched to its own extremes. `python -m training.map_scale` measures how little of the retina lies
beyond its end."""

TICKS = (0.05, 0.2, 1.0, 5.0)
"""Values that legends name, score added per disc area; see `tick_places`."""

LIGHT_FILL = 0.3
"""Opacity of the strongest colour between outlines: what lies below stays visible."""

FULL_FILL = 0.85
"""The same where the reader asks for a full fill."""

HALO = (8, 12, 28)
"""Dark tone on both sides of an outline: visible on white, yellow and red."""

# Violet to blue to cyan: colours that neither retina nor lesions nor laser scars have, told from
# them and from each other with any colour vision. (position, red, green, blue)
_RAMP = ((0.0, 104, 64, 214), (0.5, 44, 122, 252), (1.0, 0, 212, 250))
_FADE = 0.3
"""Share of the range over which colour fades in."""


def position_of(density: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return where values lie on the colour scale.

    Args:
        density: float32, score added per disc area; NaN without retina.

    Returns:
        float32, 0-1, same shape; 0 at or below the start of `DENSITY_RANGE` and for NaN.
    """
    low, high = DENSITY_RANGE
    known = np.clip(np.nan_to_num(density, nan=low), low, high)
    return np.asarray(np.log(known / low) / math.log(high / low), np.float32)


def tick_places() -> list[tuple[float, str]]:
    """Return what a legend writes beside the colours: position 0-1 and text of each tick."""
    places = position_of(np.array(TICKS, np.float32)).tolist()
    return [(place, f"{value:g}") for place, value in zip(places, TICKS, strict=True)]


def colour_stops(steps: int = 32) -> list[tuple[float, tuple[int, int, int], float]]:
    """Return the colour scale as stops, for front ends that draw it themselves.

    Args:
        steps: number of intervals.

    Returns:
        (position 0-1, (red, green, blue) 0-255, opacity 0-1 of a fill), rising. See `position_of`.
    """
    return [
        (float(position), _colour(float(position)), min(float(position) / _FADE, 1.0))
        for position in np.linspace(0, 1, steps + 1)
    ]


def _colour(position: float) -> tuple[int, int, int]:
    places = [stop[0] for stop in _RAMP]
    red, green, blue = (
        round(float(np.interp(position, places, [s[c] for s in _RAMP]))) for c in (1, 2, 3)
    )
    return red, green, blue


def outline_colours() -> tuple[tuple[int, int, int], ...]:
    """Return the light tone of the outlines, (red, green, blue) for each of `LEVELS`."""
    # Lighter than the fill's colour of the level, which a thin line would make too dark.
    return tuple(
        (round(0.55 * red + 115), round(0.55 * green + 115), round(0.55 * blue + 115))
        for red, green, blue in (_colour(0.35), _colour(1.0))
    )


def colourise(position: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Colour values of the scale.

    Args:
        position: float32 (H, W), 0-1; see `position_of`.

    Returns:
        uint8 (H, W, 4), RGBA: transparent at 0.
    """
    table = np.array([(*rgb, round(alpha * 255)) for _, rgb, alpha in colour_stops(255)], np.uint8)
    return np.asarray(table[(np.clip(position, 0, 1) * 255 + 0.5).astype(np.uint8)], np.uint8)


def overlay(
    rgb: NDArray[np.uint8],
    evidence: Evidence,
    width: int,
    *,
    fill: float = LIGHT_FILL,
    outlines: bool = True,
) -> NDArray[np.uint8]:
    """Lay evidence over its photograph: outlines in two tones, and a light fill.

    Args:
        rgb: uint8 (h, w, 3), the photograph at any size.
        evidence: of the photograph.
        width: of the original photograph, in pixels.
        fill: opacity of the strongest colour, 0-1.
        outlines: whether they are drawn.

    Returns:
        uint8 (h, w, 3), 0-255.
    """
    colours = colourise(_placed(position_of(evidence.density), evidence, rgb, width))
    alpha = colours[..., 3:].astype(np.float32) / 255 * np.float32(fill)
    mixed = np.clip(rgb * (1 - alpha) + colours[..., :3] * alpha + 0.5, 0, 255).astype(np.uint8)
    if outlines and evidence.regions:
        _draw_outlines(mixed, _placed(evidence.averaged, evidence, rgb, width))
    return mixed


def _placed(
    grid: NDArray[np.float32], evidence: Evidence, rgb: NDArray[np.uint8], width: int
) -> NDArray[np.float32]:
    """A grid over the square, interpolated to the pixels of a picture; 0 outside the square."""
    step = evidence.side / len(grid) * rgb.shape[1] / width  # pixels of the picture for a cell
    left, top = (edge * rgb.shape[1] / width for edge in (evidence.left, evidence.top))
    place = np.array(
        [[1 / step, 0, (0.5 - left) / step - 0.5], [0, 1 / step, (0.5 - top) / step - 0.5]]
    )
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    size = (rgb.shape[1], rgb.shape[0])
    return np.asarray(cv2.warpAffine(grid, place, size, flags=flags), np.float32)


def _draw_outlines(picture: NDArray[np.uint8], averaged: NDArray[np.float32]) -> None:
    thin = max(1, round(max(picture.shape) / 800))
    lines = [
        cv2.findContours(
            (averaged >= level).astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE
        )[0]
        for level in LEVELS
    ]
    for found, colour in zip(lines, outline_colours(), strict=True):
        cv2.drawContours(picture, found, -1, HALO, 3 * thin, cv2.LINE_AA)
        cv2.drawContours(picture, found, -1, colour, thin, cv2.LINE_AA)
