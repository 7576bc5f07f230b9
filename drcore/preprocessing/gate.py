"""The small network that judges whether a photograph is fit for a grade, and why not.

It sees the field of view as a square of 192 pixels in the photograph's own colours: the first
blocks of EfficientNet-Lite0 (Tan & Le 2019; Liu 2020) with the weights of ImageNet, statistics of
their feature maps, and two linear layers. Only these two are trained, by `python -m training.gate`;
`python -m training.gradability` measures the check.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from drcore.preprocessing.shipped_network import load_shipped

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

__all__ = [
    "BLOCKS",
    "CLASSES",
    "FARTHEST",
    "INPUT",
    "READ",
    "Judgement",
    "graph",
    "judge",
    "seen",
    "trunk",
]

CLASSES = ("gradable", "blurred", "dark", "over-exposed", "cut", "not a retina")
"""What a photograph may be; exactly one, so that probabilities add up to 1."""

INPUT = 192
"""Side of the square that the network sees, in pixels."""

BLOCKS = (
    (16, 3, 1),
    (24, 3, 2),
    (24, 3, 1),
    (40, 5, 2),
    (40, 5, 1),
    (80, 3, 2),
    (80, 3, 1),
    (80, 3, 1),
)
"""Channels, side of the filters and stride of each block of the trunk. Where channels and
resolution stay, the input is added to the output."""

READ = (4, 7)
"""The blocks whose feature maps are read: mean, maximum, standard deviation and minimum."""

FARTHEST = 6.0
"""Figures of a feature map count up to so many standard deviations from their mean in training."""

_LATE = 5
"""The block whose filters sample late by half a pixel, which makes up for those before it."""

_SHOWN_MORE = np.array([0, 0, 0, 0, 1.2])
"""Training shows other things more often than blurred photographs, by the power of this: the reason
that is given is the one that would be likeliest if both were as common."""

_DAMAGED = "The weights of the gradability check are missing or damaged. Install drcore again."
_compiling = threading.Lock()


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the network says.

    Attributes:
        score: probability that the photograph is fit for a grade, 0-1, calibrated.
        gradable: whether that is enough.
        defect: the most probable of the other `CLASSES`.
    """

    score: float
    gradable: bool
    defect: str


def seen(square: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Shrink the square of a field of view to what the network sees.

    Args:
        square: uint8 (S, S, 3), black around the field of view.

    Returns:
        uint8 (192, 192, 3).
    """
    size = (INPUT, INPUT)
    return np.asarray(cv2.resize(square, size, interpolation=cv2.INTER_AREA), np.uint8)


def judge(square: NDArray[np.uint8]) -> Judgement:
    """Judge a photograph.

    Args:
        square: uint8 (S, S, 3), the field of view, black around it.

    Returns:
        The judgement; the same for the same pixels.

    Raises:
        CheckpointError: the weights are missing or damaged.
    """
    network = _network()
    request = network.compiled.create_infer_request()
    logits = np.array(request.infer([seen(square)[None]])[0][0], np.float64)
    defects = logits[1:]
    odds = logits[0] - _log_sum(defects)
    score = 1 / (1 + np.exp(-(network.slope * odds + network.offset)))
    defect = CLASSES[1 + int(np.argmax(defects - _SHOWN_MORE))]
    return Judgement(float(score), bool(score >= network.threshold), defect)


def _log_sum(values: NDArray[np.float64]) -> float:
    most = float(values.max())
    return most + float(np.log(np.exp(values - most).sum()))


@dataclass(frozen=True, slots=True)
class _Network:
    compiled: Any
    slope: float
    offset: float
    threshold: float


@lru_cache(maxsize=1)
def _loaded() -> _Network:
    # One thread: photographs are prepared side by side.
    compiled, figures = load_shipped(
        "gate", graph, ["slope", "offset", "threshold"], _DAMAGED, INFERENCE_NUM_THREADS=1
    )
    return _Network(compiled, *figures)


def _network() -> _Network:
    with _compiling:
        return _loaded()


def graph(weights: Mapping[str, NDArray[Any]]) -> Any:
    """Build the network for the compiler.

    Args:
        weights: of the trunk, see `trunk`; "mean" and "deviation" of its figures; "hidden" and
            "last", linear layers with weight and bias.

    Returns:
        `openvino.Model` from uint8 (1, 192, 192, 3) to the logits of `CLASSES`, float32 (1, 6).
    """
    import openvino
    from openvino import opset13 as ops

    def linear(x: Any, name: str) -> Any:
        weight = _constant(weights[f"{name}.weight"])
        product = ops.matmul(x, weight, transpose_a=False, transpose_b=True)
        return ops.add(product, _constant(weights[f"{name}.bias"]))

    picture, x = _figures(weights)
    x = ops.divide(ops.subtract(x, _constant(weights["mean"])), _constant(weights["deviation"]))
    hidden = ops.relu(linear(ops.clamp(x, -FARTHEST, FARTHEST), "hidden"))
    return openvino.Model([linear(hidden, "last")], [picture], "gate")


def trunk(weights: Mapping[str, NDArray[Any]]) -> Any:
    """Build the part of the network that is not trained.

    Args:
        weights: "stem.weight", "stem.bias" and, for each of `BLOCKS`, those of "0.expand",
            "0.depthwise" and "0.project" and so on, normalisation folded in; the first block has
            no "expand". Weights in int8 are multiplied by "0.expand.scale", float32 (C, 1, 1, 1).

    Returns:
        `openvino.Model` from uint8 (1, 192, 192, 3) to the figures of the feature maps that are
        read, float32 (1, F).
    """
    import openvino

    picture, figures = _figures(weights)
    return openvino.Model([figures], [picture], "gate-trunk")


def _figures(weights: Mapping[str, NDArray[Any]]) -> tuple[Any, Any]:
    """The input of the trunk and its output."""
    import openvino.opset13 as ops

    picture = ops.parameter([1, INPUT, INPUT, 3], np.uint8)
    x = ops.transpose(ops.convert(picture, "f32"), ops.constant(np.array([0, 3, 1, 2])))
    # What the weights of ImageNet expect.
    x = ops.multiply(
        ops.subtract(x, ops.constant(np.float32(127))), ops.constant(np.float32(1 / 128))
    )
    x = ops.clamp(_convolved(x, weights, "stem", 2), 0.0, 6.0)
    figures, before = [], 0
    for index, (channels, _, stride) in enumerate(BLOCKS):
        y = x
        if f"{index}.expand.weight" in weights:
            y = ops.clamp(_convolved(y, weights, f"{index}.expand"), 0.0, 6.0)
        late = index == _LATE
        y = ops.clamp(_convolved(y, weights, f"{index}.depthwise", stride, late=late), 0.0, 6.0)
        y = _convolved(y, weights, f"{index}.project")
        x = ops.add(x, y) if (channels, stride) == (before, 1) else y
        before = channels
        if index in READ:
            figures += _statistics(x)
    return picture, ops.concat(figures, 1)


def _convolved(
    x: Any,
    weights: Mapping[str, NDArray[Any]],
    name: str,
    stride: int = 1,
    *,
    late: bool = False,
) -> Any:
    from openvino import opset13 as ops

    weight = weights[f"{name}.weight"].astype(np.float32)
    if f"{name}.scale" in weights:  # kept as integers
        weight = weight * weights[f"{name}.scale"]
    reach = weight.shape[-1] // 2
    layout = [stride] * 2, [reach - late] * 2, [reach] * 2, [1, 1]
    if name.endswith("depthwise"):  # each channel is its own group
        y = ops.group_convolution(x, ops.constant(weight[:, None]), *layout)
    else:
        y = ops.convolution(x, ops.constant(weight), *layout)
    return ops.add(y, _constant(weights[f"{name}.bias"].reshape(1, -1, 1, 1)))


def _statistics(x: Any) -> list[Any]:
    """Mean, maximum, standard deviation and minimum of each feature map."""
    from openvino import opset13 as ops

    axes = ops.constant(np.array([2, 3]))
    mean = ops.reduce_mean(x, axes)
    variance = ops.subtract(ops.reduce_mean(ops.multiply(x, x), axes), ops.multiply(mean, mean))
    deviation = ops.sqrt(ops.maximum(variance, ops.constant(np.float32(1e-6))))
    return [mean, ops.reduce_max(x, axes), deviation, ops.reduce_min(x, axes)]


def _constant(values: NDArray[Any]) -> Any:
    from openvino import opset13 as ops

    return ops.constant(values.astype(np.float32))
