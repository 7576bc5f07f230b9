"""The per-patient blend: a small network that grades an eye with the other eye in view."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from training.reproduction.tta import Views

__all__ = ["Blend", "blend_features", "fit_blend"]

_EPOCHS = 100
_RATE = 5e-4
_DROPS = (60, 80, 90)
_BATCH = 128
_L1 = 2e-5
_L2 = 0.005


def blend_features(
    views: Views, partner: NDArray[np.int64], is_right: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """Put both eyes of a patient side by side.

    Args:
        partner: int64 (n,), place of the other eye among them; the own place where there is none.
        is_right: bool (n,), this eye is the right one.

    Returns:
        float32 (n, 4 P + 1): this eye's mean, the other's, both spreads alike, is-right.
    """
    right = is_right.astype(np.float32)[:, None]
    parts = [views.mean, views.mean[partner], views.spread, views.spread[partner], right]
    return np.concatenate(parts, axis=1)


class Blend(nn.Module):
    """Standardise, dense 32, maxout 16, dense 32, maxout 16, one unit.

    Args:
        mean, spread: float32 (F,), of the training features; a feature that never varies is 0.
    """

    def __init__(self, mean: Tensor, spread: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("spread", torch.where(spread > 1e-6, spread, torch.inf))
        self.first = nn.Linear(len(mean), 32)
        self.second = nn.Linear(16, 32)
        self.last = nn.Linear(16, 1)
        for layer in (self.first, self.second, self.last):
            nn.init.orthogonal_(layer.weight)
            nn.init.constant_(layer.bias, 0.1)

    def forward(self, features: Tensor) -> Tensor:
        """Grade: float32 (n, F) to float32 (n,)."""
        x = (features - self.mean) / self.spread
        x = functional.relu(self.first(x)).unflatten(1, (16, 2)).amax(2)
        x = functional.relu(self.second(x)).unflatten(1, (16, 2)).amax(2)
        scores: Tensor = self.last(x)[:, 0]
        return scores

    def scores(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """Grade photographs.

        Args:
            features: float32 (n, F), from `blend_features`.

        Returns:
            float64 (n,), scores in grades.
        """
        with torch.inference_mode():
            scores: NDArray[np.float64] = self(torch.from_numpy(features)).double().numpy()
        return scores


def fit_blend(
    features: NDArray[np.float32],
    grades: Sequence[int] | NDArray[np.int64],
    *,
    seed: int = 0,
    epochs: int = _EPOCHS,
) -> Blend:
    """Train a blend: Adam 5e-4, a tenth at 60, 80 and 90 of 100 epochs, L1 2e-5 and L2 .005.

    Args:
        features: float32 (n, F), of the training photographs.
        grades: int (n,), 0-4.
        epochs: passes; the drops keep their share of them.
    """
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    x = torch.from_numpy(features)
    y = torch.as_tensor(np.asarray(grades), dtype=torch.float32)
    blend = Blend(x.mean(0), x.std(0))
    optimiser = torch.optim.Adam(blend.parameters(), lr=_RATE)
    for epoch in range(epochs):
        rate = _RATE * 0.1 ** sum(epoch >= drop * epochs / _EPOCHS for drop in _DROPS)
        for group in optimiser.param_groups:
            group["lr"] = rate
        for some in torch.randperm(len(x), generator=generator).split(_BATCH):
            loss = functional.mse_loss(blend(x[some]), y[some])
            loss = loss + _L1 * blend.first.weight.abs().sum()
            layers = (blend.first, blend.second, blend.last)
            loss = loss + _L2 * torch.stack([layer.weight.square().sum() for layer in layers]).sum()
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
    return blend.eval()
