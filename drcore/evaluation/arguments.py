"""Arguments of `drcore evaluate` and `drcore calibrate`; imports nothing heavy."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

__all__ = ["add_commands"]

_EVALUATE = """\
Grade labelled photographs and measure the model on them.

LABELS.csv has a column "image" (path below PATH, or the file's name) and a column "grade" (0 to 4,
or a range such as 0-1 or 3-4) or "referable" (true or false); with a column "patient" the intervals
are over patients. Rows that name no photograph, stand twice or have no grade are told by their line
before anything is graded.

--out DIR keeps results.csv (a stopped run goes on from it), evaluation.json and report.html, which
shows figures, confusion matrix, reliability and the twelve worst disagreements with their heat
maps. It holds photographs and names: treat it like them. --results uses a table that drcore grade
wrote for the same photographs.
"""

_CALIBRATE = """\
Fit thresholds, probabilities, grade sets and operating points to one site. Networks, scores and
heat maps stay as they are.

From labels, as drcore evaluate takes them, or from the readers' decisions in the viewer's record.
Of decisions only those count that were taken before the model's result was on screen; the final
grade is the arbiter's, else what all readers agree on. --results adds the score of each network;
without it, the record's score is used alone. At least 50 patients and two photographs of each
grade are needed. Printed: figures before and after, cross-validated by patient, and what would
change. The manifest of the new bundle names its parent, the date, counts and a hash; nothing of a
patient is in it.
"""


def add_commands(commands: Any) -> None:
    """Add the commands to those of `drcore`.

    Args:
        commands: what `argparse.ArgumentParser.add_subparsers` returned.
    """
    evaluate = _command(commands, "evaluate", "measure the model on labelled images", _EVALUATE)
    evaluate.add_argument("--labels", type=Path, required=True, metavar="LABELS.csv")
    evaluate.add_argument("--out", type=Path, metavar="DIR", help="folder of the report")
    evaluate.set_defaults(run=_evaluate)

    calibrate = _command(commands, "calibrate", "fit the model to one site", _CALIBRATE)
    source = calibrate.add_mutually_exclusive_group(required=True)
    source.add_argument("--labels", type=Path, metavar="LABELS.csv")
    source.add_argument(
        "--decisions", metavar="URL", help="record: an SQLite file or postgresql://"
    )
    calibrate.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder of the new bundle"
    )
    calibrate.add_argument(
        "--include-unmasked", action="store_true",
        help="let decisions count that were taken with the model's result on screen, or unknown",
    )  # fmt: skip
    calibrate.set_defaults(run=_calibrate)


def _command(commands: Any, name: str, summary: str, description: str) -> argparse.ArgumentParser:
    made: argparse.ArgumentParser = commands.add_parser(
        name, help=summary, description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    add = made.add_argument
    add("paths", nargs="*", metavar="PATH", help="images, folders, archives or URLs")
    add("--results", type=Path, metavar="CSV", help="use this table of drcore grade")
    add("--weights", type=Path, metavar="FOLDER", default=os.environ.get("DRCORE_WEIGHTS") or None,
        help="use weights in FOLDER (default: $DRCORE_WEIGHTS, else the bundled ones)")  # fmt: skip
    add("--skip-invalid", action="store_true", help="go on without rows that cannot be used")
    add("--name-pattern", default="", metavar="REGEX", help="as for drcore grade")
    add("--patient-from", choices=("name", "folder"), default="name", help="as for drcore grade")
    add("--workers", type=int, choices=range(1, 257), default=min(8, os.cpu_count() or 1),
        metavar="N", help="reader threads")  # fmt: skip
    add("--device", choices=("cpu", "cuda"), help="default: CUDA where there is one")
    add("--quiet", action="store_true", help="no progress bar")
    return made


def _inputs(options: argparse.Namespace) -> Any:
    from drcore.evaluation.graded import LabelledInputs
    from drcore.photographs.identity import NameRules

    return LabelledInputs(
        labels=options.labels or Path(),
        paths=tuple(options.paths),
        results=options.results,
        weights=options.weights,
        device=options.device,
        workers=options.workers,
        quiet=options.quiet,
        skip_invalid=options.skip_invalid,
        rules=NameRules(options.name_pattern, options.patient_from == "folder"),
    )


def _evaluate(options: argparse.Namespace) -> int:
    from drcore.evaluation.evaluate_command import evaluate

    return evaluate(_inputs(options), options.out)


def _calibrate(options: argparse.Namespace) -> int:
    from drcore.evaluation.calibrate_command import calibrate

    return calibrate(
        _inputs(options), options.out, decisions=options.decisions,
        masked_only=not options.include_unmasked,
    )  # fmt: skip
