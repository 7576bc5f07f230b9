"""A network as an OpenVINO graph."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from drcore.model.network import RamNetwork

__all__ = ["graph"]


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
    from torch import nn

    config = network.config
    square = ops.parameter([1, 3, config.input_size, config.input_size], np.float32)
    x = _convolved(square, network.stem)
    block: Any  # of the network's own kind, which has no public name
    for block in network.blocks:
        y = x if isinstance(block.expand, nn.Identity) else _convolved(x, block.expand)
        y = _convolved(y, block.depthwise, block.pad)
        y = _convolved(y, block.project)
        x = ops.add(x, y) if block.residual else y
    return openvino.Model([x], [square], config.name)


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
