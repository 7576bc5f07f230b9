"""A part of the retina that stands out in a heat map, and the levels of outlines."""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["LEVELS", "Region"]

LEVELS = (0.1, 0.4)
"""Score added per disc area at which outlines are drawn. Fixed: see `python -m
training.map_scale`."""


@dataclass(frozen=True, slots=True)
class Region:
    """A connected part of the retina within the lowest outline.

    Attributes:
        adds: to the score, in grades; exact.
        share: of all that raises the score, 0-1.
        disc_areas: its area.
        right, down: from the centre of the field of view to the centre of its evidence, in disc
            diameters; negative to the left and up.
    """

    adds: float
    share: float
    disc_areas: float
    right: float
    down: float

    @property
    def place(self) -> str:
        """Where it is on the image, such as "upper left, 2.1 disc diameters from the centre"."""
        away = math.hypot(self.right, self.down)
        if away < 0.75:
            return "centre"
        side = f"{'upper' if self.down < 0 else 'lower'} {'left' if self.right < 0 else 'right'}"
        return f"{side}, {away:.1f} disc diameters from the centre"
