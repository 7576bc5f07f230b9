"""How much of a map's detail is shown: none where the score is one that healthy eyes have.

Only the mean of a map is graded, so cells that cancel each other cost nothing: in a healthy eye
single cells stand far above and below 0 and mean nothing. Below the score that nearly all healthy
eyes stay under, such a map is shown flat, as its mean; from there on its detail is blended in. The
mean, and with it `mean(map) + bias == score`, is the same at every step.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from drcore.errors import DrcoreError
from drcore.maps.fusion import covered_mean

__all__ = ["Attenuation", "attenuate"]

Map = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Attenuation:
    """Between which scores a map goes from flat to its full detail.

    Attributes:
        flat_below: fused score in grades up to which the map is flat.
        full_above: fused score in grades from which it has its full detail, above `flat_below`.
        finest: the same for the finest scale, by its own score: its map is never negative and may
            show the one spot of an eye whose fused score is that of a healthy one. None for a
            bundle whose scales are all shown by the fused score.

    Raises:
        DrcoreError: the numbers are not finite, or do not rise.
    """

    flat_below: float
    full_above: float
    finest: Attenuation | None = None

    def __post_init__(self) -> None:
        """Refuse numbers that make no ramp."""
        if not (math.isfinite(self.flat_below) and self.flat_below < self.full_above < math.inf):
            raise DrcoreError("The placement of maps needs two finite scores that rise.")

    def share(self, score: float) -> float:
        """Return how much of a map's detail is shown.

        Args:
            score: of the photograph, in grades; NaN shows none.

        Returns:
            0-1, rising linearly from `flat_below` to `full_above`.
        """
        along = (score - self.flat_below) / (self.full_above - self.flat_below)
        return min(max(along, 0.0), 1.0) if math.isfinite(along) else 0.0


def attenuate(ram: Map, coverage: Map, share: float) -> Map:
    """Blend a map with its mean.

    Args:
        ram: float32 (m, m), grades.
        coverage: float32 (m, m), 0-1, share of each cell that is retina.
        share: 0-1; 1 leaves the map as it is.

    Returns:
        float32 (m, m), grades, of the same mean over the retina.
    """
    if share >= 1:
        return ram
    mean = np.float32(covered_mean(ram, coverage))
    return mean + np.float32(share) * (ram - mean)
