"""The statistic of the control charts: likelihood-ratio CUSUMs with a set false alarm rate."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from drcore.monitoring.reference import Histogram

__all__ = ["EXPECTED", "HORIZON", "Evidence", "evidence_of", "limit_for"]

HORIZON = 10_000
"""Photographs over which the number of false alarms is limited."""

EXPECTED = 0.2
"""False alarms that are expected over all charts together within `HORIZON` photographs: more than
one in 2 % of streams."""

_RATE = 0.16

_ERRORS = 2.0
"""Standard errors of the reference that are taken off each step."""


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """The statistic after each photograph.

    Attributes:
        value: float64 (N,), log of the mean of the likelihood-ratio CUSUMs.
        alarms: indices of the photographs at which it crossed the limit; it then starts again.
        kinds: of each alarm, "higher", "lower", "more varied" or "less varied".
    """

    value: NDArray[np.float64]
    alarms: tuple[int, ...]
    kinds: tuple[str, ...]


def limit_for(charts: int) -> float:
    """Return the limit of each chart.

    In control, a CUSUM of likelihood ratios of a shift d (in standard deviations) crosses log c at
    a rate of d^2 / 2 * exp(-1.166 d) / c (Siegmund's correction for overshoot), which is at most
    0.16 / c for the shifts used here; the mean of several crosses no more often. The limit is the c
    at which the rates of all charts (Bonferroni) add up to `EXPECTED` alarms in `HORIZON`
    photographs. A stream that is divided by camera divides the photographs too, so cameras add
    nothing. Without Siegmund's correction, Doob's inequality alone bounds the rate by 1 / c.

    Args:
        charts: measures that are charted.

    Returns:
        log c.

    Source: Lorden 1971; Siegmund 1985; Shin, Ramdas & Rinaldo 2023 (e-detectors).
    """
    return math.log(_RATE * charts * HORIZON / EXPECTED)


def evidence_of(
    histogram: Histogram, bins: NDArray[np.int64], units: NDArray[np.int64], limit: float
) -> Evidence:
    """Follow a stream.

    Args:
        histogram: of the reference.
        bins: int64 (N,), bins of the values in the order of time.
        units: int64 (N,), keys; neighbours with the same key are of one patient and day, and
            together count as one: the mean of their ratios is a ratio whatever ties them.
        limit: log of the limit.

    Returns:
        The statistic and where it crossed the limit.
    """
    table, kinds = _log_ratios(histogram)
    steps, ends = _by_unit(table[:, bins].T, units)
    value = np.zeros(len(bins))
    alarms: list[int] = []
    found: list[str] = []
    start = 0
    while start < len(steps):
        path = np.vstack([np.zeros(len(kinds)), np.cumsum(steps[start:], axis=0)])
        sums = path[1:] - np.minimum.accumulate(path[:-1], axis=0)
        top = sums.max(axis=1, keepdims=True)
        mixed = top[:, 0] + np.log(np.exp(sums - top).mean(axis=1))
        over = np.flatnonzero(mixed >= limit)
        stop = int(over[0]) + 1 if len(over) else len(mixed)
        sizes = np.diff(ends[start : start + stop + 1])
        value[ends[start] : ends[start + stop]] = np.repeat(mixed[:stop], sizes)
        if len(over):
            alarms.append(int(ends[start + stop]) - 1)
            found.append(kinds[int(sums[stop - 1].argmax())])
        start += stop
    return Evidence(value, tuple(alarms), tuple(found))


def _log_ratios(histogram: Histogram) -> tuple[NDArray[np.float64], list[str]]:
    """Log-likelihood ratios (alternatives, bins) of tilted references, and what they stand for."""
    p = histogram.shares
    if len(p) == 2:
        place = np.array([0.0, 1.0])
        tilts = [(place * slope, slope > 0) for slope in np.log([2, 5, 1 / 2, 1 / 5])]
    else:
        place = ndtri(np.cumsum(p) - p / 2)
        place = (place - p @ place) / math.sqrt(p @ (place - p @ place) ** 2 or 1)
        tilts = [(place * slope, slope > 0) for slope in (0.4, 1.0, -0.4, -1.0)]
    kinds = ["higher" if up else "lower" for _, up in tilts]
    if len(p) > 5:
        around = place**2 - 1
        tilts += [(around * slope, slope > 0) for slope in (0.3, -0.4)]
        kinds += ["more varied", "less varied"]
    rows = []
    for tilt, _ in tilts:
        ratio = np.exp(tilt) / (p @ np.exp(tilt))
        # The reference is itself a sample: under the true shares the mean ratio is 1 give or take.
        error = math.sqrt(float(p @ (ratio - 1) ** 2) / histogram.total)
        rows.append(np.log(ratio) - math.log1p(_ERRORS * error))
    return np.array(rows), kinds


def _by_unit(
    steps: NDArray[np.float64], units: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return steps (U, alternatives) of the units, and where each begins and the last ends."""
    count = len(units)
    begins = np.flatnonzero(np.r_[True, units[1:] != units[:-1]]) if count else np.zeros(0, int)
    ends = np.append(begins, count)
    if not count:
        return steps, ends
    sums = np.add.reduceat(np.exp(steps), begins, axis=0)
    return np.log(sums / np.diff(ends)[:, None]), ends
