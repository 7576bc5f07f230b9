"""Squares of photographs with lines of letters, to train the detector of writing with."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from fontTools.ttLib import TTFont
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from drcore.photographs.reader import read_photograph
from training.synthetic.burnt_in import COLOURS, NAMES, random_date

__all__ = ["HELD_OUT", "Example", "Fonts", "Squares"]

HELD_OUT = ("Hebrew", "Georgian", "Ethiopic", "Telugu", "Korean")
"""Scripts, by their names in `training.synthetic.burnt_in.NAMES`, that training never shows."""

_HIDDEN_LETTERS = ("HEBREW", "GEORGIAN", "ETHIOPIC", "TELUGU", "HANGUL")
_HIDDEN_FONTS = ("Hebrew", "Georgian", "Ethiopic", "Telugu", "FreeMono")
_SIDE = 208
"""Side of a training square in pixels."""
_STEP = 4
"""Pixels of the photograph a cell of the map is wide."""
_SMALLEST, _LARGEST = 9, 30
"""Size of the letters in a square, in pixels (em)."""


@dataclass(frozen=True, slots=True)
class Example:
    """A square with or without writing.

    Attributes:
        rgb: uint8 (s, s, 3).
        target: float32 (s / 4, s / 4): 1 in writing, 0 elsewhere, -1 where it does not count.
    """

    rgb: NDArray[np.uint8]
    target: NDArray[np.float32]


class Fonts:
    """Every font of a folder with the letters that it has, less what is held out.

    Args:
        folder: of fonts.
    """

    def __init__(self, folder: Path) -> None:
        files = sorted(f for f in folder.rglob("*") if f.suffix.lower() in {".ttf", ".ttc", ".otf"})
        self._fonts: list[tuple[Path, str]] = []
        weights = []
        for file in files:
            if any(part in file.name for part in _HIDDEN_FONTS):
                continue
            letters = _letters(file)
            if len(letters) >= 8:
                self._fonts.append((file, letters))
                # What is in use counts more than what only scholars read.
                known = any(part in file.name for part in _COMMON)
                weights.append(6.0 if "CJK" in file.name else 3.0 if known else 0.4)
        self._odds = np.array(weights) / sum(weights)

    def draw(self, rng: np.random.Generator) -> tuple[Path, str]:
        """Return a font and a line of its letters, or a real name or a date."""
        file, letters = self._fonts[int(rng.choice(len(self._fonts), p=self._odds))]
        kind = rng.random()
        if kind < 0.3 and "NotoSans-" not in file.name:
            return file, _string(rng, letters)
        latin = self._latin(rng)
        return (latin, random_date(rng)) if kind < 0.6 else self._name(rng, file, letters)

    def _latin(self, rng: np.random.Generator) -> Path:
        latin = ("NotoSans-", "NotoSerif-", "DejaVu", "Free")
        files = [file for file, _ in self._fonts if file.name.startswith(latin)]
        return files[int(rng.integers(len(files)))]

    def _name(self, rng: np.random.Generator, file: Path, letters: str) -> tuple[Path, str]:
        known = set(letters)
        fitting = [name for script, names in NAMES.items() if script not in HELD_OUT
                   for name in names if set(name) - set(" .'^-") <= known]  # fmt: skip
        if not fitting:
            return file, _string(rng, letters)
        return file, str(rng.choice(fitting))


_COMMON = (
    "NotoSans-", "NotoSerif-", "DejaVu", "Free", "Arabic", "Devanagari", "Bengali", "Gujarati",
    "Gurmukhi", "Tamil-", "Kannada", "Malayalam", "Sinhala", "Thai-", "Lao-", "Khmer", "Myanmar",
    "Armenian",
)  # fmt: skip


@lru_cache(maxsize=400)
def _letters(file: Path) -> str:
    font = TTFont(file, fontNumber=0, lazy=True)
    letters = [
        chr(code)
        for code in font.getBestCmap() or {}
        if unicodedata.category(chr(code))[0] in "LN"
        and not unicodedata.name(chr(code), "HANGUL").startswith(_HIDDEN_LETTERS)
    ]
    return "".join(letters)


def _string(rng: np.random.Generator, letters: str) -> str:
    words = []
    for _ in range(int(rng.integers(1, 4))):
        # Letters of one script lie together in Unicode.
        start = int(rng.integers(len(letters)))
        near = letters[max(0, start - 40) : start + 40]
        words.append("".join(rng.choice(list(near), int(rng.integers(2, 8)))))
    return " ".join(words)


def _ink(rng: np.random.Generator, fonts: Fonts, size: int) -> NDArray[np.float32] | None:
    """Coverage of a line of letters, 0-1, (h, w); None where a font cannot draw it."""
    kind = rng.random()
    if kind < 0.12:
        return _plotted(rng, size)
    file, text = fonts.draw(rng)
    if kind < 0.2 and text.isascii():
        return _bitmap(text, size)
    try:
        index = int(rng.integers(5)) if file.suffix == ".ttc" else 0
        font = ImageFont.truetype(str(file), size, index=index)
        left, top, right, bottom = (int(v) for v in font.getbbox(text))
    except OSError:
        return None
    if not 2 <= right - left < 4000 or not 2 <= bottom - top < 6 * size:
        return None
    canvas = Image.new("L", (right - left + 4, bottom - top + 4), 0)
    ImageDraw.Draw(canvas).text((2 - left, 2 - top), text, fill=255, font=font)
    return np.asarray(canvas, np.float32) / 255


def _plotted(rng: np.random.Generator, size: int) -> NDArray[np.float32]:
    """As OpenCV writes: strokes of one width."""
    text = random_date(rng) if rng.random() < 0.5 else str(rng.choice(NAMES["Latin"][1:2]))
    face = int(rng.choice([cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX,
                           cv2.FONT_HERSHEY_PLAIN, cv2.FONT_HERSHEY_COMPLEX]))  # fmt: skip
    thick = max(1, round(size / rng.uniform(8, 20)))
    scale = cv2.getFontScaleFromHeight(face, max(5, round(0.72 * size)), thick)
    (wide, high), below = cv2.getTextSize(text, face, scale, thick)
    canvas = np.zeros((high + below + 6, wide + 6), np.uint8)
    line = cv2.LINE_AA if rng.random() < 0.5 else cv2.LINE_8
    cv2.putText(canvas, text, (3, high + 3), face, scale, 255, thick, line)
    return canvas.astype(np.float32) / 255


def _bitmap(text: str, size: int) -> NDArray[np.float32]:
    """As old cameras write: a small grid of dots, made larger."""
    font = ImageFont.load_default_imagefont()
    left, top, right, bottom = (int(v) for v in font.getbbox(text))
    canvas = Image.new("L", (right - left, bottom - top), 0)
    ImageDraw.Draw(canvas).text((-left, -top), text, fill=255, font=font)
    times = max(1, round(size / 11))
    return np.kron(np.asarray(canvas, np.float32) / 255, np.ones((times, times), np.float32))


class Squares:
    """Draws squares out of photographs and writes into some of them.

    Args:
        files: photographs.
        fonts: to write with.
        seed: of chance.
    """

    def __init__(self, files: list[Path], fonts: Fonts, seed: int) -> None:
        self._files, self._fonts = files, fonts
        self._rng = np.random.default_rng(seed)
        self._kept: list[NDArray[np.uint8]] = []

    def draw(self, *, written: bool) -> Example:
        """Return a square, with writing where asked for."""
        rng = self._rng
        rgb, factor = self._ground()
        target = np.zeros((_SIDE // _STEP, _SIDE // _STEP), np.float32)
        if written:
            rgb, target = self._written(rgb, factor)
        if rng.random() < 0.75:
            how = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(45, 97))]
            if rng.random() < 0.5:
                how += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
            data = cv2.imencode(".jpg", rgb, how)[1]
            rgb = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)
        if factor > 1:
            rgb = np.asarray(cv2.resize(rgb, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA))
        return Example(rgb, target)

    def _photograph(self) -> NDArray[np.uint8]:
        rng = self._rng
        if len(self._kept) < 64 or rng.random() < 0.15:
            rgb = read_photograph(self._files[int(rng.integers(len(self._files)))]).rgb
            if len(self._kept) < 64:
                self._kept.append(rgb)
            else:
                self._kept[int(rng.integers(64))] = rgb
        return self._kept[int(rng.integers(len(self._kept)))]

    def _ground(self) -> tuple[NDArray[np.uint8], int]:
        """A piece of a photograph, its side `_SIDE` times the factor that goes with it."""
        rng = self._rng
        rgb = self._photograph()
        # As if from a camera with more or fewer pixels than this one.
        if rng.random() < 0.5:
            change = float(np.exp(rng.uniform(np.log(0.6), np.log(3))))
            change = min(change, 1800 / max(rgb.shape[:2]))
        else:
            change = 1.0
        factor = int(rng.choice([1, 1, 1, 2, 2, 4]))
        side = _SIDE * factor
        near = max(1, round(side / change))
        height, width = rgb.shape[:2]
        top = int(rng.integers(-near // 4, max(1, height - 3 * near // 4)))
        left = int(rng.integers(-near // 4, max(1, width - 3 * near // 4)))
        piece = np.zeros((near, near, 3), np.uint8)
        t0, l0 = max(0, top), max(0, left)
        seen = rgb[t0 : top + near, l0 : left + near]
        piece[t0 - top : t0 - top + seen.shape[0], l0 - left : l0 - left + seen.shape[1]] = seen
        if near != side:
            how = cv2.INTER_AREA if near > side else cv2.INTER_CUBIC
            piece = np.asarray(cv2.resize(piece, (side, side), interpolation=how), np.uint8)
        piece = np.rot90(piece, int(rng.integers(4)))[:, :: int(rng.choice([1, -1]))]
        if rng.random() < 0.3:
            tint = rng.uniform(0.7, 1.3, 3) * rng.uniform(0.7, 1.2)
            piece = np.clip(piece * tint, 0, 255).astype(np.uint8)
        if rng.random() < 0.2:
            noise = rng.normal(0, rng.uniform(1, 8), (*piece.shape[:2], 1))
            piece = np.clip(piece + noise, 0, 255).astype(np.uint8)
        return np.ascontiguousarray(piece), factor

    def _written(
        self, rgb: NDArray[np.uint8], factor: int
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        rng = self._rng
        out = rgb.astype(np.float32)
        side = rgb.shape[0]
        truth = np.zeros((side, side), np.float32)
        for _ in range(int(rng.choice([1, 1, 1, 2, 3]))):
            size = round(float(np.exp(rng.uniform(np.log(_SMALLEST), np.log(_LARGEST)))) * factor)
            ink = _ink(rng, self._fonts, size)
            if ink is None:
                continue
            self._write(out, truth, ink, size)
        target = cv2.resize(truth, (_SIDE // _STEP,) * 2, interpolation=cv2.INTER_AREA)
        ring = cv2.dilate(target, np.ones((5, 5), np.uint8))
        marks = np.where(target >= 0.5, 1.0, np.where(ring > 0, -1.0, 0.0))
        return np.clip(np.rint(out), 0, 255).astype(np.uint8), marks.astype(np.float32)

    def _write(
        self, out: NDArray[np.float32], truth: NDArray[np.float32], ink: NDArray[np.float32],
        size: int,
    ) -> None:  # fmt: skip
        """Write one line into a piece and mark its cells; leave it where it cannot be seen."""
        rng = self._rng
        side = out.shape[0]
        pad = max(3, size // 5)
        ink = np.pad(ink, pad)
        if rng.random() < 0.15:
            turn = cv2.getRotationMatrix2D((ink.shape[1] / 2, ink.shape[0] / 2),
                                           float(rng.uniform(-8, 8)), 1.0)  # fmt: skip
            ink = np.asarray(cv2.warpAffine(ink, turn, ink.shape[::-1]), np.float32)
        ink = np.ascontiguousarray(np.rot90(ink, int(rng.choice([0, 0, 0, 1, 2, 3]))))
        if rng.random() < 0.3:
            ink = np.asarray(cv2.GaussianBlur(ink, (0, 0), float(rng.uniform(0.3, 0.06 * size))))
        high, wide = ink.shape
        # A line may run out of the piece.
        top = int(rng.integers(min(0, side - high), max(1, side - high + 1)))
        left = int(rng.integers(min(0, side - wide), max(1, side - wide + 1)))
        t0, l0 = max(0, top), max(0, left)
        ink = ink[t0 - top : side - top, l0 - left : side - left]
        spot = out[t0 : t0 + ink.shape[0], l0 : l0 + ink.shape[1]]
        before = spot.copy()
        colour = np.array(self._colour(), np.float32)
        other = 0.0 if colour.sum() > 250 else 255.0
        style = rng.random()
        if style < 0.15:
            spot[:] = rng.uniform(0, 60) if other == 0 else rng.uniform(180, 255)
            before = spot.copy()
        elif style < 0.35:
            # An outline or a shadow.
            edge = cv2.dilate(ink, np.ones((3, 3), np.uint8), iterations=max(1, size // 16))
            if rng.random() < 0.5:
                edge = np.roll(edge, (max(1, size // 16),) * 2, (0, 1))
            spot[:] = spot + (other - spot) * edge[..., None]
        opacity = 1.0 if rng.random() < 0.65 else float(rng.uniform(0.5, 0.95))
        spot[:] = spot + (colour - spot) * (ink * opacity)[..., None]
        near = np.ones((max(3, round(0.55 * size)),) * 2, np.uint8)
        filled = cv2.morphologyEx((ink > 0.3).astype(np.uint8), cv2.MORPH_CLOSE, near)
        gap = np.abs(spot - before).max(axis=2)[ink > 0.5]
        mark = truth[t0 : t0 + ink.shape[0], l0 : l0 + ink.shape[1]]
        # Too faint to be read: neither writing nor none.
        level = 1.0 if len(gap) and float(np.median(gap)) > 35 else 0.4
        np.maximum(mark, filled * level, out=mark)

    def _colour(self) -> tuple[int, int, int]:
        rng = self._rng
        chosen = rng.random()
        if chosen < 0.7:
            return list(COLOURS.values())[int(rng.integers(len(COLOURS)))]
        if chosen < 0.85:
            level = int(rng.integers(0, 256))
            return level, level, level
        r, g, b = (int(v) for v in rng.integers(0, 256, 3))
        return r, g, b
