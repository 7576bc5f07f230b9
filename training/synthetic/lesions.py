"""Lesions of a synthetic eye."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import cv2
import numpy as np

from training.synthetic.anatomy import Eye, fibre_angle, random_place
from training.synthetic.recipe import LESIONS, BoolImage, FloatImage, Point
from training.synthetic.vessels import Vessel


@dataclass
class PaintedLesions:
    """What has been painted so far: per type a layer (H, W) float32 0 to 1, a mask and centres."""

    eye: Eye
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
            rough: how irregular the outline is, 0 (ellipse) to 0.5.
            soft: width of the edge as a share of the radius, 0 to 2.
            streaks: depth of the stripes along the long axis, 0 to 1.
            strength: opacity, 0 to 1.
        """
        eye = self.eye
        cx, cy = eye.to_px(*where)
        reach = max(radii) * eye.radius * (1 + 2 * rough + soft / 2) + 2
        x0, x1 = math.floor(cx - reach), math.ceil(cx + reach)
        y0, y1 = math.floor(cy - reach), math.ceil(cy + reach)
        if x0 < 0 or y0 < 0 or x1 > eye.width or y1 > eye.height:
            return False
        window = np.s_[y0:y1, x0:x1]
        alpha = self._blob(window, where, radii, rng, angle, rough, soft, streaks)
        inside = alpha >= 0.35
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

    def _blob(
        self,
        window: tuple[slice, slice],
        where: Point,
        radii: Point,
        rng: np.random.Generator,
        angle: float,
        rough: float,
        soft: float,
        streaks: float,
    ) -> FloatImage:
        """Opacity of a blob in a window of the picture, 0 to 1."""
        eye = self.eye
        dx = eye.x[window] - where[0]
        dy = eye.y[window] - where[1]
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
        return alpha


def paint_soft_exudates(
    lesions: PaintedLesions, count: int, rng: np.random.Generator, vessels: list[Vessel]
) -> None:
    """Paint cotton wool spots beside the larger vessels."""
    arcades = [v for v in vessels if v.radii[0] > 0.006] or list(vessels)
    for _ in range(count):
        for _ in range(40):
            vessel = arcades[rng.integers(len(arcades))]
            x, y = vessel.points[rng.integers(len(vessel.points) // 5, len(vessel.points))]
            where = (float(x + rng.normal(0, 0.05)), float(y + rng.normal(0, 0.05)))
            long = rng.uniform(0.028, 0.06)
            if lesions.stamp(
                "soft_exudates", where, (long, long * rng.uniform(0.55, 0.85)), rng,
                angle=fibre_angle(lesions.eye, where) + rng.normal(0, 0.5), rough=0.26, soft=0.8,
                streaks=0.3, strength=rng.uniform(0.6, 1.0),
            ):  # fmt: skip
                break


def paint_haemorrhages(
    lesions: PaintedLesions, count: int, rng: np.random.Generator, quadrants: int
) -> None:
    """Paint flames, dots and blots into some quadrants of the field."""
    chosen = rng.permutation(4)[:quadrants]
    for i in range(count):
        for _ in range(40):
            where = random_place(lesions.eye, rng, int(chosen[i % quadrants]))
            kind = rng.random()
            near = math.hypot(where[0] - lesions.eye.disc[0], where[1] - lesions.eye.disc[1]) < 0.8
            strength = rng.uniform(0.55, 1.0)
            if kind < 0.25 and near:  # flame, in the nerve fibre layer
                long = rng.uniform(0.025, 0.065)
                done = lesions.stamp(
                    "haemorrhages", where, (long, long * rng.uniform(0.18, 0.3)), rng,
                    angle=fibre_angle(lesions.eye, where), rough=0.15, soft=0.6, streaks=0.8,
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


def paint_hard_exudates(lesions: PaintedLesions, clusters: int, rng: np.random.Generator) -> None:
    """Paint clusters and rings of specks about the macula."""
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


def paint_microaneurysms(lesions: PaintedLesions, count: int, rng: np.random.Generator) -> None:
    """Paint small round dots, most of them in the macula."""
    fovea = lesions.eye.fovea
    for _ in range(count):
        for _ in range(40):
            where = random_place(lesions.eye, rng)
            if rng.random() < 0.7:  # they favour the macula
                where = (fovea[0] + rng.normal(-0.05, 0.3), fovea[1] + rng.normal(0, 0.3))
            size = rng.uniform(0.0062, 0.0105)
            if lesions.stamp(
                "microaneurysms", where, (size, size * rng.uniform(0.85, 1)), rng,
                rough=0.05, soft=0.7, strength=rng.uniform(0.75, 1.0),
            ):  # fmt: skip
                break
