"""Arguments of `drcore watch` and `drcore plan`; imports nothing heavy."""

from __future__ import annotations

import argparse
import os
from datetime import date
from pathlib import Path
from typing import Any

__all__ = ["add_commands"]

_WATCH = """\
Control charts by week and by camera, from tables of results and from the record of decisions:
score, grade shares, gradable share, sharpness, brightness, field of view, the finest network less
the others; score, sharpness and brightness given the others; colour, colour given the spread of
colours, saturation, direction of light; overrides and reading time from the record. A sentence says
which limit was crossed.

The reference is the bundle's (histograms in its manifest), else the first 500 photographs of each
camera; --own-reference takes those in any case. The camera is the model in the DICOM header;
photographs without one are a stream of their own, "not known". The week is that of the
examination, else of the first decision; photographs without either are charted by the hundred in
the order of the tables, and left out by --since. A photograph counts once, however often its table
is given.

Limits: CUSUMs of likelihood ratios; while nothing changes, 0.2 false alarms over all charts are
expected in 10,000 photographs.
"""
_PLAN = """\
How many photographs could be released without a human read, if at most --miss percent of the
referable ones may be missed (upper 95 % limit, Clopper-Pearson, by patient). From labels with
tables of results, or from the readers' final grades in the record. Refused where there are too few
referable patients; the number needed is printed. Hours saved are photographs times the median
reading time of the record. --list orders tomorrow's table of results.

A simulation for the programme's board, not a setting: drcore releases nothing.
"""


def add_commands(commands: Any) -> None:
    """Add the commands to those of `drcore`.

    Args:
        commands: what `argparse.ArgumentParser.add_subparsers` returned.
    """
    watch = _command(commands, "watch", "see a change of photographs or readers", _WATCH)
    watch.add_argument(
        "--since", type=_day, metavar="DATE", help="first day that is watched, YYYY-MM-DD"
    )
    watch.add_argument(
        "--own-reference", action="store_true",
        help="compare each camera with its own first 500 photographs",
    )  # fmt: skip
    watch.add_argument("--out", type=Path, metavar="CSV", help="write all points of all charts")
    watch.add_argument(
        "--write-reference", type=Path, metavar="FOLDER",
        help="write the histograms of these tables into the manifest of this bundle, and stop",
    )  # fmt: skip
    watch.set_defaults(run=_watch)

    plan = _command(commands, "plan", "simulate how much reading could be saved", _PLAN)
    plan.add_argument("--labels", type=Path, metavar="LABELS.csv", help="as for drcore evaluate")
    plan.add_argument(
        "--skip-invalid", action="store_true", help="go on without labels that cannot be used"
    )
    plan.add_argument(
        "--miss", type=_percent, default=0.05, metavar="PERCENT",
        help="of referable ones that may be missed (default: 5)",
    )  # fmt: skip
    plan.add_argument(
        "--include-unmasked", action="store_true",
        help="let decisions count that were taken with the model's result on screen, or unknown",
    )  # fmt: skip
    plan.add_argument(
        "--list", type=Path, metavar="CSV", dest="tomorrow", help="table of tomorrow's photographs"
    )
    plan.add_argument("--out", type=Path, metavar="CSV", help="write the queue of --list")
    plan.set_defaults(run=_plan)


def _command(commands: Any, name: str, summary: str, description: str) -> argparse.ArgumentParser:
    made: argparse.ArgumentParser = commands.add_parser(
        name, help=summary, description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    made.add_argument(
        "tables", nargs="*", type=Path, metavar="RESULTS.csv", help="tables of drcore grade"
    )
    made.add_argument("--record", metavar="URL", help="decisions: SQLite file or postgresql://")
    made.add_argument(
        "--weights", type=Path, metavar="FOLDER", default=os.environ.get("DRCORE_WEIGHTS") or None,
        help="bundle in use (default: $DRCORE_WEIGHTS, else the bundled one)",
    )  # fmt: skip
    return made


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no date; write YYYY-MM-DD") from None


def _percent(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not 0 < value < 100:
        raise argparse.ArgumentTypeError(f"{text!r} is no percentage between 0 and 100")
    return value / 100


def _watch(options: argparse.Namespace) -> int:
    from drcore.monitoring.commands import watch

    return watch(options)


def _plan(options: argparse.Namespace) -> int:
    from drcore.monitoring.commands import plan

    return plan(options)
