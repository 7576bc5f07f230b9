"""The part of the gradability network that is not trained, and what it says of pictures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from drcore.model.network import PRESETS, RamNetwork
from drcore.preprocessing.gate import BLOCKS, trunk
from training.optimisation.initial_weights import imagenet_weights

__all__ = ["reader", "trunk_weights"]

_MANY = 30_000
"""Weights of a layer from which on they are kept as integers of 8 bits, scaled by channel."""


def trunk_weights() -> dict[str, NDArray[Any]]:
    """Return ImageNet's weights for `drcore.preprocessing.gate.trunk`, normalisation folded in."""
    network = RamNetwork(PRESETS["ram-512"])
    network.load_state_dict(dict(imagenet_weights(network)), strict=False)
    named: dict[str, nn.Module] = {"stem": network.stem}
    for index in range(len(BLOCKS)):
        for part in ("expand", "depthwise", "project"):
            named[f"{index}.{part}"] = network.blocks[index].get_submodule(part)
    weights: dict[str, NDArray[Any]] = {}
    for name, layers in named.items():
        if isinstance(layers, nn.Identity):
            continue
        convolution, norm = layers.get_submodule("0"), layers.get_submodule("1")
        folded = fuse_conv_bn_weights(
            convolution.weight, None, norm.running_mean, norm.running_var, norm.eps, norm.weight,
            norm.bias,
        )  # fmt: skip
        weight, bias = (value.detach().numpy() for value in folded)
        weights[f"{name}.bias"] = bias.astype(np.float16)
        if weight.size < _MANY:
            weights[f"{name}.weight"] = np.ascontiguousarray(weight, np.float16)
            continue
        scale = np.abs(weight).max(axis=(1, 2, 3), keepdims=True) / 127
        weights[f"{name}.weight"] = np.ascontiguousarray(np.rint(weight / scale), np.int8)
        weights[f"{name}.scale"] = scale.astype(np.float32)
    return weights


def reader() -> Callable[[NDArray[np.uint8]], NDArray[np.float32]]:
    """Return what turns a square, uint8 (256, 256, 3), into figures, float32 (F,)."""
    import openvino

    exact = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    compiled = openvino.Core().compile_model(trunk(trunk_weights()), "CPU", exact)
    request = compiled.create_infer_request()
    return lambda square: np.array(request.infer([square[None]])[0][0], np.float32)
