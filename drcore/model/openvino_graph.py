"""A network as an OpenVINO graph."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from drcore.model.network import RamNetwork

__all__ = ["graph"]

_STRIPS = ((1024, 8, 8), (512, 4, 8))
"""Input from which the first layers run strip by strip; how many strips; and by how much the input
is reduced where they are put together."""


def graph(network: RamNetwork) -> Any:
    """Rebuild a network for the compiler, batch normalisation folded into the convolutions.

    Built layer by layer instead of traced: no converter, and no network that is only nearly ours.

    Args:
        network: in evaluation mode.

    Returns:
        `openvino.Model` from a square (1, 3, S, S) to the feature maps (1, K, m, m): the linear
        unit that reads them costs nothing, and must not be rounded where the graph is.
    """
    import openvino
    from openvino import opset13 as ops

    config = network.config
    square = ops.parameter([1, 3, config.input_size, config.input_size], np.float32)
    blocks, size = list(network.blocks), config.input_size
    for least, strips, shrink in _STRIPS:
        if size >= least and size % (strips * shrink) == 0:
            first, rest = _until(blocks, shrink)
            x = _blocks(_in_strips(square, network.stem, first, (size, strips, shrink)), rest)
            break
    else:
        x = _blocks(_convolved(square, network.stem), blocks)
    return openvino.Model([x], [square], config.name)


def _blocks(x: Any, blocks: Sequence[Any]) -> Any:
    """Inverted residual blocks, one after the other."""
    from openvino import opset13 as ops
    from torch import nn

    for block in blocks:
        y = x if isinstance(block.expand, nn.Identity) else _convolved(x, block.expand)
        y = _convolved(y, block.depthwise, block.pad)
        y = _convolved(y, block.project)
        x = ops.add(x, y) if block.residual else y
    return x


def _until(blocks: list[Any], shrink: int) -> tuple[list[Any], list[Any]]:
    """Part blocks behind the one that leaves that share of the input's resolution."""
    halved, wanted = 1, shrink.bit_length() - 1  # the stem halves it
    for count, block in enumerate(blocks, start=1):
        halved += block.depthwise[0].stride[0] > 1
        if halved == wanted:
            return blocks[:count], blocks[count:]
    return blocks, []


def _reach(stem: Any, blocks: Sequence[Any]) -> int:
    """Rows to either side that a row behind these layers sees."""
    reach, step = 0, 1
    for convolution in (stem[0], *(block.depthwise[0] for block in blocks)):
        reach += step * (convolution.kernel_size[0] // 2)
        step *= convolution.stride[0]
    return reach


def _in_strips(square: Any, stem: Any, blocks: Sequence[Any], layout: tuple[int, int, int]) -> Any:
    """The first layers strip by strip: they hold most of a large network's memory.

    The strips overlap by what these layers see, so that the result is the same.
    """
    from openvino import opset13 as ops

    def rows(x: Any, start: int, stop: int) -> Any:
        begin, end, step, axis = (ops.constant(np.array([n])) for n in (start, stop, 1, 2))
        return ops.slice(x, begin, end, step, axis)

    size, strips, shrink = layout
    overlap = -(-_reach(stem, blocks) // shrink) * shrink
    parts, height = [], size // strips
    for top in range(0, size, height):
        above, below = max(0, top - overlap), min(size, top + height + overlap)
        x = _blocks(_convolved(rows(square, above, below), stem), blocks)
        parts.append(rows(x, (top - above) // shrink, (top + height - above) // shrink))
    return ops.concat(parts, 2)


def _convolved(x: Any, layers: Any, pad: Any = None) -> Any:
    """Convolution with its batch normalisation, padding and activation."""
    from openvino import opset13 as ops
    from torch import nn
    from torch.nn.utils.fusion import fuse_conv_bn_weights

    convolution, norm = layers[0], layers[1]
    fused, shift = fuse_conv_bn_weights(
        convolution.weight, None, norm.running_mean, norm.running_var, norm.eps, norm.weight,
        norm.bias,
    )  # fmt: skip
    weight, bias = fused.detach().numpy(), shift.detach().numpy()
    begin = end = list(convolution.padding)
    if isinstance(pad, nn.ZeroPad2d):
        left, right, top, bottom = pad.padding
        begin, end = [top, left], [bottom, right]
    layout = (list(convolution.stride), begin, end, list(convolution.dilation))
    if convolution.groups > 1:  # depthwise: each channel is its own group
        y = ops.group_convolution(x, ops.constant(weight[:, None]), *layout)
    else:
        y = ops.convolution(x, ops.constant(weight), *layout)
    y = ops.add(y, ops.constant(bias.reshape(1, -1, 1, 1)))
    return ops.clamp(y, 0.0, 6.0) if len(layers) == 3 else y
