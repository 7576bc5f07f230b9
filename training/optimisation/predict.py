"""Scores of one network for squares, without augmentation."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch.utils.data import DataLoader

from drcore.model.network import RamNetwork
from drcore.preprocessing.network_input import Preprocessing
from training.data.squares import Sample, Squares, SquareSet, network_input

__all__ = ["predict", "scores_of"]


def predict(
    network: RamNetwork,
    squares: Squares,
    indices: np.ndarray,
    preparation: Preprocessing,
    *,
    batch: int = 32,
    workers: int = 0,
) -> np.ndarray:
    """Score photographs without augmentation.

    Args:
        indices: int (N,), which of them.

    Returns:
        float64 (N,), scores in grades.
    """
    config = network.config
    data = SquareSet(squares, indices, config.input_size, config.map_size, preparation)
    return scores_of(network, DataLoader(data, batch_size=batch, num_workers=workers), preparation)


def scores_of(
    network: RamNetwork, batches: Iterable[Sample], preparation: Preprocessing
) -> np.ndarray:
    """Score batches.

    Args:
        batches: see `training.data.squares.Sample`.

    Returns:
        float64 (N,), scores in grades.
    """
    device = next(network.parameters()).device
    scores = []
    with torch.inference_mode():
        for pixels, coverage, _ in batches:
            inputs = network_input(pixels, preparation, device)
            scores.append(network(inputs, coverage.to(device))[0].double().cpu())
    return torch.cat(scores).numpy() if scores else np.zeros(0)
