"""How well two sets of grades agree: quadratic weighted kappa and its interval, ROC area."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from drcore.errors import DrcoreError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, NDArray

__all__ = ["bootstrap_interval", "confusion_matrix", "quadratic_weighted_kappa", "roc_auc"]


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
    observed = confusion_matrix(reference, given, grades).astype(np.float64)
    total = observed.sum()
    if total == 0:
        return float("nan")
    expected = np.outer(observed.sum(axis=1), observed.sum(axis=0)) / total
    grade = np.arange(grades)
    weight = (grade[:, None] - grade[None, :]) ** 2
    chance = float((weight * expected).sum())
    return 1 - float((weight * observed).sum()) / chance if chance > 0 else float("nan")


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
    finite = np.array(values)[np.isfinite(values)]
    if len(finite) == 0:
        return float("nan"), float("nan")
    tail = (1 - level) / 2 * 100
    low, high = np.percentile(finite, [tail, 100 - tail])
    return float(low), float(high)
