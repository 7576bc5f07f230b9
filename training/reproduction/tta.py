"""Quasi-random test-time augmentation: mean and spread of pooled features over 50 views."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import qmc

from training.data.resident import ResidentSquares
from training.optimisation.precision import mixed_precision
from training.reproduction.augmentation import GEOMETRY, PublishedInput, matrices
from training.reproduction.networks import PublishedNetwork
from training.reproduction.recipe import PublishedRecipe

__all__ = ["Views", "halton_changes", "view"]


@dataclass(frozen=True, slots=True)
class Views:
    """What many views of each photograph gave.

    Attributes:
        mean: float32 (n, P), mean of the pooled features over the views.
        spread: float32 (n, P), their standard deviation.
        scores: float64 (n,), mean of the scores over the views, in grades.
    """

    mean: NDArray[np.float32]
    spread: NDArray[np.float32]
    scores: NDArray[np.float64]


def halton_changes(count: int, recipe: PublishedRecipe) -> NDArray[np.float32]:
    """Return geometric changes that cover the range evenly (Halton sequence, as o_O).

    Returns:
        float32 (count, 2, 3); the same at every call.
    """
    # The first point of the plain sequence is the corner of the range, not a change to start with.
    sequence = qmc.Halton(GEOMETRY, scramble=False)
    sequence.fast_forward(1)
    return matrices(sequence.random(count), recipe)


def view(
    network: PublishedNetwork,
    resident: ResidentSquares,
    indices: NDArray[np.int64],
    changes: NDArray[np.float32],
    batch: int = 128,
    *,
    bfloat16: bool = False,
) -> Views:
    """Look at each photograph through every change.

    Args:
        indices: int64 (n,).
        changes: float32 (v, 2, 3), from `halton_changes`.
        bfloat16: multiply in bfloat16 on processors too.
    """
    network.eval()
    device = resident.device
    inputs = PublishedInput(network.layout).to(device)
    parts: list[tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float64]]] = []
    with torch.inference_mode():
        for first in range(0, len(indices), batch):
            some = resident.places(indices[first : first + batch])
            raw = resident.pixels[some]
            total = squares = scores = torch.zeros((), device=device, dtype=torch.float64)
            for change in changes:
                same = torch.from_numpy(np.repeat(change[None], len(some), 0)).to(device)
                with mixed_precision(device, processors=bfloat16):
                    pooled = network.pooled(inputs(raw, same))
                    score = network.score(pooled)
                # In double: a small spread is the difference of two large sums.
                pooled = pooled.double()
                total, squares = total + pooled, squares + pooled.square()
                scores = scores + score.double()
            mean = total / len(changes)
            variance = (squares / len(changes) - mean.square()).clamp_min(0)
            parts.append(
                (
                    mean.float().cpu().numpy(),
                    variance.sqrt().float().cpu().numpy(),
                    (scores / len(changes)).cpu().numpy(),
                )
            )
    mean, spread, scores = (np.concatenate(part) for part in zip(*parts, strict=True))
    return Views(mean, spread, scores)
