"""Squares of retina as other cameras and archives show them, and spoilt on purpose."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from training.data.augmentation import compressed
from training.synthetic.distractors import FROM_A_RETINA

__all__ = ["RUINED", "SPOILT", "in_colours_of", "mild", "stored"]

RGB = NDArray[np.uint8]
Floats = NDArray[np.float32]
Rng = np.random.Generator

_TINTS = ((0.85, 1.1, 0.5), (1.25, 0.6, 0.5), (1.0, 0.85, 0.6), (0.9, 1.0, 1.3), (1.1, 1.1, 0.4))
"""Yellow-green, red, warm, cool and yellow cameras: gains of red, green and blue."""


def mild(square: RGB, rng: Rng, *, recolour: bool = True) -> RGB:
    """Change what does not make a photograph better or worse: camera, frame, tint, light.

    Args:
        square: uint8 (S, S, 3), the field of view, black around it.
        recolour: False where colours and light say how good the photograph is.
    """
    square = _reframed(_turned(square, rng), rng)
    if recolour and rng.random() < 0.7:
        square = _relit(square, rng)
    chosen = rng.random()
    if chosen < 0.2:
        sigma = rng.uniform(0.1, 0.25) / 100 * len(square)
        square = np.asarray(cv2.GaussianBlur(square, (0, 0), sigma), np.uint8)
    elif chosen < 0.4:
        soft = cv2.GaussianBlur(square, (0, 0), 1.2)
        square = np.asarray(cv2.addWeighted(square, 1.7, soft, -0.7, 0), np.uint8)
    return _dated(square, rng) if rng.random() < 0.1 else square


def in_colours_of(square: RGB, model: RGB) -> RGB:
    """Give a photograph the histograms of another one, channel by channel.

    What equalised the photographs whose colours are lost kept the order of the levels: this brings
    them back to what a camera may have written.

    Args:
        square: uint8 (S, S, 3), the field of view, black around it.
        model: the same of a photograph with colours.
    """
    inside, beside = _lit(square), _lit(model)
    table = np.zeros((256, 1, 3), np.uint8)
    for channel in range(3):
        ranks = _ranks(square[..., channel][inside]), _ranks(model[..., channel][beside])
        table[:, 0, channel] = np.interp(*ranks, np.arange(256)) + 0.5
    return _within(np.asarray(cv2.LUT(square, table), np.uint8), inside)


def _ranks(values: RGB) -> NDArray[np.float64]:
    """By level, the share of values below it and half of those on it."""
    counts = np.bincount(values, minlength=256)
    return np.asarray((counts.cumsum() - counts / 2) / max(len(values), 1), np.float64)


def _turned(square: RGB, rng: Rng) -> RGB:
    """Mirrored, turned by quarters and, at times, by any angle."""
    across, down, transposed, by_any_angle = rng.random(4) < 0.5
    square = square[:: -1 if down else 1, :: -1 if across else 1]
    if transposed:
        square = square.transpose(1, 0, 2)
    if not by_any_angle:
        return np.ascontiguousarray(square)
    half = (len(square) - 1) / 2
    turn = cv2.getRotationMatrix2D((half, half), float(rng.uniform(-45, 45)), 1.0)
    turned = cv2.warpAffine(np.ascontiguousarray(square), turn, square.shape[1::-1])
    return np.asarray(turned, np.uint8)


def _reframed(square: RGB, rng: Rng) -> RGB:
    """A narrower field, cut off, squeezed, or cut from inside the rim."""
    chosen = rng.random()
    across, down = _unit(square)
    if chosen < 0.2:  # another field of view, a little off
        x, y = rng.normal(0, 0.04, 2)
        zoom = rng.uniform(1.02, 1.5)
        moved = _zoomed(square, zoom * rng.uniform(0.9, 1.1), zoom, x, y)
        return _within(moved, across**2 + down**2 < 1)
    if chosen < 0.45:  # cut off on one side or several
        sides = np.where(rng.random(4) < 0.5, rng.uniform(0.62, 1, 4), 1)
        seen = (across > -sides[0]) & (across < sides[1]) & (down > -sides[2]) & (down < sides[3])
        return _within(square, seen)
    if chosen < 0.6:  # no rim is seen: the corners of a rectangle lie on the circle
        half = rng.uniform(0.55, 0.85, 2)
        zoom = 1 / float(np.hypot(*half))
        moved = _zoomed(square, zoom, zoom, 0, 0)
        return _within(moved, (np.abs(across) < zoom * half[0]) & (np.abs(down) < zoom * half[1]))
    return square


def _zoomed(square: RGB, by_x: float, by_y: float, x: float, y: float) -> RGB:
    half = (len(square) - 1) / 2
    matrix = np.array(
        [[by_x, 0, half * (1 - by_x + x)], [0, by_y, half * (1 - by_y + y)]], np.float64
    )
    return np.asarray(cv2.warpAffine(square, matrix, square.shape[1::-1]), np.uint8)


def _within(square: RGB, seen: NDArray[np.bool_]) -> RGB:
    return np.asarray(cv2.bitwise_and(square, square, mask=seen.astype(np.uint8)), np.uint8)


def _unit(square: RGB) -> tuple[Floats, Floats]:
    """Coordinates of the pixels in radii from the centre of the field."""
    side = len(square)
    along = (np.arange(side, dtype=np.float32) + 0.5) / (side / 2) - 1
    return np.broadcast_to(along, (side, side)), np.broadcast_to(along[:, None], (side, side))


def _lit(square: RGB) -> NDArray[np.bool_]:
    """Where there is retina, not the black around it."""
    red, green, blue = cv2.split(square)
    return np.asarray(cv2.max(cv2.max(red, green), blue) > 6)


def _relit(square: RGB, rng: Rng) -> RGB:
    """Another tint, tone curve and light, unless lesions would be lost in the dark or the white."""
    gains = np.exp(rng.normal(0, 0.15, 3))
    if rng.random() < 0.4:
        gains = gains * np.array(_TINTS[rng.integers(len(_TINTS))])
    levels = np.linspace(0, 1, 256)[:, None] ** np.exp(rng.uniform(-0.35, 0.35))
    curve = levels * gains * np.exp(rng.uniform(-0.3, 0.25))
    table = np.clip(curve * 255 + 0.5, 0, 255).astype(np.uint8).reshape(256, 1, 3)
    out = cv2.LUT(square, table)
    if rng.random() < 0.25:
        grey = cv2.cvtColor(cv2.cvtColor(out, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        share = rng.uniform(0, 0.45)
        out = cv2.addWeighted(out, 1 - share, grey, share, 0)
    if rng.random() < 0.3:
        out = _levels(out * _light(square, rng)[..., None])
    inside = out[::2, ::2][_lit(square)[::2, ::2]]
    if len(inside) < 16 or np.median(inside.max(axis=1)) < 50:
        return square
    return square if (inside[:, 1] >= 253).mean() > 0.04 else np.asarray(out, np.uint8)


def _light(square: RGB, rng: Rng) -> Floats:
    """Light that falls off to a side or to the rim."""
    across, down = _unit(square)
    angle = rng.uniform(0, 2 * np.pi)
    side = 1 + rng.uniform(0, 0.4) * (across * np.cos(angle) + down * np.sin(angle))
    rim = 1 - rng.uniform(0, 0.45) * np.clip(across**2 + down**2, 0, 1.2)
    return np.asarray(side * rim, np.float32)


def _dated(square: RGB, rng: Rng) -> RGB:
    """A date or a number burnt in."""
    out = square.copy()
    colours = ((0, 255, 0), (255, 255, 255), (255, 255, 0), (255, 60, 40))
    text = f"{rng.integers(1, 29):02d}/{rng.integers(1, 13):02d}/20{rng.integers(0, 26):02d}"
    side = len(out)
    place = int(rng.uniform(0.1, 0.6) * side), int((0.2 if rng.random() < 0.5 else 0.85) * side)
    cv2.putText(out, text, place, int(rng.integers(4)), float(rng.uniform(0.2, 0.4)),
                colours[rng.integers(len(colours))], 1, cv2.LINE_AA)  # fmt: skip
    return _within(out, _lit(square))


def stored(square: RGB, rng: Rng) -> RGB:
    """As a sensor writes it and an archive keeps it: noise, fewer pixels, compression."""
    inside, side = _lit(square), len(square)
    if rng.random() < 0.3:
        noise = rng.standard_normal(square.shape, dtype=np.float32) * np.float32(rng.uniform(1, 6))
        square = _within(_levels(square + noise), inside)
    if rng.random() < 0.25:
        square = _resized(_resized(square, round(side * rng.uniform(0.6, 1))), side)
    if rng.random() < 0.5:  # by a photograph of as many pixels as the square, or of more
        larger = _resized(square, round(side * rng.uniform(1, 2.2)))
        kept = compressed(larger, int(rng.integers(25, 97)))
        square = _within(_resized(kept, side), inside)
    return square


def _resized(square: RGB, side: int) -> RGB:
    how = cv2.INTER_AREA if side < len(square) else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(square, (side, side), interpolation=how), np.uint8)


# --- spoilt ---------------------------------------------------------------------------------------


def blurred(square: RGB, rng: Rng) -> RGB:
    """Out of focus, moved, from few pixels, or behind haze: no small vessel is left."""
    side = len(square)
    kind = rng.random()
    if kind < 0.35:
        out = cv2.GaussianBlur(square, (0, 0), rng.uniform(1.1, 3.2) / 100 * side)
    elif kind < 0.5:
        out = _filtered(square, _disc(max(2, round(rng.uniform(2.2, 5) / 100 * side))))
    elif kind < 0.65:
        out = _filtered(square, _line(max(5, round(rng.uniform(6, 14) / 100 * side)), rng))
    elif kind < 0.75:
        few = (int(rng.uniform(26, 50)),) * 2
        shrunk = cv2.resize(square, few, interpolation=cv2.INTER_AREA)
        out = cv2.resize(shrunk, square.shape[1::-1], interpolation=cv2.INTER_CUBIC)
    else:
        out = _hazy(square, rng)
    # The rim is sharp where the lens or the mask of the camera is in focus.
    return _within(np.asarray(out), _lit(square)) if rng.random() < 0.7 else np.asarray(out)


def _filtered(square: RGB, kernel: Floats) -> RGB:
    return np.asarray(cv2.filter2D(square, -1, kernel / kernel.sum()), np.uint8)


def _disc(radius: int) -> Floats:
    rows, columns = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    return np.asarray(rows**2 + columns**2 <= radius**2, np.float32)


def _line(length: int, rng: Rng) -> Floats:
    kernel = np.zeros((length, length), np.float32)
    angle = rng.uniform(0, np.pi)
    half = np.array([np.cos(angle), np.sin(angle)]) * (length / 2 - 1)
    ends = [tuple(int(v) for v in length / 2 + sign * half) for sign in (-1, 1)]
    cv2.line(kernel, ends[0], ends[1], 1.0, 1)
    return kernel


def _hazy(square: RGB, rng: Rng) -> RGB:
    """Hardly any contrast left below a veil."""
    side = len(square)
    soft = cv2.GaussianBlur(square, (0, 0), rng.uniform(0.3, 0.8) / 100 * side)
    ground = cv2.GaussianBlur(square, (0, 0), 0.06 * side).astype(np.float32)
    left = rng.uniform(0.04, 0.16)
    veil = np.array([rng.uniform(90, 220), rng.uniform(60, 190), rng.uniform(30, 170)], np.float32)
    through = ground + (soft - ground) * left
    return _levels(through + (veil - through) * rng.uniform(0, 0.6))


def dark(square: RGB, rng: Rng) -> RGB:
    """What a flash that failed leaves in 8 bits."""
    lit = square[_lit(square)]
    brightness = float(np.median(lit.max(axis=1))) if len(lit) else 1.0
    aim = float(np.exp(rng.uniform(np.log(1.0), np.log(24.0))))
    out = square * np.float32(min(1.0, aim / max(brightness, 1.0)))
    return _levels(out + rng.normal(0, rng.uniform(0, 1.5), square.shape) * (rng.random() < 0.5))


def over_exposed(square: RGB, rng: Rng) -> RGB:
    """Green at its limit over a fifth of the field or far more, by light or by a reflex."""
    inside = _lit(square)
    aim = rng.uniform(0.18, 0.98)
    if rng.random() < 0.3:
        across, down = _unit(square)
        off = np.hypot(across - rng.normal(0, 0.4), down - rng.normal(0, 0.4))
        reflex = _step((np.sqrt(aim + 0.25) - off) / rng.uniform(0.02, 0.2))
        white = np.array([255, 255, rng.uniform(180, 255)])
        return _within(_levels(square + (white - square) * reflex[..., None]), inside)
    green = square[..., 1][inside]
    level = float(np.quantile(green, 1 - aim)) if len(green) else 1.0
    veil = rng.uniform(0, 60) * (rng.random() < 0.3)
    bright = (square.astype(np.float32) + veil) * (256 / max(level + veil, 1.0))
    return _within(_levels(bright), inside)


def cut(square: RGB, rng: Rng) -> RGB:
    """Most of the field covered by a lid, a shadow or an instrument."""
    across, down = _unit(square)
    angle = rng.uniform(0, 2 * np.pi)
    along = across * np.cos(angle) + down * np.sin(angle)
    shape = rng.random()
    if shape < 0.4:
        seen = along - rng.uniform(0.05, 0.75)
    elif shape < 0.7:
        bend = (across * np.sin(angle) - down * np.cos(angle)) ** 2 * rng.uniform(-0.5, 0.5)
        seen = along + bend - rng.uniform(0.1, 0.7)
    else:
        seen = rng.uniform(0.25, 0.55) - np.hypot(across - rng.normal(0, 0.35), down)
    share = _step(seen / rng.uniform(0.005, 0.12))
    # A round hole in black would be a narrower field of view.
    black = shape < 0.7 and rng.random() < 0.6
    skin = np.array([170, rng.uniform(60, 150), rng.uniform(30, 130)]) * rng.uniform(0.3, 1)
    cover = np.zeros(3) if black else skin
    return _within(_levels(cover + (square - cover) * share[..., None]), _lit(square))


def _step(values: Floats) -> Floats:
    """From 0 to 1 around 0, softly."""
    return np.asarray(1 / (1 + np.exp(-np.clip(values, -50, 50))), np.float32)


SPOILT: dict[str, Callable[[RGB, Rng], RGB]] = {
    "blurred": blurred,
    "dark": dark,
    "over-exposed": over_exposed,
    "cut": cut,
}
"""What makes a photograph ungradable, by the class of the gate."""

RUINED = tuple(FROM_A_RETINA.values())
"""What leaves no retina to be seen."""


def _levels(values: NDArray[np.floating]) -> RGB:
    # Rounds and clips at once.
    return np.asarray(cv2.add(values, 0.0, dtype=cv2.CV_8U), np.uint8)
