"""Degradations of increasing severity, and the changes that another camera or archive makes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from drcore.preprocessing.field_of_view import FieldOfView
from training.data.augmentation import compressed

__all__ = ["CAMERA_CHANGES", "DEGRADATIONS", "Degradation"]

RGB = NDArray[np.uint8]

_THIRD = 32.0
"""Percent of the field of view that stand for "less than a third"."""

_SMALL = 400
"""Pixels across the field of view of a photograph that was kept small."""


def _blurred(rgb: RGB, fov: FieldOfView, level: float) -> RGB:
    """Blur by a Gaussian whose standard deviation is `level` percent of the field of view."""
    return np.asarray(cv2.GaussianBlur(rgb, (0, 0), level / 100 * 2 * fov.radius), np.uint8)


def _darkened(rgb: RGB, fov: FieldOfView, level: float) -> RGB:
    """Divide by `level` and round: what a flash that failed leaves in 8 bits."""
    del fov
    return np.asarray(np.round(rgb / level), np.uint8)


def _over_exposed(rgb: RGB, fov: FieldOfView, level: float) -> RGB:
    """Multiply by `level` and clip, inside the field of view."""
    inside = fov.mask(*rgb.shape[:2])
    bright = np.clip(rgb.astype(np.float32) * level, 0, 255)
    return np.where(inside[..., None], bright, rgb).astype(np.uint8)


def _cut_off(rgb: RGB, fov: FieldOfView, level: float) -> RGB:
    """Leave `level` percent of the field of view: crop one side, which depends on the pixels."""
    turns = int(rgb.sum(dtype=np.int64) % 4)
    turned = np.ascontiguousarray(np.rot90(rgb, turns))
    inside = np.ascontiguousarray(np.rot90(fov.mask(*rgb.shape[:2]), turns))
    area = np.cumsum(inside.sum(axis=0)) / (np.pi * fov.radius**2)
    columns = max(32, int(np.searchsorted(area, level / 100)))
    return np.ascontiguousarray(np.rot90(turned[:, :columns], -turns))


@dataclass(frozen=True, slots=True)
class Degradation:
    """A kind of degradation.

    Attributes:
        apply: takes pixels, their field of view and a level.
        levels: of increasing severity.
        word: contained in the expected reason.
    """

    apply: Callable[[RGB, FieldOfView, float], RGB]
    levels: tuple[float, ...]
    word: str


DEGRADATIONS = {
    "blur": Degradation(_blurred, (0.2, 0.4, 0.6, 0.8, 1.0, 1.3, 1.6, 2.0, 2.5, 3.2), "blurred"),
    "dark": Degradation(_darkened, (2, 4, 6, 8, 11, 16, 22, 32, 45, 64, 90), "dark"),
    "over-exposure": Degradation(_over_exposed, (1.5, 2, 2.5, 3, 4, 5, 6.5, 8, 12, 20), "exposed"),
    "cut field": Degradation(_cut_off, (75, 60, 45, _THIRD, 24, 16, 10), "third"),
}


def _lit(*factors: float) -> Callable[[RGB, FieldOfView], RGB]:
    """Brightness of red, green and blue by a factor, the surround left as it is."""

    def change(rgb: RGB, fov: FieldOfView) -> RGB:
        return _inside(rgb, fov, rgb * np.array(factors, np.float32))

    return change


def _toned(exponent: float) -> Callable[[RGB, FieldOfView], RGB]:
    """Another tone curve: levels, 0-1, to a power."""

    def change(rgb: RGB, fov: FieldOfView) -> RGB:
        del fov
        curve = np.round((np.arange(256) / 255) ** exponent * 255).astype(np.uint8)
        return np.asarray(cv2.LUT(rgb, curve), np.uint8)

    return change


def _unevenly_lit(rgb: RGB, fov: FieldOfView) -> RGB:
    """Light from one side: 1.2 times as bright at the left rim, 0.5 times at the right."""
    along = (np.arange(rgb.shape[1]) - fov.x) / (2 * fov.radius) + 0.5
    factor = 1.2 - 0.7 * np.clip(along, 0, 1)
    return _inside(rgb, fov, rgb * factor[None, :, None].astype(np.float32))


def _noisy(rgb: RGB, fov: FieldOfView) -> RGB:
    """Sensor noise, standard deviation 6 grey levels; the same for the same photograph."""
    rng = np.random.default_rng(int(rgb.sum(dtype=np.int64)))
    noise = rng.standard_normal(rgb.shape, dtype=np.float32) * 6
    return _inside(rgb, fov, rgb + noise)


def _small(rgb: RGB, fov: FieldOfView) -> RGB:
    """Kept with 400 px across the field of view, if it has more."""
    factor = min(1.0, _SMALL / (2 * fov.radius))
    size = [max(1, round(side * factor)) for side in rgb.shape[1::-1]]
    return np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)


def _compressed(rgb: RGB, fov: FieldOfView) -> RGB:
    """A trip through JPEG of quality 30."""
    del fov
    return compressed(rgb, 30)


def _upside_down(rgb: RGB, fov: FieldOfView) -> RGB:
    """Turned by 180 degrees, as seen by an indirect lens."""
    del fov
    return np.ascontiguousarray(rgb[::-1, ::-1])


def _narrower(rgb: RGB, fov: FieldOfView) -> RGB:
    """Four fifths of the field of view, as 36 degrees are of 45, about the same centre."""
    less = replace(fov, radius=0.8 * fov.radius).mask(rgb.shape[0], rgb.shape[1])
    return np.where(less[..., None], rgb, 0).astype(np.uint8)


def _inside(rgb: RGB, fov: FieldOfView, changed: NDArray[Any]) -> RGB:
    """Changed levels within the field of view, rounded; the surround as it was."""
    levels = np.clip(np.round(changed), 0, 255).astype(np.uint8)
    return np.where(fov.mask(rgb.shape[0], rgb.shape[1])[..., None], levels, rgb)


CAMERA_CHANGES: dict[str, Callable[[RGB, FieldOfView], RGB]] = {
    "darker": _lit(0.6, 0.6, 0.6),
    "brighter": _lit(1.35, 1.35, 1.35),
    "flat tones": _toned(0.7),
    "steep tones": _toned(1.4),
    "warmer": _lit(1.1, 1.0, 0.8),
    "cooler": _lit(0.9, 1.0, 1.2),
    "lit from a side": _unevenly_lit,
    "soft": lambda rgb, fov: _blurred(rgb, fov, 0.25),
    "noise": _noisy,
    "small": _small,
    "compressed": _compressed,
    "small, compressed": lambda rgb, fov: _compressed(_small(rgb, fov), fov),
    "upside down": _upside_down,
    "narrower": _narrower,
}
"""What another camera, light or archive does, by name; takes pixels and their field of view."""
