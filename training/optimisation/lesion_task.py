"""A second task on the feature maps: where lesions are. Its head is not part of the bundle.

A grade says that there are lesions, not which spots they are. Where some training photographs have
masks, a 1 x 1 convolution on the same feature maps that the linear unit reads says for each cell
which lesions lie in it, and the map is asked to be calm where there are none. The network that
ships stays what it is: feature maps, their mean, one linear unit.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.data.lesion_masks import LESION_TYPES
from training.data.lesion_squares import LesionBatch

__all__ = ["LesionHead", "lesion_loss"]


_RARE = -3.0
_CALM = 0.2
_TRACE = 0.05


class LesionHead(nn.Module):
    """How much of each cell is lesion of each type, read off the feature maps."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(channels, len(LESION_TYPES), 1)
        # Most cells have none: begin there.
        nn.init.zeros_(self.convolution.weight)
        nn.init.constant_(self.convolution.bias, _RARE)

    def forward(self, features: Tensor) -> Tensor:
        """Return the log-odds of each type, float (A, 4, m, m)."""
        found: Tensor = self.convolution(features)
        return found


def lesion_loss(odds: Tensor, ram: Tensor, batch: LesionBatch) -> Tensor:
    """Loss of the lesion head, and a penalty on the map where there are no lesions.

    Args:
        odds: float (A, 4, m, m), see `LesionHead`.
        ram: float (A, m, m), Regression Activation Maps in grades.

    Returns:
        float (), cross-entropy summed over the types, and a share of mean(log(1 + |map|)) over
        cells that neither hold a lesion nor lie beside one.
    """
    entropy = functional.binary_cross_entropy_with_logits(odds, batch.amount, reduction="none")
    weight = batch.known[:, :, None, None] * batch.coverage[:, None]
    error = (entropy * weight).sum() / weight.sum().clamp_min(1.0) * len(LESION_TYPES)
    near = functional.max_pool2d(batch.amount.amax(dim=1, keepdim=True), 3, 1, 1)[:, 0] > _TRACE
    # Where only one type was looked for, cells that seem empty may hold others.
    searched = (batch.known.sum(dim=1) > 1)[:, None, None]
    healthy = ~near * batch.coverage * searched
    loud = (torch.log1p(ram.abs()) * healthy).sum() / healthy.sum().clamp_min(1.0)
    return error + _CALM * loud
