"""How well two sets of grades agree: quadratic weighted kappa, ROC area and their intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from drcore.errors import DrcoreError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, NDArray

__all__ = [
    "FEWEST_PATIENTS",
    "bootstrap_interval",
    "bootstrap_matrices",
    "confusion_matrix",
    "kappa_of_matrices",
    "percentile_interval",
    "quadratic_weighted_kappa",
    "roc_auc",
    "wilson_interval",
]

FEWEST_PATIENTS = 10
"""From which an interval is given: a bootstrap over fewer is narrower than the truth."""


def confusion_matrix(reference: ArrayLike, given: ArrayLike, grades: int = 5) -> NDArray[np.int64]:
    """Count pairs of grades.

    Args:
        reference: int (N,), 0 to grades - 1.
        given: int (N,), 0 to grades - 1.
        grades: number of grades.

    Returns:
        int64 (grades, grades), row: reference, column: given.

    Raises:
        DrcoreError: the lengths differ, or a grade is outside the scale.
    """
    rows, columns = np.asarray(reference, np.int64), np.asarray(given, np.int64)
    both = np.concatenate([rows.ravel(), columns.ravel()])
    if rows.shape != columns.shape or ((both < 0) | (both >= grades)).any():
        raise DrcoreError(
            f"{rows.size} and {columns.size} grades cannot be compared: give as many of the one "
            f"as of the other, each from 0 to {grades - 1}."
        )
    pairs = rows * grades + columns
    counts = np.bincount(pairs, minlength=grades * grades).astype(np.int64)
    return counts.reshape(grades, grades)


def quadratic_weighted_kappa(reference: ArrayLike, given: ArrayLike, grades: int = 5) -> float:
    """Agreement beyond chance, disagreements weighted by their squared distance (Cohen 1968).

    Args:
        reference: int (N,), 0 to grades - 1.
        given: int (N,), 0 to grades - 1.
        grades: number of grades.

    Returns:
        Kappa, at most 1; NaN where chance agreement is perfect (all grades the same) or N is 0.

    Raises:
        DrcoreError: the lengths differ, or a grade is outside the scale.
    """
    return float(kappa_of_matrices(confusion_matrix(reference, given, grades)))


def kappa_of_matrices(counts: ArrayLike) -> NDArray[np.float64]:
    """Quadratic weighted kappa of confusion matrices.

    Args:
        counts: (..., grades, grades).

    Returns:
        float64 (...), each as `quadratic_weighted_kappa` has it.
    """
    observed = np.asarray(counts, np.float64)
    grade = np.arange(observed.shape[-1])
    weight = (grade[:, None] - grade[None, :]) ** 2
    total = observed.sum(axis=(-2, -1))
    margins = observed.sum(axis=-1)[..., :, None] * observed.sum(axis=-2)[..., None, :]
    chance = (weight * margins).sum(axis=(-2, -1)) / np.where(total > 0, total, 1)
    differing = (weight * observed).sum(axis=(-2, -1))
    known = np.where(chance > 0, chance, np.nan)
    return np.asarray(1 - differing / known, np.float64)


def roc_auc(positive: ArrayLike, score: ArrayLike) -> float:
    """Area under the ROC curve: how often a positive scores above a negative, ties half.

    Args:
        positive: bool (N,).
        score: float (N,).

    Returns:
        0-1; NaN where one class is missing.
    """
    truth = np.asarray(positive, bool)
    values = np.asarray(score, np.float64)
    n_positive, n_negative = int(truth.sum()), int((~truth).sum())
    if n_positive == 0 or n_negative == 0:
        return float("nan")
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    above = float(ranks[truth].sum()) - n_positive * (n_positive + 1) / 2
    return above / (n_positive * n_negative)


def bootstrap_interval(
    statistic: Callable[[NDArray[np.int64]], float],
    count: int,
    *,
    groups: ArrayLike | None = None,
    draws: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile bootstrap interval of a statistic.

    Args:
        statistic: takes int64 indices (M,) of the drawn observations, returns its value.
        count: number of observations N.
        groups: (N,) keys, such as patients, that are drawn together; single observations else.
        draws: resamples.
        level: coverage, 0-1.
        seed: of the resampling.

    Returns:
        Lower and upper bound; NaN where the statistic was NaN in every resample, or N is 0.
    """
    if count == 0:
        return float("nan"), float("nan")
    rng = np.random.default_rng(seed)
    if groups is None:
        members = [np.array([i]) for i in range(count)]
    else:
        _, inverse = np.unique(np.asarray(groups), return_inverse=True)
        order = np.argsort(inverse, kind="stable")
        members = np.split(order, np.cumsum(np.bincount(inverse))[:-1])
    values = []
    for _ in range(draws):
        drawn = rng.integers(0, len(members), len(members))
        values.append(statistic(np.concatenate([members[i] for i in drawn])))
    return percentile_interval(values, level=level)


def bootstrap_matrices(
    reference: ArrayLike,
    given: ArrayLike,
    groups: ArrayLike,
    *,
    draws: int = 1000,
    seed: int = 0,
    grades: int = 5,
) -> NDArray[np.int64]:
    """Draw confusion matrices of resamples of whole groups, such as patients.

    What `bootstrap_interval` does one resample after the other, for statistics that the matrix
    holds: milliseconds where that takes seconds.

    Args:
        reference: int (N,), 0 to grades - 1.
        given: int (N,), 0 to grades - 1.
        groups: (N,) keys that are drawn together.
        draws: resamples.
        seed: of the resampling.
        grades: number of grades.

    Returns:
        int64 (draws, grades, grades), row: reference, column: given; all zero where N is 0.

    Raises:
        DrcoreError: the lengths differ, or a grade is outside the scale.
    """
    confusion_matrix(reference, given, grades)  # refuses what cannot be paired
    pairs = np.asarray(reference, np.int64) * grades + np.asarray(given, np.int64)
    drawn = np.zeros((draws, grades * grades), np.int64)
    if pairs.size:
        names, inverse = np.unique(np.asarray(groups), return_inverse=True)
        counts = np.zeros((len(names), grades * grades), np.int64)
        np.add.at(counts, (inverse, pairs), 1)
        rng = np.random.default_rng(seed)
        for index in range(draws):
            times = np.bincount(rng.integers(0, len(names), len(names)), minlength=len(names))
            drawn[index] = times @ counts
    return drawn.reshape(draws, grades, grades)


def percentile_interval(values: ArrayLike, *, level: float = 0.95) -> tuple[float, float]:
    """Return the percentile interval of resampled values.

    Args:
        values: float (N,); what is not finite is left out.
        level: coverage, 0-1.

    Returns:
        Lower and upper bound; NaN where no value is finite.
    """
    given = np.asarray(values, np.float64)
    finite = given[np.isfinite(given)]
    if len(finite) == 0:
        return float("nan"), float("nan")
    tail = (1 - level) / 2 * 100
    low, high = np.percentile(finite, [tail, 100 - tail])
    return float(low), float(high)


def wilson_interval(hits: int, count: int) -> tuple[float, float]:
    """95 % interval of a proportion (Wilson 1927), which stays sensible at 0 and at 1.

    Args:
        hits: 0 to count.
        count: observations.

    Returns:
        Lower and upper bound, 0-1; NaN where the count is 0.
    """
    if count == 0:
        return float("nan"), float("nan")
    z = 1.959963984540054
    share = hits / count
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    spread = share * (1 - share) / count + z * z / (4 * count * count)
    half = z * spread**0.5 / (1 + z * z / count)
    return max(0.0, middle - half), min(1.0, middle + half)
