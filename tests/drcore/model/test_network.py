"""The networks: map and score agree, cells see what they lie over, scales share their weights."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from drcore.model.network import PRESETS, RamNetwork
from tests.support.networks import LINK

presets = pytest.mark.parametrize("preset", PRESETS)


def coverage(batch: int, cells: int) -> torch.Tensor:
    shares = torch.rand(batch, cells, cells, generator=torch.Generator().manual_seed(1))
    return shares * (shares > 0.3)


@pytest.fixture(scope="module")
def networks(make_network):
    return {preset: make_network(preset, seed=3) for preset in PRESETS}


@presets
def test_mean_of_the_map_plus_bias_is_the_score(networks, preset):
    network = networks[preset]
    size = min(network.config.input_size, 256)
    cells = size // network.config.stride
    squares = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    shares = coverage(2, cells)
    with torch.no_grad():
        for level in (0.0, 1.75):
            network.set_level(level)
            scores, maps = network(squares)
            assert maps.shape == (2, cells, cells)
            assert maps.dtype == torch.float32
            wanted = maps.double().mean(dim=(1, 2)) + network.bias
            assert torch.allclose(wanted, scores.double(), atol=1e-4)
            scores, maps = network(squares, shares)
            total = (maps.double() * shares).sum(dim=(1, 2)) / shares.double().sum(dim=(1, 2))
            assert torch.allclose(total + network.bias, scores.double(), atol=1e-4)
    network.set_level(0.0)
    assert maps.std() > 0.01


def test_with_a_link_the_map_is_never_negative_and_its_mean_plus_bias_is_the_score(make_network):
    network = make_network("tiny-128", seed=3, link=LINK)
    squares = torch.randn(2, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    shares = coverage(2, 32)
    with torch.no_grad():
        scores, maps = network(squares, shares)
        plain, whole = network(squares)
        nothing, _ = network(squares, torch.zeros(2, 32, 32))
    mean = (maps.double() * shares).sum(dim=(1, 2)) / shares.double().sum(dim=(1, 2))
    assert torch.allclose(mean + network.bias, scores.double(), atol=1e-4)
    assert torch.allclose(whole.double().mean(dim=(1, 2)) + network.bias, plain.double(), atol=1e-4)
    assert maps.min() >= 0
    assert maps.std() > 0.01
    assert network.bias == pytest.approx(LINK.least)
    assert nothing.tolist() == pytest.approx([LINK.least] * 2)
    with pytest.raises(ValueError, match="has no level"):
        network.set_level(0.5)


def test_black_surround_neither_votes_nor_counts(networks):
    network = networks["ram-128"]
    squares = torch.randn(1, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    half = torch.zeros(1, 16, 16)
    half[:, :8] = 1
    with torch.no_grad():
        scores, maps = network(squares, half)
    assert float(scores) == pytest.approx(float(maps[:, :8].mean()) + network.bias, abs=1e-4)
    with torch.no_grad():
        nothing, _ = network(squares, torch.zeros(1, 16, 16))
    assert torch.isfinite(nothing).all()


def test_level_moves_into_the_map_and_no_score_changes(networks):
    network = copy.deepcopy(networks["tiny-128"])
    squares = torch.randn(2, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    shares = coverage(2, 32)
    with torch.no_grad():
        scores, maps = network(squares, shares)
        bias = network.bias
        network.set_level(0.8)
        moved_scores, moved_maps = network(squares, shares)
    assert torch.equal(scores, moved_scores)
    assert torch.allclose(moved_maps, maps + 0.8)
    assert network.bias == pytest.approx(bias - 0.8, abs=1e-6)
    assert "level" not in network.state_dict()  # it lives in the manifest


@pytest.mark.parametrize(
    ("preset", "at_least"), [("ram-128", 16), ("ram-256", 28), ("ram-512", 28)]
)
def test_maps_are_as_fine_as_promised(networks, preset, at_least):
    config = PRESETS[preset]
    assert config.name == preset
    assert config.map_size >= at_least
    with torch.no_grad():
        _, maps = networks[preset](torch.zeros(1, 3, config.input_size, config.input_size))
    assert maps.shape == (1, config.map_size, config.map_size)


FIELDS = {
    "ram-128": 339, "ram-256": 339, "ram-512": 339, "ram-256-lite2": 475, "ram-512-lite2": 475,
    "tiny-128": 23, "ram-1024": 147, "ram-1024-deep": 307,
}  # fmt: skip
"""Receptive field of a cell of the map, in input pixels."""


@presets
def test_cell_sees_the_field_it_claims_centred_on_itself(preset):
    """By gradients: positive weights cannot cancel, and without ReLU6 nothing saturates."""
    config, field = PRESETS[preset], FIELDS[preset]
    network = RamNetwork(config).double().eval()
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, torch.nn.ReLU6):
                setattr(module, name, torch.nn.Identity())
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, torch.nn.Conv2d):
                module.weight.fill_(1 / module.weight[0].numel())
        network.linear.weight.fill_(1)
    cells = -(-field // config.stride) + 4
    size = cells * config.stride
    square = torch.zeros(1, 3, size, size, dtype=torch.double, requires_grad=True)
    _, ram = network(square)
    assert ram.shape[1] == cells
    ram[0, cells // 2, cells // 2].backward()
    seen = square.grad.abs()[0].sum(dim=0).numpy()
    for axis in (0, 1):
        profile = seen.sum(axis=axis)
        reached = np.nonzero(profile)[0]
        assert reached[-1] - reached[0] + 1 == field
        assert reached[0] > 0  # not clipped by the border: the field was measured whole
        assert reached[-1] < size - 1
        own = (cells // 2 + 0.5) * config.stride
        assert abs((reached[0] + reached[-1] + 1) / 2 - own) <= 1
        weighted = (profile * (np.arange(size) + 0.5)).sum() / profile.sum()
        assert abs(weighted - own) <= 1


@pytest.mark.parametrize(("smaller", "larger"), [("ram-128", "ram-256"), ("ram-256", "ram-512")])
def test_weights_of_one_scale_start_the_next(networks, smaller, larger):
    start, network = networks[smaller], RamNetwork(PRESETS[larger]).eval()
    missing, unexpected = network.load_state_dict(start.state_dict(), strict=True)
    assert not missing
    assert not unexpected
    squares = torch.randn(1, 3, 256, 256, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        if start.config.stride == network.config.stride:
            assert torch.equal(network(squares)[1], start(squares)[1])
        else:
            assert torch.isfinite(network(squares)[0]).all()


def test_dilation_stands_in_for_the_stride_taken_out(networks):
    """Every other cell of the fine map is the coarse map's: the weights see the same retina.

    The two sample the third stage half a cell apart, hence the shift of four pixels; only cells
    whose field of 339 px misses the border are compared.
    """
    coarse, fine = RamNetwork(PRESETS["ram-512"]).eval(), networks["ram-256"]
    coarse.load_state_dict(fine.state_dict())
    squares = torch.randn(1, 3, 544, 544, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        _, few = coarse(squares)
        _, many = fine(torch.roll(squares, (4, 4), (2, 3)))
    inner = slice(12, 22)
    assert few[0, inner, inner].std() > 0.1
    assert torch.allclose(few[0, inner, inner], many[0, 1::2, 1::2][inner, inner], atol=1e-4)


def test_fully_convolutional(networks):
    network = networks["ram-128"]
    with torch.no_grad():
        _, maps = network(torch.zeros(1, 3, 96, 160))
    assert maps.shape == (1, 12, 20)


def test_training_reaches_every_weight():
    torch.manual_seed(0)
    network = RamNetwork(PRESETS["tiny-128"])
    scores, _ = network(torch.randn(2, 3, 64, 64))
    scores.sum().backward()
    for name, weight in network.named_parameters():
        assert weight.grad is not None, name
        assert torch.isfinite(weight.grad).all(), name


def test_new_networks_differ_by_seed_alone():
    states = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        states.append(RamNetwork(PRESETS["tiny-128"]).state_dict())
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    assert not torch.equal(states[0]["linear.weight"], states[2]["linear.weight"])
