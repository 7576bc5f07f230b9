"""The published system, reproduced and measured: `python -m training.reproduce`."""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

import torch
from torch import distributed as dist

from training import cli
from training.data.labels import Labelled, LabelsError, data_root
from training.reproduction.comparison import parameters
from training.reproduction.gpu_plan import carry_out, listing
from training.reproduction.kaggle import read_any
from training.reproduction.options import EPILOG, add_options, budget_of, by_size
from training.reproduction.photographs import CroppedPhotographs
from training.reproduction.plan import CELLS, plan
from training.reproduction.processes import join_processes, rank_and_count, wait_for_all
from training.reproduction.results import (
    measure_speed,
    print_kappas,
    print_line,
    read_speeds,
    write_report,
)
from training.reproduction.runs import perform


def main(arguments: list[str] | None = None) -> None:
    """Train or load what the command line names, and write the report."""
    try:
        parser = cli.parser("reproduce", __doc__, "--weights", "--cache")
        parser.epilog, parser.formatter_class = EPILOG, argparse.RawDescriptionHelpFormatter
        add_options(parser, Path(__file__).with_name("REPRODUCTION.md"))
        cli.run(parser, _run, arguments)
    finally:
        if dist.is_available() and dist.is_initialized():
            dist.destroy_process_group()


def _run(given: argparse.Namespace) -> None:
    if given.parameters:
        print(json.dumps(parameters(), indent=1))
        return
    # The table is read, and refused, before anything is trained or timed.
    rows = read_any(given.data or data_root() / "labels.csv") if _has_data(given) else []
    device = join_processes(given.device)
    first = rank_and_count()[0] == 0
    given.runs.mkdir(parents=True, exist_ok=True)
    if given.plan:
        rows = _carry_out(given, rows, device)
        if given.list:
            return
    if cells := [cell for cell in given.cells if cell in CELLS]:
        _train(given, cells, CroppedPhotographs.from_labels(rows, given.cache, device), talk=first)
    if not first:
        return
    _measure(given, device)
    _report(given, rows)


def _measure(given: argparse.Namespace, device: torch.device) -> None:
    """Fill the cells that need no training."""
    if "speed" in given.cells:
        side, batches = max(given.sizes), dict(by_size(given.batch, "--batch"))
        for net in given.nets:
            measure_speed(
                f"{net}-{side}", device, given.runs, steps=given.steps, batch=batches.get(side, 0),
                profiled=given.profile,
            )  # fmt: skip
    if "maps" in given.cells:
        from training.reproduction.maps import measure_maps

        text = json.dumps(measure_maps(given.weights, given.runs), indent=1)
        (given.runs / "maps.json").write_text(text + "\n", encoding="utf-8")


def _has_data(given: argparse.Namespace) -> bool:
    """A report of finished runs, timing and shards need no table of photographs."""
    there = (given.data or data_root() / "labels.csv").exists()
    if given.shards:
        return False
    if not there and (given.data or given.plan or set(given.cells) - {"speed"}):
        raise LabelsError(
            f"{given.data or 'labels.csv'} is not there: give --data, or set DRCORE_DATA."
        )
    return there


def _train(
    given: argparse.Namespace, cells: list[str], photographs: CroppedPhotographs, *, talk: bool
) -> None:
    budget = budget_of(given)
    runs = plan(budget, cells)
    if talk:  # one process crops, the others find it done
        for side in sorted({run.recipe.net.photograph for run in runs}, reverse=True):
            photographs.prepare(side)
    wait_for_all()
    for number, run in enumerate(runs, start=1):
        if talk:
            print(f"{number}/{len(runs)} {run.name}", flush=True)
        perform(
            run, budget, photographs, given.runs,
            acceleration="compile" if given.compile else "none", report=print_line,
        )  # fmt: skip


def _carry_out(
    given: argparse.Namespace, rows: list[Labelled], device: torch.device
) -> list[Labelled]:
    """Carry out the plan until the time is over; returns the photographs that it used."""
    deadline = time.monotonic() + 60 * given.minutes
    budget, kind = budget_of(given), "gpu" if device.type == "cuda" else "cpu"
    photographs = (
        CroppedPhotographs.from_shards(given.shards, device)
        if given.shards
        else CroppedPhotographs.from_labels(rows, given.cache, device)
    )
    if given.rehearse:
        photographs = photographs.few(8, 4)
        few = tuple((size, 2) for size in budget.sizes)
        budget = replace(budget, epochs=few, batch=tuple((s, 4) for s in budget.sizes), views=2)
    rows = photographs.rows
    counts = {split: sum(row.split == split for row in rows) for split in ("train", "val")}
    print(listing(budget, counts, read_speeds(given.runs, kind), device.type), flush=True)
    if given.list:
        return rows

    def time_net(net: str) -> None:
        layout = f"{net}-{max(budget.sizes)}"
        if layout not in {speed["layout"] for speed in read_speeds(given.runs, kind)}:
            measure_speed(
                layout, device, given.runs, steps=2 if given.rehearse else given.steps,
                batch=4 if given.rehearse else 0, repeats=1, profiled=given.profile,
            )  # fmt: skip

    carry_out(
        budget, photographs, given.runs, deadline=deadline,
        speeds=lambda: read_speeds(given.runs, kind), time_net=time_net,
        after_group=lambda: _report(given, rows),
    )  # fmt: skip
    return rows


def _report(given: argparse.Namespace, rows: list[Labelled]) -> None:
    print_kappas(write_report(given.report, given.runs, rows))
    print(f"Wrote {given.report.name} and {given.report.with_suffix('.json').name}.")


if __name__ == "__main__":
    main()
