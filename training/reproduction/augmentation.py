"""The published augmentation: one warp a batch on the device, and colour along its components."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from training.reproduction.networks import Layout
from training.reproduction.recipe import EIGENROOTS, EIGENVECTORS, MEAN, SPREAD, PublishedRecipe

__all__ = ["GEOMETRY", "PublishedInput", "colour_noise", "matrices", "unchanged"]

GEOMETRY = 6
"""Numbers that one geometric change is made of: turn, zoom x, zoom y, shift x, shift y, flip."""


def matrices(chances: NDArray[np.float64], recipe: PublishedRecipe) -> NDArray[np.float32]:
    """Turn uniform numbers into geometric changes, for chance and quasi-random numbers alike.

    Args:
        chances: float64 (n, 6), 0-1.

    Returns:
        float32 (n, 2, 3): from output to photograph, in units of half a side: what
        `torch.nn.functional.affine_grid` wants. The output is the central 7/8 before the change.
    """
    turn = 2 * np.pi * chances[:, 0]
    # Log-uniform between 1 / zoom and zoom, width and height independent ("stretch").
    zoom = recipe.zoom ** (2 * chances[:, 1:3] - 1)
    shift = (2 * chances[:, 3:5] - 1) * recipe.shift * 2
    mirror = np.where(chances[:, 5] < 0.5, -1.0, 1.0)
    share = recipe.net.input_size / recipe.net.photograph
    cos, sin = np.cos(turn), np.sin(turn)
    result = np.empty((len(chances), 2, 3), np.float32)
    result[:, 0, 0] = share * cos * mirror / zoom[:, 0]
    result[:, 0, 1] = -share * sin / zoom[:, 0]
    result[:, 1, 0] = share * sin * mirror / zoom[:, 1]
    result[:, 1, 1] = share * cos / zoom[:, 1]
    result[:, :, 2] = shift
    return result


def unchanged(count: int, layout: Layout) -> NDArray[np.float32]:
    """Return the change that only takes the central 7/8.

    Returns:
        float32 (count, 2, 3).
    """
    share = layout.input_size / layout.photograph
    one = np.array([[share, 0, 0], [0, share, 0]], np.float32)
    return np.broadcast_to(one, (count, 2, 3)).copy()


def colour_noise(rng: np.random.Generator, count: int, sigma: float) -> NDArray[np.float32]:
    """Draw shifts along the principal components of the colours.

    Returns:
        float32 (count, 3), to be added to normalised R, G and B.
    """
    along = rng.normal(0.0, sigma, (count, 3)) * np.array(EIGENROOTS)
    return np.asarray(along @ np.array(EIGENVECTORS).T, np.float32)


class PublishedInput(nn.Module):
    """Warps, normalises and recolours photographs, all of a batch at once.

    Args:
        layout: gives the side I of the input.
    """

    mean: Tensor
    spread: Tensor

    def __init__(self, layout: Layout) -> None:
        super().__init__()
        self.size = layout.input_size
        self.register_buffer("mean", torch.tensor(MEAN)[:, None, None])
        self.register_buffer("spread", torch.tensor(SPREAD)[:, None, None])

    def forward(self, raw: Tensor, changes: Tensor, colours: Tensor | None = None) -> Tensor:
        """Make network input.

        Args:
            raw: uint8 (B, 3, S, S), RGB.
            changes: float32 (B, 2, 3), see `matrices`.
            colours: float32 (B, 3), see `colour_noise`.

        Returns:
            float32 (B, 3, I, I), channels last; black outside the photograph.
        """
        size = [len(raw), 3, self.size, self.size]
        grid = functional.affine_grid(changes, size, align_corners=False)
        moved = functional.grid_sample(raw.float(), grid, align_corners=False)
        moved = (moved - self.mean) / self.spread
        if colours is not None:
            moved = moved + colours[:, :, None, None]
        return moved.contiguous(memory_format=torch.channels_last)
