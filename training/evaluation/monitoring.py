"""Alarms of the control charts on streams drawn from graded photographs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from drcore.agreement.statistics import bootstrap_interval
from drcore.monitoring.charts import charts_of
from drcore.monitoring.evidence import HORIZON
from drcore.monitoring.observations import MEASURES, Observation, values_of
from drcore.monitoring.reference import Histogram, reference_of
from drcore.results.columns import Row
from training.data.labels import Labelled
from training.evaluation.robustness import UNTOUCHED

__all__ = ["measure", "table"]

_BEFORE, _AFTER = 500, 200
"""Unchanged photographs before a change, and changed ones after it."""

_REFERENCES = ("bundle", "own")


def measure(
    rows: Mapping[str, Sequence[Row]], labels: Sequence[Labelled], *, seeds: int, quiet: bool
) -> dict[str, Any]:
    """Count alarms.

    Args:
        rows: of results by change, "untouched" first; of a change fewer photographs.
        labels: with the reference grades.
        seeds: streams of each kind.
        quiet: no progress bar.

    Returns:
        By change by how much the squared error grew, with its 95 % interval over patients, and by
        reference ("bundle": histograms of all untouched photographs; "own": the first 500 of the
        stream) how many streams raised an alarm within 200 photographs, the median number of
        photographs until then, and which measures raised most first alarms; and of unchanged
        streams how many alarms each raised.
    """
    untouched = {row["image"]: row for row in rows[UNTOUCHED] if row["status"] != "failed"}
    pools = {
        name: [values_of(row) for row in given if row["status"] != "failed"]
        for name, given in rows.items()
    }
    reference = reference_of(untouched.values())
    truth = {row.path.name: row for row in labels}
    changes = {}
    for name in tqdm(list(rows)[1:], disable=quiet):
        known = {row["image"] for row in rows[name]}
        # The same photographs before and after: nothing else changes in the stream.
        before = [values_of(row) for image, row in untouched.items() if image in known]
        changes[name] = _cost(untouched, rows[name], truth) | {
            kind: _found(before, pools[name], reference if kind == "bundle" else None, seeds)
            for kind in _REFERENCES
        }
    unchanged = {}
    for kind in _REFERENCES:
        used = reference if kind == "bundle" else None
        streams = (np.random.default_rng(seed) for seed in range(seeds))
        unchanged[kind] = [
            sum(p.alarms for chart in charts_of(_drawn(pools[UNTOUCHED], HORIZON, rng), used)
                for p in chart.points)
            for rng in tqdm(streams, total=seeds, disable=quiet)
        ]  # fmt: skip
    return {"photographs": len(untouched), "changes": changes, "unchanged": unchanged}


def _cost(
    untouched: Mapping[str, Row], changed: Sequence[Row], truth: Mapping[str, Labelled]
) -> dict[str, Any]:
    pairs = [
        (truth[row["image"]], float(untouched[row["image"]]["score"]), float(row["score"]))
        for row in changed
        if row["status"] != "failed" and row["image"] in untouched
    ]
    grown = np.array([(b - label.grade) ** 2 - (a - label.grade) ** 2 for label, a, b in pairs])
    patients = np.array([f"{label.dataset} {label.patient}" for label, _, _ in pairs])

    def growth(i: NDArray[np.int64]) -> float:
        return float(grown[i].mean())

    interval = bootstrap_interval(growth, len(grown), groups=patients)
    return {"photographs": len(grown), "grown": float(grown.mean()), "grown_interval": interval}


def _found(
    before: Sequence[Mapping[str, float]],
    after: Sequence[Mapping[str, float]],
    reference: Mapping[str, Histogram] | None,
    seeds: int,
) -> dict[str, Any]:
    """Inject a change into streams; an alarm before it counts as a false one."""
    delays, false, first = [], 0, []
    # Reference photographs come from the same pool, so that the change is the only difference.
    if reference is not None:
        count = len(before)
        reference = _histograms(before) if count else reference
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        stream = _drawn(before, _BEFORE, rng)
        if reference is None:
            stream = _drawn(before, _BEFORE * 2, rng)
        start = len(stream)
        stream += _drawn(after, _AFTER, rng, start)
        delay, name, early = _first_alarm(stream, reference, start)
        false += early
        if delay is not None:
            delays.append(delay)
            first.append(name)
    names, counts = np.unique(first, return_counts=True)
    return {
        "found": len(delays),
        "streams": seeds,
        "median_delay": float(np.median(delays)) if delays else None,
        "slowest": max(delays, default=None),
        "false": false,
        "first": dict(sorted(zip(names.tolist(), counts.tolist(), strict=True),
                             key=lambda pair: -pair[1])),
    }  # fmt: skip
