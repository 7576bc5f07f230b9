"""Writing on the retina: names and dates that a camera or an archive burnt into a photograph.

A small network looks at the photograph at its own size and at halves of it, and says of each cell
of four pixels whether it lies in a line of letters, of any script. It was trained by
`python -m training.writing`; `python -m tests.benchmarks.writing` measures it.
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
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

__all__ = ["Writing", "find_writing"]

LAYERS = ((2, 1), (2, 1), (1, 1), (1, 2), (1, 4), (1, 8))
"""Stride and dilation of each convolution of 3 x 3; one of 1 x 1 ends the network."""

STEP = 4
"""Pixels that a cell is wide."""

_TILE = 896
"""Side of what is looked at in one go, in pixels; a multiple of `_GRID`."""
_HALO = 64
"""Pixels around a tile that its cells depend on."""
_GRID = 64
"""Sides are padded to multiples of this, so that few sizes are compiled."""
_SMALLEST = 64
"""Short side of the smallest copy, in pixels."""
_WINDOWS = ((6, 2), (2, 6))
"""Cells across and down over which a line of letters fills the map."""
_DAMAGED = "The weights that find writing are missing or damaged. Install drcore again."
_compiling = threading.Lock()


@dataclass(frozen=True, slots=True)
class Writing:
    """What a search for writing came to.

    Attributes:
        found: whether there may be writing.
        score: 0-1, of the place that looks most like writing.
        box: that place: left, top, right, bottom in pixels of the photograph.
    """

    found: bool
    score: float
    box: tuple[int, int, int, int]


def find_writing(rgb: NDArray[np.uint8]) -> Writing:
    """Look for writing in a photograph.

    Letters from about 10 pixels of height are found. Give the photograph at its own size: in a
    smaller copy, letters may be too small to be found, and yet be read.

    Args:
        rgb: uint8 (h, w, 3), 0-255, RGB; black where nobody is to look.

    Returns:
        The place that looks most like writing, and whether it is enough to hold the picture back.

    Raises:
        CheckpointError: the weights are missing or damaged.
    """
    best, scale, factor = Writing(found=False, score=0.0, box=(0, 0, 0, 0)), rgb, 1
    network = _network()
    while True:
        score, (left, top, right, bottom) = _most_like_writing(probabilities(scale))
        if score > best.score:
            width = factor * STEP
            box = (left * width, top * width, right * width, bottom * width)
            best = Writing(score >= network.threshold, score, box)
        height, wide = scale.shape[0] // 2, scale.shape[1] // 2
        if min(height, wide) < _SMALLEST:
            return best
        scale = np.asarray(cv2.resize(scale, (wide, height), interpolation=cv2.INTER_AREA))
        factor *= 2


def probabilities(rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Say of each cell of four pixels how likely it lies in a line of letters of 9 to 30 pixels.

    Args:
        rgb: uint8 (h, w, 3).

    Returns:
        float32 (ceil(h / 4), ceil(w / 4)), 0-1.

    Raises:
        CheckpointError: the weights are missing or damaged.
    """
    height, width = rgb.shape[:2]
    answer = np.zeros((-(-height // STEP), -(-width // STEP)), np.float32)
    request = _network().compiled.create_infer_request()
    for rows, columns, tile in _tiles(rgb):
        cells = request.infer([tile])[0]
        place = answer[rows.start // STEP : rows.stop // STEP,
                       columns.start // STEP : columns.stop // STEP]  # fmt: skip
        halo = _HALO // STEP
        place[:] = cells[halo : halo + place.shape[0], halo : halo + place.shape[1]]
    return answer


def _tiles(rgb: NDArray[np.uint8]) -> Iterator[tuple[slice, slice, NDArray[np.uint8]]]:
    """Rows and columns of a tile, and its pixels with those around it, (1, h, w, 3)."""
    height, width = rgb.shape[:2]
    for top in range(0, height, _TILE):
        for left in range(0, width, _TILE):
            high, wide = (
                min(_TILE, -(-(side - start) // _GRID) * _GRID)
                for side, start in ((height, top), (width, left))
            )
            tile = np.zeros((1, high + 2 * _HALO, wide + 2 * _HALO, 3), np.uint8)
            above, before = min(top, _HALO), min(left, _HALO)
            seen = rgb[top - above : top + high + _HALO, left - before : left + wide + _HALO]
            tile[0, _HALO - above :, _HALO - before :][: seen.shape[0], : seen.shape[1]] = seen
            yield slice(top, top + high), slice(left, left + wide), tile


def _most_like_writing(
    cells: NDArray[np.float32],
) -> tuple[float, tuple[int, int, int, int]]:
    """The window of cells that is fullest of writing: its mean, and its box in cells."""
    best, box = 0.0, (0, 0, 0, 0)
    for across, down in _WINDOWS:
        means = cv2.blur(cells, (across, down), anchor=(0, 0), borderType=cv2.BORDER_CONSTANT)
        _, most, _, (x, y) = cv2.minMaxLoc(means)
        if most > best:
            best, box = float(most), (x, y, x + across, y + down)
    return best, box


@dataclass(frozen=True, slots=True)
class _Network:
    compiled: Any
    threshold: float


@lru_cache(maxsize=1)
def _loaded() -> _Network:
    compiled, (threshold,) = load_shipped("writing", graph, ["threshold"], _DAMAGED)
    return _Network(compiled, threshold)


def _network() -> _Network:
    with _compiling:
        return _loaded()


def graph(weights: Mapping[str, NDArray[np.floating]]) -> Any:
    """Build the network for the compiler.

    Args:
        weights: "0.weight", "0.bias" and so on, one pair a convolution.

    Returns:
        `openvino.Model` from uint8 (1, h, w, 3) to probabilities, float32 (h / 4, w / 4).
    """
    import openvino
    from openvino import opset13 as ops

    picture = ops.parameter([1, -1, -1, 3], np.uint8)
    x = ops.transpose(ops.convert(picture, "f32"), ops.constant(np.array([0, 3, 1, 2])))
    x = ops.subtract(
        ops.multiply(x, ops.constant(np.float32(1 / 255))), ops.constant(np.float32(0.5))
    )
    for index, (stride, dilation) in enumerate((*LAYERS, (1, 0))):
        weight = weights[f"{index}.weight"].astype(np.float32)
        bias = weights[f"{index}.bias"].astype(np.float32).reshape(1, -1, 1, 1)
        pad = [dilation, dilation]
        x = ops.convolution(
            x, ops.constant(weight), [stride, stride], pad, pad, [max(dilation, 1)] * 2
        )
        x = ops.add(x, ops.constant(bias))
        x = ops.relu(x) if index < len(LAYERS) else ops.sigmoid(x)
    cells = ops.squeeze(x, ops.constant(np.array([0, 1])))
    return openvino.Model([cells], [picture], "writing")
