"""Batches made where the network is: photographs live on the device, changes run for a whole batch.

`training.data.augmentation` changes one photograph after the other with OpenCV, which feeds a
graphics card too slowly; this code on a processor takes 9 to 20 times as long as OpenCV. Hence
both. What is drawn is the same (`draw_change`), what is done differs by rounding.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from drcore.preprocessing.network_input import Preprocessing
from training.data.augmentation import Change, draw_change
from training.data.resident import ResidentSquares
from training.data.squares import Sample, Squares
from training.recipe import Augmentation

__all__ = [
    "blur_batch",
    "change_batch",
    "contrast_batch",
    "device_batches",
    "jpeg_batch",
    "move_batch",
    "stored_batch",
]

_JPEG_LUMA = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
_JPEG_CHROMA = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    *((99,) * 8,) * 4,
)
_YCC = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))


def device_batches(
    squares: Squares,
    resident: ResidentSquares,
    indices: Sequence[int] | NDArray[np.int64],
    batch: int,
    size: int,
    cells: int,
    preparation: Preprocessing,
    augmentation: Augmentation | None = None,
    seed: tuple[int, int] = (0, 0),
) -> Iterator[Sample]:
    """Make network input on the device; what is drawn is what `SquareSet` draws.

    Args:
        resident: pixels and masks of those photographs on the device.
        size: side S of the network input in pixels.
        augmentation: random changes, or None.

    Yields:
        On the device: local contrast uint8 (B, 3, S, S); coverage float32 (B, m, m), 0-1;
        grades float32 (B,).
    """
    if resident.masks is None:
        raise ValueError("The photographs on the device have no masks of the retina.")
    noise = torch.Generator(resident.device).manual_seed(seed[0] * 1_000_003 + seed[1])
    places = resident.places(indices)
    targets = torch.tensor([squares.target(int(i)) for i in indices], device=resident.device)
    for start in range(0, len(indices), batch):
        some = places[start : start + batch]
        pixels, masks = resident.pixels[some].float(), resident.masks[some].float()
        if augmentation is not None:
            changes = [
                draw_change(size, augmentation, np.random.default_rng((*seed, start + i)))
                for i in range(len(some))
            ]
            pixels = change_batch(pixels, changes, size, noise)
            masks = move_batch(masks, changes).round_()
        elif pixels.shape[-1] != size:
            pixels = _shrunk(pixels, size).round_()
        yield (
            contrast_batch(pixels, masks, preparation),
            functional.interpolate(masks, (cells, cells), mode="area")[:, 0] / 255,
            targets[start : start + batch],
        )


def move_batch(pictures: Tensor, changes: Sequence[Change], mode: str = "bilinear") -> Tensor:
    """Turn, zoom, shift and mirror pictures or masks.

    Args:
        pictures: float32 (B, c, S, S).

    Returns:
        float32 (B, c, S, S); 0 where a picture has nothing.
    """
    wanted = torch.from_numpy(np.stack([_backwards(c.similarity) for c in changes]))
    grid = functional.affine_grid(
        wanted.to(pictures.device, torch.float32), list(pictures.shape), align_corners=False
    )
    return functional.grid_sample(pictures, grid, mode=mode, align_corners=False)


def change_batch(
    pixels: Tensor, changes: Sequence[Change], size: int, noise: torch.Generator
) -> Tensor:
    """Do to each photograph what was drawn for it.

    Args:
        pixels: float32 (B, 3, S, S), 0-255.
        size: side of the result in pixels, at most S.
        noise: source of the sensor noise, on the device of the pixels.

    Returns:
        float32 (B, 3, size, size), whole numbers 0-255.
    """
    device = pixels.device
    moved = _levels(move_batch(pixels, changes, "bicubic"))
    if size != moved.shape[-1]:
        moved = _levels(_shrunk(moved, size))
    curves = np.stack([c.curves[:, 0, :].T for c in changes])
    table = torch.from_numpy(np.ascontiguousarray(curves)).to(device)
    moved = table.gather(2, moved.flatten(2).long()).view(moved.shape).float()
    stored = [i for i, c in enumerate(changes) if c.coarse != size or c.quality is not None]
    if stored:
        moved[stored] = stored_batch(moved[stored], [changes[i] for i in stored])
    blurred = [i for i, c in enumerate(changes) if c.blur]
    if blurred:
        moved[blurred] = _levels(blur_batch(moved[blurred], [changes[i].blur for i in blurred]))
    noisy = [i for i, c in enumerate(changes) if c.noise]
    if noisy:
        strength = torch.tensor([changes[i].noise for i in noisy], device=device)
        field = torch.randn(
            (len(noisy), *moved.shape[1:]), generator=noise, device=device
        ) * strength.view(-1, 1, 1, 1)
        moved[noisy] = _levels(moved[noisy] + field)
    return moved


def contrast_batch(pixels: Tensor, masks: Tensor, preparation: Preprocessing) -> Tensor:
    """Take the local contrast as `drcore.preprocessing.network_input.Preprocessing.contrast` does.

    Args:
        pixels: float32 (B, 3, S, S), whole numbers 0-255.
        masks: float32 (B, 1, s, s), 0-255, the retina at any resolution.

    Returns:
        uint8 (B, 3, S, S), 128 where nothing stands out and outside the retina.
    """
    size = pixels.shape[-1]
    inside = functional.interpolate(masks, (size, size), mode="bilinear", align_corners=False) > 127
    coarse = size // 4
    blur = _reflecting_blur(coarse, preparation.sigma * coarse, pixels.device)
    weight = functional.avg_pool2d(inside.float(), 4)
    light = functional.avg_pool2d(pixels * inside, 4).round_()
    share = (blur @ weight @ blur.T).clamp_min_(1e-3)
    mean = functional.interpolate(
        (blur @ light @ blur.T) / share, (size, size), mode="bilinear", align_corners=False
    )
    contrast = ((pixels - mean) * preparation.gain + 128.5).clamp_(0, 255).floor_()
    return torch.where(inside, contrast, 128.0).to(torch.uint8)


def jpeg_batch(pixels: Tensor, qualities: Sequence[int]) -> Tensor:
    """Send pictures through JPEG: colours at half the resolution, cosines in steps.

    Args:
        pixels: float32 (B, 3, H, W), 0-255.
        qualities: B numbers 1-100, as libjpeg counts.

    Returns:
        float32 (B, 3, H, W), whole numbers 0-255.
    """
    device, (height, width) = pixels.device, pixels.shape[-2:]
    turn = torch.tensor(_YCC)
    back = turn.inverse().to(device)  # on the host: a device would wait for it
    turn = turn.to(device)
    padded = functional.pad(pixels, (0, -width % 16, 0, -height % 16), mode="replicate")
    planes = torch.einsum("kc,bchw->bkhw", turn, padded)
    luma, chroma = planes[:, :1] - 128, functional.avg_pool2d(planes[:, 1:], 2)
    luma = _quantised(luma, _steps(_JPEG_LUMA, qualities, device)) + 128
    chroma = _quantised(chroma, _steps(_JPEG_CHROMA, qualities, device))
    chroma = functional.interpolate(chroma, scale_factor=2, mode="bilinear", align_corners=False)
    rgb = torch.einsum("kc,bchw->bkhw", back, torch.cat([luma, chroma], 1))
    return _levels(rgb[..., :height, :width])


def _backwards(similarity: NDArray[np.float64]) -> NDArray[np.float64]:
    """From the changed square to the square, both as [-1, 1]: what `affine_grid` wants."""
    linear = similarity[:, :2]
    shift = 2 * (similarity[:, 2] + linear @ np.array([0.5, 0.5]) - 0.5)
    back = np.linalg.inv(linear)
    return np.column_stack([back, -back @ shift])


def _levels(pixels: Tensor) -> Tensor:
    return pixels.round_().clamp_(0, 255)


def _shrunk(pixels: Tensor, size: int) -> Tensor:
    return functional.interpolate(pixels, (size, size), mode="area")


def stored_batch(pixels: Tensor, changes: Sequence[Change]) -> Tensor:
    """Shrink each picture to its own size, send some through JPEG, and enlarge all again.

    Each shrunk picture lies in the upper left of a square of the old size, its last row and column
    repeated, so that all take every step together.
    """
    size, device = pixels.shape[-1], pixels.device
    sides = torch.tensor([c.coarse for c in changes], device=device, dtype=torch.float32)
    down, up = _area(size, sides)[:, None], _linear(size, sides)[:, None]
    moved = _levels(down @ pixels @ down.mT)
    sent = [i for i, c in enumerate(changes) if c.quality is not None]
    if sent:
        moved[sent] = jpeg_batch(moved[sent], [changes[i].quality or 0 for i in sent])
    return _levels(up @ moved @ up.mT)


def _area(size: int, sides: Tensor) -> Tensor:
    """Matrices (B, size, size) that average `size` pixels down to `sides`; the last row repeats."""
    pixel = torch.arange(size, device=sides.device)
    step = (size / sides)[:, None, None]
    row = torch.minimum(pixel, sides[:, None] - 1)[:, :, None]
    overlap = torch.minimum(pixel + 1, (row + 1) * step) - torch.maximum(pixel, row * step)
    return overlap.clamp_min(0) / step


def _linear(size: int, sides: Tensor) -> Tensor:
    """Matrices (B, size, size) that interpolate the first `sides` pixels up to `size`."""
    pixel = torch.arange(size, device=sides.device)
    last = (sides - 1)[:, None]
    place = torch.minimum(((pixel + 0.5) * (sides / size)[:, None] - 0.5).clamp_min(0), last)
    return (1 - (place[:, :, None] - pixel).abs()).clamp_min(0)


def blur_batch(pixels: Tensor, sigmas: Sequence[float]) -> Tensor:
    """A Gaussian blur of its own for each picture."""
    count, channels, height, width = pixels.shape
    reach = int(np.ceil(4 * max(sigmas)))
    along = torch.arange(-reach, reach + 1, device=pixels.device)
    sigma = torch.tensor(sigmas, device=pixels.device)[:, None]
    kernel = torch.exp(-0.5 * (along / sigma) ** 2)
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(channels, 0)
    rows = kernel[:, None, None, :]
    flat = pixels.reshape(1, count * channels, height, width)
    for weights, pad in ((rows, (reach, reach, 0, 0)), (rows.mT, (0, 0, reach, reach))):
        flat = functional.conv2d(
            functional.pad(flat, pad, mode="reflect"), weights, groups=count * channels
        )
    return flat.view(pixels.shape)


@functools.lru_cache(maxsize=16)  # the same for every batch, and made on the host
def _reflecting_blur(size: int, sigma: float, device: torch.device) -> Tensor:
    """A Gaussian along one axis as a matrix (size, size), the border mirrored as OpenCV does."""
    reach = round(sigma * 4)
    along = np.arange(-reach, reach + 1)
    kernel = np.exp(-0.5 * (along / sigma) ** 2)
    kernel /= kernel.sum()
    matrix = np.zeros((size, size))
    for offset, share in zip(along, kernel, strict=True):
        taken = np.abs(np.arange(size) + offset)
        taken = np.where(taken >= size, 2 * (size - 1) - taken, taken)
        np.add.at(matrix, (np.arange(size), taken), share)
    with torch.inference_mode(mode=False):  # kept, and needed in both modes
        return torch.from_numpy(matrix.astype(np.float32)).to(device)


def _steps(
    table: tuple[tuple[int, ...], ...], qualities: Sequence[int], device: torch.device
) -> Tensor:
    """Quantisation steps (B, 1, 1, 1, 8, 8), as libjpeg scales them."""
    factors = [5000 // q if q < 50 else 200 - 2 * q for q in qualities]
    steps = [np.clip((np.array(table) * f + 50) // 100, 1, 255) for f in factors]
    return torch.tensor(np.stack(steps), dtype=torch.float32, device=device)[:, None, None, None]


def _quantised(planes: Tensor, steps: Tensor) -> Tensor:
    """Cosines of 8 x 8 blocks, rounded to the steps and back."""
    count, channels, height, width = planes.shape
    k = torch.arange(8, device=planes.device)
    cosines = torch.cos((2 * k[None, :] + 1) * k[:, None] * torch.pi / 16) / 2
    cosines[0] /= 2**0.5
    blocks = planes.view(count, channels, height // 8, 8, width // 8, 8).transpose(3, 4)
    coded = ((cosines @ blocks @ cosines.T) / steps).round_() * steps
    return (cosines.T @ coded @ cosines).transpose(3, 4).reshape(planes.shape)
