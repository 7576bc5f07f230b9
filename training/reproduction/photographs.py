"""The photographs of a reproduction on a device: decoded once, each size copied there once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from training.data.labels import Labelled, few_of
from training.data.resident import ResidentSquares
from training.data.shards import unpack
from training.reproduction.preprocessing import LARGEST, Photographs, resized

__all__ = ["CroppedPhotographs"]

_ALL_SIZES = 20_000
"""Photographs of which a device keeps every size that was asked for; of more, one size."""


class CroppedPhotographs:
    """Cropped photographs of a labels table or of shards.

    Args:
        rows: the labelled photographs.
        pixels: gives them at a side in pixels, uint8 (N, S, S, 3).
        device: where they are needed.
    """

    def __init__(
        self,
        rows: list[Labelled],
        pixels: Callable[[int], NDArray[np.uint8]],
        device: torch.device,
    ) -> None:
        self.rows, self.device = rows, device
        self._pixels = pixels
        self._resident: dict[int, ResidentSquares] = {}

    @classmethod
    def from_labels(
        cls, rows: list[Labelled], cache: Path, device: torch.device
    ) -> CroppedPhotographs:
        """Crop the photographs of a table, or open what an earlier run has cropped."""
        return cls(
            rows, lambda side: Photographs.build(rows, cache, side, quiet=True).pixels, device
        )

    @classmethod
    def from_shards(cls, folder: Path, device: torch.device) -> CroppedPhotographs:
        """Decode the shards that `python -m training.pack --kinds crops` wrote."""
        packed = unpack(folder, "crops")

        def pixels(side: int) -> NDArray[np.uint8]:
            if side == LARGEST:
                return packed.pixels
            return np.stack([resized(picture, side) for picture in packed.pixels])

        return cls(packed.rows, pixels, device)

    def few(self, train: int, val: int) -> CroppedPhotographs:
        """Return the first photographs of both splits, to rehearse with."""
        chosen = few_of(self.rows, train, val)
        return CroppedPhotographs(
            [self.rows[i] for i in chosen], lambda side: self._pixels(side)[chosen], self.device
        )

    def prepare(self, side: int) -> None:
        """Crop the photographs for a side in pixels, where that was not done before."""
        self._pixels(side)

    def resident(self, side: int) -> ResidentSquares:
        """Return the photographs at a side in pixels, on the device."""
        if side not in self._resident:
            if len(self.rows) > _ALL_SIZES:
                self._resident.clear()
            self._resident[side] = ResidentSquares(self._pixels(side), self.device)
        return self._resident[side]
