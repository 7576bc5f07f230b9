"""Tiles of the finest squares, changed at random, with what each cell of the map holds."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from training.data.augmentation import compressed
from training.finest_scale.squares import FINE, OUTSIDE, UNKNOWN, FineSquares

__all__ = ["CELL", "Dots", "Tile", "TileChanges", "cell_labels", "draw_tile", "find_dots", "paste"]

CELL = 16
"""Pixels a side of a cell of the map."""

MICROANEURYSM, HAEMORRHAGE, BRIGHT = 1, 2, 4 | 8
ENOUGH = 6
BRIGHT_ENOUGH = 24


@dataclass(frozen=True, slots=True)
class TileChanges:
    """Random changes to a tile; lengths in pixels of the 1,024 px square.

    Attributes:
        zoom: largest factor either way, log-uniform.
        gain: largest log of the factor of all channels' contrast.
        colour: largest log of the factor of each channel's contrast.
        coarse: probability of losing resolution by a factor up to `coarse_factor`.
        coarse_factor: see `coarse`.
        compression: probability of a trip through JPEG at the resolution that is left.
        blur: probability of a Gaussian blur of up to `blur_sigma` pixels.
        blur_sigma: see `blur`.
        noise: probability of noise of up to `noise_sigma` levels of contrast.
        noise_sigma: see `noise`.
        mix: largest share of another channel's contrast that is added to a channel: sensors
            differ in what they call red.
        sharpen: probability of unsharp masking, as many cameras do.
        archive: probability that the trip through JPEG, where there is one, is that of the
            photograph and not of its local contrast, whose levels are four times as far apart.
        quality: lowest and highest quality of such a JPEG.
    """

    zoom: float = 1.3
    gain: float = 0.4
    colour: float = 0.2
    coarse: float = 0.35
    coarse_factor: float = 2.5
    compression: float = 0.3
    blur: float = 0.2
    blur_sigma: float = 1.6
    noise: float = 0.25
    noise_sigma: float = 10.0
    mix: float = 0.0
    sharpen: float = 0.0
    archive: float = 0.0
    quality: tuple[int, int] = (20, 85)


@dataclass(frozen=True, slots=True, eq=False)
class Tile:
    """A tile as the network takes it: contrast uint8 (S, S, 3) and masks uint8 (S, S)."""

    contrast: NDArray[np.uint8]
    mask: NDArray[np.uint8]


def draw_tile(
    squares: FineSquares,
    index: int,
    centre: tuple[float, float] | None,
    size: int,
    changes: TileChanges,
    rng: np.random.Generator,
) -> Tile:
    """Cut a tile out of a square, turned and zoomed.

    Args:
        squares: the photographs.
        index: which of them.
        centre: x and y in pixels of the square, the tile's centre up to a random shift; anywhere on
            the retina where left out.
        size: side of the tile in pixels.
        changes: how strong.
        rng: source of chance.

    Returns:
        The tile, without changes of tone.
    """
    if centre is None:
        radius = FINE / 2 * np.sqrt(rng.uniform(0, 0.9))
        angle = rng.uniform(0, 2 * np.pi)
        centre = (FINE / 2 + radius * np.cos(angle), FINE / 2 + radius * np.sin(angle))
        shift = np.zeros(2)
    else:
        shift = rng.uniform(-0.4, 0.4, 2) * size
    angle = rng.uniform(0, 2 * np.pi)
    zoom = np.exp(rng.uniform(-1, 1) * np.log(changes.zoom))
    mirror = -1.0 if rng.random() < 0.5 else 1.0
    cos, sin = zoom * np.cos(angle), zoom * np.sin(angle)
    matrix = np.array([[cos * mirror, -sin, 0.0], [sin * mirror, cos, 0.0]])
    matrix[:, 2] = size / 2 + shift - matrix[:, :2] @ np.array(centre)
    # Only what the tile reaches is read: the squares lie on disk.
    reach = int(np.ceil((size * 0.5 + np.abs(shift).max()) * 1.4143 / zoom)) + 3
    left, top = (max(0, int(c) - reach) for c in centre)
    right, bottom = (min(FINE, int(c) + reach) for c in centre)
    matrix[:, 2] += matrix[:, :2] @ np.array([left, top])
    part = np.ascontiguousarray(squares.contrast[index, top:bottom, left:right])
    flags = np.ascontiguousarray(squares.masks[index, top:bottom, left:right])
    contrast = cv2.warpAffine(
        part, matrix, (size, size), flags=cv2.INTER_LINEAR if zoom < 1 else cv2.INTER_CUBIC,
        borderValue=(128, 128, 128),
    )  # fmt: skip
    mask = cv2.warpAffine(
        flags, matrix, (size, size), flags=cv2.INTER_NEAREST, borderValue=(float(OUTSIDE),)
    )
    return Tile(np.asarray(contrast, np.uint8), np.asarray(mask, np.uint8))


def change_tone(
    tile: NDArray[np.uint8], changes: TileChanges, rng: np.random.Generator, *, sharp: bool
) -> NDArray[np.uint8]:
    """Change contrast, sharpness, noise and compression of a tile.

    Args:
        tile: local contrast uint8 (S, S, 3).
        changes: how strong.
        rng: source of chance.
        sharp: whether the photograph has the resolution of the square; if not, none is taken.

    Returns:
        uint8 (S, S, 3).
    """
    size = tile.shape[0]
    gains = np.exp(
        rng.uniform(-changes.gain, changes.gain) + rng.uniform(-changes.colour, changes.colour, 3)
    ).astype(np.float32)
    values = (tile.astype(np.float32) - 128) * gains
    if changes.mix:
        shares = rng.uniform(-changes.mix, changes.mix, (3, 3)).astype(np.float32)
        np.fill_diagonal(shares, 1 - (shares.sum(1) - shares.diagonal()))
        values = values @ shares.T
    if changes.sharpen and rng.random() < changes.sharpen:
        smooth = cv2.GaussianBlur(values, (0, 0), rng.uniform(0.8, 2.5))
        values += np.float32(rng.uniform(0.3, 1.2)) * (values - smooth)
    if rng.random() < changes.blur:
        values = cv2.GaussianBlur(values, (0, 0), rng.uniform(0.4, changes.blur_sigma))
    if rng.random() < changes.noise:
        noise = rng.standard_normal((size, size, 3), np.float32)
        values += noise * np.float32(rng.uniform(1, changes.noise_sigma))
    coarse = size
    if sharp and rng.random() < changes.coarse:
        coarse = round(size / rng.uniform(1.0, changes.coarse_factor))
        values = cv2.resize(values, (coarse, coarse), interpolation=cv2.INTER_AREA)
    result = np.clip(values + 128.5, 0, 255).astype(np.uint8)
    if rng.random() < changes.compression:
        if changes.archive and rng.random() < changes.archive:
            result = _archived(result, int(rng.integers(*changes.quality)))
        else:
            result = compressed(result, int(rng.integers(15, 60)))
    if coarse != size:
        result = cv2.resize(result, (size, size), interpolation=cv2.INTER_LINEAR)
    return np.asarray(result, np.uint8)


def _archived(contrast: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    """Compress the photograph that local contrast was made of: a quarter as far from grey."""
    levels = np.clip((contrast.astype(np.float32) - 128) / 4 + 128.5, 0, 255).astype(np.uint8)
    back = (compressed(levels, quality).astype(np.float32) - 128) * 4 + 128
    return np.asarray(np.clip(back, 0, 255), np.uint8)


@dataclass(frozen=True, slots=True, eq=False)
class Dots:
    """Microaneurysms and where they lie.

    Attributes:
        places: int (N, 3), index of the square, x and y in its pixels.
        spots: float32 (32, 32, 3) each, what a microaneurysm adds to the contrast around it.
    """

    places: NDArray[np.int64]
    spots: list[NDArray[np.float32]]


def find_dots(squares: FineSquares, indices: list[int], bits: int = MICROANEURYSM) -> Dots:
    """Find the lesions of some types, one by one.

    Args:
        squares: the photographs.
        indices: which of them.
        bits: of the types.

    Returns:
        Their places, and the spots of those that are small.
    """
    places, spots = [], []
    for index in indices:
        mask = np.asarray(squares.masks[index])
        found = ((mask & bits) > 0) & (mask < UNKNOWN)
        count, _, stats, centres = cv2.connectedComponentsWithStats(found.astype(np.uint8))
        contrast = np.asarray(squares.contrast[index])
        for one in range(1, count):
            x, y = centres[one]
            places.append((index, round(x), round(y)))
            if max(stats[one, 2:4]) <= 14:
                spot = _spot(contrast, round(x), round(y))
                if spot is not None:
                    spots.append(spot)
    return Dots(np.array(places, np.int64).reshape(-1, 3), spots)


def _spot(contrast: NDArray[np.uint8], x: int, y: int) -> NDArray[np.float32] | None:
    part = contrast[y - 16 : y + 16, x - 16 : x + 16].astype(np.float32)
    if part.shape != (32, 32, 3):
        return None
    ring = np.concatenate([part[:6].reshape(-1, 3), part[-6:].reshape(-1, 3)])
    away = np.hypot(*np.mgrid[-15.5:16, -15.5:16])
    window = np.clip((13 - away) / 5, 0, 1)[..., None].astype(np.float32)
    spot = np.asarray((part - np.median(ring, axis=0)) * window, np.float32)
    return spot if spot[14:18, 14:18, 1].mean() < -12 else None


def paste(
    tile: Tile, spots: list[NDArray[np.float32]], rng: np.random.Generator, count: int
) -> None:
    """Add microaneurysms of other photographs to a healthy tile, in place.

    Args:
        tile: changed.
        spots: to choose from.
        rng: source of chance.
        count: how many to add; those that would lie outside the retina are left out.
    """
    size = tile.mask.shape[0]
    for _ in range(count):
        spot = spots[rng.integers(len(spots))]
        spot = np.rot90(spot, rng.integers(4)) * np.float32(rng.uniform(0.7, 1.3))
        x, y = (int(v) for v in rng.integers(0, size - 32, 2))
        around = tile.mask[y : y + 32, x : x + 32]
        if (around & OUTSIDE).any():
            continue
        part = tile.contrast[y : y + 32, x : x + 32].astype(np.float32) + spot
        tile.contrast[y : y + 32, x : x + 32] = np.clip(part + 0.5, 0, 255)
        around[13:19, 13:19] = MICROANEURYSM


def cell_labels(
    mask: NDArray[np.uint8], *, healthy: bool, bright: float = 0.0
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Say of each cell whether it holds a lesion, and how much that is known.

    Args:
        mask: uint8 (S, S), see `FineSquares.masks`.
        healthy: whether the photograph has no lesion, so that cells of unknown content have none.
        bright: weight of cells with exudates, which then are lesions, too.

    Returns:
        float32 (S / 16, S / 16) labels 0 or 1, and weights: 0 where a cell holds another lesion
        only, the edge of one, or no retina.
    """
    cells = mask.shape[0] // CELL
    shape = (cells, CELL, cells, CELL)

    def count(flags: NDArray[np.bool_]) -> NDArray[np.float32]:
        return flags.reshape(shape).sum(axis=(1, 3), dtype=np.float32)

    inside = (mask & OUTSIDE) == 0
    known = inside & ((mask & UNKNOWN) == 0)
    small = count(known & ((mask & MICROANEURYSM) > 0))
    blood = count(known & ((mask & HAEMORRHAGE) > 0))
    pale = count(known & ((mask & BRIGHT) > 0))
    largest = cv2.dilate(small, np.ones((3, 3), np.uint8))
    dot = (small >= ENOUGH) | ((small > 0) & (small == largest))
    red = blood >= CELL * CELL / 8
    weight = (count(inside) > CELL * CELL / 2).astype(np.float32)
    if not healthy:
        weight[count(known) == 0] = 0
    weight[(small > 0) & ~dot] = 0
    weight[(blood > 0) & ~dot & ~red] = 0
    weight[red & ~dot] *= 0.3
    exudate = (pale >= BRIGHT_ENOUGH) & ~dot & ~red if bright else np.zeros_like(dot)
    weight[(pale > 0) & ~dot & ~red & ~exudate] = 0
    weight[exudate] *= bright
    return (dot | red | exudate).astype(np.float32), weight
