"""How much of a map is shown in its place: none where the score is one that healthy eyes have.

Only the mean of a map is graded, so cells that cancel each other cost nothing: in a healthy eye
single cells stand far above and below 0, and say nothing together. Below the score that nearly all
healthy eyes stay under, such a map is shown as what it amounts to, its mean, everywhere alike; from
there on it is brought in its places, wholly so a little higher. The mean, and with it
`mean(map) + bias == score`, is the same at every step.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drcore.errors import CheckpointError, DrcoreError
from drcore.maps.fusion import covered_mean

__all__ = ["Attenuation", "placed"]

Map = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Attenuation:
    """Between which scores a map goes from one mean to all its places.

    Attributes:
        nowhere: score in grades up to which nothing is placed.
        everywhere: score in grades from which all is, above `nowhere`.

    Raises:
        DrcoreError: the numbers are not finite, or do not rise.
    """

    nowhere: float
    everywhere: float

    def __post_init__(self) -> None:
        """Refuse numbers that make no ramp."""
        if not (math.isfinite(self.nowhere) and self.nowhere < self.everywhere < math.inf):
            raise DrcoreError("The placement of maps needs two finite scores that rise.")

    def share(self, score: float) -> float:
        """Return how much of a map is shown in its place.

        Args:
            score: of the photograph, in grades; NaN places nothing.

        Returns:
            0-1, rising linearly from `nowhere` to `everywhere`.
        """
        along = (score - self.nowhere) / (self.everywhere - self.nowhere)
        return min(max(along, 0.0), 1.0) if math.isfinite(along) else 0.0

    def to_dict(self) -> dict[str, float]:
        """Return what goes into a manifest."""
        return asdict(self)

    @classmethod
    def from_dict(cls, entry: object) -> Attenuation:
        """Read a manifest's entry.

        Args:
            entry: of `to_dict`.

        Returns:
            The placement.

        Raises:
            CheckpointError: the entry is not understood.
        """
        if not isinstance(entry, dict) or set(entry) != {f.name for f in fields(cls)}:
            raise CheckpointError(f"The placement {entry!r} in the manifest is not understood.")
        numbers: dict[str, Any] = entry
        if not all(type(value) in {int, float} for value in numbers.values()):
            raise CheckpointError("The placement in the manifest holds what is not a number.")
        try:
            return cls(**{name: float(value) for name, value in numbers.items()})
        except DrcoreError as error:
            raise CheckpointError(f"{error} Get the weights again.") from error


def placed(ram: Map, coverage: Map, share: float) -> Map:
    """Bring a map between its mean and its places.

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
