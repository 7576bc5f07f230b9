"""The small network that judges whether a photograph is fit for a grade, and why not.

It sees the field of view as a square of 160 pixels in the photograph's own colours. It is trained
by `python -m training.gate` and measured by `python -m training.gradability`.
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

__all__ = ["CLASSES", "INPUT", "LAYERS", "Judgement", "graph", "judge", "seen"]

CLASSES = ("gradable", "blurred", "dark", "over-exposed", "cut", "not a retina")
"""What a photograph may be; exactly one, so that probabilities add up to 1."""

INPUT = 160
"""Side of the square that the network sees, in pixels."""

LAYERS = ((24, 7, 4), (48, 3, 2), (64, 3, 2), (64, 3, 1), (96, 3, 2), (96, 3, 1))
"""Channels, side and stride of each convolution, with a ReLU after it."""

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
        uint8 (160, 160, 3).
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
    defect = CLASSES[1 + int(np.argmax(defects))]
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


def graph(weights: Mapping[str, NDArray[np.floating]]) -> Any:
    """Build the network for the compiler.

    Args:
        weights: "0.weight", "0.bias" and so on, one pair a convolution, "hidden" and "last".

    Returns:
        `openvino.Model` from uint8 (1, 160, 160, 3) to the logits of `CLASSES`, float32 (1, 6).
    """
    import openvino
    from openvino import opset13 as ops

    def constant(name: str) -> Any:
        return ops.constant(weights[name].astype(np.float32))

    def linear(x: Any, name: str) -> Any:
        product = ops.matmul(x, constant(f"{name}.weight"), transpose_a=False, transpose_b=True)
        return ops.add(product, constant(f"{name}.bias"))

    picture = ops.parameter([1, INPUT, INPUT, 3], np.uint8)
    x = ops.transpose(ops.convert(picture, "f32"), ops.constant(np.array([0, 3, 1, 2])))
    x = ops.subtract(
        ops.multiply(x, ops.constant(np.float32(1 / 255))), ops.constant(np.float32(0.5))
    )
    for index, (_, side, stride) in enumerate(LAYERS):
        pad = [side // 2] * 2
        bias = weights[f"{index}.bias"].astype(np.float32).reshape(1, -1, 1, 1)
        x = ops.convolution(x, constant(f"{index}.weight"), [stride, stride], pad, pad, [1, 1])
        x = ops.relu(ops.add(x, ops.constant(bias)))
    axes = ops.constant(np.array([2, 3]))
    pooled = ops.concat([ops.reduce_mean(x, axes), ops.reduce_max(x, axes)], 1)
    hidden = ops.relu(linear(pooled, "hidden"))
    return openvino.Model([linear(hidden, "last")], [picture], "gate")
