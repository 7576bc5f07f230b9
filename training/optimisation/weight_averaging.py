"""Averages of weights."""

from __future__ import annotations

import torch
from torch import Tensor

from drcore.model.network import RamNetwork
from training.optimisation.checkpoints import RunError

__all__ = ["halfway"]


def halfway(start: RamNetwork, end: RamNetwork, share: float) -> dict[str, Tensor]:
    """Average two networks weight by weight.

    Args:
        share: of the end, 0-1.

    Returns:
        Weights by name, float32.

    Raises:
        RunError: the networks differ, or the statistics of their norms do.
    """
    if start.config != end.config:
        raise RunError(f"{start.config.name} and {end.config.name} are not the same network.")
    old, new = start.state_dict(), end.state_dict()
    result = {}
    for name, value in new.items():
        if "running_" in name and not torch.allclose(old[name].float(), value.float(), rtol=1e-2):
            raise RunError(
                f"{end.config.name}: the statistics of {name} differ, so an average of the weights "
                "would fit neither; train with keep_norms."
            )
        result[name] = (
            torch.lerp(old[name].float(), value.float(), share)
            if value.is_floating_point()
            else value
        )
    return result
