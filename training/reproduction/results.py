"""The results of a folder of runs, written as the report and its JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from training.data.labels import Labelled
from training.reproduction.comparison import PUBLISHED, comparisons, parameters
from training.reproduction.report import render
from training.reproduction.runs import load_results
from training.reproduction.speed import compare_heads, fastest, profile

__all__ = ["measure_speed", "print_kappas", "print_line", "read_speeds", "write_report"]


def read_speeds(runs: Path, kind: str = "*") -> list[dict[str, Any]]:
    """Read the speeds that were measured, of "cpu", "gpu" or both."""
    files = sorted(runs.glob(f"speed-*-{kind}.json"))
    return [json.loads(file.read_text(encoding="utf-8")) for file in files]


def measure_speed(
    layout: str,
    device: torch.device,
    runs: Path,
    *,
    steps: int = 0,
    batch: int = 0,
    repeats: int = 3,
    profiled: bool = False,
) -> dict[str, Any]:
    """Time an epoch with both heads and the fastest acceleration, and write it to a file."""
    kind = "gpu" if device.type == "cuda" else "cpu"
    known = read_speeds(runs, kind)  # another net of the same make: what is fastest is fastest
    tried = known[0]["tried"] if known else fastest(layout, device)
    speed = compare_heads(
        layout, device, steps=steps, batch=batch, repeats=repeats,
        acceleration=tried["acceleration"],
    )  # fmt: skip
    file = runs / f"speed-{layout}-{kind}.json"
    file.write_text(json.dumps({**speed, "tried": tried}, indent=1) + "\n", encoding="utf-8")
    if profiled:
        table = profile(layout, device, steps=steps or 20, batch=batch)
        (runs / f"profile-{layout}-{kind}.txt").write_text(table + "\n", encoding="utf-8")
    print(json.dumps(speed), flush=True)
    return speed


def write_report(report: Path, runs: Path, rows: list[Labelled]) -> dict[str, Any]:
    """Write the report of all finished runs, and what it says as JSON beside it.

    Cells that were filled before and that these runs do not fill are kept.
    """
    results, counts = load_results(runs), parameters()
    maps_file = runs / "maps.json"
    maps = json.loads(maps_file.read_text(encoding="utf-8")) if maps_file.exists() else None
    data = {
        "train": sum(row.split == "train" for row in rows),
        "val": sum(row.split == "val" for row in rows),
        "name": ", ".join(sorted({row.dataset for row in rows} - {"public", "private"})),
    }
    slim = {
        name: {k: v for k, v in result.items() if k != "sets"} for name, result in results.items()
    }
    fresh = {
        "data": data,
        "published": PUBLISHED,
        "parameters": counts,
        "speed": read_speeds(runs),
        **comparisons(results),
        "maps": maps,
        "runs": slim,
    }
    file = report.with_suffix(".json")
    before = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    whole = merged(before, fresh)
    found = {key: whole[key] for key in ("heads", "sizes", "size_gains", "switches", "kaggle")}
    text = render(whole["data"], counts, whole["speed"], found, whole["runs"], whole["maps"])
    report.write_text(text, encoding="utf-8")
    file.write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")
    return whole


def merged(before: dict[str, Any], fresh: dict[str, Any]) -> dict[str, Any]:
    """Fill what a report lacks from the one before it.

    Comparisons are taken whole from one of them: figures of runs on other photographs, or of
    another length, are not mixed within a cell.
    """
    whole = dict(fresh)
    for key in ("heads", "sizes", "size_gains", "switches", "kaggle", "runs"):
        whole[key] = {**before.get(key, {}), **fresh[key]}
    timed = {(speed["layout"], speed["device"]) for speed in fresh["speed"]}
    whole["speed"] = fresh["speed"] + [
        speed
        for speed in before.get("speed", [])
        if (speed["layout"], speed["device"]) not in timed
    ]
    whole["maps"] = fresh["maps"] or before.get("maps")
    if not fresh["runs"] and before.get("data"):
        whole["data"] = before["data"]
    return whole


def print_line(line: dict[str, Any]) -> None:
    """Print the figures of an epoch."""
    shown = {k: round(v, 4) if isinstance(v, float) else v for k, v in line.items()}
    print(json.dumps(shown), flush=True)


def print_kappas(whole: dict[str, Any]) -> None:
    """Print the kappas on the competition's own photographs."""
    for name, sets in whole["kaggle"].items():
        for part, kinds in sets.items():
            print(f"{name}: {part} kappa " + ", ".join(f"{k} {v:.5f}" for k, v in kinds.items()))
