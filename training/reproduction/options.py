"""The options of the reproduction's command, and the budget that they ask for."""

from __future__ import annotations

import argparse
from pathlib import Path

from training.data.labels import LabelsError
from training.reproduction.plan import CELLS, Budget

__all__ = ["EPILOG", "add_options", "budget_of", "by_size"]

EPILOG = """\
Without --cells and --plan nothing is trained: the report is written from the finished runs.
The published effort, on one or several GPUs:
  torchrun --standalone --nproc-per-node=gpu -m training.reproduce --cells heads sizes switches
As much of it as fits into 13 minutes of one GPU, most valuable cells first:
  python -m training.pack shards --kinds crops          (where the photographs are)
  python -m training.reproduce --plan gpu --minutes 13 --shards shards
A killed run goes on with the same command.
"""


def add_options(parser: argparse.ArgumentParser, report: Path) -> None:
    """Add the options; `report` is where the report is written by default."""
    add = parser.add_argument
    add("--parameters", action="store_true", help="print all networks and their parameters, JSON")
    add("--cells", nargs="+", default=[], choices=[*CELLS, "speed", "maps"],
        help="what to train or measure; finished runs are read")  # fmt: skip
    add(
        "--plan",
        choices=["gpu"],
        help="list all cells, most valuable first, then train them until the time is over",
    )
    add("--minutes", type=float, default=13.0, help="of --plan; the same command goes on later")
    add("--list", action="store_true", help="--plan: list the cells and stop")
    add("--rehearse", action="store_true", help="--plan: few photographs, two epochs a run")
    add("--shards", type=Path, help="folder of training.pack, instead of --data")
    add("--profile", action="store_true", help="speed: write what takes the time, too")
    add("--data", type=Path, help="labels.csv, or the competition's folder (default: $DRCORE_DATA)")
    add("--runs", type=Path, default=Path("runs/published"), help="folder of the runs")
    add("--report", type=Path, default=report)
    add("--nets", nargs="+", default=["net-5", "net-4"], choices=["net-5", "net-5-pad1", "net-4"])
    add("--sizes", nargs="+", type=int, default=[128, 256, 512], choices=[128, 256, 512])
    add("--head-size", type=int, help="photograph side at which heads are compared; largest size")
    add("--seeds", nargs="+", type=int, default=[0, 1, 2])
    add("--epochs", nargs="+", default=[], metavar="SIZE=N", help="shorter than published")
    add("--batch", nargs="+", default=[], metavar="SIZE=N", help="other than published")
    add("--rate", type=float, help="other than published")
    add("--clip", type=float, help="largest norm of the gradient; published: none; --plan: 5")
    add("--norm", action="store_true", help="batch norm, as in the paper's fork")
    add("--views", type=int, default=50, help="of test-time augmentation; 0: none")
    add("--views-up-to", type=int, default=512, metavar="SIZE",
        help="largest photograph side at which the views are looked at")  # fmt: skip
    add("--device", choices=["cpu", "cuda"])
    add("--bfloat16", action="store_true", help="on processors too: fast where they have AMX")
    add("--compile", action="store_true", help="compile the networks (worth it on a GPU)")
    add("--steps", type=int, default=0,
        help="speed: batches to time instead of an epoch of 35,126 photographs")  # fmt: skip


def budget_of(given: argparse.Namespace) -> Budget:
    """Return how much of the published effort the command line asks for."""
    budget = Budget(
        nets=tuple(given.nets),
        sizes=tuple(sorted(set(given.sizes))),
        head_size=given.head_size or max(given.sizes),
        epochs=by_size(given.epochs, "--epochs"),
        batch=by_size(given.batch, "--batch"),
        rate=given.rate,
        clip=given.clip if given.clip is not None else 5.0 if given.plan else 0.0,
        norm=given.norm,
        seeds=tuple(given.seeds),
        views=given.views,
        views_up_to=given.views_up_to,
        bfloat16=given.bfloat16,
    )
    if budget.head_size not in budget.sizes:
        raise LabelsError(f"--head-size {budget.head_size} is not among --sizes.")
    return budget


def by_size(values: list[str], option: str) -> tuple[tuple[int, int], ...]:
    """Read values such as 128=20, by the side of the photographs."""
    pairs = []
    for value in values:
        size, _, number = value.partition("=")
        if not (size in {"128", "256", "512"} and number.isdigit() and int(number) > 0):
            raise LabelsError(f"{option} {value!r} is not SIZE=N, for example 128=20.")
        pairs.append((int(size), int(number)))
    return tuple(pairs)
