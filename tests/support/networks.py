"""Networks with random weights."""

from __future__ import annotations

import torch

from drcore.model.link import Link
from drcore.model.network import PRESETS, RamNetwork

LINK = Link(bias=-0.03, slope=0.7, knee=0.002, ceiling=2.5)


def random_network(preset: str, seed: int = 0, link: Link | None = None) -> RamNetwork:
    """Return a preset with random weights whose activations are of a sane size."""
    torch.manual_seed(seed)
    network = RamNetwork(PRESETS[preset], link)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None  # running statistics: plain means of what passes
    size = min(PRESETS[preset].input_size, 128)
    with torch.no_grad():
        network.train()(torch.randn(4, 3, size, size))
        network.linear.weight.abs_()
        network.linear.bias.fill_(0.3 if link is None else -6.0)
    return network.requires_grad_(False).eval()
