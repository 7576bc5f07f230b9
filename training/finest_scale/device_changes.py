"""Changes of whole squares of the finest scale, and labels of their cells, a batch at a time.

`training.finest_scale.tiles` does the same to one tile after the other with OpenCV.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from training.data.augmentation import Change
from training.data.augmentation_gpu import blur_batch, move_batch, stored_batch
from training.finest_scale.squares import OUTSIDE, UNKNOWN
from training.finest_scale.tiles import (
    BRIGHT,
    BRIGHT_ENOUGH,
    CELL,
    ENOUGH,
    HAEMORRHAGE,
    MICROANEURYSM,
    TileChanges,
)

__all__ = ["FineChange", "draw_fine_change", "label_batch", "move_squares", "paste_batch",
           "tone_batch"]  # fmt: skip

_NO_CURVES = np.zeros((0, 1, 3), np.uint8)
_SPOT = 32


@dataclass(frozen=True, slots=True, eq=False)
class FineChange:
    """What happens to one square.

    Attributes:
        moved: how it is turned and stored; its curves are not used.
        mix: float32 (3, 3), from the channels' contrast to that of the result.
        sharpen: sigma in pixels and amount of unsharp masking; None: none.
    """

    moved: Change
    mix: NDArray[np.float32]
    sharpen: tuple[float, float] | None


def draw_fine_change(
    size: int, changes: TileChanges, rng: np.random.Generator, *, sharp: bool, plain: bool = False
) -> FineChange:
    """Draw a change of tone as `training.finest_scale.tiles.change_tone` does; nothing is moved.

    Args:
        size: side of the square in pixels.
        changes: how strong.
        rng: source of chance.
        sharp: whether the photograph has the resolution of the square; if not, none is taken.
        plain: whether the tone stays as it is.
    """
    still = np.array([[1.0, 0, 0], [0, 1.0, 0]])
    if plain:
        nothing = Change(still, _NO_CURVES, size, None, 0.0, 0.0)
        return FineChange(nothing, np.eye(3, dtype=np.float32), None)
    gains = np.exp(
        rng.uniform(-changes.gain, changes.gain) + rng.uniform(-changes.colour, changes.colour, 3)
    ).astype(np.float32)
    mix = np.eye(3, dtype=np.float32)
    if changes.mix:
        mix = rng.uniform(-changes.mix, changes.mix, (3, 3)).astype(np.float32)
        np.fill_diagonal(mix, 1 - (mix.sum(1) - mix.diagonal()))
    sharpen = None
    if changes.sharpen and rng.random() < changes.sharpen:
        sharpen = (rng.uniform(0.8, 2.5), rng.uniform(0.3, 1.2))
    blur = rng.uniform(0.4, changes.blur_sigma) if rng.random() < changes.blur else 0.0
    noise = rng.uniform(1, changes.noise_sigma) if rng.random() < changes.noise else 0.0
    coarse, quality = size, None
    if sharp and rng.random() < changes.coarse:
        coarse = round(size / rng.uniform(1.0, changes.coarse_factor))
    if rng.random() < changes.compression:
        quality = int(rng.integers(15, 60))
    return FineChange(Change(still, _NO_CURVES, coarse, quality, blur, noise), mix * gains, sharpen)


def similarity(zoom: float, rng: np.random.Generator, *, quarters: bool) -> NDArray[np.float64]:
    """Draw how a square is turned, mirrored and zoomed about its centre.

    Args:
        zoom: largest factor either way, log-uniform.
        rng: source of chance.
        quarters: one of the eight ways to lay a square, without zoom.

    Returns:
        float64 (2, 3), from the unit square to the changed one.
    """
    angle = rng.integers(4) * np.pi / 2 if quarters else rng.uniform(0, 2 * np.pi)
    scale = 1.0 if quarters else np.exp(rng.uniform(-1, 1) * np.log(zoom))
    mirror = -1.0 if rng.random() < 0.5 else 1.0
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    linear = np.array([[cos * mirror, -sin], [sin * mirror, cos]])
    return np.column_stack([linear, 0.5 - linear @ np.array([0.5, 0.5])])


def move_squares(
    contrast: Tensor, masks: Tensor, changes: Sequence[Change]
) -> tuple[Tensor, Tensor]:
    """Turn and zoom squares and their masks alike.

    Args:
        contrast: uint8 (B, 3, S, S).
        masks: uint8 (B, 1, S, S), see `FineSquares.masks`.

    Returns:
        float32 (B, 3, S, S), contrast less 128; uint8 (B, S, S).
    """
    values = move_batch(contrast.float() - 128, changes, "bicubic").clamp_(-128, 127)
    # What is outside becomes zero, which is also what lies beyond the border.
    moved = move_batch(masks.bitwise_xor(OUTSIDE).float(), changes, "nearest")
    return values, moved[:, 0].round_().to(torch.uint8).bitwise_xor_(OUTSIDE)


def tone_batch(values: Tensor, changes: Sequence[FineChange], noise: torch.Generator) -> Tensor:
    """Change contrast, sharpness, noise and compression.

    Args:
        values: float32 (B, 3, S, S), contrast less 128.
        noise: source of the sensor noise, on the device of the values.

    Returns:
        float32 (B, 3, S, S), whole numbers 0-255.
    """
    device = values.device
    mix = torch.from_numpy(np.stack([c.mix for c in changes])).to(device)
    values = torch.einsum("bkc,bchw->bkhw", mix, values)
    for i, change in enumerate(changes):
        if change.sharpen is not None:
            one = values[i : i + 1]
            smooth = blur_batch(one, [change.sharpen[0]])
            values[i : i + 1] = one + change.sharpen[1] * (one - smooth)
    blurred = [i for i, c in enumerate(changes) if c.moved.blur]
    if blurred:
        values[blurred] = blur_batch(values[blurred], [changes[i].moved.blur for i in blurred])
    strength = torch.tensor([c.moved.noise for c in changes]).to(device)
    field = torch.randn(values.shape, generator=noise, device=device)
    values = values + field * strength.view(-1, 1, 1, 1)
    values += 128
    size = values.shape[-1]
    stored = [
        i for i, c in enumerate(changes) if c.moved.coarse != size or c.moved.quality is not None
    ]
    if stored:
        values[stored] = stored_batch(values[stored], [changes[i].moved for i in stored])
    return values.round_().clamp_(0, 255)


def paste_batch(
    values: Tensor, masks: Tensor, spots: Tensor, count: int, rng: np.random.Generator
) -> None:
    """Add microaneurysms of other photographs to one healthy square, in place.

    Args:
        values: float32 (3, S, S), contrast less 128.
        masks: uint8 (S, S).
        spots: float32 (K, 3, 32, 32), see `Dots.spots`.
        count: how many; those that would lie outside the retina are left out.
        rng: source of chance.
    """
    masks[masks == UNKNOWN] = 0
    for _ in range(count):
        spot = torch.rot90(spots[int(rng.integers(len(spots)))], int(rng.integers(4)), (1, 2))
        x, y = (int(v) for v in rng.integers(0, values.shape[-1] - _SPOT, 2))
        place = (slice(y, y + _SPOT), slice(x, x + _SPOT))
        inside = (masks[place].bitwise_and(OUTSIDE) == 0).all()  # stays on the device
        values[(slice(None), *place)] += spot * rng.uniform(0.7, 1.3) * inside
        core = masks[y + 13 : y + 19, x + 13 : x + 19]
        core.copy_(torch.where(inside, MICROANEURYSM, core))
    values.clamp_(-128, 127)


def label_batch(masks: Tensor, healthy: Tensor, bright: float = 0.0) -> tuple[Tensor, Tensor]:
    """Say of each cell what `training.finest_scale.tiles.cell_labels` says.

    Args:
        masks: uint8 (B, S, S).
        healthy: bool (B,), whether a photograph has no lesion.
        bright: weight of cells with exudates, which then are lesions, too.

    Returns:
        float32 (B, S / 16, S / 16) labels 0 or 1, and weights.
    """
    area = CELL * CELL

    def count(flags: Tensor) -> Tensor:
        return (functional.avg_pool2d(flags[:, None].float(), CELL) * area).round_()[:, 0]

    inside = masks.bitwise_and(OUTSIDE) == 0
    known = inside & (masks.bitwise_and(UNKNOWN) == 0)
    small = count(known & (masks.bitwise_and(MICROANEURYSM) > 0))
    blood = count(known & (masks.bitwise_and(HAEMORRHAGE) > 0))
    pale = count(known & (masks.bitwise_and(BRIGHT) > 0))
    largest = functional.max_pool2d(small[:, None], 3, 1, 1)[:, 0]
    dot = (small >= ENOUGH) | ((small > 0) & (small == largest))
    red = blood >= area / 8
    weight = (count(inside) > area / 2).float()
    weight = weight * (healthy[:, None, None] | (count(known) > 0))
    weight = weight * ~((small > 0) & ~dot) * ~((blood > 0) & ~dot & ~red)
    weight = torch.where(red & ~dot, 0.3 * weight, weight)
    exudate = (pale >= BRIGHT_ENOUGH) & ~dot & ~red
    if not bright:
        exudate = torch.zeros_like(dot)
    weight = weight * ~((pale > 0) & ~dot & ~red & ~exudate)
    weight = torch.where(exudate, bright * weight, weight)
    return (dot | red | exudate).float(), weight
