"""A strip below an overlay: colour scale, outline levels, and lines of text."""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from drcore.maps.overlay import HALO, colour_stops, outline_colours, tick_places
from drcore.maps.region import LEVELS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

__all__ = ["add_legend"]

_INK = (235, 235, 235)
_GROUND = 90
"""Level over which the strip shows the colours, which a fill lays over a photograph."""


def add_legend(overlay: NDArray[np.uint8], lines: Iterable[str]) -> NDArray[np.uint8]:
    """Add a strip below an overlay, so that what it means stays with the picture.

    Args:
        overlay: uint8 (h, w, 3), RGB.
        lines: each begins a line of its own, and is wrapped.

    Returns:
        uint8 (h + strip, w, 3); the pixels of the overlay are unchanged.
    """
    width = overlay.shape[1]
    size = max(10, width // 64)
    file = resources.files("drcore") / "fonts" / "DejaVuSans.ttf"
    with resources.as_file(file) as path:
        font = ImageFont.truetype(str(path), size)
    wrapped = [line for text in lines for line in _wrapped(text, font, width - 2 * size)]
    step = round(1.35 * size)
    strip = Image.new("RGB", (width, (len(wrapped) + 3) * step + size))
    draw = ImageDraw.Draw(strip)
    right = _draw_scale(strip, draw, font, size)
    if right + 12 * size < width:
        _draw_outlines(draw, font, size, right + 2 * size)
    for number, line in enumerate(wrapped):
        draw.text((size, size // 2 + round((number + 2.7) * step)), line, _INK, font)
    return np.concatenate([overlay, np.asarray(strip, np.uint8)])


def _draw_scale(
    strip: Image.Image, draw: ImageDraw.ImageDraw, font: ImageFont.FreeTypeFont, size: int
) -> int:
    """The colours with their ticks; returns the right end."""
    left, top = size, size // 2
    right = max(left + 2, min(left + 22 * size, strip.width - size))
    stops = colour_stops(64)
    for x in range(left, right):
        _, rgb, alpha = stops[min((x - left) * len(stops) // (right - left), len(stops) - 1)]
        shade = tuple(round(alpha * value + (1 - alpha) * _GROUND) for value in rgb)
        draw.line([(x, top), (x, top + size)], shade)
    if right - left > 12 * size:
        for place, text in tick_places():
            at = left + round(place * (right - left - 1))
            draw.line([(at, top + size), (at, top + round(1.25 * size))], _INK)
            start = max(at - draw.textlength(text, font) / 2, 0)
            draw.text((start, top + round(1.3 * size)), text, _INK, font)
    return right


def _draw_outlines(
    draw: ImageDraw.ImageDraw, font: ImageFont.FreeTypeFont, size: int, left: int
) -> None:
    """A sample of each outline with its level."""
    for level, colour in zip(LEVELS, outline_colours(), strict=True):
        box = (left, size // 2, left + size, size // 2 + size)
        thin = max(1, size // 10)
        draw.ellipse(box, (_GROUND,) * 3, HALO, 3 * thin)
        draw.ellipse(tuple(at + (thin if i < 2 else -thin) for i, at in enumerate(box)),
                     None, colour, thin)  # fmt: skip
        draw.text((left + round(1.4 * size), size // 2), f"{level:g}", _INK, font)
        left += 5 * size


def _wrapped(text: str, font: ImageFont.FreeTypeFont, width: int) -> list[str]:
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and font.getlength(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines
