"""The vessel tree of a synthetic eye."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Sequence
from training.synthetic.anatomy import Eye
from training.synthetic.recipe import FloatImage, Point

# Optical density of blood per channel (R, G, B). Oxygenated blood lets nearly all red light pass.
VENOUS = (0.20, 1.00, 0.75)
CLOTTED = (0.34, 1.00, 0.70)
ARTERIAL = (0.05, 1.00, 0.85)


@dataclass
class Vessel:
    """A vessel's centre line: points (N, 2) and radii (N,), both in field units."""

    points: NDArray[np.float64]
    radii: NDArray[np.float64]
    vein: bool


# Courses of the main vessels relative to the disc, drawn for the upper half of a right eye.
_TEMPORAL = ((0.02, 0.03), (0.035, -0.15), (-0.07, -0.38), (-0.33, -0.58), (-0.70, -0.63),
             (-1.05, -0.54), (-1.45, -0.42), (-1.8, -0.38))  # fmt: skip
_NASAL = ((0.03, 0.0), (0.07, -0.14), (0.20, -0.36), (0.40, -0.62), (0.62, -0.95))
_MEDIAL = ((0.03, -0.02), (0.10, -0.10), (0.30, -0.17), (0.60, -0.24))
_MACULAR = ((0.0, -0.04), (-0.11, -0.12), (-0.30, -0.18), (-0.50, -0.19))
# Course, calibre as a share of the temporal vessel's, and order of branching.
_MAIN_VESSELS = ((_TEMPORAL, 1.0, 0), (_NASAL, 0.7, 0), (_MEDIAL, 0.4, 0), (_MACULAR, 0.26, 1))
_STEP = 0.012
_CELL = 0.025


def _cells(path: Any) -> set[tuple[int, int]]:
    """Coarse grid cells that a path runs through."""
    return set(map(tuple, np.rint(np.asarray(path) / _CELL).astype(int).tolist()))


def _trunk(
    course: Sequence[Point], eye: Eye, rng: np.random.Generator, *, lower: bool
) -> NDArray[np.float64]:
    """A main vessel: its textbook course, stretched and bent a little differently each time."""
    points = np.array(course) * rng.uniform(0.86, 1.1, 2)
    # The further from the disc, the less the course is fixed.
    points += rng.normal(0, 0.03, points.shape) * np.linspace(0, 1.2, len(points))[:, None]
    if lower:
        points[:, 1] *= -1
    points += eye.disc
    knots = np.r_[0, np.cumsum(np.hypot(*np.diff(points, axis=0).T))]
    along = np.arange(0, knots[-1], _STEP)
    degree = min(4, len(points) - 1)
    path = np.stack([np.polyval(np.polyfit(knots, p, degree), along) for p in points.T], axis=1)
    tangent = np.gradient(path, axis=0) / _STEP
    waves = rng.uniform(0.12, 0.5, 4)
    wobble = (0.022 * waves * np.sin(2 * np.pi * (along[:, None] / waves + rng.random(4)))).sum(1)
    wobble *= np.clip(along / 0.15, 0, 1)
    return np.asarray(path + wobble[:, None] * tangent[:, ::-1] * (-1, 1))


def _inward(where: Any, heading: float, eye: Eye) -> bool:
    """Whether a branch at `where` runs into the area inside the temporal arcades."""
    dx, dy = eye.fovea[0] - where[0], eye.fovea[1] - where[1]
    return bool(math.cos(heading) * dx + math.sin(heading) * dy > 0 and math.hypot(dx, dy) < 0.75)


def _twig(
    start: Point,
    heading: float,
    length: float,
    eye: Eye,
    rng: np.random.Generator,
    occupied: set[tuple[int, int]],
) -> NDArray[np.float64]:
    """A branch that grows from `start` until it is long enough or meets a vessel of its kind."""
    x, y = start
    (fx, fy), (disc_x, disc_y) = eye.fovea, eye.disc
    inward = _inward(start, heading, eye)
    # Branches inside the arcades run towards the fovea but leave it free of vessels.
    stop = rng.uniform(0.13, 0.3)
    turns = rng.normal(0, 0.1, int(length / _STEP) + 2).tolist()
    path = [start]
    drift = 0.0
    for count, turn in enumerate(turns):
        goal = math.atan2(fy - y, fx - x) if inward else math.atan2(y - disc_y, x - disc_x)
        drift = 0.75 * drift + turn
        heading += 0.03 * math.sin(goal - heading) + 0.5 * drift
        x += _STEP * math.cos(heading)
        y += _STEP * math.sin(heading)
        if math.hypot(x, y) > 1.05 or math.hypot(x - fx, y - fy) < stop:
            break
        ahead_x, ahead_y = x + 2 * _STEP * math.cos(heading), y + 2 * _STEP * math.sin(heading)
        if count > 5 and (round(ahead_x / _CELL), round(ahead_y / _CELL)) in occupied:
            break
        path.append((x, y))
    occupied.update(_cells(path))
    return np.array(path)


def _branch_off(
    path: NDArray[np.float64],
    radius: float,
    order: int,
    eye: Eye,
    rng: np.random.Generator,
    occupied: set[tuple[int, int]],
    queue: list[tuple[NDArray[np.float64], float, int]],
) -> NDArray[np.float64]:
    """Append the branches of a vessel to the queue, and return its radii."""
    radii = np.empty(len(path))
    tangent = np.gradient(path, axis=0)
    # The first part of a trunk lies on the disc, where vessels seldom branch.
    bud = rng.uniform(0.16, 0.3) if order == 0 else rng.uniform(0.05, 0.12)
    turn = rng.choice((-1, 1))
    for i in range(len(path)):
        radii[i] = radius
        radius *= 0.9965
        if i * _STEP < bud or order > 3 or i > len(path) - 4:
            continue
        bud += rng.uniform(0.08, 0.2)
        turn = -turn if rng.random() < 0.8 else turn
        # Either the vessel forks, or a much thinner twig leaves it at a wider angle. Only
        # twigs supply the macula.
        fork = rng.random() < 0.5
        heading = math.atan2(tangent[i, 1], tangent[i, 0])
        heading += turn * (rng.uniform(0.4, 0.8) if fork else rng.uniform(0.7, 1.2))
        fork &= not _inward(path[i], heading, eye)
        share = rng.uniform(0.62, 0.85) if fork else rng.uniform(0.28, 0.55)
        if share * radius < 0.0012:
            continue
        length = share * radius * rng.uniform(75, 140) + 0.08
        start = (float(path[i, 0]), float(path[i, 1]))
        twig = _twig(start, heading, length, eye, rng, occupied)
        queue.append((twig, share * radius, order + 1))
        # Murray's law: the cubes of the radii add up at a branching.
        radius *= (1 - share**3) ** (1 / 3)
    tip = len(path) // 2
    radii[-tip:] *= np.linspace(1, 0.3, tip)
    if order == 0:  # the vessel dips into the disc
        radii[:5] *= np.linspace(0.4, 1, 5)
    return radii


def vessel_tree(eye: Eye, rng: np.random.Generator) -> list[Vessel]:
    """Arteries and veins, parents before their branches."""
    vessels: list[Vessel] = []
    calibre = rng.uniform(0.92, 1.08)
    for vein in (True, False):
        occupied: set[tuple[int, int]] = set()
        thick = calibre * (0.0135 if vein else 0.0092)
        queue: list[tuple[NDArray[np.float64], float, int]] = []
        for lower in (False, True):
            for course, share, order in _MAIN_VESSELS:
                path = _trunk(course, eye, rng, lower=lower)
                occupied |= _cells(path)
                queue.append((path, share * thick, order))
        while queue:
            path, radius, order = queue.pop(0)
            if len(path) < 9:  # too short to be more than a stump
                continue
            radii = _branch_off(path, radius, order, eye, rng, occupied, queue)
            vessels.append(Vessel(path, radii, vein))
    return vessels


def draw_vessels(eye: Eye, vessels: list[Vessel]) -> tuple[FloatImage, FloatImage]:
    """Paint vessels as optical density.

    Returns:
        veins and arteries, (H, W) float32 each, 0 to 1 of the density of a full vessel.
    """
    scale = max(1, round(2048 / eye.width))
    layers: list[FloatImage] = []
    for vein in (True, False):
        canvas = np.zeros((eye.height * scale, eye.width * scale), np.uint8)
        # An artery's wall reflects light along its middle; a vein's hardly does.
        rings = ((1.0, 0.72), (0.7, 1.0), (0.25, 0.92 if vein else 0.5))
        # Branches first, so that they do not lighten the vessel they leave.
        for vessel in reversed([v for v in vessels if v.vein == vein]):
            px = np.stack(eye.to_px(*vessel.points.T), axis=1) * scale
            tangent = np.gradient(px, axis=0)
            normal = tangent[:, ::-1] * (-1, 1) / np.hypot(*tangent.T)[:, None]
            half = vessel.radii * eye.radius * scale
            # Thin vessels hold less blood along the line of sight.
            depth = min(1.0, 0.42 + half.max() / scale / eye.radius / 0.012)
            for share, density in rings:
                if share < 0.5 and half.max() < 4:
                    continue
                # OpenCV's smoothed edge adds half a pixel on either side.
                reach = np.maximum(share * half - 0.5, 0.05)[:, None] * normal
                ribbon = np.concatenate([px + reach, (px - reach)[::-1]])
                sixteenths = np.rint(16 * ribbon - 8).astype(np.int32)
                cv2.fillPoly(canvas, [sixteenths], float(255 * depth * density), cv2.LINE_AA, 4)
        small = cv2.resize(canvas, (eye.width, eye.height), interpolation=cv2.INTER_AREA)
        layers.append(small.astype(np.float32) / np.float32(255))
    return layers[0], layers[1]
