"""Reading times, and agreement with and without the heat map viewed."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from drcore.agreement.selection import reader_names
from drcore.agreement.statistics import wilson_interval
from drcore.text import fold

if TYPE_CHECKING:
    from drcore.reviews.decision import Decision

__all__ = ["MapGroup", "ReadingTimes", "map_groups", "times_by_reader", "times_of"]


@dataclass(frozen=True, slots=True)
class ReadingTimes:
    """Seconds per photograph.

    Attributes:
        decisions: all.
        timed: those of which the time was recorded.
        median: seconds; NaN where none was timed.
        quartiles: lower and upper, seconds.
    """

    decisions: int
    timed: int
    median: float
    quartiles: tuple[float, float]


@dataclass(frozen=True, slots=True)
class MapGroup:
    """Decisions that were made with the map seen, or without.

    Attributes:
        seen: whether the map was seen.
        decisions: on photographs that the model graded.
        same: share in which the reader's grade is the model's; NaN where there are none.
        same_interval: 95 %, Wilson.
        times: of these decisions.
    """

    seen: bool
    decisions: int
    same: float
    same_interval: tuple[float, float]
    times: ReadingTimes


def times_of(decisions: Iterable[Decision]) -> ReadingTimes:
    """Return median and quartiles of the reading times of selected decisions."""
    given = list(decisions)
    seconds = [one.seconds for one in given if one.seconds is not None]
    if not seconds:
        return ReadingTimes(len(given), 0, math.nan, (math.nan, math.nan))
    low, median, high = (float(value) for value in np.percentile(seconds, [25, 50, 75]))
    return ReadingTimes(len(given), len(seconds), median, (low, high))


def times_by_reader(decisions: Iterable[Decision]) -> dict[tuple[str, str], ReadingTimes]:
    """Return reading times by reader's name and mode of reading ("not recorded" where unknown)."""
    given = list(decisions)
    names = reader_names(given)
    groups: dict[tuple[str, str], list[Decision]] = {}
    for one in given:
        key = (names[fold(one.reader)], one.mode or "not recorded")
        groups.setdefault(key, []).append(one)
    return {key: times_of(group) for key, group in sorted(groups.items())}


def map_groups(decisions: Iterable[Decision]) -> tuple[MapGroup, MapGroup]:
    """Split decisions by whether the heat map was viewed.

    This compares photographs and readers that differ in other ways as well, unless the study
    decided by lot who sees the map.

    Args:
        decisions: selected; those without the model's grade, and those of which it was not
            recorded whether the map was seen, are left out.

    Returns:
        Seen, and not seen.
    """
    known = [one for one in decisions if one.machine_grade is not None]
    groups = []
    for seen in (True, False):
        group = [one for one in known if one.overlay_seen is seen]
        same = sum(one.grade == one.machine_grade for one in group)
        share = same / len(group) if group else math.nan
        interval = wilson_interval(same, len(group))
        groups.append(MapGroup(seen, len(group), share, interval, times_of(group)))
    return groups[0], groups[1]
