"""Photographs that live on a device as bytes."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["ResidentSquares", "to_device"]

_PIECE = 512


class ResidentSquares:
    """Squares on a device, 0.8 MB a photograph of 512 px.

    Args:
        pixels: uint8 (N, S, S, 3), RGB; may be memory-mapped.
        masks: uint8 (N, s, s), 255 on the retina, or None.
        keep: int64 (K,), the photographs wanted; all where left out.

    Attributes:
        pixels: uint8 (K, 3, S, S).
        masks: uint8 (K, 1, s, s), or None.
        device: where they are.
    """

    def __init__(
        self,
        pixels: NDArray[np.uint8],
        device: torch.device,
        *,
        masks: NDArray[np.uint8] | None = None,
        keep: NDArray[np.int64] | None = None,
    ) -> None:
        wanted = np.arange(len(pixels)) if keep is None else np.asarray(keep)
        self.device = device
        self.pixels = to_device(pixels, wanted, device)
        self.masks = None if masks is None else to_device(masks[..., None], wanted, device)
        places = torch.full((len(pixels),), -1, dtype=torch.int64)
        places[torch.from_numpy(wanted.astype(np.int64))] = torch.arange(len(wanted))
        self._places = places.to(device)

    def __len__(self) -> int:
        return len(self.pixels)

    def repeated(self, count: int) -> ResidentSquares:
        """Return the same photographs, repeated to make up `count` of them; nothing is copied."""
        copied = copy.copy(self)
        copied.__dict__["_places"] = torch.arange(count, device=self.device) % len(self.pixels)
        return copied

    def places(self, indices: Sequence[int] | NDArray[np.int64]) -> Tensor:
        """Return where photographs are among those that were kept, int64 on the device."""
        return self._places[torch.as_tensor(np.asarray(indices, np.int64)).to(self.device)]


def to_device(array: NDArray[np.uint8], wanted: NDArray[np.int64], device: torch.device) -> Tensor:
    """Copy pictures to a device.

    Args:
        array: uint8 (N, H, W, C).
        wanted: int64 (K,), which.

    Returns:
        uint8 (K, C, H, W).
    """
    height, width, channels = array.shape[1:]
    result = torch.empty((len(wanted), channels, height, width), dtype=torch.uint8, device=device)
    # Copied in pieces: the whole, read from disk at once, may be larger than main memory.
    for start in range(0, len(wanted), _PIECE):
        piece = np.array(array[wanted[start : start + _PIECE]])  # a copy: torch wants it writable
        result[start : start + len(piece)] = torch.from_numpy(piece).to(device).permute(0, 3, 1, 2)
    return result
