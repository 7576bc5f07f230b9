"""Map and photograph in one picture: one fixed colour scale in grade units, for all to share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["MAP_RANGE", "colour_stops", "colourise", "overlay"]

MAP_RANGE = (0.0, 12.0)
"""Grades above a healthy retina that the colours span. Fixed: a map is never stretched to look
alarming, and a healthy eye stays pale. A score is the mean of its map, so where a tenth of the
retina carries the evidence, that tenth holds ten times the score."""

# Viridis (van der Walt & Smith, 2015): ordered by lightness, readable with any colour vision. Its
# blues and greens do not occur in a retina. (position, red, green, blue)
_VIRIDIS = (
    (0.00, 68, 1, 84), (0.25, 59, 82, 139), (0.50, 33, 145, 140),
    (0.75, 94, 201, 98), (1.00, 253, 231, 37),
)  # fmt: skip
_FADE = (1 / 12, 5 / 12)
"""Where in the range colour begins and where it is full: in healthy eyes nine cells in ten stay
within about a grade of zero, and must not hide the retina."""


def _alpha(position: NDArray[np.float32]) -> NDArray[np.float32]:
    start, full = _FADE
    return np.asarray(np.clip((position - start) / (full - start), 0, 1), np.float32)


def colour_stops(steps: int = 32) -> list[tuple[float, tuple[int, int, int], float]]:
    """Return the colour scale as stops, for front ends that draw it themselves.

    Args:
        steps: number of intervals.

    Returns:
        (position 0-1 over `MAP_RANGE`, (red, green, blue) 0-255, alpha 0-1), rising.
    """
    stops = []
    for position in np.linspace(0, 1, steps + 1):
        rgb = tuple(
            round(float(np.interp(position, [s[0] for s in _VIRIDIS], [s[c] for s in _VIRIDIS])))
            for c in (1, 2, 3)
        )
        alpha = float(_alpha(np.array([position], np.float32))[0])
        stops.append((float(position), (rgb[0], rgb[1], rgb[2]), alpha))
    return stops


def colourise(ram: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Colour a map on the fixed scale.

    Args:
        ram: float32 (H, W), grades above a healthy retina; NaN outside the field of view.

    Returns:
        uint8 (H, W, 4), RGBA: transparent where the map is at or below zero, or NaN.
    """
    low, high = MAP_RANGE
    position = np.clip((np.nan_to_num(ram, nan=low) - low) / (high - low), 0, 1)
    table = np.zeros((256, 1, 4), np.uint8)
    for i, (_, rgb, alpha) in enumerate(colour_stops(255)):
        table[i, 0] = (*rgb, round(alpha * 255))
    index = (position * 255 + 0.5).astype(np.uint8)
    return np.asarray(table[:, 0][index], np.uint8)


def overlay(
    rgb: NDArray[np.uint8], ram: NDArray[np.float32], opacity: float = 0.6
) -> NDArray[np.uint8]:
    """Lay a map over its photograph.

    Args:
        rgb: uint8 (h, w, 3); where its size differs from the map's, the map is shrunk to it.
        ram: float32 (H, W), grades above a healthy retina; NaN outside the field of view.
        opacity: of the strongest colour, 0-1.

    Returns:
        uint8 (h, w, 3), 0-255.
    """
    if ram.shape != rgb.shape[:2]:
        size = (rgb.shape[1], rgb.shape[0])
        ram = np.asarray(
            cv2.resize(np.nan_to_num(ram, nan=0.0), size, interpolation=cv2.INTER_AREA), np.float32
        )
    colours = colourise(ram).astype(np.float32)
    alpha = colours[..., 3:] / 255 * np.float32(opacity)
    mixed = rgb * (1 - alpha) + colours[..., :3] * alpha
    return np.clip(mixed + 0.5, 0, 255).astype(np.uint8)
