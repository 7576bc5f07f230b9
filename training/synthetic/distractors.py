"""Pictures that resemble a photograph of a retina and are none."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["DRAWN", "FROM_A_RETINA"]

RGB = NDArray[np.uint8]
Floats = NDArray[np.float32]
Rng = np.random.Generator

_SIDE = 320
_WARM = ((200, 90, 40), (150, 60, 30), (230, 150, 80), (120, 40, 20), (240, 190, 140), (90, 30, 25))


def _clouds(rng: Rng, side: int = _SIDE, octaves: int = 6, decay: float = 1.7) -> Floats:
    """Soft noise of all sizes, 0-1."""
    total = np.zeros((side, side), np.float32)
    for octave in range(octaves):
        noise = rng.random((2 ** (octave + 1),) * 2, dtype=np.float32)
        total += cv2.resize(noise, (side, side), interpolation=cv2.INTER_CUBIC) / decay**octave
    return np.asarray((total - total.min()) / (np.ptp(total) + 1e-6), np.float32)


def _colour(rng: Rng) -> NDArray[np.float64]:
    """Any colour, or one that a retina may have."""
    if rng.random() < 0.45:
        return np.asarray(rng.uniform(0, 255, 3))
    warm = np.array(_WARM[rng.integers(len(_WARM))]) * rng.uniform(0.6, 1.2)
    return np.asarray(np.clip(warm + rng.normal(0, 15, 3), 0, 255))


def _grid(side: int = _SIDE) -> tuple[Floats, Floats]:
    rows, columns = np.mgrid[:side, :side].astype(np.float32) / (side / 2) - 1
    return rows, columns


def _framed(picture: Floats, rng: Rng) -> Floats:
    """Now and then in a black frame with a round hole, as instruments show things."""
    if rng.random() < 0.4:
        return picture
    rows, columns = _grid(picture.shape[0])
    inside = np.hypot(rows, columns) < rng.uniform(0.8, 0.98)
    return np.asarray(picture * inside[..., None], np.float32)


def _between(grey: Floats, first: object, second: object) -> Floats:
    a, b = np.asarray(first, np.float32), np.asarray(second, np.float32)
    return np.asarray(a + (b - a) * grey[..., None], np.float32)


def dead_leaves(rng: Rng) -> Floats:
    """Ellipses, polygons and bars that hide each other: the statistics of a scene."""
    picture = _between(_clouds(rng), _colour(rng), _colour(rng))
    for _ in range(int(rng.integers(5, 120))):
        colour = tuple(float(v) for v in _colour(rng))
        size = _SIDE * 0.35 * float(rng.random()) ** 2 + 2
        x, y = (int(v) for v in rng.integers(0, _SIDE, 2))
        if rng.random() < 0.5:
            axes = int(size), max(1, int(size * rng.uniform(0.2, 1)))
            cv2.ellipse(picture, (x, y), axes, float(rng.uniform(0, 180)), 0, 360, colour, -1)
        else:
            corners = np.int32(rng.normal(0, size, (int(rng.integers(3, 7)), 2)) + np.array([x, y]))
            cv2.fillPoly(picture, [cv2.convexHull(corners)], colour)
    shaded = picture * (0.7 + 0.6 * _clouds(rng, octaves=7))[..., None]
    return _framed(cv2.GaussianBlur(shaded, (0, 0), float(rng.uniform(0.3, 3))), rng)


def wall(rng: Rng) -> Floats:
    """A wall, a desk, skin, cloth: one colour with texture and uneven light."""
    base = _between(_clouds(rng, octaves=int(rng.integers(2, 8))), _colour(rng), _colour(rng))
    calm = base.mean(axis=(0, 1)) + (base - base.mean(axis=(0, 1))) * rng.uniform(0.05, 0.6)
    light = 0.5 + 0.7 * _clouds(rng, octaves=2)
    grain = rng.normal(0, rng.uniform(0, 6), calm.shape)
    return _framed(np.asarray(calm * light[..., None] + grain, np.float32), rng)


def fruit(rng: Rng) -> Floats:
    """An orange, a ball, a lamp: a shaded disc, with pores, a highlight, a stalk."""
    rows, columns = _grid()
    radius = float(rng.uniform(0.6, 0.98))
    distance = np.hypot(rows, columns) / radius
    depth = np.sqrt(np.clip(1 - distance**2, 0, 1))
    light = rng.normal(0, 0.5, 2)
    shade = np.clip(0.35 + 0.65 * (depth + light[0] * rows + light[1] * columns), 0.02, 1.2)
    skin = 1 + rng.uniform(0.02, 0.3) * (_clouds(rng, octaves=8, decay=1.15) - 0.5)
    ball = (shade * skin)[..., None] * _colour(rng)
    for _ in range(int(rng.integers(0, 3))):  # a highlight or a stalk
        off = np.hypot(rows - rng.uniform(-0.6, 0.6), columns - rng.uniform(-0.6, 0.6))
        spot = np.exp(-((off / rng.uniform(0.04, 0.22)) ** 2))
        ball = ball + (_colour(rng) - ball) * (spot * rng.uniform(0.3, 1))[..., None]
    ground = np.zeros(3) if rng.random() < 0.6 else _colour(rng)
    return np.where((distance < 1)[..., None], ball, ground).astype(np.float32)


def glow(rng: Rng) -> Floats:
    """A disc of one colour with a soft reflex: the camera saw no eye."""
    rows, columns = _grid()
    off = np.hypot(rows - rng.normal(0, 0.4), columns - rng.normal(0, 0.4))
    light = rng.uniform(0.2, 1) + rng.uniform(0, 1) * np.exp(-((off / rng.uniform(0.2, 1.2)) ** 2))
    uneven = 1 + rng.uniform(0, 0.3) * (_clouds(rng, octaves=int(rng.integers(1, 5))) - 0.5)
    disc = np.hypot(rows, columns) < rng.uniform(0.7, 0.98)
    picture = (light * uneven * disc)[..., None] * _colour(rng)
    return np.asarray(picture + rng.normal(0, rng.uniform(0, 3), picture.shape), np.float32)


def lids(rng: Rng) -> Floats:
    """Skin, lids and lashes, the white of the eye, an iris: nearer or farther, sharp or not."""
    rows, columns = _grid()
    skin = _between(_clouds(rng, octaves=7), (110, 60, 45), (240, 185, 155)) * rng.uniform(0.5, 1.1)
    height, width = rng.uniform(0.1, 0.6), rng.uniform(0.6, 1.4)
    y0, x0 = rng.normal(0, 0.25, 2)
    opening = ((rows - y0) / height) ** 2 + ((columns - x0) / width) ** 2 < 1
    white = np.array([225, 205, 195]) * (0.75 + 0.4 * _clouds(rng, octaves=3))[..., None]
    picture = np.where(opening[..., None], white, skin)
    radius = rng.uniform(0.25, 0.7)
    distance = np.hypot(rows - y0 - rng.normal(0, 0.1), columns - x0 - rng.normal(0, 0.2))
    angle = np.arctan2(rows - y0, columns - x0)
    fibres = 0.7 + 0.3 * np.sin(angle * rng.integers(20, 70)) * _clouds(rng, octaves=4)
    iris = fibres[..., None] * rng.uniform(20, 170, 3)
    pupil = np.array((rng.uniform(0, 40),) * 3) if rng.random() < 0.6 else np.array((190, 70, 30))
    picture = np.where((opening & (distance < radius))[..., None], iris, picture)
    shown = (opening & (distance < radius * rng.uniform(0.25, 0.6)))[..., None]
    picture = np.ascontiguousarray(np.where(shown, pupil, picture), np.float32)
    for _ in range(int(rng.integers(0, 60))):
        x = int((x0 + rng.uniform(-width, width)) * _SIDE / 2 + _SIDE / 2)
        y = int((y0 - height * 0.8) * _SIDE / 2 + _SIDE / 2)
        end = (x + int(rng.normal(0, 15)), y - int(rng.uniform(5, 50)))
        cv2.line(picture, (x, y), end, (30.0, 20.0, 15.0), 1, cv2.LINE_AA)
    return _framed(cv2.GaussianBlur(picture, (0, 0), float(rng.uniform(0.3, 4))), rng)


def branches(rng: Rng) -> Floats:
    """Twigs, cracks or cables on a ground: lines, without the order of vessels."""
    picture = _between(_clouds(rng), _colour(rng), _colour(rng))
    for _ in range(int(rng.integers(3, 40))):
        steps = rng.normal(0, 14, (int(rng.integers(3, 14)), 2)).cumsum(0).cumsum(0) * 0.4
        points = np.int32(steps + rng.integers(0, _SIDE, 2))
        colour = tuple(float(v) for v in _colour(rng))
        cv2.polylines(picture, [points], bool(rng.random() < 0.1), colour,
                      int(rng.integers(1, 7)), cv2.LINE_AA)  # fmt: skip
    return _framed(cv2.GaussianBlur(picture, (0, 0), float(rng.uniform(0.3, 2))), rng)


def section(rng: Rng) -> Floats:
    """Layers as optical coherence tomography shows them, or a scan of another organ."""
    rows, columns = _grid()
    wave = 0.15 * np.sin(columns * rng.uniform(1, 5) + rng.uniform(0, 6)) + rng.normal(0, 0.2)
    depth = (rows - wave) * rng.uniform(4, 14)
    layers = np.interp(depth, np.sort(rng.uniform(-5, 6, 9)), rng.uniform(0, 1, 9))
    grey = np.asarray(layers * rng.gamma(3, 1 / 3, layers.shape), np.float32)
    grey = np.clip(cv2.GaussianBlur(grey, (0, 0), float(rng.uniform(0.4, 1.5))), 0, 1)
    if rng.random() < 0.4:
        maps = (cv2.COLORMAP_JET, cv2.COLORMAP_HOT, cv2.COLORMAP_INFERNO, cv2.COLORMAP_AUTUMN)
        heat = cv2.applyColorMap((grey * 255).astype(np.uint8), maps[rng.integers(len(maps))])
        return _framed(heat[..., ::-1].astype(np.float32), rng)
    return _framed(_between(grey, (0, 0, 0), (255, 255, 255)), rng)


def writing(rng: Rng) -> Floats:
    """Lines of letters on paper or a screen, near or far, straight or askew, in any light."""
    picture = np.full((_SIDE, _SIDE, 3), _colour(rng), np.uint8)
    ink = tuple(float(v) for v in _colour(rng))
    size = float(rng.uniform(0.3, 1.6))
    for y in range(10, _SIDE, max(9, int(size * rng.uniform(22, 40)))):
        words = "".join(chr(int(c)) for c in rng.integers(33, 123, int(rng.integers(4, 50))))
        cv2.putText(picture, words, (int(rng.integers(0, 40)), y), int(rng.integers(4)), size, ink,
                    int(rng.integers(1, 3)), cv2.LINE_AA)  # fmt: skip
    turn = cv2.getRotationMatrix2D((_SIDE / 2, _SIDE / 2), float(rng.normal(0, 8)), 1.1)
    turned = cv2.warpAffine(picture, turn, (_SIDE, _SIDE), borderMode=cv2.BORDER_REFLECT)
    light = (0.6 + 0.5 * _clouds(rng, octaves=2))[..., None]
    return _framed(np.asarray(turned * light, np.float32), rng)


DRAWN: dict[str, Callable[[Rng], Floats]] = {
    "dead leaves": dead_leaves,
    "wall": wall,
    "fruit": fruit,
    "glow of a colour": glow,
    "lids": lids,
    "branches": branches,
    "section": section,
    "writing": writing,
}
"""Pictures of other things by family; float32 (h, w, 3), about 0-255."""


def grey(rgb: RGB, rng: Rng) -> RGB:
    """Without colours, or in one."""
    plane = rgb[..., int(rng.integers(3))] if rng.random() < 0.5 else rgb.mean(axis=2)
    tint = np.ones(3) if rng.random() < 0.5 else rng.uniform(0.2, 1.4, 3)
    return _levels(np.asarray(plane, np.float32)[..., None] * tint)


def swapped(rgb: RGB, rng: Rng) -> RGB:
    """Red and blue exchanged, or a negative."""
    return np.ascontiguousarray(rgb[..., ::-1] if rng.random() < 0.7 else 255 - rgb)


def shuffled(rgb: RGB, rng: Rng) -> RGB:
    """Cut into squares and put together at random."""
    cells = int(rng.choice([4, 5, 8, 10]))
    square, step = rgb, len(rgb) // cells
    order = rng.permutation(cells * cells)
    out = square.copy()
    for place, source in enumerate(order):
        (i, j), (k, m) = divmod(place, cells), divmod(int(source), cells)
        out[i * step : (i + 1) * step, j * step : (j + 1) * step] = square[
            k * step : (k + 1) * step, m * step : (m + 1) * step
        ]
    return out


def scrambled(rgb: RGB, rng: Rng) -> RGB:
    """The same colours and the same spectrum in each channel, no structure, in the same disc."""
    small, side = rgb.astype(np.float32), len(rgb)
    lit = small.max(axis=2) > 20
    mean = small[lit].mean(axis=0) if lit.any() else small.mean(axis=(0, 1))
    filled = np.where(lit[..., None], small, mean)
    phase = np.angle(np.fft.rfft2(rng.random((side, side))))
    planes = [
        np.fft.irfft2(np.abs(np.fft.rfft2(filled[..., c] - mean[c])) * np.exp(1j * phase),
                      s=(side, side)) for c in range(3)
    ]  # fmt: skip
    return _levels((np.dstack(planes) + mean) * lit[..., None])


def speck(rgb: RGB, rng: Rng) -> RGB:
    """A patch of a tenth of the field, enlarged to fill the frame."""
    size = len(rgb)
    side = max(8, int(size * rng.uniform(0.06, 0.14)))
    top, left = (int(v) for v in rng.uniform(0.25, 0.65, 2) * size)
    patch = rgb[top : top + side, left : left + side]
    return np.asarray(cv2.resize(patch, (size, size), interpolation=cv2.INTER_CUBIC), np.uint8)


FROM_A_RETINA: dict[str, Callable[[RGB, Rng], RGB]] = {
    "grey": grey,
    "swapped": swapped,
    "shuffled": shuffled,
    "scrambled": scrambled,
    "speck": speck,
}
"""What is made of a square of retina and shows none any more, by name."""


def _levels(values: NDArray[np.floating]) -> RGB:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
