"""Alarms of the control charts on streams drawn from graded photographs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from drcore.agreement.statistics import bootstrap_interval
from drcore.monitoring.charts import OWN_REFERENCE, charts_of
from drcore.monitoring.evidence import HORIZON
from drcore.monitoring.observations import MEASURES, NOT_KNOWN, Observation, values_of
from drcore.monitoring.reference import has, histogram_of, reference_of
from drcore.results.columns import Row
from training.data.labels import Labelled
from training.evaluation.robustness import UNTOUCHED

__all__ = ["measure", "table"]

_BEFORE, _AFTER, _REFERENCE = 500, 200, 900
"""Unchanged photographs before a change, changed ones after it, and those of a reference."""

_REFERENCES = ("bundle", "own")


def measure(
    rows: Mapping[str, Sequence[Row]],
    labels: Sequence[Labelled],
    *,
    seeds: int,
    injected: int,
    quiet: bool,
) -> dict[str, Any]:
    """Count alarms.

    Args:
        rows: of results by change, "untouched" first; of a change fewer photographs.
        labels: with the reference grades.
        seeds: unchanged streams.
        injected: streams with each change.
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
            kind: _found(before, pools[name], kind, injected) for kind in _REFERENCES
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
    kind: str,
    seeds: int,
) -> dict[str, Any]:
    """Inject a change into streams; an alarm before it counts as a false one."""
    delays, false, first = [], 0, []
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        unchanged = _drawn(before, _BEFORE, rng, _REFERENCE)
        reference = None
        if kind == "bundle":
            drawn = _drawn(before, _REFERENCE, rng)
            reference = {
                name: histogram_of(name, found)
                for name in MEASURES
                if (found := [one.values for one in drawn if has(name, one.values)])
            }
        else:
            unchanged = [*_drawn(before, OWN_REFERENCE, rng), *unchanged]
        start = _REFERENCE + _BEFORE
        stream = [*unchanged, *_drawn(after, _AFTER, rng, start)]
        alarms = sorted(
            (int(one.sha256) - start + 1, chart.name)
            for chart in charts_of(stream, reference)
            for one in chart.alarms
        )
        false += sum(place <= 0 for place, _ in alarms)
        late = [found for found in alarms if found[0] > 0]
        if late:
            delays.append(late[0][0])
            first.append(late[0][1])
    return {
        "found": len(delays),
        "streams": seeds,
        "median": float(np.median(delays)) if delays else None,
        "slowest": max(delays, default=None),
        "false": false,
        "first": dict(Counter(first).most_common()),
    }


def _drawn(
    pool: Sequence[Mapping[str, float]], count: int, rng: np.random.Generator, start: int = 0
) -> list[Observation]:
    """Draw photographs with replacement, each of a patient of its own."""
    return [
        Observation(str(start + place), NOT_KNOWN, None, str(start + place), pool[chosen])
        for place, chosen in enumerate(rng.integers(0, len(pool), count).tolist())
    ]


def table(result: Mapping[str, Any]) -> str:
    """Lay out the result of `measure` as text.

    Args:
        result: what `measure` returned.
    """
    lines = [
        f"{'change':<19}{'squared error grows by':>24}" + "".join(
            f"{f'alarm, {kind}':>16}{'after':>7}{'at most':>9}{'false':>7}" for kind in _REFERENCES
        ) + "  first alarms"
    ]  # fmt: skip
    for name, entry in result["changes"].items():
        low, high = entry["grown_interval"]
        line = f"{name:<19}{entry['grown']:>8.3f} ({low:.3f} to {high:.3f})"
        for kind in _REFERENCES:
            found = entry[kind]
            share = f"{found['found']} of {found['streams']}"
            line += (
                f"{share:>16}{found['median'] or 0:>7.0f}{found['slowest'] or 0:>9}"
                f"{found['false']:>7}"
            )
        lines.append(f"{line}  {', '.join(list(entry['bundle']['first'])[:3])}")
    for kind, alarms in result["unchanged"].items():
        lines.append(
            f"unchanged, {kind}: at most one alarm in {HORIZON:,} photographs in "
            f"{sum(n <= 1 for n in alarms)} of {len(alarms)} streams, none in "
            f"{sum(n == 0 for n in alarms)}"
        )
    return "\n".join(lines)
