"""The small network that judges whether a photograph is fit for a grade, and why not.

It sees the field of view as a square of 256 pixels in the photograph's own colours: the first
blocks of EfficientNet-Lite0 (Tan & Le 2019; Liu 2020) with the weights of ImageNet, how their
feature maps are distributed over the cells of a grid inside the field, and two linear layers. Only
these two are trained, by `python -m training.gate`; `python -m training.gradability` measures the
check.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from drcore.preprocessing.shipped_network import load_shipped

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

__all__ = [
    "BLACK",
    "BLOCKS",
    "CLASSES",
    "FARTHEST",
    "GRID",
    "INPUT",
    "QUANTILES",
    "READ",
    "Judgement",
    "graph",
    "judge",
    "trunk",
]

CLASSES = ("gradable", "blurred", "dark", "over-exposed", "cut", "not a retina")
"""What a photograph may be; exactly one, so that probabilities add up to 1."""

INPUT = 256
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
"""The blocks whose feature maps are read."""

GRID = 8
"""Feature maps are read in so many by so many cells: the black around the field does not count, and
a field that is sharp in parts is told from one that is blurred everywhere."""

QUANTILES = (0.1, 0.5, 0.9)
"""What is read of the cells inside the field, besides their mean."""

BLACK = 6.0
"""Levels up to this one are not retina."""

FARTHEST = 6.0
"""Figures of a feature map count up to so many standard deviations from their mean in training."""

_LATE = 5
"""The block whose filters sample late by half a pixel, which makes up for those before it."""

_SHOWN_MORE = np.array([0, 0, 0, 0, 2.1])
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


def judge(square: NDArray[np.uint8]) -> Judgement:
    """Judge a photograph.

    Args:
        square: uint8 (256, 256, 3), the field of view, black around it.

    Returns:
        The judgement; the same for the same pixels.

    Raises:
        CheckpointError: the weights are missing or damaged.
    """
    network = _network()
    request = network.compiled.create_infer_request()
    logits = np.array(request.infer([square[None]])[0][0], np.float64)
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
        `openvino.Model` from uint8 (1, 256, 256, 3) to the logits of `CLASSES`, float32 (1, 6).
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
        `openvino.Model` from uint8 (1, 256, 256, 3) to the figures of the feature maps that are
        read, float32 (1, F).
    """
    import openvino

    picture, figures = _figures(weights)
    return openvino.Model([figures], [picture], "gate-trunk")


def _figures(weights: Mapping[str, NDArray[Any]]) -> tuple[Any, Any]:
    """The input of the trunk and its output."""
    import openvino.opset13 as ops

    picture = ops.parameter([1, INPUT, INPUT, 3], np.uint8)
    coloured = ops.transpose(ops.convert(picture, "f32"), ops.constant(np.array([0, 3, 1, 2])))
    # What the weights of ImageNet expect.
    x = ops.multiply(
        ops.subtract(coloured, ops.constant(np.float32(127))), ops.constant(np.float32(1 / 128))
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
            figures += _by_cell(x)
    return picture, _distribution(ops.concat(figures, 1), _inside(coloured))


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


def _cells(x: Any) -> Any:
    """Average of maps of any size over the cells of the grid, (1, C, 64)."""
    from openvino import opset13 as ops

    side = [x.get_output_shape(0)[2] // GRID] * 2
    mean = ops.avg_pool(x, side, [0, 0], [0, 0], side, exclude_pad=True)
    return ops.reshape(mean, ops.constant(np.array([1, -1, GRID * GRID])), special_zero=False)


def _by_cell(x: Any) -> list[Any]:
    """Mean and standard deviation of each feature map in each cell."""
    from openvino import opset13 as ops

    mean = _cells(x)
    variance = ops.subtract(_cells(ops.multiply(x, x)), ops.multiply(mean, mean))
    return [mean, ops.sqrt(ops.maximum(variance, ops.constant(np.float32(1e-6))))]


def _inside(picture: Any) -> Any:
    """1 where more than half of a cell is retina, else 0; float32 (1, 1, 64)."""
    from openvino import opset13 as ops

    brightest = ops.reduce_max(picture, ops.constant(np.array([1])), keep_dims=True)
    lit = ops.convert(ops.greater(brightest, ops.constant(np.float32(BLACK))), "f32")
    return ops.convert(ops.greater(_cells(lit), ops.constant(np.float32(0.5))), "f32")


def _distribution(values: Any, inside: Any) -> Any:
    """Mean and quantiles over the cells inside, and their share; (1, C, 64) -> (1, 4 C + 1)."""
    from openvino import opset13 as ops

    axis = ops.constant(np.array([2]))
    count = ops.maximum(ops.reduce_sum(inside, axis), ops.constant(np.float32(1)))
    mean = ops.divide(ops.reduce_sum(ops.multiply(values, inside), axis), count)
    # Those outside come last.
    outside = ops.multiply(
        ops.subtract(ops.constant(np.float32(1)), inside), ops.constant(np.float32(1e4))
    )
    order = ops.topk(ops.add(values, outside), ops.constant(GRID * GRID), 2, "min", "value").output(
        0
    )
    last = ops.subtract(
        ops.squeeze(count, ops.constant(np.array([0, 1]))), ops.constant(np.float32(1))
    )
    ranks = ops.round(ops.multiply(_constant(np.array(QUANTILES)), last))
    chosen = ops.gather(order, ops.convert(ranks, "i32"), ops.constant(2))
    everything = ops.concat([ops.unsqueeze(mean, axis), chosen], 2)
    flat = ops.reshape(everything, ops.constant(np.array([1, -1])), special_zero=False)
    share = ops.divide(count, ops.constant(np.float32(GRID * GRID)))
    return ops.concat([flat, share], 1)


def _constant(values: NDArray[Any]) -> Any:
    from openvino import opset13 as ops

    return ops.constant(values.astype(np.float32))
