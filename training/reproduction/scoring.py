"""Scores of published networks, and how far they agree with the labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from drcore.agreement.statistics import quadratic_weighted_kappa
from training.data.labels import Labelled
from training.data.resident import ResidentSquares
from training.optimisation.precision import mixed_precision
from training.reproduction.augmentation import PublishedInput, unchanged
from training.reproduction.networks import PublishedNetwork

__all__ = ["figures_of", "grade_scores", "predict"]


def predict(
    network: PublishedNetwork,
    resident: ResidentSquares,
    indices: NDArray[np.int64],
    batch: int = 64,
    *,
    bfloat16: bool = False,
) -> NDArray[np.float64]:
    """Score photographs, the central 7/8 of each, unaugmented.

    Args:
        indices: int64 (n,).
        bfloat16: multiply in bfloat16 on processors too.

    Returns:
        float64 (n,), scores in grades.
    """
    network.eval()
    device = resident.device
    inputs = PublishedInput(network.layout).to(device)
    scores = []
    with torch.inference_mode():
        for first in range(0, len(indices), batch):
            raw = resident.pixels[resident.places(indices[first : first + batch])]
            changes = torch.from_numpy(unchanged(len(raw), network.layout)).to(device)
            with mixed_precision(device, processors=bfloat16):
                scores.append(network(inputs(raw, changes)).double().cpu())
    return torch.cat(scores).numpy() if scores else np.zeros(0)


def grade_scores(scores: NDArray[np.float64]) -> NDArray[np.int64]:
    """Clip and threshold at .5 1.5 2.5 3.5, as published.

    Args:
        scores: float64 (n,), in grades.

    Returns:
        int64 (n,), ICDR grades 0-4.
    """
    return np.searchsorted([0.5, 1.5, 2.5, 3.5], scores, side="right").astype(np.int64)


def figures_of(
    scores: NDArray[np.float64], rows: Sequence[Labelled], indices: NDArray[np.int64]
) -> dict[str, float]:
    """Compare scores with the labels.

    Args:
        scores: float64 (n,), in grades.
        indices: int64 (n,), those that were scored.

    Returns:
        "mse" in grades squared and "kappa", quadratic weighted.
    """
    truth = np.array([rows[i].grade for i in indices])
    return {
        "mse": float(np.mean((scores - truth) ** 2)),
        "kappa": quadratic_weighted_kappa(truth, grade_scores(scores)),
    }
