"""From cells to lesions: a map's evidence is moved, within its neighbourhood, to visible detail.

A network that sees some 300 pixels around each cell can tell that there are lesions here, and
hardly where to the pixel. What it saw tells: local contrast is neutral where retina looks like its
surroundings, and neutral input is no evidence. So the part of a map that rises above its usual
level is shared out, neighbourhood by neighbourhood, in proportion to the squared green contrast.
The sum over every neighbourhood, and with it `mean(map) + bias == score`, stays what the network
said; only the place is made finer, to the resolution that the network was given and no further.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from drcore.maps.fusion import covered_mean

__all__ = ["DETAIL", "NEIGHBOURHOODS", "refine"]

DETAIL = 512
"""Side in pixels at which the contrast is kept."""

NEIGHBOURHOODS = 16
"""Neighbourhoods a side of the square; evidence moves within about one of them, a sixteenth of the
field of view: well inside what one cell of the finest network sees."""

_SIGMA = 1.0
_STEEPEST = 40.0

Map = NDArray[np.float32]


def refine(ram: Map, coverage: Map, contrast: NDArray[np.uint8], fine_coverage: Map) -> Map:
    """Share out a map's evidence by the local contrast of what its network saw.

    Args:
        ram: float32 (m, m), grades, over the square of the field of view.
        coverage: float32 (m, m), 0-1, share of each cell that is retina.
        contrast: uint8 (S, S), green channel of the local contrast of the same square, 128 where
            nothing stands out and outside the retina.
        fine_coverage: float32 (n, n), 0-1, coverage of the pixels of the network's input; n is at
            most S.

    Returns:
        float32 (n, n), grades. Its mean over the retina is that of `ram`. Where the map is at or
        below its median, and where nothing stands out, it is smooth as before.
    """
    size, share = fine_coverage.shape[0], fine_coverage
    signed = _resized(contrast.astype(np.float32) - 128, size, cv2.INTER_AREA)
    smooth = _resized(ram, size, cv2.INTER_LINEAR)
    inside = share > 0
    if not inside.any():
        return smooth
    usual = float(np.median(smooth[inside]))
    above = np.maximum(smooth - usual, 0)
    standing_out = np.square(cv2.GaussianBlur(np.abs(signed), (0, 0), _SIGMA)) * share
    around = _neighbourhood_mean(standing_out, share)
    # Noise alone must not become spots: a tenth of the square's mean counts as nothing.
    floor = 0.1 * float(standing_out.sum() / share.sum()) + 1e-6
    focused = above * np.minimum((standing_out + floor) / (around + floor), _STEEPEST)
    before, after = (_neighbourhood_mean(m * share, share) for m in (above, focused))
    focused *= np.where(after > 1e-6, np.minimum(before / np.maximum(after, 1e-6), 3), 1)
    result = smooth - above + focused
    # What interpolation and the limits above lost or gained, in total a small constant.
    drift = covered_mean(ram, coverage) - covered_mean(result, share)
    return np.asarray(result + np.float32(drift), np.float32)


def _neighbourhood_mean(values: Map, share: Map) -> Map:
    """Mean over retina around each pixel, interpolated between `NEIGHBOURHOODS` a side."""
    size = values.shape[0]
    total, weight = (_resized(m, NEIGHBOURHOODS, cv2.INTER_AREA) for m in (values, share))
    mean = np.asarray(total / np.maximum(weight, 0.05), np.float32)
    return _resized(mean, size, cv2.INTER_LINEAR)


def _resized(values: Map, size: int, interpolation: int) -> Map:
    if values.shape[0] == size:
        return values
    return np.asarray(cv2.resize(values, (size, size), interpolation=interpolation), np.float32)
