"""A deeper network that begins as a smaller one: new blocks change nothing at first."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn
from torch.nn import functional

from drcore.model.network import RamNetwork

__all__ = ["load_grown"]


def load_grown(network: RamNetwork, smaller: RamNetwork, weights: Mapping[str, Tensor]) -> None:
    """Load the weights of a smaller network, so that both give the same map.

    The stages of the smaller one come first in each stage of the same place; what a stage has more,
    and stages of as many channels that follow, are copies of the block before whose last norm is
    zero, so that only their shortcut counts until they have learnt something.

    Args:
        network: receives the weights.
        smaller: what the weights belong to; its stages are the first of the network's, with as many
            blocks or fewer.
        weights: state of the smaller network; it is loaded into it.
    """
    smaller.load_state_dict(dict(weights))
    network.stem.load_state_dict(smaller.stem.state_dict())
    network.linear.load_state_dict(smaller.linear.state_dict())
    here, there = iter(network.blocks), iter(smaller.blocks)
    last: nn.Module = smaller.stem
    fewer = [stage.blocks for stage in smaller.config.stages]
    for place, stage in enumerate(network.config.stages):
        kept = fewer[place] if place < len(fewer) else 0
        for index in range(stage.blocks):
            block = next(here)
            if index < kept:
                last = next(there)
                block.load_state_dict(last.state_dict())
            else:
                _begin_as_nothing(block, last)


def _begin_as_nothing(block: nn.Module, before: nn.Module) -> None:
    """Copy a block whose shortcut counts; its kernel may be smaller."""
    state = {name: value.clone() for name, value in before.state_dict().items()}
    wider = block.depthwise[0].kernel_size[0] - before.depthwise[0].kernel_size[0]  # type: ignore[index, operator]
    kernel = "depthwise.0.weight"
    state[kernel] = functional.pad(state[kernel], (wider // 2,) * 4)
    for name in ("project.1.weight", "project.1.bias"):
        state[name].zero_()
    block.load_state_dict(state)
