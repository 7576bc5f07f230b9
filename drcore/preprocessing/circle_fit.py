"""Fitting a circle to points of an outline, some of which do not lie on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["fit_circle", "share_inside"]


def fit_circle(
    points: NDArray[np.float64], w: int, h: int, least: float
) -> tuple[float, float, float] | None:
    """RANSAC over triplets, then least squares on the inliers; None where no circle explains it."""
    rng = np.random.default_rng(0)
    n = len(points)
    triples = points[rng.integers(0, n, (400, 3))]
    centres, radii = _circumcircles(triples)
    short, diagonal = min(w, h), float(np.hypot(w, h))
    plausible = (radii > 0.22 * short) & (radii < 0.75 * diagonal)
    centres, radii = centres[plausible], radii[plausible]
    if len(radii) == 0:
        return None
    distance = np.hypot(points[None, :, 0] - centres[:, :1], points[None, :, 1] - centres[:, 1:])
    close = np.abs(distance - radii[:, None]) < 0.012 * radii[:, None] + 0.8
    best = int(np.argmax(close.sum(axis=1)))
    inlier = close[best]
    x, y, radius = float(centres[best, 0]), float(centres[best, 1]), float(radii[best])
    for _ in range(3):
        if inlier.sum() < 16:
            return None
        x, y, radius = _least_squares(points[inlier])
        residual = np.abs(np.hypot(points[:, 0] - x, points[:, 1] - y) - radius)
        inlier = residual < 0.012 * radius + 0.8
    # Few inliers or a short arc: the shape is not a circle, or the fit is a guess.
    angles = np.arctan2(points[inlier, 1] - y, points[inlier, 0] - x)
    covered = len(np.unique(np.floor(angles / (2 * np.pi) * 72)))
    if inlier.mean() < least or covered < 8 or not 0.22 * short < radius < 0.75 * diagonal:
        return None
    # The outline runs through centres of pixels, half a pixel inside their edge; the low threshold
    # includes pixels that the rim only touches, half a pixel outside it. The two cancel.
    return x, y, radius


def share_inside(retina: NDArray[np.uint8], circle: tuple[float, float, float]) -> float:
    """Share of the retina that a circle keeps: one that leaves much out has met a false rim."""
    rows, columns = np.nonzero(retina)
    x, y, radius = circle
    return float((np.hypot(columns + 0.5 - x, rows + 0.5 - y) <= radius + 1).mean())


def _circumcircles(
    triples: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    a, b, c = triples[:, 0], triples[:, 1], triples[:, 2]
    ab, ac = b - a, c - a
    cross = 2 * (ab[:, 0] * ac[:, 1] - ab[:, 1] * ac[:, 0])
    good = np.abs(cross) > 1e-6
    ab, ac, a, cross = ab[good], ac[good], a[good], cross[good]
    ab2, ac2 = (ab**2).sum(axis=1), (ac**2).sum(axis=1)
    ux = (ac[:, 1] * ab2 - ab[:, 1] * ac2) / cross
    uy = (ab[:, 0] * ac2 - ac[:, 0] * ab2) / cross
    return np.stack([a[:, 0] + ux, a[:, 1] + uy], axis=1), np.hypot(ux, uy)


def _least_squares(points: NDArray[np.float64]) -> tuple[float, float, float]:
    """Algebraic circle fit (Kasa): linear, and exact enough on outlier-free arcs."""
    mean = points.mean(axis=0)
    q = points - mean
    matrix = np.column_stack([2 * q, np.ones(len(q))])
    solution = np.linalg.lstsq(matrix, (q**2).sum(axis=1), rcond=None)[0]
    radius = float(np.sqrt(max(solution[2] + solution[0] ** 2 + solution[1] ** 2, 0.0)))
    return float(solution[0] + mean[0]), float(solution[1] + mean[1]), radius
