"""Control charts by week and by camera, their alarms and the sentences that tell them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from itertools import groupby

import numpy as np

from drcore.monitoring.evidence import EXPECTED, HORIZON, Evidence, evidence_of, limit_for
from drcore.monitoring.observations import MEASURES, Measure, Observation
from drcore.monitoring.reference import Histogram, has, histogram_of
from drcore.text import csv_text

__all__ = ["LIMITS", "OWN_REFERENCE", "Chart", "Point", "charts_csv", "charts_of", "told"]

OWN_REFERENCE = 500
"""First photographs of a camera that are the reference where there is no other."""

LIMITS = (
    "Limits: for each measure and camera a CUSUM of likelihood ratios against the reference "
    "(higher, lower, more and less varied). While nothing changes, "
    f"{EXPECTED:g} false alarms are expected over all charts in {HORIZON:,} photographs (a run "
    f"length of {len(MEASURES) * HORIZON / EXPECTED:,.0f} photographs a chart, Bonferroni over the "
    "measures; two standard errors of the reference are taken off each step). Photographs of one "
    "patient and day count as one. The band around the reference is three standard errors of the "
    "period\u2019s mean (Shewhart) and raises no alarm."
)

_COLUMNS = (
    "measure", "camera", "reference", "period", "count", "mean", "reference_mean", "low", "high",
    "evidence", "limit", "alarms",
)  # fmt: skip
_BATCH = 100


@dataclass(frozen=True, slots=True)
class Point:
    """One week of a chart, or a hundred photographs where their days are not known.

    Attributes:
        period: "2026-W05", or "photographs 1 to 100".
        count: photographs or decisions.
        mean: of their values.
        low, high: reference mean with three standard errors of as many photographs.
        evidence: highest value of the statistic in the period.
        alarms: times that it crossed the limit.
    """

    period: str
    count: int
    mean: float
    low: float
    high: float
    evidence: float
    alarms: int


@dataclass(frozen=True, slots=True)
class Chart:
    """A measure of one camera over time.

    Attributes:
        name: key of `MEASURES`.
        camera: model, or "not known".
        own: whether the reference is the camera's own first photographs.
        histogram: reference; None while it is being gathered.
        gathered: photographs that are reference, or that there are of it so far.
        limit: of the statistic.
        points: in the order of time.
        sentences: one for the first alarm of each kind.
        alarms: photographs or decisions at which the limit was crossed.
    """

    name: str
    camera: str
    own: bool
    histogram: Histogram | None
    gathered: int
    limit: float
    points: tuple[Point, ...] = ()
    sentences: tuple[str, ...] = ()
    alarms: tuple[Observation, ...] = ()

    @property
    def measure(self) -> Measure:
        """What is charted."""
        return MEASURES[self.name]


def charts_of(
    observations: Sequence[Observation],
    reference: Mapping[str, Histogram] | None = None,
    *,
    since: date | None = None,
    own: int = OWN_REFERENCE,
) -> list[Chart]:
    """Return the charts of a stream.

    Args:
        observations: in the order of time.
        reference: of the bundle; None, and for measures that it lacks, each camera's own first
            photographs are the reference.
        since: first day that is watched; undated photographs are then left out. Earlier ones still
            serve as own reference.
        own: photographs of an own reference.

    Returns:
        By measure in the order of `MEASURES`, then by camera; those without any value are left out.
    """
    given: dict[tuple[str, str], list[Observation]] = {}
    for one in observations:
        for name in MEASURES:
            if has(name, one.values):
                given.setdefault((name, one.camera), []).append(one)
    limit = limit_for(len(MEASURES))
    order = {name: place for place, name in enumerate(MEASURES)}
    return [
        _chart(name, camera, stream, (reference or {}).get(name), limit, since, own)
        for (name, camera), stream in sorted(given.items(), key=lambda k: (order[k[0][0]], k[0][1]))
    ]


def told(charts: Sequence[Chart]) -> list[str]:
    """Return the sentences of all charts; one that says so where no limit was crossed."""
    sentences = [sentence for chart in charts for sentence in chart.sentences]
    if sentences:
        return sentences
    if any(chart.points for chart in charts):
        return ["No limit was crossed."]
    return ["Nothing is watched yet."]


def charts_csv(charts: Iterable[Chart]) -> str:
    """Return all points as CSV, cells safe in a spreadsheet."""
    rows = []
    for chart in charts:
        for point in chart.points:
            cells = (
                chart.name, chart.camera, "own" if chart.own else "bundle", point.period,
                str(point.count), f"{point.mean:.4f}",
                f"{chart.histogram.mean:.4f}" if chart.histogram else "", f"{point.low:.4f}",
                f"{point.high:.4f}", f"{point.evidence:.4f}", f"{chart.limit:.4f}",
                str(point.alarms),
            )  # fmt: skip
            rows.append(dict(zip(_COLUMNS, cells, strict=True)))
    return csv_text(rows, _COLUMNS)


def _chart(
    name: str,
    camera: str,
    stream: list[Observation],
    histogram: Histogram | None,
    limit: float,
    since: date | None,
    own: int,
) -> Chart:
    is_own = histogram is None
    gathered = histogram.total if histogram else min(own, len(stream))
    if histogram is None:
        if len(stream) >= own:
            histogram = histogram_of(name, [one.values for one in stream[:own]])
        stream = stream[own:]
    if since is not None:
        stream = [one for one in stream if one.day is not None and one.day >= since]
    chart = Chart(name, camera, is_own, histogram, gathered, limit)
    if histogram is None or not stream:
        return chart
    values = np.array(histogram.values_of(name, [one.values for one in stream]))
    _, units = np.unique([one.unit for one in stream], return_inverse=True)
    evidence = evidence_of(histogram, histogram.bins_of(values.tolist()), units, limit)
    periods = _periods(stream)
    points = tuple(_points(periods, values, histogram, evidence))
    sentences = tuple(_sentences(chart, periods, values, evidence))
    alarms = tuple(stream[place] for place in evidence.alarms)
    return replace(chart, points=points, sentences=sentences, alarms=alarms)


def _periods(stream: Sequence[Observation]) -> list[str]:
    found = []
    undated = sum(one.day is None for one in stream)
    for number, one in enumerate(stream):
        if one.day is None:
            first = number // _BATCH * _BATCH
            found.append(f"photographs {first + 1} to {min(first + _BATCH, undated)}")
        else:
            year, week, _ = one.day.isocalendar()
            found.append(f"{year}-W{week:02d}")
    return found


def _points(
    periods: Sequence[str], values: np.ndarray, histogram: Histogram, evidence: Evidence
) -> Iterable[Point]:
    start = 0
    for period, members in groupby(periods):
        count = len(list(members))
        part = slice(start, start + count)
        error = 3 * histogram.deviation / math.sqrt(count)
        alarms = sum(start <= place < start + count for place in evidence.alarms)
        yield Point(
            period, count, float(values[part].mean()), histogram.mean - error,
            histogram.mean + error, float(evidence.value[part].max()), alarms,
        )  # fmt: skip
        start += count


def _sentences(
    chart: Chart, periods: Sequence[str], values: np.ndarray, evidence: Evidence
) -> Iterable[str]:
    if chart.histogram is None:
        return
    measure = chart.measure
    camera = "camera not known" if chart.camera == "not known" else f"camera {chart.camera}"
    for kind in dict.fromkeys(evidence.kinds):
        places = [p for p, k in zip(evidence.alarms, evidence.kinds, strict=True) if k == kind]
        first = places[0]
        recent = values[max(0, first - _BATCH + 1) : first + 1]
        more = len(places) - 1
        again = f", and {'once' if more == 1 else f'{more} times'} since" if more else ""
        thing = "photograph" if measure.photograph else "decision"
        yield (
            f"{measure.title}, {camera}: {kind} than the reference since {periods[first]} "
            f"({thing} {first + 1:,} of those watched{again}). Last {len(recent)}: "
            f"{_amount(measure, float(recent.mean()), float(recent.std()), kind)}; reference: "
            f"{_amount(measure, chart.histogram.mean, chart.histogram.deviation, kind)}."
        )


def _amount(measure: Measure, mean: float, deviation: float, kind: str) -> str:
    if measure.share:
        return f"{mean:.1%}"
    if measure.classes:
        return f"{measure.unit} {mean:.2f}"
    unit = f" {measure.unit}" if measure.unit else ""
    spread = f", standard deviation {deviation:.2f}" if "varied" in kind else ""
    return f"mean {mean:.2f}{unit}{spread}"
