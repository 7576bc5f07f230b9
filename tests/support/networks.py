"""Networks with random weights."""

from __future__ import annotations

import torch

from drcore.model.network import PRESETS, RamNetwork


def random_network(preset: str, seed: int = 0) -> RamNetwork:
    """Return a preset with random weights whose activations are of a sane size."""
    torch.manual_seed(seed)
    network = RamNetwork(PRESETS[preset])
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None  # running statistics: plain means of what passes
    size = min(PRESETS[preset].input_size, 128)
    with torch.no_grad():
        network.train()(torch.randn(4, 3, size, size))
        network.linear.weight.abs_()
        network.linear.bias.fill_(0.3)
    return network.requires_grad_(False).eval()
