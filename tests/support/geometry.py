"""The way back from the square of the field of view to the photograph."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from drcore.preprocessing.retina_square import RetinaSquare


def to_photograph(square: RetinaSquare, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Map coordinates (..., 2) of the square to the photograph; inverse of `to_square`."""
    centre = np.array([square.field_of_view.x, square.field_of_view.y])
    return (np.asarray(points, np.float64) - square.size / 2) / square.scale + centre
