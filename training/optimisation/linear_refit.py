"""The weights of the linear unit by least squares, given the features."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader

from drcore.model.network import RamNetwork, retina_mean
from drcore.preprocessing.network_input import Preprocessing
from training.data.squares import Squares, SquareSet, network_input

__all__ = ["refit"]

_FLOOR = 1e-6


def refit(
    network: RamNetwork,
    squares: Squares,
    indices: NDArray[np.int64],
    weights: NDArray[np.float64],
    preparation: Preprocessing,
    *,
    ridge: float,
    calm: float,
    batch: int = 16,
) -> None:
    """Replace weights and bias of the linear unit by those of least squares.

    The score is linear in the means of the feature maps, so their best weights need no descent.
    With s the grade that w and b give, w_0 the weights that are there and F the features of a
    cell, minimises, over photographs drawn by `weights`,

        mean((s - grade)^2) + ridge * sum_k var(mean F_k) (w_k - w_0k)^2
            + calm * mean(var over cells of w . F)

    The first price keeps what the features say too seldom as descent left it, the second one
    keeps the map from cancelling within a photograph.

    Args:
        indices: int (N,), the training photographs.
        weights: float64 (N,), how often each is drawn.
        calm: price of variance within a map, grades^2 for grades^2.
    """
    means, within = _features(network, squares, indices, preparation, batch)
    grades = np.array([squares.rows[i].grade for i in indices], np.float64)
    share = weights / weights.sum()
    columns = means.shape[1]
    before = np.append(
        network.linear.weight.detach().double().cpu().numpy()[0],
        float(network.linear.bias.detach()),
    )
    inputs = np.column_stack([means, np.ones(len(means))])
    near = np.diag(np.append(ridge * means.var(axis=0), 0.0))
    flat = np.zeros_like(near)
    flat[:columns, :columns] = calm * within
    weighted = inputs * share[:, None]
    solved = np.linalg.solve(inputs.T @ weighted + near + flat, weighted.T @ grades + near @ before)
    with torch.no_grad():
        network.linear.weight.copy_(torch.from_numpy(solved[None, :columns]))
        network.linear.bias.fill_(float(solved[columns]))


def _features(
    network: RamNetwork,
    squares: Squares,
    indices: NDArray[np.int64],
    preparation: Preprocessing,
    batch: int,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Means of the feature maps (N, K), of square and mirror image, and their variance (K, K)."""
    config = network.config
    data = SquareSet(squares, indices, config.input_size, config.map_size, preparation)
    device = next(network.parameters()).device
    means: list[Tensor] = []
    total = torch.zeros((), dtype=torch.float64)
    with torch.inference_mode():
        for pixels, coverage, _ in DataLoader(data, batch_size=batch):
            inputs = network_input(pixels, preparation, device)
            cover = coverage.to(device)
            both = []
            for mirrored in (False, True):
                seen = inputs.flip(-1) if mirrored else inputs
                weight = (cover.flip(-1) if mirrored else cover)[:, None]
                features = network.features(seen).float()
                mean = retina_mean(features, weight)
                both.append(mean)
                apart = (features - mean[:, :, None, None]) * weight.sqrt()
                apart = apart / weight.sum(dim=(2, 3), keepdim=True).clamp_min(_FLOOR).sqrt()
                total = total + torch.einsum("bkij,blij->kl", apart, apart).double().cpu()
            means.append(torch.stack(both).mean(dim=0).double().cpu())
    return torch.cat(means).numpy(), (total / (2 * len(indices))).numpy()
