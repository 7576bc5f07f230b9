"""A strip below an overlay that leaves: what its colours mean, whose result it is, the notice."""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from drcore.export.cautions import map_sentence, model_sentence
from drcore.export.final_grade import status_words
from drcore.icdr import NOTICE
from drcore.maps.overlay import colour_stops

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from drcore.agreement.adjudication import ReadingStatus
    from drcore.grading.report import GradeReport

__all__ = ["with_legend"]


def with_legend(
    overlay: NDArray[np.uint8], report: GradeReport, reading: ReadingStatus
) -> NDArray[np.uint8]:
    """Add legend, result and notice below an overlay, so that they stay with the picture.

    Args:
        overlay: uint8 (h, w, 3), RGB.
        report: of the photograph.
        reading: what readers said of it.

    Returns:
        uint8 (h + strip, w, 3); the pixels of the overlay are unchanged.
    """
    width = overlay.shape[1]
    size = max(10, width // 64)
    file = resources.files("drcore") / "fonts" / "DejaVuSans.ttf"
    with resources.as_file(file) as path:
        font = ImageFont.truetype(str(path), size)
    result = "No final grade: readers disagree" if reading.readings else status_words(reading)
    result = status_words(reading) if reading.final is not None else result
    told = (f"{map_sentence(report)}.", f"{result}. {model_sentence(report)}.", NOTICE)
    lines = [line for text in told for line in _wrapped(text, font, width - 2 * size)]
    step = round(1.35 * size)
    strip = Image.new("RGB", (width, (len(lines) + 2) * step + size))
    draw = ImageDraw.Draw(strip)
    _draw_scale(strip, draw, font, size)
    for number, line in enumerate(lines):
        draw.text((size, size // 2 + round((number + 1.5) * step)), line, (235, 235, 235), font)
    return np.concatenate([overlay, np.asarray(strip, np.uint8)])


def _draw_scale(
    strip: Image.Image, draw: ImageDraw.ImageDraw, font: ImageFont.FreeTypeFont, size: int
) -> None:
    """The colours over black, as `drcore.maps.overlay` lays them over a photograph."""
    low, high = "low evidence", "high"
    left = size + round(draw.textlength(f"{low} ", font))
    right = min(left + strip.width // 3, strip.width - round(draw.textlength(high, font)) - size)
    if right - left >= 2 * size:
        draw.text((size, size // 2), low, (235, 235, 235), font)
        draw.text((right + size // 2, size // 2), high, (235, 235, 235), font)
    else:
        left, right = 0, strip.width
    stops = colour_stops(64)
    for x in range(left, right):
        _, rgb, alpha = stops[min((x - left) * len(stops) // (right - left), len(stops) - 1)]
        shade = tuple(round(alpha * value + (1 - alpha) * 90) for value in rgb)
        draw.line([(x, size // 2), (x, size // 2 + size)], shade)


def _wrapped(text: str, font: ImageFont.FreeTypeFont, width: int) -> Sequence[str]:
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and font.getlength(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines
