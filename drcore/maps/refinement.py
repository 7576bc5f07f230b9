"""From cells to lesions: a map's evidence is moved, within its neighbourhood, to visible detail.

A network that sees some 300 pixels around each cell can tell that there are lesions here, and
hardly where to the pixel. What it saw tells: local contrast is neutral where retina looks like its
surroundings, and neutral input is no evidence. So the part of a map that rises above its usual
level is shared out, neighbourhood by neighbourhood, in proportion to the squared green contrast.
The sum over every neighbourhood, and with it `mean(map) + bias == score`, stays what the network
said; only the place is made finer, to the resolution that the network was given and no further.

How far evidence may move depends on how far a network sees. The coarse ones see most of a quadrant
around a cell; the finest sees a seventh of the field of view and has 64 cells a side, each of which
keeps its evidence.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from drcore.maps.fusion import covered_mean

__all__ = ["NEIGHBOURHOODS", "neighbourhoods_of", "refine"]

NEIGHBOURHOODS = 16
"""Neighbourhoods a side of the square for coarse maps; evidence moves within about one of them, a
sixteenth of the field of view: well inside what one cell of their networks sees."""

_FINE_CELLS = 64
_SIGMA = 1.5 / 1024
_LEAST_SIGMA = 1.0
_SAMPLED = 512  # pixels a side are enough for a median
_STEEPEST = 40.0

Map = NDArray[np.float32]


def neighbourhoods_of(cells: int) -> int:
    """Return how many neighbourhoods a side a map's evidence stays in.

    Args:
        cells: of the map, a side.

    Returns:
        One for each cell of a map of 64 cells or more, else `NEIGHBOURHOODS`.
    """
    return cells if cells >= _FINE_CELLS else NEIGHBOURHOODS


def refine(
    ram: Map,
    coverage: Map,
    contrast: NDArray[np.uint8],
    fine_coverage: Map,
    neighbourhoods: int = NEIGHBOURHOODS,
) -> Map:
    """Share out a map's evidence by the local contrast of what its network saw.

    Args:
        ram: float32 (m, m), grades, over the square of the field of view.
        coverage: float32 (m, m), 0-1, share of each cell that is retina.
        contrast: uint8 (S, S), green channel of the local contrast of the same square, 128 where
            nothing stands out and outside the retina.
        fine_coverage: float32 (n, n), 0-1, coverage of the pixels of the network's input; n is at
            most S.
        neighbourhoods: a side of the square, within which evidence moves.

    Returns:
        float32 (n, n), grades. Its mean over the retina is that of `ram`. Where the map is at or
        below its median, and where nothing stands out, it is smooth as before.
    """
    size, share = fine_coverage.shape[0], fine_coverage
    smooth = _resized(ram, size, cv2.INTER_LINEAR)
    some = slice(None, None, max(1, size // _SAMPLED))
    sampled = smooth[some, some][share[some, some] > 0]
    if not sampled.size:
        return smooth
    above = np.maximum(smooth - np.float32(np.median(sampled)), 0)
    standing_out = _standing_out(contrast, size)
    standing_out *= share
    weight = _resized(share, neighbourhoods, cv2.INTER_AREA)
    around = _around(standing_out, weight)
    # Noise alone must not become spots: a tenth of the square's mean counts as nothing.
    floor = np.float32(0.1 * cv2.sumElems(standing_out)[0] / cv2.sumElems(share)[0] + 1e-6)
    standing_out += floor
    around += floor
    standing_out /= around
    focused: Map = above * np.minimum(standing_out, _STEEPEST)
    before, after = (_around(m * share, weight) for m in (above, focused))
    before /= np.maximum(after, 1e-6)
    np.minimum(before, 3, out=before)
    before[after <= 1e-6] = 1
    focused *= before
    focused += smooth
    focused -= above
    # What interpolation and the limits above lost or gained, in total a small constant.
    focused += np.float32(covered_mean(ram, coverage) - covered_mean(focused, share))
    return focused


def _standing_out(contrast: NDArray[np.uint8], size: int) -> Map:
    """How much each pixel stands out from its surroundings, squared grey levels."""
    signed = contrast.astype(np.float32)
    signed -= 128
    signed = np.abs(_resized(signed, size, cv2.INTER_AREA))
    spread = max(_LEAST_SIGMA, _SIGMA * size)
    blurred = np.asarray(cv2.GaussianBlur(signed, (0, 0), spread), np.float32)
    return blurred * blurred


def _around(values: Map, weight: Map) -> Map:
    """Mean over retina around each pixel, interpolated between the neighbourhoods."""
    total = _resized(values, weight.shape[0], cv2.INTER_AREA)
    mean = np.asarray(total / np.maximum(weight, 0.05), np.float32)
    return _resized(mean, values.shape[0], cv2.INTER_LINEAR)


def _resized(values: Map, size: int, interpolation: int) -> Map:
    if values.shape[0] == size:
        return values
    return np.asarray(cv2.resize(values, (size, size), interpolation=interpolation), np.float32)
