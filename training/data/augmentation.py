"""Random changes to a square of retina and, where they move pixels, to its mask alike."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from training.recipe import Augmentation

__all__ = ["Change", "augment", "compressed", "draw_change"]


@dataclass(frozen=True, slots=True, eq=False)
class Change:
    """What happens to one photograph.

    Attributes:
        similarity: float64 (2, 3), from the unit square to the changed unit square.
        curves: uint8 (256, 1, 3), what becomes of each level of red, green and blue.
        coarse: side in pixels at which the picture is stored; that of the result where no
            resolution is lost.
        quality: of a trip through JPEG at that size, 1-100; None: no trip.
        blur: sigma of a Gaussian blur in pixels of the result; 0: none.
        noise: standard deviation of sensor noise, grey levels; 0: none.
    """

    similarity: NDArray[np.float64]
    curves: NDArray[np.uint8]
    coarse: int
    quality: int | None
    blur: float
    noise: float


def draw_change(size: int, recipe: Augmentation, rng: np.random.Generator) -> Change:
    """Draw what happens to one photograph.

    Args:
        size: side of the result in pixels.
    """
    similarity, curves = _similarity(recipe, rng), _tone_curves(recipe, rng)
    coarse, quality, blur, noise = size, None, 0.0, 0.0
    if rng.random() < recipe.coarse:
        coarse = max(32, round(size / rng.uniform(1.0, recipe.coarse_factor)))
    if recipe.compression and rng.random() < recipe.compression:
        quality = int(rng.integers(recipe.worst_quality, 96))
    if rng.random() < recipe.blur:
        blur = max(size * recipe.blur_sigma * rng.uniform(0.2, 1.0), 0.2)
    if rng.random() < recipe.noise:
        noise = rng.uniform(0, recipe.noise_sigma)
    return Change(similarity, curves, coarse, quality, blur, noise)


def augment(
    square: NDArray[np.uint8],
    mask: NDArray[np.uint8],
    size: int,
    recipe: Augmentation,
    rng: np.random.Generator,
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Turn, zoom, shift, mirror, recolour, blur and add noise.

    Args:
        square: uint8 (S, S, 3), 0-255.
        mask: uint8 (s, s), 0-255, the retina at any resolution.
        size: side of the result in pixels, at most S.

    Returns:
        uint8 (size, size, 3) and uint8 (s, s), moved by the same transform.
    """
    change = draw_change(size, recipe, rng)
    side, unit = square.shape[0], change.similarity
    moved = cv2.warpAffine(square, _in_pixels(unit, side), (side, side), flags=cv2.INTER_CUBIC)
    kept = cv2.warpAffine(
        mask, _in_pixels(unit, mask.shape[0]), mask.shape[:2], flags=cv2.INTER_LINEAR
    )
    # Turned at full resolution and averaged down afterwards: turning a small square would blur it.
    if size != side:
        moved = cv2.resize(moved, (size, size), interpolation=cv2.INTER_AREA)
    moved = cv2.LUT(moved, change.curves)
    if change.coarse != size:
        moved = cv2.resize(moved, (change.coarse, change.coarse), interpolation=cv2.INTER_AREA)
    if change.quality is not None:
        moved = compressed(moved, change.quality)
    if change.coarse != size:
        moved = cv2.resize(moved, (size, size), interpolation=cv2.INTER_LINEAR)
    if change.blur:
        moved = cv2.GaussianBlur(moved, (0, 0), change.blur)
    if change.noise:
        noise = rng.standard_normal(moved.shape, dtype=np.float32) * np.float32(change.noise)
        moved = np.clip(moved + noise + 0.5, 0, 255)
    return np.asarray(moved, np.uint8), np.asarray(kept, np.uint8)


def _similarity(recipe: Augmentation, rng: np.random.Generator) -> NDArray[np.float64]:
    """A 2 x 3 transform of the unit square about its centre."""
    angle = np.deg2rad(rng.uniform(-recipe.rotation, recipe.rotation))
    log_zoom = np.log(recipe.zoom)
    zoom = np.exp(rng.uniform(-log_zoom, log_zoom))
    mirror = -1.0 if rng.random() < recipe.flip else 1.0
    shift = rng.uniform(-recipe.shift, recipe.shift, 2)
    cos, sin = zoom * np.cos(angle), zoom * np.sin(angle)
    linear = np.array([[cos * mirror, -sin], [sin * mirror, cos]])
    offset = np.array([0.5, 0.5]) - linear @ np.array([0.5, 0.5]) + shift
    return np.column_stack([linear, offset])


def compressed(pixels: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    """Send a picture through JPEG.

    Args:
        pixels: uint8 (H, W, 3), 0-255.
        quality: 1-100.

    Returns:
        uint8 (H, W, 3).
    """
    _, stored = cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.ascontiguousarray(cv2.imdecode(stored, cv2.IMREAD_COLOR)[..., ::-1], np.uint8)


def _in_pixels(unit: NDArray[np.float64], side: int) -> NDArray[np.float64]:
    """The same transform for a picture of `side` pixels, pixel centres on whole numbers."""
    matrix = unit.copy()
    matrix[:, 2] = unit[:, 2] * side + unit[:, :2] @ np.array([0.5, 0.5]) - 0.5
    return matrix


def _tone_curves(recipe: Augmentation, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Gamma and gain of a random camera, as a table uint8 (256, 1, 3)."""
    gamma = np.exp(rng.uniform(-recipe.gamma, recipe.gamma))
    gain = np.exp(
        rng.uniform(-recipe.gain, recipe.gain) + rng.uniform(-recipe.colour, recipe.colour, 3)
    )
    levels = np.linspace(0, 1, 256)[:, None] ** gamma * gain
    return np.clip(levels * 255 + 0.5, 0, 255).astype(np.uint8).reshape(256, 1, 3)
