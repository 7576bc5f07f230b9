"""Where disc, fovea and nerve fibres of a synthetic eye lie."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from training.synthetic.recipe import FloatImage, PhantomRecipe, Point

DISC_RADIUS = 0.14


@dataclass(frozen=True)
class Eye:
    """Pixel grid and landmarks of one phantom, in field units unless px is said."""

    height: int
    width: int
    centre: Point  # px
    radius: float  # px
    side: float  # +1: nasal is to the right (OD), -1: to the left (OS)
    disc: Point
    fovea: Point
    x: FloatImage  # (H, W)
    y: FloatImage  # (H, W)

    def to_px(self, x: Any, y: Any) -> tuple[Any, Any]:
        """Turn a position in field units into pixels."""
        (cx, cy), radius = self.centre, self.radius
        return cx + self.side * radius * x, cy + radius * y

    def distance(self, point: Point) -> FloatImage:
        """Distance of every pixel from a point, in field units."""
        dx, dy = self.x - np.float32(point[0]), self.y - np.float32(point[1])
        return np.asarray(np.hypot(dx, dy), np.float32)


def make_eye(recipe: PhantomRecipe, rng: np.random.Generator) -> Eye:
    """Draw where the landmarks of an eye lie."""
    width = recipe.size
    radius = 0.49 * width
    height = round(width - 2 * radius * (recipe.cut_above + recipe.cut_below))
    centre = (
        width / 2 + radius * recipe.offset[0],
        width / 2 + radius * (recipe.offset[1] - 2 * recipe.cut_above),
    )
    side = 1.0 if recipe.laterality == "OD" else -1.0
    fovea = (rng.uniform(-0.26, -0.06), rng.uniform(-0.03, 0.08))
    disc = (fovea[0] + rng.uniform(0.67, 0.73), fovea[1] - rng.uniform(0.04, 0.12))
    x = (np.arange(width, dtype=np.float32) + 0.5 - np.float32(centre[0])) / np.float32(radius)
    y = (np.arange(height, dtype=np.float32) + 0.5 - np.float32(centre[1])) / np.float32(radius)
    grid_x, grid_y = np.meshgrid(side * x, y)
    return Eye(
        height, width, centre, radius, side, disc, fovea,
        grid_x.astype(np.float32), grid_y.astype(np.float32),
    )  # fmt: skip


def smooth_noise(rng: np.random.Generator, eye: Eye, cells: int) -> FloatImage:
    """Smooth noise (H, W), about unit variance, with `cells` grains across the picture."""
    grid = rng.standard_normal((cells, cells)).astype(np.float32)
    return 1.4 * cv2.resize(grid, (eye.width, eye.height), interpolation=cv2.INTER_CUBIC)


def rgb_levels(red: float, green: float, blue: float) -> NDArray[np.float32]:
    """A colour as an array, grey levels."""
    return np.array((red, green, blue), np.float32)


def bump(distance: FloatImage, scale: float) -> FloatImage:
    """Gaussian hill of a distance, 1 at distance 0."""
    return np.asarray(np.exp(-np.square(distance / np.float32(scale))), np.float32)


def fibre_label(dx: Any, dy: Any) -> Any:
    """Angle that is constant along a nerve fibre, for a position relative to the disc.

    Fibres leave the disc radially and bend to the temporal side, as the arcades do.
    """
    return np.arctan2(dy, dx + 0.6 * (dx * dx + dy * dy))


def random_place(eye: Eye, rng: np.random.Generator, quadrant: int | None = None) -> Point:
    """A random place in the field, in one quadrant of it if wanted, off the centre of the fovea."""
    while True:
        r = 0.95 * math.sqrt(rng.random())
        phi = rng.uniform(0, math.tau) if quadrant is None else rng.uniform(0, math.pi / 2)
        phi += 0 if quadrant is None else quadrant * math.pi / 2
        x, y = r * math.cos(phi), r * math.sin(phi)
        if math.hypot(x - eye.fovea[0], y - eye.fovea[1]) > 0.06:
            return x, y


def fibre_angle(eye: Eye, where: Point) -> float:
    """Direction of the nerve fibres at a place, radians."""
    dx, dy = where[0] - eye.disc[0], where[1] - eye.disc[1]
    label = fibre_label(dx, dy)
    along_x = math.remainder(float(fibre_label(dx + 1e-4, dy) - label), math.tau)
    along_y = math.remainder(float(fibre_label(dx, dy + 1e-4) - label), math.tau)
    return math.atan2(-along_x, along_y)
