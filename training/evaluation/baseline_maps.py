"""Maps by other methods, to compare Regression Activation Maps with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from drcore.errors import DrcoreError
from drcore.model.network import RamNetwork

__all__ = [
    "KeptScore",
    "centre_gaussian",
    "contrast_alone",
    "grad_cam",
    "kept_score",
    "mean_map",
    "occlusion",
    "random_map",
]

Map = NDArray[np.float32]

KeptScore = Callable[[NDArray[np.float32]], NDArray[np.float64]]
"""Scores (B,) in grades of a photograph of which only a part is kept: float32 (B, n, n) over the
square, 1 where a pixel is as it was, 0 where the mean of its surroundings stands in for it."""

_BATCH_PIXELS = {"cpu": 2 * 256 * 256, "cuda": 64 * 512 * 512}
"""Input pixels that go through a network together. On a CPU more would leave its caches: at
512 px, batches of 8 take more than twice as long a photograph as single ones."""


def random_map(cells: int, rng: np.random.Generator) -> Map:
    """Return a random map.

    Returns:
        float32 (m, m), independent standard normal values.
    """
    return rng.standard_normal((cells, cells)).astype(np.float32)


def centre_gaussian(cells: int, sigma: float = 0.25) -> Map:
    """Return a map that is highest in the centre.

    Args:
        sigma: standard deviation as a share of the side.

    Returns:
        float32 (m, m), 0-1, highest in the middle.
    """
    axis = (np.arange(cells) + 0.5) / cells - 0.5
    square = axis[:, None] ** 2 + axis[None, :] ** 2
    return np.exp(-square / (2 * sigma**2)).astype(np.float32)


def contrast_alone(prepared: NDArray[np.float32]) -> Map:
    """Return the local contrast, of lesions and vessels alike.

    Args:
        prepared: float32 (3, S, S), network input, 0 where the retina looks like its surroundings.

    Returns:
        float32 (S, S), at least 0: squared green contrast, lightly smoothed.
    """
    green = cv2.GaussianBlur(np.abs(prepared[1]), (0, 0), prepared.shape[1] / 512)
    return np.square(green)


def grad_cam(network: RamNetwork, prepared: NDArray[np.float32], coverage: Map) -> Map:
    """Grad-CAM of the score on the last feature maps (Selvaraju et al. 2017, equations 1-2).

    Computed by Captum, for the square and its mirror image as the grader does for its map, and
    averaged. On a network that ends in a mean and one linear unit the gradient is the linear unit's
    weight, whatever the photograph: Grad-CAM is then the negative part of the Regression Activation
    Map (before its level is set) cut off, and in another unit; it can differ in nothing else.

    Args:
        prepared: float32 (3, S, S), network input.
        coverage: float32 (m, m), 0-1, share of each cell that is retina.

    Returns:
        float32 (m, m), 0-1: at least 0, stretched so that the largest value is 1.

    Raises:
        DrcoreError: Captum is not installed.
    """
    try:
        from captum.attr import LayerGradCam
    except ImportError as error:
        raise DrcoreError(
            'Grad-CAM needs Captum: install the project with python -m pip install -e ".[train]", '
            "or leave the baseline maps out."
        ) from error
    device = next(network.parameters()).device
    square = torch.from_numpy(np.stack([prepared, prepared[..., ::-1]])).to(device)
    retina = torch.from_numpy(np.stack([coverage, coverage[:, ::-1]])).to(device)
    tool = LayerGradCam(lambda x, c: network(x, c)[0], network.blocks)
    with torch.enable_grad():
        given = tool.attribute(square, additional_forward_args=(retina,), relu_attributions=True)
    both = given.detach()[:, 0].cpu().numpy()
    cam = np.asarray((both[0] + both[1][:, ::-1]) / 2, np.float32)
    largest = float(cam.max())
    return cam / np.float32(largest) if largest > 0 else cam


def kept_score(
    networks: Mapping[int, RamNetwork],
    inputs: Mapping[int, NDArray[np.float32]],
    coverage: Mapping[int, Map],
    scales: Sequence[int],
) -> KeptScore:
    """Return the function that scores a photograph of which only a part is kept.

    What is taken away becomes 0 in the network's input: local contrast 128, as if the retina there
    had the colour of its surroundings. The mirror image is left out: it doubles the time.

    Args:
        networks: by input size S in pixels.
        inputs: float32 (3, S, S) by input size.
        coverage: float32 (m, m) by input size, 0-1.

    Returns:
        A function from parts kept, float32 (B, n, n), to scores float64 (B,) in grades.
    """

    def score(kept: NDArray[np.float32]) -> NDArray[np.float64]:
        total = np.zeros(len(kept))
        for size in scales:
            network = networks[size]
            device = next(network.parameters()).device
            square = torch.from_numpy(inputs[size]).to(device)
            retina = torch.from_numpy(coverage[size]).to(device)
            batch = max(1, _BATCH_PIXELS.get(device.type, _BATCH_PIXELS["cpu"]) // size**2)
            for start in range(0, len(kept), batch):
                part = np.stack([_at(one, size) for one in kept[start : start + batch]])
                masked = square[None] * torch.from_numpy(part).to(device)[:, None]
                masked = masked.contiguous(memory_format=torch.channels_last)
                with torch.inference_mode():
                    scores, _ = network(masked, retina.expand(len(part), -1, -1))
                total[start : start + batch] += scores.double().cpu().numpy()
        return total / len(scales)

    return score


def occlusion(
    score: KeptScore, retina: NDArray[np.bool_], patch: float = 1 / 16, chunk: int = 64
) -> Map:
    """Drop of the score when a patch is taken away (Zeiler & Fergus 2014, section 4.2).

    The patch moves by half its side; a cell of the map is the mean over the patches that cover it.

    Args:
        score: of the photograph, see `kept_score`.
        retina: bool (S, S); patches without retina change nothing and are passed over.
        patch: side of the patch as a share of the square's side.

    Returns:
        float32 (m, m), grades, with m = 2 / patch.
    """
    size = retina.shape[0]
    step = max(1, round(size * patch / 2))
    cells = -(-size // step)
    drops = np.zeros((cells, cells))
    counts = np.zeros((cells, cells))
    whole = float(score(np.ones((1, size, size), np.float32))[0])
    places = []
    for row in range(cells - 1):
        for column in range(cells - 1):
            counts[row : row + 2, column : column + 2] += 1
            if retina[_window(row, step), _window(column, step)].any():
                places.append((row, column))
    for some in _chunks(places, chunk):
        kept = np.ones((len(some), size, size), np.float32)
        for one, (row, column) in zip(kept, some, strict=True):
            one[_window(row, step), _window(column, step)] = 0
        for drop, (row, column) in zip(whole - score(kept), some, strict=True):
            drops[row : row + 2, column : column + 2] += drop
    return (drops / np.maximum(counts, 1)).astype(np.float32)


def mean_map(maps: Sequence[Map]) -> Map:
    """Average maps of one square that have different cells.

    Args:
        maps: float32 (m, m) each, at least one, in a common unit.

    Returns:
        float32 (n, n), n the largest m, the others resampled bilinearly.
    """
    cells = max(ram.shape[0] for ram in maps)
    fine = [cv2.resize(ram, (cells, cells), interpolation=cv2.INTER_LINEAR) for ram in maps]
    return np.asarray(np.mean(fine, axis=0), np.float32)


def _at(kept: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    if kept.shape[0] == size:
        return kept
    return np.asarray(cv2.resize(kept, (size, size), interpolation=cv2.INTER_AREA), np.float32)


def _window(place: int, step: int) -> slice:
    return slice(place * step, (place + 2) * step)


def _chunks(places: Sequence[tuple[int, int]], count: int) -> Iterator[Sequence[tuple[int, int]]]:
    for start in range(0, len(places), count):
        yield places[start : start + count]
