"""The faster arithmetic computes what PyTorch computes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from drcore.model.network import PRESETS, RamNetwork, Stage
from training.optimisation.arithmetic import Folded, Geometry, depthwise, step

# One of each: kernels of 3 and 5, strides, a dilation, the stride that samples late.
_SMALL = replace(
    PRESETS["tiny-128"],
    stem=16,
    stages=(
        Stage(16, 3, 1, 1, 1),
        Stage(16, 5, 2, 2, 2),
        Stage(16, 3, 2, 1, 2),
        Stage(16, 3, 1, 2, 2, dilation=2),
    ),
)


@pytest.fixture
def network() -> RamNetwork:
    torch.manual_seed(3)
    network = RamNetwork(_SMALL).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.2, 0.2)
            module.running_var.uniform_(0.1, 0.4)
            nn.init.uniform_(module.bias, 0.3, 0.6)
    return network


def _squares() -> tuple[Tensor, Tensor]:
    torch.manual_seed(4)
    coarse = torch.randn(4, 3, 12, 12)
    squares = nn.functional.interpolate(coarse, (64, 64), mode="bicubic")
    return squares, torch.rand(4, 16, 8, 8)


def test_features_are_those_of_the_network(network: RamNetwork) -> None:
    squares, _ = _squares()
    folded = Folded(network)
    with torch.no_grad():
        fast = folded.features(squares, folded.fold()).float()
        plain = network.features(squares)
    assert fast.shape == plain.shape
    assert (fast - plain).norm() < 0.02 * plain.norm()


def test_gradients_are_those_of_float32(network: RamNetwork) -> None:
    squares, wanted = _squares()
    (network.features(squares) * wanted).sum().backward()
    plain = {n: p.grad.clone() for n, p in network.named_parameters() if p.grad is not None}
    network.zero_grad()
    folded = Folded(network)

    def job(places: slice, leaves: list[Tensor]) -> tuple[Tensor, Tensor]:
        features = folded.features(squares[places], leaves).float()
        return (features * wanted[places]).sum(), torch.ones(1)

    halves = [slice(0, 2), slice(2, 4)]
    with ThreadPoolExecutor(2) as pool:
        figures = step(folded.fold(), [lambda leaves, h=h: job(h, leaves) for h in halves], pool)
    assert float(figures) == 2
    for name, parameter in network.named_parameters():
        if name in plain and plain[name].norm() > 1e-3:
            error = (parameter.grad - plain[name]).norm() / plain[name].norm()
            assert error < 0.15, f"{name}: {float(error):.3f}"


@pytest.mark.parametrize(
    "geometry",
    [
        Geometry(3, 1, 1, 1, 1),
        Geometry(5, 1, 2, 4, 4),
        Geometry(3, 2, 1, 1, 1),
        Geometry(5, 2, 1, 2, 2),
        Geometry(3, 2, 1, 0, 1),
    ],
)
def test_depthwise_gradients(geometry: Geometry) -> None:
    torch.manual_seed(5)
    x = (torch.randn(2, 32, 15, 17)).bfloat16()
    weight, bias = torch.randn(32, 1, geometry.kernel, geometry.kernel) * 0.4, torch.randn(32)
    given = [x.clone().requires_grad_(), weight.requires_grad_(), bias.requires_grad_()]
    wide = [x.float().requires_grad_(), *(w.detach().clone().requires_grad_() for w in given[1:])]
    fast = depthwise(*given, geometry)
    padded = nn.functional.pad(wide[0], (geometry.top, geometry.after) * 2)
    plain = nn.functional.conv2d(
        padded, wide[1], wide[2], geometry.stride, 0, geometry.dilation, 32
    ).clamp(0, 6)
    assert torch.allclose(fast.float(), plain, atol=0.03)
    wanted = torch.randn_like(plain).bfloat16()
    fast.backward(wanted)
    plain.backward(wanted.float())
    for narrow, exact in zip(given, wide, strict=True):
        assert narrow.grad is not None
        assert exact.grad is not None
        assert (narrow.grad.float() - exact.grad).norm() < 0.01 * exact.grad.norm()


def test_frozen_blocks_get_no_gradient(network: RamNetwork) -> None:
    squares, wanted = _squares()
    folded = Folded(network, frozen=2)

    def job(leaves: list[Tensor]) -> tuple[Tensor, Tensor]:
        return (folded.features(squares, leaves).float() * wanted).sum(), torch.ones(1)

    with ThreadPoolExecutor(1) as pool:
        step(folded.fold(), [job], pool)
    assert all(p.grad is None for p in network.blocks[:2].parameters())
    assert all(p.grad is not None for p in network.blocks[2:].parameters())
