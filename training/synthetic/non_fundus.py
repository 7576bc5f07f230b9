"""Pictures that are no fundus photograph, as they turn up in a clinic's folder. None is stored."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import skimage.data
from numpy.typing import NDArray

__all__ = ["FAMILIES", "not_retinas"]

RGB = NDArray[np.uint8]
Rng = np.random.Generator

_SCENES = ("astronaut", "coffee", "chelsea", "rocket", "hubble_deep_field", "immunohistochemistry")
_GREY = ("camera", "coins", "moon", "page", "text", "brick", "grass", "gravel", "cell", "clock")
_WORDS = (
    "Visual acuity", "OD 0.8", "OS 0.63", "Diabetes mellitus type 2", "Dear colleague,",
    "HbA1c 7.9 %", "Intraocular pressure", "Follow-up in 6 months", "File", "Edit", "View",
    "Patient", "Search", "Cancel", "Save", "Thank you for the referral", "Macula",
    "Date of birth", "Signature",
)  # fmt: skip


def not_retinas(count: int, seed: int = 0) -> Iterator[tuple[str, RGB]]:
    """Draw or cut out pictures that must not get a grade, all families in turn.

    Yields:
        Family, and uint8 (H, W, 3).
    """
    names = list(FAMILIES)
    for number in range(count):
        name = names[number % len(names)]
        picture = FAMILIES[name](np.random.default_rng([seed, number]))
        yield name, np.ascontiguousarray(np.clip(picture, 0, 255), dtype=np.uint8)


def _scene(rng: Rng, names: tuple[str, ...] = _SCENES) -> RGB:
    picture = np.asarray(getattr(skimage.data, names[rng.integers(len(names))])())
    if picture.dtype == bool:
        picture = picture.astype(np.uint8) * 255
    picture = np.dstack([picture] * 3) if picture.ndim == 2 else picture[..., :3]
    return np.ascontiguousarray(picture, dtype=np.uint8)


def _photograph(rng: Rng) -> RGB:
    return _scene(rng)


def _crop(rng: Rng) -> RGB:
    picture = _scene(rng)
    h, w = picture.shape[:2]
    side = int(rng.uniform(0.35, 0.9) * min(h, w))
    top, left = rng.integers(0, h - side), rng.integers(0, w - side)
    crop = picture[top : top + side, left : left + side]
    return np.asarray(cv2.resize(crop, (640, 640), interpolation=cv2.INTER_CUBIC), np.uint8)


def _grey_scene(rng: Rng) -> RGB:
    return _scene(rng, _GREY)


def _through_a_hole(rng: Rng) -> RGB:
    """A scene in a black frame with a round hole, as an endoscope or a microscope shows it."""
    picture = _crop(rng)
    return np.asarray(picture * _disc(picture.shape[:2], 0.48)[..., None], np.uint8)


def _face(rng: Rng) -> RGB:
    if rng.random() < 0.5:
        left, top = int(rng.integers(150, 190)), int(rng.integers(0, 40))
        side = int(rng.integers(120, 180))
        face = skimage.data.astronaut()[top : top + side, left : left + side]
    else:
        face = np.load(_lfw())[rng.integers(100)]
        face = np.dstack([np.asarray(face * 255, np.uint8)] * 3)
    return np.asarray(cv2.resize(face, (500, 500), interpolation=cv2.INTER_CUBIC), np.uint8)


def _lfw() -> str:
    return str(Path(skimage.data.__file__).parent / "lfw_subset.npy")


def _coin(rng: Rng) -> RGB:
    """One of the coins, or the moon, alone and round on black."""
    if rng.random() < 0.3:
        crop = skimage.data.moon()[60:460, 60:460]
    else:
        row, column = rng.integers(4), rng.integers(6)
        y, x = 42 + 70 * int(row), 40 + 59 * int(column)
        crop = skimage.data.coins()[max(0, y - 30) : y + 30, max(0, x - 30) : x + 30]
    grey = cv2.resize(crop, (480, 480), interpolation=cv2.INTER_CUBIC).astype(np.float32)
    tint = np.array([1.0, rng.uniform(0.7, 1), rng.uniform(0.3, 1)])
    return np.asarray(grey[..., None] * tint * _disc((480, 480), 0.47)[..., None], np.float32)


def _disc(shape: tuple[int, ...], share: float) -> NDArray[np.bool_]:
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    distance = np.hypot(rows - shape[0] / 2, columns - shape[1] / 2)
    return np.asarray(distance < share * min(shape[:2]))


def _clouds(rng: Rng, side: int, octaves: int = 6) -> NDArray[np.float32]:
    """Soft noise of all sizes, 0-1."""
    total = np.zeros((side, side), np.float32)
    for octave in range(octaves):
        cells = 2 ** (octave + 1)
        noise = rng.random((cells, cells), dtype=np.float32)
        total += cv2.resize(noise, (side, side), interpolation=cv2.INTER_CUBIC) / 1.7**octave
    low, high = float(total.min()), float(total.max())
    return np.asarray((total - low) / (high - low), np.float32)


def _coloured(grey: NDArray[np.floating], dark: object, bright: object) -> NDArray[np.float64]:
    first, last = np.asarray(dark, np.float64), np.asarray(bright, np.float64)
    return first + (last - first) * np.asarray(grey, np.float64)[..., None]


def _texture(rng: Rng) -> RGB:
    side = int(rng.integers(300, 700))
    return _coloured(_clouds(rng, side), rng.integers(0, 120, 3), rng.integers(100, 256, 3))


def _planet(rng: Rng) -> RGB:
    """A ball with a soft texture, lit from one side, often orange like a fruit."""
    side = 500
    orange = rng.random() < 0.6
    base = (230, 120, 30) if orange else rng.integers(60, 256, 3)
    rows, columns = (np.mgrid[:side, :side] - side / 2) / (0.46 * side)
    depth = np.sqrt(np.clip(1 - rows**2 - columns**2, 0, 1))
    light = rng.normal(size=2) * 0.5
    shade = np.clip(0.25 + 0.75 * (depth + light[0] * rows + light[1] * columns), 0, 1.2)
    skin = 0.9 + 0.2 * _clouds(rng, side, 8)
    return (shade * skin)[..., None] * np.asarray(base) * _disc((side, side), 0.46)[..., None]


def _plate(rng: Rng) -> RGB:
    """A plate, a lamp or a button: rings of one colour on another."""
    side = 480
    picture = np.full((side, side, 3), rng.integers(0, 60, 3), np.float64)
    for share in sorted(rng.uniform(0.1, 0.48, 5), reverse=True):
        picture[_disc((side, side), float(share))] = rng.integers(60, 256, 3)
    return cv2.GaussianBlur(picture + rng.normal(0, 4, picture.shape), (0, 0), 1.2)


def _eye_from_outside(rng: Rng) -> RGB:
    """Skin, lids, white, iris and pupil: the camera was released too early."""
    h, w = 480, 640
    skin = _coloured(_clouds(rng, 640)[:h], (150, 90, 70), (235, 180, 150))
    canvas = skin.copy()
    centre = (int(rng.integers(270, 370)), int(rng.integers(210, 270)))
    axes = (int(rng.integers(190, 250)), int(rng.integers(80, 130)))
    white = np.zeros((h, w), np.uint8)
    cv2.ellipse(white, centre, axes, 0, 0, 360, 1, -1)
    canvas[white == 1] = (225, 212, 205)
    rows, columns = np.mgrid[:h, :w]
    distance = np.hypot(rows - centre[1], columns - centre[0])
    angle = np.arctan2(rows - centre[1], columns - centre[0])
    iris = (distance < 75) & (white == 1)
    fibres = 0.75 + 0.25 * np.sin(angle * int(rng.integers(30, 60)) + distance / 9)
    canvas[iris] = (fibres[..., None] * rng.integers(40, 170, 3))[iris]
    canvas[(distance < rng.integers(20, 42)) & (white == 1)] = 12
    cv2.circle(canvas, (centre[0] + 18, centre[1] - 16), 7, (255, 255, 255), -1)
    return cv2.GaussianBlur(canvas, (0, 0), 1.0)


def _layers(rng: Rng) -> RGB:
    """A section through the retina by optical coherence tomography: grey, speckled layers."""
    h, w = 496, 768
    rows, columns = np.mgrid[:h, :w].astype(np.float64)
    pit = 40 * np.exp(-(((columns - w / 2) / rng.uniform(50, 110)) ** 2))
    top = 180 + 15 * np.sin(columns / rng.uniform(90, 250)) + pit
    depth = rows - top
    image = np.full((h, w), 14.0)
    edges = (0, 22, 45, 60, 80, 96, 112, 126, 150, 230)
    for upper, lower in pairwise(edges):
        image[(depth >= upper) & (depth < lower)] = rng.uniform(50, 235)
    image *= rng.gamma(3.0, 1 / 3.0, image.shape)
    if rng.random() < 0.25:  # false colours
        heat = cv2.applyColorMap(np.clip(image, 0, 255).astype(np.uint8), cv2.COLORMAP_JET)
        return np.asarray(heat[..., ::-1], np.uint8)
    return np.dstack([image] * 3)


def _write(canvas: NDArray[np.uint8], rng: Rng, x: int, y: int, ink: tuple[int, int, int]) -> None:
    words = " ".join(_WORDS[i] for i in rng.integers(0, len(_WORDS), rng.integers(1, 4)))
    size = float(rng.uniform(0.35, 0.7))
    cv2.putText(canvas, words, (x, y), int(rng.integers(4)), size, ink, 1, cv2.LINE_AA)


def _page(rng: Rng) -> RGB:
    paper = (int(rng.integers(225, 256)), int(rng.integers(215, 250)), int(rng.integers(190, 250)))
    page = np.full((800, 600, 3), paper, np.uint8)
    for y in range(60, 760, int(rng.integers(16, 30))):
        _write(page, rng, 50, y, (20, 20, 40))
    if rng.random() < 0.5:  # photographed by lamp light
        light = 0.4 + 0.6 * cv2.resize(_clouds(rng, 64, 2), (600, 800))
        return page * light[..., None] * np.array([1.0, 0.85, 0.65])
    return page


def _screenshot(rng: Rng) -> RGB:
    dark = rng.random() < 0.5
    ground = (30, 32, 36) if dark else (240, 240, 243)
    ink = (220, 220, 220) if dark else (30, 30, 30)
    screen = np.full((720, 1280, 3), ground, np.uint8)
    screen[:40] = rng.integers(40, 200, 3)
    for _ in range(int(rng.integers(4, 14))):
        x, y = int(rng.integers(0, 1100)), int(rng.integers(60, 650))
        right, bottom = x + int(rng.integers(80, 420)), y + int(rng.integers(30, 200))
        colour = tuple(int(v) for v in rng.integers(20, 250, 3))
        cv2.rectangle(screen, (x, y), (right, bottom), colour, -1 if rng.random() < 0.5 else 1)
        _write(screen, rng, x + 8, y + 22, ink)
    return screen


def _chart(rng: Rng) -> RGB:
    """A printed result: axes, curves and bars."""
    chart = np.full((600, 800, 3), 255, np.uint8)
    cv2.line(chart, (80, 520), (760, 520), (0, 0, 0), 2)
    cv2.line(chart, (80, 40), (80, 520), (0, 0, 0), 2)
    for _ in range(3):
        xs = np.linspace(80, 760, 60)
        ys = 280 + 180 * np.sin(xs / rng.uniform(30, 200) + rng.uniform(0, 6)) * rng.uniform(0.2, 1)
        line = np.stack([xs, ys], axis=1).astype(np.int32)
        cv2.polylines(
            chart,
            [line],
            isClosed=False,
            color=rng.integers(0, 220, 3).tolist(),
            thickness=2,
            lineType=cv2.LINE_AA,
        )
    _write(chart, rng, 200, 30, (0, 0, 0))
    return chart


def _flat(rng: Rng) -> RGB:
    colour = (200, 100, 50) if rng.random() < 0.4 else rng.integers(0, 256, 3)
    flat = np.full((480, 640, 3), colour, np.float64)
    return flat + rng.normal(0, rng.uniform(0, 6), flat.shape)


def _lens_cap(rng: Rng) -> RGB:
    """The camera looked at nothing: a glowing disc without a retina, or next to black."""
    side = 520
    rows, columns = np.mgrid[:side, :side] - side / 2
    glow = np.exp(-((np.hypot(rows, columns) / rng.uniform(120, 400)) ** 2))
    colour = np.array([rng.uniform(60, 255), rng.uniform(20, 160), rng.uniform(5, 90)])
    picture = (glow * _disc((side, side), 0.47))[..., None] * colour
    return picture + rng.normal(0, 2.0, picture.shape)


def _noise(rng: Rng) -> RGB:
    fine = rng.integers(0, 256, (400, 400, 3)).astype(np.float64)
    soft = cv2.GaussianBlur(fine, (0, 0), float(rng.uniform(0.3, 6)))
    return (soft - 128) * rng.uniform(1, 6) + rng.integers(60, 200, 3)


def _stripes(rng: Rng) -> RGB:
    rows, columns = np.mgrid[:500, :600]
    angle, period = rng.uniform(0, np.pi), rng.uniform(6, 90)
    wave = 0.5 + 0.5 * np.sin((rows * np.sin(angle) + columns * np.cos(angle)) * 2 * np.pi / period)
    if rng.random() < 0.5:
        wave = np.round(wave)
    return _coloured(wave, rng.integers(0, 256, 3), rng.integers(0, 256, 3))


def _wood(rng: Rng) -> RGB:
    """Warm brown grain: the colours of a retina, without one."""
    side = 560
    grain = np.sin(_clouds(rng, side, 4) * rng.uniform(20, 60) + np.mgrid[:side, :side][0] / 30)
    fine = cv2.resize(rng.random((side, 12)), (side, side)) * 0.4
    return _coloured(np.clip(0.5 + 0.35 * grain + fine - 0.2, 0, 1), (110, 55, 20), (215, 140, 75))


def _x_ray(rng: Rng) -> RGB:
    side = 600
    body = _clouds(rng, side, 3)
    for y in range(80, 560, 55):
        cv2.ellipse(body, (300, y), (230, 40), 0, 190, 350, float(rng.uniform(0.7, 1.0)), 9)
    return np.dstack([cv2.GaussianBlur(body, (0, 0), 3) * 255] * 3)


def _clock_face(rng: Rng) -> RGB:
    face = np.zeros((500, 500, 3), np.uint8)
    ground = tuple(int(v) for v in rng.integers(150, 256, 3))
    cv2.circle(face, (250, 250), 235, ground, -1, cv2.LINE_AA)
    for hour in range(12):
        angle = hour * np.pi / 6
        x, y = int(250 + 195 * np.sin(angle)), int(250 - 195 * np.cos(angle))
        cv2.putText(face, str(hour or 12), (x - 12, y + 8), 0, 0.8, (20, 20, 20), 2, cv2.LINE_AA)
    for length, width in ((120, 7), (180, 3)):
        angle = rng.uniform(0, 2 * np.pi)
        tip = (int(250 + length * np.sin(angle)), int(250 - length * np.cos(angle)))
        cv2.line(face, (250, 250), tip, (30, 20, 20), width, cv2.LINE_AA)
    return face


def _warm_scene(rng: Rng) -> RGB:
    """A scene in a round hole by candle light: round, red, and yet no retina."""
    picture = _through_a_hole(rng).astype(np.float64)
    return picture @ np.full((3, 3), 1 / 3) * np.array([1.25, 0.75, 0.4])


FAMILIES: dict[str, Callable[[Rng], NDArray[np.generic]]] = {
    "photograph": _photograph,
    "crop": _crop,
    "grey photograph": _grey_scene,
    "scene in a round hole": _through_a_hole,
    "warm scene in a round hole": _warm_scene,
    "face": _face,
    "coin or moon": _coin,
    "ball": _planet,
    "plate": _plate,
    "clock": _clock_face,
    "eye from outside": _eye_from_outside,
    "retinal section": _layers,
    "page": _page,
    "screenshot": _screenshot,
    "chart": _chart,
    "x-ray": _x_ray,
    "flat": _flat,
    "glow": _lens_cap,
    "noise": _noise,
    "texture": _texture,
    "stripes": _stripes,
    "wood": _wood,
}
