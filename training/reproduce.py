"""The published system, reproduced and measured: `python -m training.reproduce`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from torch import distributed as dist

from drcore.errors import DrcoreError
from training.data.labels import Labelled, LabelsError, data_root
from training.reproduction import report
from training.reproduction.kaggle import read_any
from training.reproduction.plan import CELLS, Budget, load_results, perform, plan
from training.reproduction.preprocessing import Photographs
from training.reproduction.processes import join_processes, rank_and_count, wait_for_all
from training.reproduction.speed import compare_heads

__all__ = ["main"]

_EPILOG = """\
Without --cells nothing is trained: the report is written from the runs that are finished.
The published effort, on one or several GPUs:
  torchrun --standalone --nproc-per-node=gpu -m training.reproduce --cells heads sizes switches
A killed run goes on with the same command.
"""


def main(arguments: list[str] | None = None) -> None:
    """Train or load what the command line names, and write the report."""
    parser = _parser()
    given = parser.parse_args(arguments)
    if given.parameters:
        print(json.dumps(report.parameters(), indent=1))
        return
    try:
        _run(given)
    except DrcoreError as error:
        parser.exit(1, f"{error}\n")
    finally:
        if dist.is_available() and dist.is_initialized():
            dist.destroy_process_group()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.reproduce",
        description=__doc__,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--parameters", action="store_true", help="print all networks and their parameters, JSON")
    add("--cells", nargs="+", default=[], choices=[*CELLS, "speed", "maps"],
        help="what to train or measure; finished runs are read")  # fmt: skip
    add("--data", type=Path, help="labels.csv, or the competition's folder (default: $DRCORE_DATA)")
    add("--runs", type=Path, default=Path("runs/published"), help="folder of the runs")
    add("--cache", type=Path, default=Path("cache"), help="folder for cropped photographs")
    add("--report", type=Path, default=Path(__file__).with_name("REPRODUCTION.md"))
    add("--nets", nargs="+", default=["net-5", "net-4"], choices=["net-5", "net-5-pad1", "net-4"])
    add("--sizes", nargs="+", type=int, default=[128, 256, 512], choices=[128, 256, 512])
    add("--head-size", type=int, help="photograph side at which heads are compared; largest size")
    add("--seeds", nargs="+", type=int, default=[0, 1, 2])
    add("--epochs", nargs="+", default=[], metavar="SIZE=N", help="shorter than published")
    add("--batch", nargs="+", default=[], metavar="SIZE=N", help="other than published")
    add("--rate", type=float, help="other than published")
    add("--clip", type=float, default=0.0, help="largest norm of the gradient; published: none")
    add("--norm", action="store_true", help="batch norm, as in the paper's fork")
    add("--views", type=int, default=50, help="of test-time augmentation; 0: none")
    add("--views-up-to", type=int, default=512, metavar="SIZE",
        help="largest photograph side at which the views are looked at")  # fmt: skip
    add("--device", choices=["cpu", "cuda"])
    add("--bfloat16", action="store_true", help="on processors too: fast where they have AMX")
    add("--compile", action="store_true", help="compile the networks (worth it on a GPU)")
    add("--steps", type=int, default=0,
        help="speed: batches to time instead of an epoch of 35,126 photographs")  # fmt: skip
    add("--weights", type=Path, help="maps: folder of a bundle; the bundled one if left out")
    return parser


def _run(given: argparse.Namespace) -> None:
    # The table is read, and refused, before anything is trained or timed.
    rows = read_any(given.data or data_root() / "labels.csv") if _has_data(given) else []
    device = join_processes(given.device)
    first = rank_and_count()[0] == 0
    cells = [cell for cell in given.cells if cell in CELLS]
    if cells:
        _train(given, cells, rows, device, talk=first)
    if not first:
        return
    given.runs.mkdir(parents=True, exist_ok=True)
    if "speed" in given.cells:
        _measure_speed(given, device)
    if "maps" in given.cells:
        _measure_maps(given)
    _write_report(given, rows)


def _has_data(given: argparse.Namespace) -> bool:
    """A report of finished runs, and timing, need no photographs."""
    there = (given.data or data_root() / "labels.csv").exists()
    if not there and (given.data or set(given.cells) - {"speed"}):
        raise LabelsError(
            f"{given.data or 'labels.csv'} is not there: give --data, or set DRCORE_DATA."
        )
    return there


def _train(
    given: argparse.Namespace,
    cells: list[str],
    rows: list[Labelled],
    device: torch.device,
    *,
    talk: bool,
) -> None:
    budget = Budget(
        nets=tuple(given.nets),
        sizes=tuple(sorted(set(given.sizes))),
        head_size=given.head_size or max(given.sizes),
        epochs=_by_size(given.epochs, "--epochs"),
        batch=_by_size(given.batch, "--batch"),
        rate=given.rate,
        clip=given.clip,
        norm=given.norm,
        seeds=tuple(given.seeds),
        views=given.views,
        views_up_to=given.views_up_to,
        bfloat16=given.bfloat16,
    )
    if budget.head_size not in budget.sizes:
        raise LabelsError(f"--head-size {budget.head_size} is not among --sizes.")
    runs = plan(budget, cells)
    if talk:  # one process crops, the others find it done
        for side in sorted({run.recipe.net.photograph for run in runs}, reverse=True):
            Photographs.build(rows, given.cache, side, quiet=True)
    wait_for_all()
    for number, run in enumerate(runs, start=1):
        if talk:
            print(f"{number}/{len(runs)} {run.name}", flush=True)
        perform(
            run, budget, rows, given.runs, given.cache, device,
            acceleration="compile" if given.compile else "none", report=_print_line,
        )  # fmt: skip


def _print_line(line: dict[str, Any]) -> None:
    shown = {k: round(v, 4) if isinstance(v, float) else v for k, v in line.items()}
    print(json.dumps(shown), flush=True)


def _by_size(values: list[str], option: str) -> tuple[tuple[int, int], ...]:
    pairs = []
    for value in values:
        size, _, number = value.partition("=")
        if not (size in {"128", "256", "512"} and number.isdigit() and int(number) > 0):
            raise LabelsError(f"{option} {value!r} is not SIZE=N, for example 128=20.")
        pairs.append((int(size), int(number)))
    return tuple(pairs)


def _measure_speed(given: argparse.Namespace, device: torch.device) -> None:
    batches = dict(_by_size(given.batch, "--batch"))
    side = max(given.sizes)
    for net in given.nets:
        speed = compare_heads(
            f"{net}-{side}", device, steps=given.steps, batch=batches.get(side, 0),
            acceleration="compile" if given.compile else "none",
        )  # fmt: skip
        kind = "gpu" if device.type == "cuda" else "cpu"
        file = given.runs / f"speed-{speed['layout']}-{kind}.json"
        file.write_text(json.dumps(speed, indent=1) + "\n", encoding="utf-8")
        print(json.dumps(speed), flush=True)


def _measure_maps(given: argparse.Namespace) -> None:
    from training.reproduction.maps import measure_maps

    result = measure_maps(given.weights)
    (given.runs / "maps.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def _write_report(given: argparse.Namespace, rows: list[Labelled]) -> None:
    results = load_results(given.runs)
    counts = report.parameters()
    speeds = [json.loads(f.read_text(encoding="utf-8")) for f in sorted(given.runs.glob("speed-*"))]
    maps_file = given.runs / "maps.json"
    maps = json.loads(maps_file.read_text(encoding="utf-8")) if maps_file.exists() else None
    found = report.comparisons(results)
    data = {
        "train": sum(row.split == "train" for row in rows),
        "val": sum(row.split == "val" for row in rows),
        "name": ", ".join(sorted({row.dataset for row in rows} - {"public", "private"})),
    }
    text = report.render(data, counts, speeds, found, results, maps)
    given.report.write_text(text, encoding="utf-8")
    slim = {
        name: {k: v for k, v in result.items() if k != "sets"} for name, result in results.items()
    }
    whole = {"data": data, "published": report.PUBLISHED, "parameters": counts, "speed": speeds,
             **found, "maps": maps, "runs": slim}  # fmt: skip
    given.report.with_suffix(".json").write_text(
        json.dumps(whole, indent=1) + "\n", encoding="utf-8"
    )
    for name, sets in found["kaggle"].items():
        for part, kinds in sets.items():
            print(f"{name}: {part} kappa " + ", ".join(f"{k} {v:.5f}" for k, v in kinds.items()))
    print(f"Wrote {given.report.name} and {given.report.with_suffix('.json').name}.")


if __name__ == "__main__":
    main()
