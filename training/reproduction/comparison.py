"""Runs of published networks compared with each other and with the published figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from drcore.agreement.statistics import bootstrap_interval, quadratic_weighted_kappa
from training.reproduction.networks import (
    LAYOUTS,
    PublishedNetwork,
    count_parameters,
    map_sizes,
    receptive_field,
)
from training.reproduction.scoring import grade_scores

__all__ = ["PIECES", "PUBLISHED", "comparisons", "difference", "parameters"]

PUBLISHED: dict[str, Any] = {
    "kappa": {"fc": {"public": 0.85425, "private": 0.84479},
              "gap": {"public": 0.85038, "private": 0.84118}},
    "parameters": {"net-5": {"fc": 12.4e6, "gap": 9.7e6}, "net-4": {"fc": 12.5e6, "gap": 9.8e6}},
    "seconds_per_epoch": {"net-5": {"fc": 422.1, "gap": 367.3},
                          "net-4": {"fc": 451.7, "gap": 398.2}},
    "ratio": {"net-5": 0.870, "net-4": 0.882},
    "training_photographs": 35126,
}  # fmt: skip
"""Wang & Yang 2017, tables 1 and 2. The kappas are of ensembles, with a per-patient blend."""

_SUCCESSIVE = tuple(
    (f"{net}-{small}", f"{net}-{large}")
    for net in ("net-5", "net-4")
    for small, large in ((128, 256), (256, 512))
)
"""Layouts that differ in the size of the photograph alone; the larger starts from the smaller."""


def parameters() -> dict[str, Any]:
    """Build every network and count.

    Returns:
        By layout: input side in pixels, map sides, receptive field in input pixels, and trainable
        parameters "fc" and "gap" with untied and tied biases ("norm_adds": what batch norm adds).
    """
    table: dict[str, Any] = {}
    for name, layout in LAYOUTS.items():
        entry: dict[str, Any] = {
            "input": layout.input_size,
            "maps": map_sizes(layout),
            "receptive_field": receptive_field(layout),
        }
        # The networks of the maps were never published with the FC head.
        for head in ("gap",) if name.startswith("fine") else ("fc", "gap"):
            entry[head] = {
                "untied": _count(name, head=head),
                "tied": _count(name, head=head, untied=False),
            }
        entry["norm_adds"] = _count(name, norm=True) - _count(name)
        table[name] = entry
    return table


def _count(layout: str, **options: Any) -> int:
    # On no device: shapes are what counts, and drawing orthogonal weights takes seconds.
    with torch.device("meta"):
        return count_parameters(PublishedNetwork(LAYOUTS[layout], **options))


def _kappa(entry: dict[str, Any], kind: str, chosen: np.ndarray | None = None) -> float:
    truth, given = np.array(entry["grades"]), grade_scores(np.array(entry[kind]))
    if chosen is not None:
        truth, given = truth[chosen], given[chosen]
    return quadratic_weighted_kappa(truth, given)


def difference(
    with_it: Sequence[tuple[dict[str, Any], str]],
    without: Sequence[tuple[dict[str, Any], str]],
    chosen: np.ndarray | None = None,
) -> dict[str, Any]:
    """Compare kappas on the same photographs, mean over runs, with a paired bootstrap.

    Args:
        chosen: bool (n,), photographs to compare on; all where None.

    Returns:
        "with", "without", "difference" and its 95 % "interval": patients are drawn anew, the runs
        (seeds) stay as they are.
    """
    entry = with_it[0][0]
    keep = np.arange(len(entry["grades"])) if chosen is None else np.flatnonzero(chosen)
    truth = np.array(entry["grades"])[keep]
    patients = np.array(entry["patients"])[keep]
    sides = [
        [grade_scores(np.array(e[kind]))[keep] for e, kind in side] for side in (with_it, without)
    ]

    def mean(given: list[np.ndarray], i: np.ndarray) -> float:
        return float(np.mean([quadratic_weighted_kappa(truth[i], one[i]) for one in given]))

    def gain(i: np.ndarray) -> float:
        return mean(sides[0], i) - mean(sides[1], i)

    everything = np.arange(len(truth))
    return {
        "photographs": len(truth),
        "with": mean(sides[0], everything),
        "without": mean(sides[1], everything),
        "difference": gain(everything),
        "interval": list(bootstrap_interval(gain, len(truth), groups=patients, draws=1000)),
    }


def comparisons(results: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Compare what can be compared among finished runs.

    Args:
        results: of runs, by name, see `training.reproduction.plan.load_results`.
    """
    val = {n: result["sets"]["val"] for n, result in results.items() if "val" in result["sets"]}
    keys = ("heads", "sizes", "size_gains", "switches", "kaggle")
    found: dict[str, Any] = {key: {} for key in keys}
    for name, entry in val.items():
        recipe = results[name]["recipe"]
        layout, seed = recipe["layout"], str(recipe["seed"])
        if name != f"{layout}-gap-s{seed}":
            continue
        found["sizes"].setdefault(layout, {})[seed] = _kappa(entry, "plain")
        twin = val.get(f"{layout}-fc-s{seed}")
        if twin is not None:
            pairs = found["heads"].setdefault(layout, {"fc": {}, "gap": {}})
            pairs["gap"][seed], pairs["fc"][seed] = _kappa(entry, "plain"), _kappa(twin, "plain")
        found["switches"] |= _switches(val, layout, seed)
    for layout, pairs in found["heads"].items():
        gap = [(val[f"{layout}-gap-s{seed}"], "plain") for seed in pairs["gap"]]
        fc = [(val[f"{layout}-fc-s{seed}"], "plain") for seed in pairs["fc"]]
        pairs["gap_minus_fc"] = difference(gap, fc)
    found["size_gains"] = _size_gains(val, found["sizes"])
    found["kaggle"] = {
        name: _kaggle(result["sets"]["test"])
        for name, result in results.items()
        if "test" in result["sets"]
    }
    return found


def _size_gains(val: dict[str, dict[str, Any]], sizes: dict[str, Any]) -> dict[str, Any]:
    """Compare each size with the next larger one, over the seeds that have both."""
    gains = {}
    for small, large in _SUCCESSIVE:
        seeds = sorted(set(sizes.get(small, {})) & set(sizes.get(large, {})))
        if seeds:
            gains[f"{small} to {large}"] = difference(
                [(val[f"{large}-gap-s{seed}"], "plain") for seed in seeds],
                [(val[f"{small}-gap-s{seed}"], "plain") for seed in seeds],
            )
    return gains


PIECES_BY_NAME = {
    "no-resampling": "resampling",
    "no-colour": "colour augmentation",
    "not-staged": "staging",
}


PIECES = (*PIECES_BY_NAME.values(), "test-time augmentation", "per-patient blend")
"""What the table of switches is to hold."""


def _switches(val: dict[str, dict[str, Any]], layout: str, seed: str) -> dict[str, Any]:
    """Compare the run with everything on with those that leave one piece out."""
    base = val[f"{layout}-gap-s{seed}"]
    found = {}
    for word, piece in PIECES_BY_NAME.items():
        without = val.get(f"{layout}-gap-{word}-s{seed}")
        if without is not None:
            found[f"{piece}, {layout}, seed {seed}"] = difference(
                [(base, "plain")], [(without, "plain")]
            )
    if "views" in base:
        found[f"test-time augmentation, {layout}, seed {seed}"] = difference(
            [(base, "views")], [(base, "plain")]
        )
    if "blend" in base and any(base["paired"]):
        found[f"per-patient blend, {layout}, seed {seed}"] = difference(
            [(base, "blend")], [(base, "views")], np.array(base["paired"])
        )
    return found


def _kaggle(entry: dict[str, Any]) -> dict[str, dict[str, float]]:
    parts = np.array(entry["datasets"])
    return {
        part: {
            kind: _kappa(entry, kind, parts == part)
            for kind in ("plain", "views", "blend")
            if kind in entry
        }
        for part in ("public", "private")
        if (parts == part).any()
    }
