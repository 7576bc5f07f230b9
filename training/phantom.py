"""Synthetic colour fundus photographs ("phantoms") with exact lesion masks.

A phantom is drawn from a recipe: the same recipe gives the same pixels (with the same versions of
numpy and OpenCV). No part of a real photograph is used. Phantoms serve tests, demonstrations and
continuous integration, where real photographs may not be shipped. They are not evidence of how
well a model grades patients.

Geometry is kept in *field units*: the origin is the centre of the field of view, its radius is 1,
x points to the patient's nose and y points down. A right eye (OD) therefore has its disc on the
right; a left eye (OS) is the mirror image. One field unit is about 22 degrees, so that a typical
optic disc has a radius of 0.14 and lies 0.7 (2.5 disc diameters) nasal of the fovea.

    python -m training.phantom OUT_DIR --count 20 --size 1024 --seed 0
    python -m training.phantom sample_images --samples
"""

from __future__ import annotations

import argparse
import csv
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Sequence

FloatImage = NDArray[np.float32]
BoolImage = NDArray[np.bool_]
Point = tuple[float, float]

LESIONS = ("microaneurysms", "haemorrhages", "hard_exudates", "soft_exudates")
MASK_FLAGS = {
    "microaneurysms": 1,
    "haemorrhages": 2,
    "hard_exudates": 4,
    "soft_exudates": 8,
    "optic_disc": 16,
}
# The ICDR scale calls more than 20 haemorrhages in each of the four quadrants severe. It means
# quadrants of the whole retina; here they are those of the field, as only the field is painted.
SEVERE_PER_QUADRANT = 20
DISC_RADIUS = 0.14
# Optical density of blood per channel (R, G, B). Oxygenated blood lets nearly all red light pass.
VENOUS = (0.20, 1.00, 0.75)
CLOTTED = (0.34, 1.00, 0.70)
ARTERIAL = (0.05, 1.00, 0.85)


@dataclass(frozen=True)
class PhantomRecipe:
    """Everything that decides the pixels of a phantom.

    Arguments:
        size: width of the picture in px, at least 64; also its height unless the field is cut.
        seed: seed of every random choice, >= 0. Anatomy, lesions and camera have their own random
            streams, so adding a lesion leaves the vessels where they are.
        laterality: "OD" (right eye) or "OS" (left eye).
        microaneurysms, haemorrhages: number of lesions to place, >= 0. One that finds no free
            place is left out.
        haemorrhage_quadrants: in how many quadrants of the field haemorrhages lie, 1 to 4.
        hard_exudates: number of clusters or rings of specks, >= 0.
        soft_exudates: number of cotton wool spots, >= 0.
        pigment: fundus pigment, 0 (pale, choroid shows) to 1 (dark brown).
        tint: gain of the R, G and B channels, about 0.6 to 1.6 (white balance of the camera).
        exposure: overall gain, about 0.3 (dark) to 1.2.
        vignetting: loss of light at the rim, 0 to 1.
        blur: extra defocus, Gaussian sigma in px of a 1024 px picture, >= 0.
        noise: sensor noise, standard deviation in grey levels, >= 0.
        cut_above, cut_below: part of the field's diameter hidden by the frame, 0 to 0.3.
        offset: shift (x, y) of the field's centre in the frame, in radii.
        notch: whether the rim carries the small tab that many cameras add.

    Raises:
        ValueError: a value is outside its range.
    """

    size: int = 1024
    seed: int = 0
    laterality: str = "OD"
    microaneurysms: int = 0
    haemorrhages: int = 0
    haemorrhage_quadrants: int = 4
    hard_exudates: int = 0
    soft_exudates: int = 0
    pigment: float = 0.5
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)
    exposure: float = 1.0
    vignetting: float = 0.3
    blur: float = 0.0
    noise: float = 1.5
    cut_above: float = 0.0
    cut_below: float = 0.0
    offset: Point = (0.0, 0.0)
    notch: bool = False

    def __post_init__(self) -> None:
        if self.laterality not in ("OD", "OS"):
            raise ValueError(f"laterality must be 'OD' or 'OS', not {self.laterality!r}")
        if self.size < 64:
            raise ValueError(f"size must be at least 64 px, not {self.size}")
        if not 1 <= self.haemorrhage_quadrants <= 4:
            raise ValueError("haemorrhage_quadrants must be 1 to 4")
        if not (0 <= self.cut_above <= 0.3 and 0 <= self.cut_below <= 0.3):
            raise ValueError("cut_above and cut_below must be 0 to 0.3")
        for name in (*LESIONS, "seed", "blur", "noise", "exposure"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative")


@dataclass(frozen=True, eq=False)
class Phantom:
    """A synthetic fundus photograph and the truth about it.

    Arguments:
        rgb: the picture, (H, W, 3) uint8, sRGB.
        masks: bool (H, W) each, True where the named thing is visibly painted: microaneurysms,
            haemorrhages, hard_exudates, soft_exudates, optic_disc, vessels, field_of_view.
        grade: ICDR grade of what was painted: 0 nothing; 1 microaneurysms only; 2 more than
            microaneurysms; 3 more than 20 haemorrhages in each of the four quadrants of the
            field. Never 4: proliferative disease means new vessels or a vitreous or preretinal
            haemorrhage, and these are not painted.
        dme: risk of macular oedema as IDRiD defines it: 0 no hard exudates; 1 hard exudates more
            than one (typical) disc diameter from the fovea; 2 nearer.
        centre: centre (x, y) of the field of view in px; the top left pixel's middle is (0.5, 0.5).
        radius: radius of the field of view in px.
        fovea: position (x, y) of the fovea in px.
    """

    rgb: NDArray[np.uint8]
    masks: dict[str, BoolImage]
    grade: int
    dme: int
    centre: Point
    radius: float
    fovea: Point


@dataclass(frozen=True)
class _Eye:
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
        (cx, cy), radius = self.centre, self.radius
        return cx + self.side * radius * x, cy + radius * y

    def distance(self, point: Point) -> FloatImage:
        dx, dy = self.x - np.float32(point[0]), self.y - np.float32(point[1])
        return np.asarray(np.hypot(dx, dy), np.float32)


def _eye(recipe: PhantomRecipe, rng: np.random.Generator) -> _Eye:
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
    return _Eye(
        height, width, centre, radius, side, disc, fovea,
        grid_x.astype(np.float32), grid_y.astype(np.float32),
    )  # fmt: skip


def _noise(rng: np.random.Generator, eye: _Eye, cells: int) -> FloatImage:
    """Smooth noise (H, W), about unit variance, with `cells` grains across the picture."""
    grid = rng.standard_normal((cells, cells)).astype(np.float32)
    return 1.4 * cv2.resize(grid, (eye.width, eye.height), interpolation=cv2.INTER_CUBIC)


def _colour(red: float, green: float, blue: float) -> NDArray[np.float32]:
    return np.array((red, green, blue), np.float32)


def _bump(distance: FloatImage, scale: float) -> FloatImage:
    """Gaussian hill of a distance, 1 at distance 0."""
    return np.asarray(np.exp(-np.square(distance / np.float32(scale))), np.float32)


def _fibre_label(dx: Any, dy: Any) -> Any:
    """Angle that is constant along a nerve fibre, for a position relative to the disc.

    Fibres leave the disc radially and bend to the temporal side, as the arcades do.
    """
    return np.arctan2(dy, dx + 0.6 * (dx * dx + dy * dy))


# --- vessels ------------------------------------------------------------------------------------


@dataclass
class _Vessel:
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
    course: Sequence[Point], eye: _Eye, rng: np.random.Generator, *, lower: bool
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


def _inward(where: Any, heading: float, eye: _Eye) -> bool:
    """Whether a branch at `where` runs into the area inside the temporal arcades."""
    dx, dy = eye.fovea[0] - where[0], eye.fovea[1] - where[1]
    return bool(math.cos(heading) * dx + math.sin(heading) * dy > 0 and math.hypot(dx, dy) < 0.75)


def _twig(
    start: Point,
    heading: float,
    length: float,
    eye: _Eye,
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


def _vessel_tree(eye: _Eye, rng: np.random.Generator) -> list[_Vessel]:
    """Arteries and veins, parents before their branches."""
    vessels: list[_Vessel] = []
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
            vessels.append(_Vessel(path, radii, vein))
    return vessels


def _draw_vessels(eye: _Eye, vessels: list[_Vessel]) -> tuple[FloatImage, FloatImage]:
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


# --- lesions ------------------------------------------------------------------------------------


@dataclass
class _Lesions:
    """What has been painted so far: per type a layer (H, W) float32 0 to 1, a mask and centres."""

    eye: _Eye
    taken: BoolImage
    layers: dict[str, FloatImage] = field(default_factory=dict)
    masks: dict[str, BoolImage] = field(default_factory=dict)
    centres: dict[str, list[Point]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        shape = self.taken.shape
        for name in LESIONS:
            self.layers[name] = np.zeros(shape, np.float32)
            self.masks[name] = np.zeros(shape, np.bool_)
            self.centres[name] = []

    def stamp(
        self,
        name: str,
        where: Point,
        radii: Point,
        rng: np.random.Generator,
        *,
        angle: float = 0.0,
        rough: float = 0.1,
        soft: float = 0.4,
        streaks: float = 0.0,
        strength: float = 1.0,
    ) -> bool:
        """Paint one blob, unless it would leave the field or touch the disc or another lesion.

        Arguments:
            name: lesion type.
            where: centre in field units.
            radii: half length and half width in field units.
            rng: source of the outline.
            angle: direction of the long axis in field units, radians.
            rough: how irregular the outline is, 0 (ellipse) to 0.5.
            soft: width of the edge as a share of the radius, 0 to 2.
            streaks: depth of the stripes along the long axis, 0 to 1.
            strength: opacity, 0 to 1.

        Returns:
            Whether it was painted.
        """
        eye = self.eye
        cx, cy = eye.to_px(*where)
        reach = max(radii) * eye.radius * (1 + 2 * rough + soft / 2) + 2
        x0, x1 = math.floor(cx - reach), math.ceil(cx + reach)
        y0, y1 = math.floor(cy - reach), math.ceil(cy + reach)
        if x0 < 0 or y0 < 0 or x1 > eye.width or y1 > eye.height:
            return False
        dx = eye.x[y0:y1, x0:x1] - where[0]
        dy = eye.y[y0:y1, x0:x1] - where[1]
        u = (math.cos(angle) * dx + math.sin(angle) * dy) / radii[0]
        v = (math.cos(angle) * dy - math.sin(angle) * dx) / radii[1]
        theta = np.arctan2(v, u)
        outline = np.ones_like(u)
        for n in range(2, 7):
            outline += rough / (n - 1) * rng.normal() * np.cos(n * theta + rng.uniform(0, 7))
        height, width = u.shape
        bumps = rng.standard_normal((9, 9))
        ragged = cv2.resize(bumps, (width, height), interpolation=cv2.INTER_CUBIC)
        outline += rough * ragged
        edge = max(soft, 1.0 / (min(radii) * eye.radius))  # at least one pixel wide
        alpha = np.clip((np.maximum(outline, 0.3) - np.hypot(u, v)) / edge + 0.5, 0, 1)
        if streaks:
            comb = np.interp(v, np.linspace(-1.6, 1.6, 14), rng.random(14))
            # Every stripe ends at its own length, which makes the ends of the lesion feathery.
            alpha *= np.clip(1.5 - np.abs(u) * (0.9 + streaks * comb), 0, 1)
            alpha *= 1 - 0.5 * streaks * comb
        alpha *= 1 - np.clip(rough * ragged, 0, 0.5)
        inside = alpha >= 0.35
        window = np.s_[y0:y1, x0:x1]
        if not inside.any() or (inside & self.taken[window]).any():
            return False
        layer = self.layers[name][window]
        np.maximum(layer, (strength * alpha).astype(np.float32), out=layer)
        self.masks[name][window] |= inside
        self.centres[name].append(where)
        # Specks of hard exudate may run into each other; other lesions stay apart, to be counted.
        if name != "hard_exudates":
            self.taken[window] |= alpha > 0.05
        return True


def _somewhere(eye: _Eye, rng: np.random.Generator, quadrant: int | None = None) -> Point:
    """A random place in the field, in one quadrant of it if wanted, off the centre of the fovea."""
    while True:
        r = 0.95 * math.sqrt(rng.random())
        phi = rng.uniform(0, math.tau) if quadrant is None else rng.uniform(0, math.pi / 2)
        phi += 0 if quadrant is None else quadrant * math.pi / 2
        x, y = r * math.cos(phi), r * math.sin(phi)
        if math.hypot(x - eye.fovea[0], y - eye.fovea[1]) > 0.06:
            return x, y


def _fibre_angle(eye: _Eye, where: Point) -> float:
    """Direction of the nerve fibres at a place, radians."""
    dx, dy = where[0] - eye.disc[0], where[1] - eye.disc[1]
    label = _fibre_label(dx, dy)
    along_x = math.remainder(float(_fibre_label(dx + 1e-4, dy) - label), math.tau)
    along_y = math.remainder(float(_fibre_label(dx, dy + 1e-4) - label), math.tau)
    return math.atan2(-along_x, along_y)


def _paint_soft_exudates(
    lesions: _Lesions, count: int, rng: np.random.Generator, vessels: list[_Vessel]
) -> None:
    arcades = [v for v in vessels if v.radii[0] > 0.006]
    for _ in range(count):
        for _ in range(40):
            vessel = arcades[rng.integers(len(arcades))]
            x, y = vessel.points[rng.integers(len(vessel.points) // 5, len(vessel.points))]
            where = (float(x + rng.normal(0, 0.05)), float(y + rng.normal(0, 0.05)))
            long = rng.uniform(0.028, 0.06)
            if lesions.stamp(
                "soft_exudates", where, (long, long * rng.uniform(0.55, 0.85)), rng,
                angle=_fibre_angle(lesions.eye, where) + rng.normal(0, 0.5), rough=0.26, soft=0.8,
                streaks=0.3, strength=rng.uniform(0.6, 1.0),
            ):  # fmt: skip
                break


def _paint_haemorrhages(
    lesions: _Lesions, count: int, rng: np.random.Generator, quadrants: int
) -> None:
    chosen = rng.permutation(4)[:quadrants]
    for i in range(count):
        for _ in range(40):
            where = _somewhere(lesions.eye, rng, int(chosen[i % quadrants]))
            kind = rng.random()
            near = math.hypot(where[0] - lesions.eye.disc[0], where[1] - lesions.eye.disc[1]) < 0.8
            strength = rng.uniform(0.55, 1.0)
            if kind < 0.25 and near:  # flame, in the nerve fibre layer
                long = rng.uniform(0.025, 0.065)
                done = lesions.stamp(
                    "haemorrhages", where, (long, long * rng.uniform(0.18, 0.3)), rng,
                    angle=_fibre_angle(lesions.eye, where), rough=0.15, soft=0.6, streaks=0.8,
                    strength=strength,
                )  # fmt: skip
            else:  # dot or blot, deeper
                size = rng.uniform(0.011, 0.026) if kind > 0.65 else rng.uniform(0.007, 0.012)
                done = lesions.stamp(
                    "haemorrhages", where, (size, size * rng.uniform(0.6, 1)), rng,
                    angle=rng.uniform(0, math.pi), rough=0.18, soft=0.7, strength=strength,
                )  # fmt: skip
            if done:
                break


def _paint_hard_exudates(lesions: _Lesions, clusters: int, rng: np.random.Generator) -> None:
    fovea = lesions.eye.fovea
    for _ in range(clusters):
        # Clusters keep to the macula; a ring encloses a leaking spot.
        bearing, off = rng.uniform(0, math.tau), rng.uniform(0.14, 0.5)
        middle = (fovea[0] + off * math.cos(bearing), fovea[1] + 0.9 * off * math.sin(bearing))
        ring = rng.random() < 0.35
        spread = rng.uniform(0.07, 0.13) if ring else rng.uniform(0.02, 0.05)
        arc = rng.uniform(2.5, 5.5)
        for _ in range(rng.integers(14, 45)):
            if ring:
                phi = bearing + rng.uniform(0, arc)
                r = spread * (1 + rng.normal(0, 0.14))
                where = (middle[0] + r * math.cos(phi), middle[1] + r * math.sin(phi))
            else:
                where = (middle[0] + rng.normal(0, spread), middle[1] + rng.normal(0, spread))
            size = min(0.0026 * math.exp(rng.normal(0.25, 0.5)), 0.012)
            lesions.stamp(
                "hard_exudates", where, (size, size * rng.uniform(0.55, 1)), rng,
                angle=rng.uniform(0, math.pi), rough=0.22, soft=0.35,
                strength=rng.uniform(0.45, 1.0),
            )  # fmt: skip


def _paint_microaneurysms(lesions: _Lesions, count: int, rng: np.random.Generator) -> None:
    fovea = lesions.eye.fovea
    for _ in range(count):
        for _ in range(40):
            where = _somewhere(lesions.eye, rng)
            if rng.random() < 0.7:  # they favour the macula
                where = (fovea[0] + rng.normal(-0.05, 0.3), fovea[1] + rng.normal(0, 0.3))
            size = rng.uniform(0.0062, 0.0105)
            if lesions.stamp(
                "microaneurysms", where, (size, size * rng.uniform(0.85, 1)), rng,
                rough=0.05, soft=0.7, strength=rng.uniform(0.75, 1.0),
            ):  # fmt: skip
                break


def _grade(lesions: _Lesions) -> int:
    """ICDR grade of the painted lesions; see `Phantom`."""
    quadrants = [0, 0, 0, 0]
    for x, y in lesions.centres["haemorrhages"]:
        quadrants[(x > 0) + 2 * (y > 0)] += 1
    if min(quadrants) > SEVERE_PER_QUADRANT:
        return 3
    if any(lesions.masks[name].any() for name in LESIONS[1:]):
        return 2
    return int(lesions.masks["microaneurysms"].any())


# --- picture ------------------------------------------------------------------------------------


def _fundus(eye: _Eye, pigment: float, rng: np.random.Generator) -> FloatImage:
    """The fundus without vessels and disc: (H, W, 3) float32, 0 to about 255."""
    to_disc, to_fovea = eye.distance(eye.disc), eye.distance(eye.fovea)
    base = (1 - pigment) * _colour(226, 122, 60) + pigment * _colour(150, 64, 18)
    light = 1 + 0.13 * _bump(to_disc, 0.55) + 0.07 * _bump(to_fovea, 0.9)
    light += 0.05 * _noise(rng, eye, 4) + 0.03 * _noise(rng, eye, 9)
    # The macula holds yellow pigment and denser epithelium; the fovea is darkest.
    dim = 0.18 * _bump(to_fovea, 0.32) + 0.2 * _bump(to_fovea, 0.14) + 0.12 * _bump(to_fovea, 0.05)
    grain = 0.007 * _noise(rng, eye, 57) + 0.009 * _noise(rng, eye, 151)
    grain += 0.008 * _noise(rng, eye, 331)
    # Choroidal vessels: the crests of smooth noise form a net, seen best in pale fundi.
    net = 1 - np.abs(_noise(rng, eye, 22) + 0.5 * _noise(rng, eye, 45))
    choroid = np.float32(0.035 + 0.05 * (1 - pigment)) * np.clip(net, -0.3, 1)
    choroid *= np.clip(0.35 + 0.35 * _noise(rng, eye, 3), 0, 1) * (1 - _bump(to_fovea, 0.35))
    # Sheen of the nerve fibres, striped, strongest above and below the disc.
    label = _fibre_label(eye.x - eye.disc[0], eye.y - eye.disc[1])
    stripes = np.interp(label, np.linspace(-np.pi, np.pi, 420), rng.standard_normal(420))
    sheen = _bump(to_disc, 0.5) * (0.25 + 0.75 * np.square(np.sin(label)))
    sheen *= (0.1 + 0.035 * stripes.astype(np.float32)) * (1 - 0.6 * np.float32(pigment))
    planes = [
        base[c] * np.power(light, power) * (1 + grain * fine + choroid * deep + sheen * pale_)
        * np.exp(-dim * absorbed)
        for c, (power, fine, deep, pale_, absorbed) in enumerate(
            ((0.8, 0.7, 1.0, 0.5, 0.6), (1.1, 1.2, 0.7, 1.6, 1.0), (1.3, 1.4, 0.4, 2.6, 1.2))
        )
    ]  # fmt: skip
    return np.stack(planes, axis=2).astype(np.float32)


def _add_disc(rgb: FloatImage, eye: _Eye, pigment: float, rng: np.random.Generator) -> BoolImage:
    """Paint the optic disc into `rgb` and return its mask."""
    dx, dy = eye.x - np.float32(eye.disc[0]), eye.y - np.float32(eye.disc[1])
    tilt, size = rng.normal(0, 0.25), DISC_RADIUS * rng.uniform(0.93, 1.07)
    u = (math.cos(tilt) * dx + math.sin(tilt) * dy) / (size * 0.92)
    v = (math.cos(tilt) * dy - math.sin(tilt) * dx) / (size * 1.06)
    r = np.hypot(u, v) + 0.02 * _noise(rng, eye, 40)
    cup_size = rng.uniform(0.32, 0.5)
    cup_r = np.hypot(u + 0.16, v) / np.float32(cup_size)
    disc = np.clip((1 - r) / 0.13 + 0.5, 0, 1)
    cup = np.clip((1 - cup_r) / 0.55 + 0.5, 0, 1)
    # The nasal rim is thicker and pinker than the temporal one.
    nasal = np.clip(0.45 + 0.35 * u, 0, 1)[..., None]
    rim = _colour(285, 200, 126) * (1 - nasal) + _colour(270, 164, 102) * nasal
    colour = rim + cup[..., None] * (_colour(295, 236, 165) - rim)
    # In a dark fundus the disc is dimmer and more orange.
    colour = colour * (1 - pigment * _colour(0.03, 0.18, 0.44))
    halo = 0.1 * _bump(np.maximum(r - 1, 0).astype(np.float32), 0.25)
    rgb *= 1 + halo[..., None]
    rgb += disc[..., None].astype(np.float32) * (colour - rgb)
    return np.asarray(disc > 0.5)


def _camera(
    rgb: FloatImage, eye: _Eye, recipe: PhantomRecipe, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], BoolImage]:
    """Take the photograph: light, defocus, the rim of the field and sensor noise."""
    scale = recipe.size / 1024
    r = np.hypot(eye.x, eye.y)
    # An eye off the optical axis gets its light from one side.
    side = rng.uniform(0, math.tau)
    lean = 0.1 * (math.cos(side) * eye.x + math.sin(side) * eye.y)
    light = np.float32(recipe.exposure) * (1 + lean) * (1 - recipe.vignetting * np.power(r, 3.2))
    gain = np.clip(light, 0, None)[..., None] * np.array(recipe.tint, np.float32)
    sigma = max(0.35, math.hypot(0.8, recipe.blur) * scale)
    rgb = np.asarray(cv2.GaussianBlur(rgb * gain, (0, 0), sigma), np.float32)
    # A soft shoulder, as in a camera's tone curve, keeps the disc from burning out.
    rgb = np.minimum(rgb, 255 - 40 * np.exp((215 - np.maximum(rgb, 215)) / 40))
    edge = np.float32(max(1.0, 4 * scale) / eye.radius)
    field_alpha = np.clip((1 - r) / edge + 0.5, 0, 1)
    if recipe.notch:
        px, py = eye.x * eye.side, eye.y  # the tab belongs to the camera, not to the eye
        turn = math.radians(-41)
        out = math.cos(turn) * px + math.sin(turn) * py
        across = math.cos(turn) * py - math.sin(turn) * px
        tab = np.minimum(1.028 - out, 0.03 - np.abs(across)) / edge + 0.5
        field_alpha = np.maximum(field_alpha, np.where(out > 0, np.clip(tab, 0, 1), 0))
    photo = field_alpha[..., None] * rgb + 3
    noise = rng.standard_normal((eye.height, eye.width, 3), dtype=np.float32)
    noise += rng.standard_normal((eye.height, eye.width, 1), dtype=np.float32)
    photo += np.float32(recipe.noise * 0.7) * noise * (0.3 + 0.7 * field_alpha[..., None])
    return np.clip(photo + 0.5, 0, 255).astype(np.uint8), field_alpha > 0.5


def make_phantom(recipe: PhantomRecipe) -> Phantom:
    """Draw the phantom of a recipe.

    Arguments:
        recipe: what to draw.

    Returns:
        The picture with its masks, grade and geometry. The same recipe gives the same pixels.
    """
    streams = [np.random.default_rng(s) for s in np.random.SeedSequence(recipe.seed).spawn(8)]
    anatomy, background, tree, soft, blood, hard, dots, camera = streams
    eye = _eye(recipe, anatomy)
    rgb = _fundus(eye, recipe.pigment, background)
    disc = _add_disc(rgb, eye, recipe.pigment, anatomy)
    vessels = _vessel_tree(eye, tree)
    veins, arteries = _draw_vessels(eye, vessels)

    taken = (np.hypot(eye.x, eye.y) > 0.97) | (eye.distance(eye.disc) < 1.2 * DISC_RADIUS) | disc
    lesions = _Lesions(eye, taken)
    _paint_soft_exudates(lesions, recipe.soft_exudates, soft, vessels)
    _paint_haemorrhages(lesions, recipe.haemorrhages, blood, recipe.haemorrhage_quadrants)
    # Smaller lesions keep off the larger vessels, where they could not be seen.
    lesions.taken |= np.maximum(veins, arteries) > 0.5
    _paint_hard_exudates(lesions, recipe.hard_exudates, hard)
    lesions.taken |= lesions.masks["hard_exudates"]
    _paint_microaneurysms(lesions, recipe.microaneurysms, dots)

    layers = lesions.layers
    # Order of depth: waxy exudates lie deep, blood filters the light from below, cotton wool spots
    # lie on top. Lesions take their light from the fundus around them.
    wax = layers["hard_exudates"][..., None]
    rgb += wax * (rgb * _colour(0.24, 0.85, 0.75) + _colour(10, 16, 4))
    bleeding = 0.55 * layers["haemorrhages"] + 0.34 * layers["microaneurysms"]
    blood_layers = ((0.42 * veins, VENOUS), (0.3 * arteries, ARTERIAL), (bleeding, CLOTTED))
    rgb *= np.exp(-sum(layer[..., None] * _colour(*colour) for layer, colour in blood_layers))
    wool = layers["soft_exudates"][..., None]
    rgb += wool * (rgb * _colour(0.08, 0.42, 0.8) + _colour(10, 22, 28))
    picture, field_of_view = _camera(rgb, eye, recipe, camera)

    hard_mask = lesions.masks["hard_exudates"]
    near = bool((hard_mask & (eye.distance(eye.fovea) <= 2 * DISC_RADIUS)).any())
    masks = {
        **lesions.masks,
        "optic_disc": disc & field_of_view,
        "vessels": (np.maximum(veins, arteries) > 0.3) & field_of_view,
        "field_of_view": field_of_view,
    }
    fovea_x, fovea_y = eye.to_px(*eye.fovea)
    return Phantom(
        rgb=picture,
        masks=masks,
        grade=_grade(lesions),
        dme=2 if near else int(hard_mask.any()),
        centre=eye.centre,
        radius=eye.radius,
        fovea=(float(fovea_x), float(fovea_y)),
    )


# --- recipes and files --------------------------------------------------------------------------


def random_recipe(
    rng: np.random.Generator, size: int = 1024, grade: int | None = None
) -> PhantomRecipe:
    """Draw a recipe: an eye, a camera and the lesions of an ICDR grade.

    Arguments:
        rng: source of every choice; it is advanced.
        size: width of the picture in px, at least 64.
        grade: wanted ICDR grade, 0 to 3; None picks one, 0 most often.

    Returns:
        A recipe whose phantom has that grade, unless a tiny picture (below about 256 px) leaves no
        room for the lesions.

    Raises:
        ValueError: the grade is not 0 to 3, or the size is too small.
    """
    if grade is None:
        grade = int(rng.choice(4, p=(0.4, 0.2, 0.25, 0.15)))
    if grade not in (0, 1, 2, 3):
        raise ValueError(f"grade must be 0 to 3, not {grade}")
    # Lowest and highest number of each lesion in the order of LESIONS.
    ranges = {
        0: ((0, 0), (0, 0), (0, 0), (0, 0)),
        1: ((2, 12), (0, 0), (0, 0), (0, 0)),
        2: ((5, 30), (1, 35), (0, 7), (0, 3)),
        3: ((12, 45), (105, 135), (0, 8), (0, 6)),
    }[grade]
    counts = {n: int(rng.integers(a, b + 1)) for n, (a, b) in zip(LESIONS, ranges, strict=True)}
    warm, blue = rng.normal(0, 0.05), rng.choice((1.0, 1.0, 1.2, 1.45)) * rng.uniform(0.8, 1.15)
    cut = float(rng.uniform(0.04, 0.11)) if rng.random() < 0.35 else 0.0
    return PhantomRecipe(
        size=size,
        seed=int(rng.integers(2**31)),
        laterality=str(rng.choice(("OD", "OS"))),
        haemorrhage_quadrants=4 if grade == 3 else int(rng.integers(1, 5)),
        pigment=float(rng.uniform(0, 0.9)),
        tint=(float(1 + warm), float(1 - warm + 0.08 * (blue - 1)), float(blue)),
        exposure=float(rng.uniform(0.72, 1.05)),
        vignetting=float(rng.uniform(0.1, 0.5)),
        blur=float(rng.choice((0.0, 0.0, 0.8, 1.8))),
        noise=float(rng.uniform(1, 3)),
        cut_above=cut,
        cut_below=cut,
        offset=(float(rng.normal(0, 0.012)), float(rng.normal(0, 0.012))),
        notch=bool(rng.random() < 0.4),
        **counts,
    )


# The pictures in sample_images/, rewritten by `--samples`.
SAMPLES: dict[str, PhantomRecipe] = {
    "phantom_none_OD.jpg": PhantomRecipe(seed=12, pigment=0.35, notch=True),
    "phantom_mild_OS.jpg": PhantomRecipe(
        seed=6, laterality="OS", microaneurysms=7, pigment=0.2, tint=(0.97, 1.0, 1.3)
    ),
    "phantom_moderate_OD.jpg": PhantomRecipe(
        seed=5, microaneurysms=18, haemorrhages=16, hard_exudates=6, soft_exudates=1
    ),
    "phantom_severe_OS.jpg": PhantomRecipe(
        seed=21, laterality="OS", microaneurysms=30, haemorrhages=115, hard_exudates=4,
        soft_exudates=5, pigment=0.65, notch=True,
    ),
    "phantom_cut_OS.jpg": PhantomRecipe(
        seed=2, laterality="OS", microaneurysms=12, haemorrhages=8, haemorrhage_quadrants=2,
        hard_exudates=3, cut_above=0.1, cut_below=0.1, notch=True,
    ),
    "phantom_dark_OD.jpg": PhantomRecipe(
        seed=30, microaneurysms=10, haemorrhages=6, pigment=0.8, exposure=0.5, vignetting=0.7,
        blur=9.0, noise=3.0, offset=(0.03, 0.01),
    ),
}  # fmt: skip


def _write(path: Path, image: NDArray[np.uint8]) -> None:
    """Write RGB or grey pixels; the JPEG quality is 90."""
    pixels = image[..., ::-1] if image.ndim == 3 else image
    options = [cv2.IMWRITE_JPEG_QUALITY, 90] if path.suffix == ".jpg" else []
    if not cv2.imwrite(str(path), pixels, options):
        raise OSError(f"could not write {path}")


def write_samples(folder: Path) -> None:
    """Write the six sample phantoms from their pinned recipes.

    Arguments:
        folder: where to; created if needed. Files of the same names are replaced.

    Raises:
        OSError: a file could not be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, recipe in SAMPLES.items():
        _write(folder / name, make_phantom(recipe).rgb)


def write_dataset(folder: Path, count: int, size: int = 1024, seed: int = 0) -> None:
    """Write random phantoms with masks and labels, laid out like the real photographs.

    `images/NAME.jpg` is the picture, `masks/NAME_mask.png` has one byte a pixel with the bits of
    `MASK_FLAGS`, and `labels.csv` has the columns image, grade, dme, dataset, split and patient.
    Grades 0 to 3 take turns; every eighth round of them is for validation.

    Arguments:
        folder: where to; created if needed. Files of the same names are replaced.
        count: number of phantoms, >= 0.
        size: width of the pictures in px, at least 64.
        seed: seed of the recipes.

    Raises:
        OSError: a file could not be written.
        ValueError: the size is too small.
    """
    (folder / "images").mkdir(parents=True, exist_ok=True)
    (folder / "masks").mkdir(exist_ok=True)
    rng = np.random.default_rng(seed)
    with (folder / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(("image", "grade", "dme", "dataset", "split", "patient"))
        for i in range(count):
            phantom = make_phantom(random_recipe(rng, size, grade=i % 4))
            name = f"phantom_{i:05d}"
            flags = np.zeros(phantom.rgb.shape[:2], np.uint8)
            for mask, flag in MASK_FLAGS.items():
                flags[phantom.masks[mask]] |= flag
            _write(folder / "images" / f"{name}.jpg", phantom.rgb)
            _write(folder / "masks" / f"{name}_mask.png", flags)
            split = "val" if i // 4 % 8 == 7 else "train"
            table.writerow((f"{name}.jpg", phantom.grade, phantom.dme, "phantom", split, name))


def main(argv: Sequence[str] | None = None) -> int:
    """Command line: write a set of random phantoms, or the sample pictures.

    Arguments:
        argv: arguments without the program's name; None takes them from the process.

    Returns:
        Exit status, 0.
    """
    parser = argparse.ArgumentParser(description="Write synthetic fundus photographs.")
    parser.add_argument("folder", type=Path, metavar="OUT_DIR")
    parser.add_argument("--count", type=int, default=20, help="number of phantoms (20)")
    parser.add_argument("--size", type=int, default=1024, help="width in px (1024)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the set (0)")
    parser.add_argument(
        "--samples", action="store_true", help="write the pictures of sample_images/ instead"
    )
    options = parser.parse_args(argv)
    if options.samples:
        write_samples(options.folder)
    else:
        write_dataset(options.folder, options.count, options.size, options.seed)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
