"""The pictures in a printed report: photograph beside overlay, marks, and the colour bar."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from reportlab.lib.colors import Color, black, white
from reportlab.lib.units import mm
from reportlab.lib.utils import ImageReader, simpleSplit
from reportlab.platypus import Flowable

from drcore.export.pdf.fonts import BOLD, REGULAR
from drcore.export.pictures import ExportPictures, jpeg
from drcore.grading.statements import outline_words
from drcore.maps.overlay import colour_stops, tick_places

if TYPE_CHECKING:
    from collections.abc import Sequence

    from drcore.grading.report import GradeReport
    from drcore.reviews.mark import Mark

__all__ = ["PhotographPlate", "ProbabilityBars"]

_BAR = 17 * mm
_GAP = 3 * mm
_LINE = 2.8 * mm
_MUTED = Color(0.36, 0.4, 0.44)
_HALO = Color(0, 0, 0, 0.75)


class PhotographPlate(Flowable):
    """Photograph with numbered marks, overlay, and the colour bar.

    Args:
        pictures: of one photograph.
        marks: by the numbers that the report lists them under.
        report: of the photograph.
        width: of all of it, in points.
        height: of the pictures at most, in points.
    """

    def __init__(
        self,
        pictures: ExportPictures,
        marks: Sequence[tuple[int, Mark]],
        report: GradeReport,
        width: float,
        height: float,
    ) -> None:
        super().__init__()
        self._marks, self._size = marks, (report.width, report.height)
        self._files = [jpeg(pictures.photograph), jpeg(pictures.overlay)]
        rows, columns = pictures.photograph.shape[:2]
        room = (width - _BAR - 2 * _GAP) / 2
        scale = min(room / columns, height / rows)
        self._picture = (columns * scale, rows * scale)
        self._captions = [
            simpleSplit(text, REGULAR, 6.5, self._picture[0])
            for text in ("Photograph", outline_words(report))
        ]
        self._below = _LINE * max(map(len, self._captions)) + 1.2 * mm
        self.width, self.height = width, rows * scale + self._below

    def draw(self) -> None:
        """Draw it from its lower left corner."""
        canvas = self.canv
        wide, high = self._picture
        for index, (file, lines) in enumerate(zip(self._files, self._captions, strict=True)):
            left = index * (wide + _GAP)
            canvas.drawImage(ImageReader(io.BytesIO(file)), left, self._below, wide, high)
            canvas.setFont(REGULAR, 6.5)
            canvas.setFillColor(_MUTED)
            for number, line in enumerate(lines, start=1):
                canvas.drawString(left, self._below - number * _LINE, line)
        self._draw_marks(canvas)
        self._draw_bar(canvas, 2 * (wide + _GAP), high)

    def _draw_marks(self, canvas: Any) -> None:
        wide, high = self._picture
        across, down = wide / self._size[0], high / self._size[1]
        for number, mark in self._marks:
            left, right = mark.x0 * across, mark.x1 * across
            top, bottom = self._below + high - mark.y0 * down, self._below + high - mark.y1 * down
            for colour, thickness in ((_HALO, 2.0), (white, 0.8)):
                canvas.setStrokeColor(colour)
                canvas.setLineWidth(thickness)
                if mark.kind == "point":
                    canvas.circle(left, top, 2.4)
                else:
                    canvas.rect(left, bottom, right - left, top - bottom)
            tag = (min(right + 3, wide - 5), min(top + 2, self._below + high - 5))
            canvas.setFillColor(_HALO)
            canvas.circle(tag[0] + 1, tag[1] + 1.8, 4, stroke=0, fill=1)
            canvas.setFillColor(white)
            canvas.setFont(BOLD, 5.5)
            canvas.drawCentredString(tag[0] + 1, tag[1], str(number))

    def _draw_bar(self, canvas: Any, left: float, high: float) -> None:
        thick = 3.2 * mm
        canvas.setFillColor(Color(0.13, 0.13, 0.14))
        canvas.rect(left, self._below, thick, high, stroke=0, fill=1)
        stops = colour_stops(63)
        step = high / len(stops)
        for index, (_, rgb, alpha) in enumerate(stops):
            canvas.setFillColor(Color(rgb[0] / 255, rgb[1] / 255, rgb[2] / 255, alpha))
            canvas.rect(left, self._below + index * step, thick, step + 0.15, stroke=0, fill=1)
        canvas.setFillColor(black)
        canvas.setFont(REGULAR, 6)
        for place, text in tick_places():
            canvas.drawString(left + thick + 1 * mm, self._below + place * (high - 5), text)
        canvas.saveState()
        canvas.translate(left + thick + 8.5 * mm, self._below + high / 2)
        canvas.rotate(90)
        canvas.setFillColor(_MUTED)
        canvas.drawCentredString(0, 0, "score added per disc area")
        canvas.restoreState()


class ProbabilityBars(Flowable):
    """A bar for the probability of each grade; those that cannot be ruled out are dark.

    Args:
        probabilities: of the grades 0-4.
        possible: grades that cannot be ruled out.
        width: in points.
    """

    def __init__(
        self, probabilities: Sequence[float], possible: Sequence[int], width: float
    ) -> None:
        super().__init__()
        self._probabilities, self._possible = probabilities, set(possible)
        self.width, self.height = width, 12.5 * mm

    def draw(self) -> None:
        """Draw it from its lower left corner."""
        canvas = self.canv
        room, full = self.width / len(self._probabilities), 6 * mm
        for grade, p in enumerate(self._probabilities):
            left = grade * room
            high = max(0.4, p * full)
            dark = grade in self._possible
            canvas.setFillColor(Color(0.2, 0.3, 0.4) if dark else Color(0.72, 0.76, 0.79))
            canvas.rect(left + room * 0.2, 3.4 * mm, room * 0.6, high, stroke=0, fill=1)
            canvas.setFillColor(black if dark else _MUTED)
            canvas.setFont(REGULAR, 6)
            percent = round(100 * p)
            said = "< 1 %" if percent < 1 else "> 99 %" if percent > 99 else f"{percent} %"
            canvas.drawCentredString(left + room / 2, 3.4 * mm + high + 1.5, said)
            canvas.drawCentredString(left + room / 2, 0.8 * mm, f"grade {grade}")
