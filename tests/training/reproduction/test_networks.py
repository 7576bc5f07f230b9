"""The published networks have the published numbers: parameters, map sizes, receptive fields."""

from __future__ import annotations

import itertools

import pytest
import torch

from training.reproduction.networks import (
    LAYOUTS,
    PublishedNetwork,
    count_parameters,
    map_sizes,
    receptive_field,
)


@pytest.mark.parametrize(
    ("layout", "head", "untied", "expected"),
    [
        ("net-5-512", "fc", True, 12_402_657),
        ("net-5-512", "fc", False, 8_145_121),
        ("net-5-512", "gap", True, 9_779_169),
        ("net-5-512", "gap", False, 5_521_633),
        ("net-5-pad1-512", "fc", True, 12_352_737),
        ("net-5-pad1-512", "fc", False, 8_145_121),
        ("net-5-pad1-512", "gap", True, 9_729_249),
        ("net-5-pad1-512", "gap", False, 5_521_633),
        ("net-4-512", "fc", True, 12_465_121),
        ("net-4-512", "fc", False, 8_181_633),
        ("net-4-512", "gap", True, 9_841_633),
        ("net-4-512", "gap", False, 5_558_145),
        ("net-5-128", "gap", True, 757_473),
        ("net-5-128", "gap", False, 505_953),
        ("net-5-256", "gap", True, 3_025_889),
        ("net-5-256", "gap", False, 1_981_409),
        ("net-4-128", "gap", True, 1_098_209),
        ("net-4-128", "gap", False, 837_889),
        ("net-4-256", "gap", True, 4_529_121),
        ("net-4-256", "gap", False, 3_460_225),
    ],
)
def test_parameters_are_the_published_ones(
    layout: str, head: str, untied: bool, expected: int
) -> None:
    with torch.device("meta"):  # shapes alone
        network = PublishedNetwork(LAYOUTS[layout], head=head, untied=untied)  # type: ignore[arg-type]
    assert count_parameters(network) == expected


@pytest.mark.parametrize(
    ("layout", "added"), [("net-5-512", 3846), ("net-5-pad1-512", 3846), ("net-4-512", 2822)]
)
def test_batch_norm_adds_what_the_fork_adds(layout: str, added: int) -> None:
    with torch.device("meta"):
        plain, normed = (
            count_parameters(PublishedNetwork(LAYOUTS[layout], norm=norm)) for norm in (False, True)
        )
    assert normed - plain == added


@pytest.mark.parametrize(
    ("layout", "expected"),
    [
        ("net-5-512", [224, 224, 111, 56, 56, 56, 27, 27, 27, 27, 13, 13, 13, 13, 6, 6, 6]),
        ("net-4-512", [224, 225, 112, 56, 57, 56, 27, 28, 27, 28, 13, 14, 13, 14, 6, 5]),
    ],
)
def test_map_sizes_of_the_table_networks(layout: str, expected: list[int]) -> None:
    assert map_sizes(LAYOUTS[layout]) == expected


@pytest.mark.parametrize(
    ("layout", "channels", "cells", "field"),
    [("fine-128", 128, 54, 41), ("fine-256", 128, 56, 93), ("fine-512", 256, 54, 181)],
)
def test_map_networks_have_the_published_maps(
    layout: str, channels: int, cells: int, field: int
) -> None:
    net = LAYOUTS[layout]
    network = PublishedNetwork(net, untied=False).eval()
    with torch.inference_mode():
        features = network.features(torch.zeros(1, 3, net.input_size, net.input_size))
    assert features.shape == (1, channels, cells, cells)
    assert receptive_field(net) == field


@pytest.mark.parametrize("layout", ["fine-128", "net-5-128", "net-4-128"])
def test_the_receptive_field_is_what_one_cell_really_sees(layout: str) -> None:
    """Ask the gradient of the middle cell which input pixels reach it."""
    net = LAYOUTS[layout]
    network = PublishedNetwork(net, untied=False).double().eval()
    # Positive weights and averaging pools: nothing cancels and no path is hidden by a maximum.
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.constant_(module.weight, 0.01)
    blocks = [
        torch.nn.AvgPool2d(m.kernel_size, m.stride, ceil_mode=m.ceil_mode)
        if isinstance(m, torch.nn.MaxPool2d)
        else m
        for m in network.blocks
    ]
    x = torch.ones(1, 3, net.input_size, net.input_size, dtype=torch.double, requires_grad=True)
    y = torch.nn.Sequential(*blocks)(x)
    middle = y.shape[-1] // 2
    y[0, 0, middle, middle].backward()
    assert x.grad is not None
    rows = (x.grad[0].abs().sum(dim=(0, 2)) > 0).nonzero().flatten()
    seen = int(rows.max() - rows.min()) + 1
    # Where the field is larger than the input, the border cuts it.
    assert seen == min(receptive_field(net), net.input_size)


@pytest.mark.parametrize("name", ["net-5-128", "net-4-128", "fine-128"])
def test_layers_are_as_large_as_computed(name: str) -> None:
    net = LAYOUTS[name]
    network = PublishedNetwork(net)
    x = torch.zeros(1, 3, net.input_size, net.input_size)
    for block, size in zip(network.blocks, map_sizes(net), strict=True):
        x = block(x)
        assert x.shape[-1] == size


def test_the_map_adds_up_to_the_score() -> None:
    torch.manual_seed(0)
    network = PublishedNetwork(LAYOUTS["fine-128"]).eval()
    squares = torch.randn(3, 3, 112, 112)
    with torch.inference_mode():
        sums = network.ram(squares).mean(dim=(1, 2)) + network.linear.bias
        torch.testing.assert_close(sums, network(squares), rtol=1e-5, atol=1e-5)


def test_the_fc_head_has_no_map_and_says_so() -> None:
    network = PublishedNetwork(LAYOUTS["net-5-128"], head="fc")
    with pytest.raises(ValueError, match="GAP"):
        network.ram(torch.zeros(1, 3, 112, 112))


@pytest.mark.parametrize(
    ("name", "head"), list(itertools.product(["net-5-128", "net-4-128"], ["fc", "gap"]))
)
def test_initial_weights_are_orthogonal_and_biases_small(name: str, head: str) -> None:
    torch.manual_seed(1)
    network = PublishedNetwork(LAYOUTS[name], head=head)  # type: ignore[arg-type]
    for parameter in network.parameters():
        if parameter.dim() == 4:
            flat = parameter.flatten(1)
            product = flat @ flat.T if flat.shape[0] <= flat.shape[1] else flat.T @ flat
            torch.testing.assert_close(product, torch.eye(len(product)), rtol=0, atol=1e-4)
        elif parameter.dim() in {1, 3}:
            assert (parameter == 0.05).all()
