"""How many photographs could be released unread: a simulation for a programme's board."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta

from drcore.agreement.statistics import wilson_interval
from drcore.errors import DrcoreError
from drcore.results.columns import Row

if TYPE_CHECKING:
    from drcore.agreement.reading_time import ReadingTimes

__all__ = [
    "CONFIDENCE", "QUEUE", "SIMULATION", "Release", "needed", "queue", "release_plan",
    "upper_limit",
]  # fmt: skip

CONFIDENCE = 0.95

SIMULATION = (
    "This is a simulation for the programme\u2019s board, not a setting: drcore releases nothing, "
    "and every photograph is still read."
)


@dataclass(frozen=True, slots=True)
class Release:
    """What would be released unread, and what would be missed.

    Attributes:
        threshold: photographs with a lower score would be released.
        miss: share of referable photographs that may be missed, as asked.
        referable: patients with a referable photograph that was graded.
        missed: of these, those with a referable photograph below the threshold.
        limit: upper 95 % limit of the share missed.
        healthy: photographs that are not referable and were graded.
        released: of these, those that would be released.
        interval: of the share released, 95 %, Wilson.
        all_photographs: graded photographs with a reference.
        all_released: of these, referable or not.
    """

    threshold: float
    miss: float
    referable: int
    missed: int
    limit: float
    healthy: int
    released: int
    interval: tuple[float, float]
    all_photographs: int
    all_released: int

    @property
    def share(self) -> float:
        """Share of all photographs that would be released."""
        return self.all_released / self.all_photographs

    def hours(self, times: ReadingTimes, photographs: int) -> tuple[float, float, float] | None:
        """Return the hours that would be saved: median, lower and upper quartile.

        Args:
            times: of the record.
            photographs: that would be released.

        Returns:
            None where no time was recorded.
        """
        if not times.timed:
            return None
        low, high = times.quartiles
        return (photographs * times.median / 3600, photographs * low / 3600,
                photographs * high / 3600)  # fmt: skip


def upper_limit(missed: int, referable: int) -> float:
    """Return the one-sided upper 95 % limit of a share (Clopper & Pearson 1934)."""
    if missed >= referable:
        return 1.0
    return float(beta.ppf(CONFIDENCE, missed + 1, referable - missed))


def needed(miss: float) -> int:
    """Return how many patients with referable photographs the limit needs if none is missed."""
    return math.ceil(math.log(1 - CONFIDENCE) / math.log1p(-miss))


def release_plan(
    score: NDArray[np.float64], referable: NDArray[np.bool_], patient: NDArray[np.str_], miss: float
) -> Release:
    """Find the highest threshold at which not too many referable photographs would be missed.

    The threshold is the lowest score but k of the patients' lowest referable scores. What lies
    below such an order statistic is beta distributed, with the Clopper-Pearson limit of k misses as
    its 95 % quantile (Wilks 1941): the limit holds although the threshold was chosen on the same
    photographs. Each patient counts once, with the referable photograph that is missed first.

    Args:
        score: float64 (N,), of graded photographs, in grades.
        referable: bool (N,), by the reference.
        patient: str (N,), keys.
        miss: largest share of referable ones that may be missed, 0-1.

    Returns:
        What would be released.

    Raises:
        DrcoreError: `miss` is no share, or there are too few to support the limit; says the number
            needed.
    """
    if not 0 < miss < 1:
        raise DrcoreError(f"{miss:.3g} is not a share. Give more than 0 % and less than 100 %.")
    lowest: dict[str, float] = {}
    for key, value in zip(patient[referable].tolist(), score[referable].tolist(), strict=True):
        lowest[key] = min(value, lowest.get(key, math.inf))
    ranked = sorted(lowest.values())
    count = len(ranked)
    if upper_limit(0, count) > miss:
        raise DrcoreError(
            f"At most {100 * miss:g} % missed cannot be shown on {count} patients with referable "
            f"photographs: at least {needed(miss)} are needed. Add photographs, or allow more."
        )
    limits = beta.ppf(CONFIDENCE, np.arange(1, count + 1), np.arange(count, 0, -1))
    allowed = int((limits <= miss).sum()) - 1
    threshold = ranked[allowed]
    below = score < threshold
    missed = sum(value < threshold for value in ranked)
    healthy, released = int((~referable).sum()), int((below & ~referable).sum())
    return Release(
        threshold, miss, count, missed, upper_limit(allowed, count), healthy, released,
        wilson_interval(released, healthy), len(score), int(below.sum()),
    )  # fmt: skip


def queue(rows: Sequence[Row], threshold: float) -> list[Row]:
    """Return tomorrow's list in the order of reading.

    Args:
        rows: of its table of results.
        threshold: of a `Release`.

    Returns:
        Rows with the columns of `QUEUE`: what has no grade first, then the highest score; last
        those that would be released.
    """

    def key(row: Row) -> tuple[int, float]:
        if row["status"] != "graded" or not row["score"]:
            return 0, 0.0
        value = float(row["score"])
        return (1 if value >= threshold else 2), -value

    words = ("read: no grade", "read", "would be released")
    return [
        {
            "place": str(place), "image": row["image"], "patient": row.get("patient", ""),
            "status": row["status"], "grade": row["grade"], "score": row["score"],
            "simulated": words[key(row)[0]],
        }
        for place, row in enumerate(sorted(rows, key=key), 1)
    ]  # fmt: skip


QUEUE = ("place", "image", "patient", "status", "grade", "score", "simulated")
"""Columns of the queue."""
