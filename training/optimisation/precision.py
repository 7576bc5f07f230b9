"""In which precision networks multiply while they are trained."""

from __future__ import annotations

import torch

__all__ = ["mixed_precision"]


def mixed_precision(device: torch.device, *, processors: bool = False) -> torch.autocast:
    """Return a context in which convolutions multiply in bfloat16 and add up in float32.

    Args:
        device: where the network is; on CUDA it is always so.

    Returns:
        The context; without effect where float32 is kept.
    """
    return torch.autocast(device.type, torch.bfloat16, enabled=processors or device.type == "cuda")
