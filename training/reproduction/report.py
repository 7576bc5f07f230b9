"""The reproduction's report: the published figures, ours beside them, and what does not hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from training.reproduction.comparison import PIECES, PUBLISHED
from training.reproduction.networks import LAYOUTS

__all__ = ["render", "verdict"]

_EMPTY = "not measured"
_EFFORT = "torchrun --standalone --nproc-per-node=gpu -m training.reproduce"


def verdict(entry: dict[str, Any], *, tolerance: float = 0.0) -> str:
    """Say what an interval says: better, worse, or that it cannot tell."""
    low, high = entry["interval"]
    if low > -tolerance and tolerance:
        return "holds"
    if low > 0:
        return "better"
    if high < -tolerance:
        return "worse" if not tolerance else "does not hold"
    return "undecided on these photographs"


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
        counts: from `parameters`.
        speeds: from `training.reproduction.speed.compare_heads`.
        found: from `comparisons`.
        maps: localisation of single and fused maps, or None.
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
        for piece in PIECES
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
        "ships and, where they were trained, the paper's own networks of the maps; "
        '"cells" are maps as they come out, "ram" and "fused" of ours what a user sees, '
        "focused within each neighbourhood (`drcore/maps/refinement.py`).",
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
        for piece in PIECES
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
    return [
        "## Empty cells",
        "",
        "As many as fit into some minutes of one GPU, most valuable first: "
        "`python -m training.reproduce --plan gpu --minutes 13`. One by one:",
        "",
        *(f"- {what}: `{command}`" for what, command in empty),
        "",
    ]


def _render_runs(results: dict[str, dict[str, Any]]) -> list[str]:
    lines = [
        "## The runs",
        "",
        "Weights with the best validation kappa are measured: a little optimistic, alike for all.",
        "",
        "| run | photographs | epochs (published) | batch | rate | batch norm | photographs/s "
        "| best validation kappa | MSE |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, result in sorted(results.items()):
        p, history = result["recipe"], result["history"]
        rate = float(np.median([line["images_per_second"] for line in history]))
        best = max((line.get("kappa", float("nan")) for line in history), default=float("nan"))
        mse = min((line.get("mse", float("nan")) for line in history), default=float("nan"))
        lines.append(
            f"| {name} | {result['photographs']['train']:,} "
            f"| {p['epochs']} ({p['published_epochs']}) | {p['batch']} | {p['rate']:g} "
            f"| {'yes' if p['norm'] else 'no'} | {rate:,.0f} | {best:.3f} | {mse:.3f} |"
        )
    if not results:
        lines.append(f"| {_EMPTY} | | | | | | | | |")
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
