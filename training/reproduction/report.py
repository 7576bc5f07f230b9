"""The reproduction's report: the published figures, ours beside them, and what does not hold."""

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

__all__ = ["PUBLISHED", "comparisons", "parameters", "render"]

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

_EMPTY = "not measured"
_EFFORT = "torchrun --standalone --nproc-per-node=gpu -m training.reproduce"

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
        with_it, without: measured sets of runs and the kind of scores to take.
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

    Returns:
        "heads" (by net and size), "sizes", "size_gains", "switches" and "kaggle"; what is not there
        was not run.
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
    for small, large in _SUCCESSIVE:
        seeds = sorted(set(found["sizes"].get(small, {})) & set(found["sizes"].get(large, {})))
        if seeds:
            found["size_gains"][f"{small} to {large}"] = difference(
                [(val[f"{large}-gap-s{seed}"], "plain") for seed in seeds],
                [(val[f"{small}-gap-s{seed}"], "plain") for seed in seeds],
            )
    for name, result in results.items():
        if "test" in result["sets"]:
            found["kaggle"][name] = _kaggle(result["sets"]["test"])
    return found


_WORDS = {
    "no-resampling": "resampling",
    "no-colour": "colour augmentation",
    "not-staged": "staging",
}


_PIECES = (*_WORDS.values(), "test-time augmentation", "per-patient blend")
"""What the table of switches is to hold."""


def _switches(val: dict[str, dict[str, Any]], layout: str, seed: str) -> dict[str, Any]:
    """Compare the run with everything on with those that leave one piece out."""
    base = val[f"{layout}-gap-s{seed}"]
    found = {}
    for word, piece in _WORDS.items():
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


def verdict(entry: dict[str, Any], *, tolerance: float = 0.0) -> str:
    """Say what an interval says: better, worse, or that it cannot tell."""
    low, high = entry["interval"]
    if low > -tolerance and tolerance:
        return "holds"
    if low > 0:
        return "better"
    if high < -tolerance:
        return "worse" if not tolerance else "does not hold"
    return "cannot be told from these photographs"


def render(
    data: dict[str, Any],
    counts: dict[str, Any],
    speeds: Sequence[dict[str, Any]],
    found: dict[str, Any],
    results: dict[str, dict[str, Any]],
    maps: dict[str, Any] | None,
) -> str:
    """Write the report.

    Args:
        data: "train", "val" and "name" of the photographs used.
        counts: from `parameters`.
        speeds: from `training.reproduction.speed.compare_heads`.
        found: from `comparisons`.
        results: of the runs.
        maps: localisation of single and fused maps, or None.

    Returns:
        Markdown.
    """
    parts = [
        "# The published system, reproduced",
        "",
        "Written by `python -m training.reproduce`; change the code, not this file. Published "
        "figures: Wang & Yang 2017, arXiv 1703.10757, trained on 35,126 photographs of the Kaggle "
        f"competition, kappas of ensembles with a per-patient blend. Ours: {data['train']:,} "
        f"training and {data['val']:,} validation photographs ({data['name']}), single networks. "
        "Kappas of the two are therefore not to be compared with each other; differences within "
        "a column pair are. Intervals are 95 %, from a bootstrap over patients.",
        "",
        *_render_parameters(counts),
        *_render_speed(speeds),
        *_render_heads(found["heads"]),
        *_render_sizes(found["sizes"], found["size_gains"], results),
        *_render_switches(found["switches"]),
        *_render_maps(maps),
        *_render_kaggle(found["kaggle"]),
        *_render_empty(speeds, found, maps),
        *_render_runs(results),
    ]
    return "\n".join(parts).rstrip() + "\n"


def _render_parameters(counts: dict[str, Any]) -> list[str]:
    lines = [
        "## Parameters",
        "",
        "Counted on the networks themselves. Untied: one bias an output pixel, which is what the "
        "published counts contain.",
        "",
        "| network | published FC / GAP | FC untied (tied) | GAP untied (tied) | saved by GAP |",
        "|---|---|---|---|---|",
    ]
    for name, entry in counts.items():
        net = "net-4" if name.startswith("net-4") else "net-5"
        published = PUBLISHED["parameters"][net] if name.endswith("512") else None
        if "fc" not in entry:
            continue
        stated = (
            f"{published['fc'] / 1e6:.1f} M / {published['gap'] / 1e6:.1f} M" if published else ""
        )
        fc, gap = entry["fc"], entry["gap"]
        lines.append(
            f"| {name} | {stated} | {fc['untied']:,} ({fc['tied']:,}) "
            f"| {gap['untied']:,} ({gap['tied']:,}) | {1 - gap['untied'] / fc['untied']:.1%} |"
        )
    lines += [
        "",
        "The paper's 12.4 M are net-5 with `same` padding and the FC head, its 9.7 M the GAP head "
        "on 5 x 5 convolutions padded by 1.",
        "",
        "The networks that drew the published maps:",
        "",
        "| network | input | last map | a cell sees | parameters untied (tied) |",
        "|---|---|---|---|---|",
    ]
    for name, entry in counts.items():
        if name.startswith("fine"):
            side = entry["maps"][-1]
            lines.append(
                f"| {name} | {entry['input']} px | {side} x {side} | {entry['receptive_field']} px "
                f"| {entry['gap']['untied']:,} ({entry['gap']['tied']:,}) |"
            )
    return [*lines, ""]


def _render_speed(speeds: Sequence[dict[str, Any]]) -> list[str]:
    lines = [
        "## Time of an epoch",
        "",
        "FC and GAP in turn in one process: drawing, warp, colour, forward, backward, optimiser. "
        "Published: 422.1 s and 367.3 s for net-5, 451.7 s and 398.2 s for net-4, on a card of "
        "2015.",
        "",
        "| network | device | FC s/epoch | GAP s/epoch | ratio (published) | GAP images/s "
        "| GAP TFLOP/s | share of the measured limit |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for speed in speeds:
        net = "net-4" if speed["layout"].startswith("net-4") else "net-5"
        stated = f"{PUBLISHED['ratio'][net]:.3f}" if speed["layout"].endswith("512") else "none"
        gap = speed["gap"]
        whole = speed["timed_photographs"] >= speed["photographs"]
        lines.append(
            f"| {speed['layout']} | {speed['device']} | {speed['fc']['seconds_per_epoch']:,.1f} "
            f"| {gap['seconds_per_epoch']:,.1f} | {speed['ratio']:.3f} ({stated}) "
            f"| {gap['images_per_second']:,.1f} | {gap['tflops']:.3g} "
            f"| {gap['share_of_limit']:.0%} |" + ("" if whole else " ¹")
        )
    if not speeds:
        lines.append(f"| {_EMPTY} | | | | | | | |")
    lines += (
        ["", "¹ Extrapolated to 35,126 photographs from fewer."]
        if any(speed["timed_photographs"] < speed["photographs"] for speed in speeds)
        else []
    )
    if not any("processor" not in speed["device"] for speed in speeds):
        lines += ["", "On a GPU: " + _EMPTY + ". `python -m training.reproduce --cells speed` on a "
                  "machine with one fills this in."]  # fmt: skip
    for speed in speeds:
        if speed["layout"].endswith("512"):
            net = "net-4" if speed["layout"].startswith("net-4") else "net-5"
            saved = 1 - speed["ratio"]
            told = (
                f"{saved:.1%} saved" if saved >= 0 else f"the GAP epoch takes {-saved:.1%} longer"
            )
            holds = speed["ratio"] <= PUBLISHED["ratio"][net] + 0.02
            lines += ["", f"Claim, {speed['layout']}: the GAP head saves 12-13 % of the time. "
                      + (f"Holds here ({told})." if holds else
                         f"Does not hold here ({told}): the head is a thousandth of the "
                         "arithmetic.")]  # fmt: skip
    return [*lines, ""]


def _render_heads(heads: dict[str, Any]) -> list[str]:
    lines = [
        "## Accuracy of the two heads",
        "",
        "Same photographs, splits, recipe and seeds. Published, public / private: "
        "FC 0.854 / 0.845, GAP 0.850 / 0.841, so the GAP head loses 0.004.",
        "",
        "| network | FC kappa by seed | GAP kappa by seed | GAP - FC |",
        "|---|---|---|---|",
    ]
    for layout, pair in sorted(heads.items()):
        gain = pair["gap_minus_fc"]
        lines.append(
            f"| {layout} | {_seeds(pair['fc'])} | {_seeds(pair['gap'])} | {_difference(gain)} |"
        )
    missing = [net for net in ("net-5-512", "net-4-512") if net not in heads]
    lines += [f"| {net} | {_EMPTY} | {_EMPTY} | |" for net in missing]
    for layout, pair in sorted(heads.items()):
        gain = pair["gap_minus_fc"]
        told = verdict(gain, tolerance=0.02)
        lines += ["", f"Claim, {layout}: removing the FC head costs almost no kappa (less than "
                  f"0.02): {told}."]  # fmt: skip
    return [*lines, ""]


def _render_sizes(
    sizes: dict[str, Any], gains: dict[str, Any], results: dict[str, dict[str, Any]]
) -> list[str]:
    lines = [
        "## Input size",
        "",
        "GAP head, each size started from the one before, 128 -> 256 -> 512 px. Claim: bigger "
        "input helps up to 512 px.",
        "",
        "| network | kappa by seed | epochs |",
        "|---|---|---|",
    ]
    for layout in LAYOUTS:
        if layout in sizes:
            seeds = sizes[layout]
            first = results[f"{layout}-gap-s{next(iter(seeds))}"]
            lines.append(f"| {layout} | {_seeds(seeds)} | {first['recipe']['epochs']} |")
    lines += [
        f"| net-5-{side} | {_EMPTY} | |" for side in (128, 256, 512) if f"net-5-{side}" not in sizes
    ]
    words = {"better": "holds", "worse": "does not hold"}
    for step, gain in gains.items():
        told = verdict(gain)
        lines += ["", f"Claim, {step} px, seeds that have both: {_difference(gain)}: "
                  f"{words.get(told, told)}. The larger network has the epochs of the smaller one "
                  "behind it."]  # fmt: skip
    return [*lines, ""]


def _render_switches(switches: dict[str, Any]) -> list[str]:
    lines = [
        "## With and without",
        "",
        "| piece of the recipe | photographs | kappa with | without | difference | verdict |",
        "|---|---|---|---|---|---|",
    ]
    for name, entry in sorted(switches.items()):
        lines.append(
            f"| {name} | {entry['photographs']} | {entry['with']:.3f} | {entry['without']:.3f} "
            f"| {_difference(entry)} | {verdict(entry)} |"
        )
    lines += [
        f"| {piece} | | {_EMPTY} | {_EMPTY} | | |"
        for piece in _PIECES
        if not any(name.startswith(piece) for name in switches)
    ]
    lines += [
        "",
        "The blend is compared with test-time augmentation alone, on photographs whose other eye "
        "is there. One seed a line: an interval is over patients, not over seeds.",
    ]
    return [*lines, ""]


def _render_maps(maps: dict[str, Any] | None) -> list[str]:
    lines = [
        "## One map against fused maps",
        "",
        "Claim: the maps of 128 and 256 px fused cover more pathology than either. Judged against "
        "pixel-level lesions, which the paper did not. The networks are those that this package "
        'ships; "cells" are their maps as they come out, "ram" and "fused" what a user sees, '
        "focused within each neighbourhood (`drcore/focus.py`).",
        "",
    ]
    if not maps:
        return [*lines, f"{_EMPTY.capitalize()}.", ""]
    for title, entry in maps.items():
        lines += [
            f"{title} ({entry['photographs']} photographs):",
            "",
            "| map | pointing hit | average precision |",
            "|---|---|---|",
        ]
        for name, row in entry["maps"].items():
            lines.append(
                f"| {name} | {_with_interval(row['pointing_hit'])} "
                f"| {_with_interval(row['average_precision'])} |"
            )
        lines += ["", *(f"- {note}" for note in entry["notes"]), ""]
        if "accuracy" in entry:
            lines += [*_render_accuracy(entry["accuracy"]), ""]
    return lines


def _render_accuracy(accuracy: dict[str, dict[str, list[float]]]) -> list[str]:
    columns = list(next(iter(accuracy.values()), {}))
    return [
        "Quadratic weighted kappa of the same networks, alone and fused:",
        "",
        "| set | " + " | ".join(columns) + " |",
        "|---" * (len(columns) + 1) + "|",
        *(
            f"| {name} | " + " | ".join(_with_interval(entry[c]) for c in columns) + " |"
            for name, entry in accuracy.items()
        ),
    ]


def _render_kaggle(kaggle: dict[str, Any]) -> list[str]:
    lines = [
        "## The competition's own photographs",
        "",
        "Published: FC 0.85425 public, 0.84479 private; GAP 0.85038, 0.84118.",
        "",
    ]
    if not kaggle:
        return [
            *lines,
            f"{_EMPTY.capitalize()}: needs the competition's files. With `trainLabels.csv`, "
            "`retinopathy_solution.csv`, `train/` and `test/` in one folder:",
            "",
            "```sh",
            f"{_EFFORT} --data FOLDER --cells heads sizes switches",
            "```",
            "",
        ]
    lines += ["| run | scores | public | private |", "|---|---|---|---|"]
    for name, sets in sorted(kaggle.items()):
        for kind in ("plain", "views", "blend"):
            values = [sets.get(part, {}).get(kind) for part in ("public", "private")]
            if any(value is not None for value in values):
                shown = [_EMPTY if value is None else f"{value:.5f}" for value in values]
                lines.append(f"| {name} | {kind} | {shown[0]} | {shown[1]} |")
    return [*lines, ""]


def _render_empty(
    speeds: Sequence[dict[str, Any]], found: dict[str, Any], maps: dict[str, Any] | None
) -> list[str]:
    """List what was not measured, each with the command that measures it."""
    effort = f"{_EFFORT} --compile"
    empty = [
        (f"kappa of FC and GAP, {net}-512", f"{effort} --cells heads --nets {net}")
        for net in ("net-5", "net-4")
        if f"{net}-512" not in found["heads"]
    ]
    empty += [
        (f"kappa at {side} px, net-5", f"{effort} --cells sizes --nets net-5")
        for side in (128, 256, 512)
        if f"net-5-{side}" not in found["sizes"]
    ]
    empty += [
        (f"switch: {piece}", f"{effort} --cells switches --nets net-5")
        for piece in _PIECES
        if not any(name.startswith(piece) for name in found["switches"])
    ]
    if all("processor" in speed["device"] for speed in speeds):
        empty.append(
            ("seconds an epoch on a GPU, FC and GAP, net-5 and net-4; images/s, TFLOP/s and share "
             "of the limit there", "python -m training.reproduce --compile --cells speed")
        )  # fmt: skip
    if not maps:
        empty.append(("one map against fused maps", "python -m training.reproduce --cells maps"))
    if not found["kaggle"]:
        empty.append(("kappa, public and private", f"{effort} --data FOLDER --cells heads sizes"))
    if not empty:
        return []
    return ["## Empty cells", "", *(f"- {what}: `{command}`" for what, command in empty), ""]


def _render_runs(results: dict[str, dict[str, Any]]) -> list[str]:
    lines = [
        "## The runs",
        "",
        "Weights with the best validation kappa are measured: a little optimistic, alike for all.",
        "",
        "| run | epochs (published) | batch | rate | batch norm | photographs/s "
        "| best validation kappa | MSE |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, result in sorted(results.items()):
        p, history = result["recipe"], result["history"]
        rate = float(np.median([line["images_per_second"] for line in history]))
        best = max((line.get("kappa", float("nan")) for line in history), default=float("nan"))
        mse = min((line.get("mse", float("nan")) for line in history), default=float("nan"))
        lines.append(
            f"| {name} | {p['epochs']} ({p['published_epochs']}) | {p['batch']} | {p['rate']:g} "
            f"| {'yes' if p['norm'] else 'no'} | {rate:,.0f} | {best:.3f} | {mse:.3f} |"
        )
    if not results:
        lines.append(f"| {_EMPTY} | | | | | | | |")
    return [*lines, ""]


def _seeds(values: dict[str, float]) -> str:
    shown = " ".join(f"{value:.3f}" for _, value in sorted(values.items()))
    many = f", mean {np.mean(list(values.values())):.3f}" if len(values) > 1 else ""
    return shown + many


def _difference(entry: dict[str, Any]) -> str:
    low, high = entry["interval"]
    return f"{entry['difference']:+.3f} ({low:+.3f} to {high:+.3f})"


def _with_interval(values: Sequence[float]) -> str:
    value, low, high = values
    return f"{value:.3f} ({low:.3f}-{high:.3f})"
