"""A deeper network that begins as a smaller one."""

from __future__ import annotations

import torch

from drcore.model.network import PRESETS, RamNetwork
from tests.support.networks import random_network
from training.finest_scale.growth import load_grown


def test_a_grown_network_gives_the_same_map_and_can_learn() -> None:
    small = random_network("ram-1024", seed=3)
    deep = random_network("ram-1024-deep", seed=4)
    load_grown(deep, RamNetwork(PRESETS["ram-1024"]), small.state_dict())
    squares = torch.rand(1, 3, 160, 160, generator=torch.manual_seed(5))
    with torch.inference_mode():
        score, ram = small.eval()(squares)
        same_score, same = deep.eval()(squares)
    assert torch.allclose(ram, same, atol=1e-5)
    assert torch.allclose(score, same_score, atol=1e-5)
    deep.requires_grad_(requires_grad=True)
    deep(squares)[0].sum().backward()
    new = deep.blocks[-1].project[1].weight.grad  # type: ignore[index]
    assert float(new.abs().max()) > 0  # type: ignore[union-attr]
