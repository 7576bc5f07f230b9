"""Bootstrap intervals of several figures at once, over patients."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from drcore.agreement.statistics import FEWEST_PATIENTS, percentile_interval

__all__ = ["DRAWS", "Statistic", "patient_intervals"]

DRAWS = 1000

Statistic = Callable[[NDArray[np.int64]], float]
"""Of the photographs with these indices."""


def patient_intervals(
    statistics: Mapping[str, Statistic], patient: ArrayLike, *, draws: int = DRAWS, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """Return the 95 % percentile interval of each statistic (Efron & Tibshirani 1993).

    Args:
        statistics: by name; all see the same resamples.
        patient: (N,) keys; the photographs of a patient are drawn together.
        draws: resamples.
        seed: of the resampling.

    Returns:
        Lower and upper bound by name; NaN for fewer than `FEWEST_PATIENTS` patients, and where a
        statistic had no value in any resample.
    """
    names, member = np.unique(np.asarray(patient), return_inverse=True)
    order = np.argsort(member, kind="stable")
    counts = np.bincount(member, minlength=len(names))
    starts = np.concatenate([[0], np.cumsum(counts)])
    rng = np.random.default_rng(seed)
    values: dict[str, list[float]] = {name: [] for name in statistics}
    for _ in range(draws if len(names) >= FEWEST_PATIENTS else 0):
        times = np.bincount(rng.integers(0, len(names), len(names)), minlength=len(names))
        drawn = np.repeat(order, np.repeat(times, np.diff(starts)))
        for name, statistic in statistics.items():
            values[name].append(statistic(drawn))
    return {name: percentile_interval(found) for name, found in values.items()}
