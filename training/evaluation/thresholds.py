"""Thresholds between grades, fitted to labelled scores."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["PLAIN_THRESHOLDS", "fit_thresholds", "grade_with"]

PLAIN_THRESHOLDS = (0.5, 1.5, 2.5, 3.5)
LARGEST_SHIFT = 0.8
"""No threshold is further from the plain one, in grades."""
STEP = 0.025
PRICE = 0.0
"""Price in kappa of moving a threshold by a grade. Cross-validation found none that helps."""
RESAMPLES = 50

_DISAGREEMENT = (np.arange(5)[:, None] - np.arange(5)) ** 2 / 16.0


def fit_thresholds(
    score: NDArray[np.float64],
    truth: NDArray[np.int64],
    dataset: NDArray[np.str_],
    patient: NDArray[np.str_] | None = None,
    *,
    price: float = PRICE,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> tuple[float, float, float, float]:
    """Find the four scores between grades that agree best with the validation labels.

    The mean of the optima over resamples of the patients (bagging, Breiman 1996): kappa jumps
    from photograph to photograph, and one optimum would follow the jumps. Each optimum is the
    highest mean over datasets of quadratic weighted kappa, so that the largest dataset does not
    decide alone, less a price, where one is asked, for leaving the plain rounding.

    Args:
        score: float (N,).
        truth: int (N,), 0-4.
        dataset: str (N,).
        patient: str (N,), keys drawn together; single photographs where left out.
        resamples: resamples; 0 for the optimum on the photographs as they are.
    """
    keys = np.arange(len(score)) if patient is None else patient
    rng = np.random.default_rng(seed)
    parts = []
    for name in sorted(set(dataset.tolist())):
        chosen = dataset == name
        _, member = np.unique(keys[chosen], return_inverse=True)
        parts.append((score[chosen], truth[chosen], member))
    if resamples == 0:
        found = [_best_thresholds([(s, t, np.ones(len(s))) for s, t, _ in parts], price)]
    else:
        found = []
        for _ in range(resamples):
            drawn = []
            for s, t, member in parts:
                patients = int(member.max()) + 1
                times = np.bincount(rng.integers(0, patients, patients), minlength=patients)
                drawn.append((s, t, times[member].astype(float)))
            found.append(_best_thresholds(drawn, price))
    a, b, c, d = (round(float(value), 3) for value in np.mean(found, axis=0))
    return a, b, c, d


def _counts_below(
    parts: list[tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]]],
    grid: NDArray[np.float64],
) -> list[NDArray[np.float64]]:
    """For each part [g, j]: photographs of grade g with a score below grid[j]."""
    below = []
    for score, truth, weight in parts:
        # A score on a threshold gets the higher grade, as in Grader.grade_of.
        place = np.searchsorted(grid, score, side="right")
        cells = truth * (len(grid) + 1) + place
        counts = np.bincount(cells, weight, minlength=5 * (len(grid) + 1))
        below.append(np.cumsum(counts.reshape(5, -1), axis=1))
    return below


def _best_thresholds(
    parts: list[tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]]], price: float
) -> NDArray[np.float64]:
    """Coordinate search for the highest mean kappa over parts of scores, grades and weights."""
    grid = np.round(
        np.arange(
            PLAIN_THRESHOLDS[0] - LARGEST_SHIFT,
            PLAIN_THRESHOLDS[3] + LARGEST_SHIFT + STEP / 2,
            STEP,
        ),
        3,
    )
    below = _counts_below(parts, grid)

    def quality(places: NDArray[np.int64]) -> NDArray[np.float64]:
        """Of candidates (C, 4), as places on the grid."""
        kappas = []
        for table in below:
            inner = table[:, places]  # (5, C, 4)
            edges = np.concatenate(
                [
                    0 * inner[..., :1],
                    inner,
                    np.broadcast_to(table[:, -1:, None], inner.shape)[..., :1],
                ],
                axis=2,
            )
            observed = np.diff(edges, axis=2).transpose(1, 0, 2)  # (C, reference, given)
            rows, columns = observed.sum(axis=2), observed.sum(axis=1)
            chance = np.einsum("ci,cj,ij->c", rows, columns, _DISAGREEMENT) / table[:, -1].sum()
            error = (observed * _DISAGREEMENT).sum(axis=(1, 2))
            kappas.append(1 - error / np.where(chance > 0, chance, np.nan))
        known = np.nan_to_num(np.array(kappas)).mean(axis=0)
        moved = price * ((grid[places] - PLAIN_THRESHOLDS) ** 2).sum(axis=1)
        return np.asarray(known - moved)

    near = [
        np.flatnonzero(np.abs(grid - plain) <= LARGEST_SHIFT + 1e-9) for plain in PLAIN_THRESHOLDS
    ]
    best = np.array([int(np.argmin(np.abs(grid - plain))) for plain in PLAIN_THRESHOLDS])
    for _ in range(8):
        before = best.copy()
        for i in range(4):
            low = best[i - 1] if i else -1
            high = best[i + 1] if i < 3 else len(grid)
            values = near[i][(near[i] > low) & (near[i] < high)]
            trial = np.repeat(best[None], len(values), axis=0)
            trial[:, i] = values
            reached = quality(trial)
            if reached.max() > quality(best[None])[0] + 1e-9:
                # The middle of a plateau, not its end.
                top = values[reached >= reached.max() - 1e-9]
                best[i] = top[len(top) // 2]
        if (best == before).all():
            break
    return np.asarray(grid[best])


def grade_with(thresholds: Sequence[float], score: NDArray[np.float64]) -> NDArray[np.int64]:
    """Grade scores as `Grader.grade_of` does.

    Args:
        score: float (N,).

    Returns:
        int64 (N,), 0-4.
    """
    return np.searchsorted(thresholds, score, side="right").astype(np.int64)
