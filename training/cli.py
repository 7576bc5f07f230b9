"""Options that the training commands share, and how a command reports an error."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from drcore.errors import DrcoreError
from drcore.grading.grader import Grader
from training.data.further_sets import read_healthy
from training.data.labels import Labelled, data_root, read_labels

__all__ = [
    "add_fusion",
    "add_scales",
    "grader",
    "labels",
    "labels_table",
    "lesions_table",
    "measure_sample",
    "parser",
    "run",
    "write_json",
]

_SHARED: dict[str, dict[str, Any]] = {
    "--weights": {"type": Path, "help": "folder of a bundle (default: the bundled one)"},
    "--labels": {"type": Path, "help": "labels.csv (default: $DRCORE_DATA/labels.csv)"},
    "--images": {"type": Path, "help": "folder of the photographs (default: beside labels.csv)"},
    "--lesions": {"type": Path, "help": "lesions.csv (default: beside labels.csv)"},
    "--without": {
        "type": Path,
        "metavar": "REPEATS",
        "help": "pairs of photographs of one eye, as training.repeats writes them: an eye that is "
        "trained on is not measured on",
    },
    "--further": {
        "action": "store_true",
        "help": "healthy.csv beside labels.csv takes part, too",
    },
    "--cache": {"type": Path, "default": Path("cache"), "help": "folder for prepared photographs"},
    "--json": {"type": Path, "help": "write the figures here too; - writes them to the screen"},
    "--quiet": {"action": "store_true", "help": "no progress bar"},
}


def parser(module: str, description: str | None, *shared: str) -> argparse.ArgumentParser:
    """Return the parser of a command with some of the shared options.

    Args:
        shared: names of shared options, such as "--weights".
    """
    made = argparse.ArgumentParser(prog=f"python -m training.{module}", description=description)
    for name in shared:
        made.add_argument(name, **_SHARED[name])
    return made


def add_scales(parser: argparse.ArgumentParser) -> None:
    """Add the options of commands that put scales together to a bundle."""
    parser.add_argument(
        "--finest", type=Path, metavar="FOLDER",
        help="of the finest scale, such as training/finest_scale/weights (default: without it)",
    )  # fmt: skip
    add_fusion(parser)


def add_fusion(parser: argparse.ArgumentParser) -> None:
    """Add the option that sets the weights of the scales."""
    parser.add_argument(
        "--fusion", nargs="+", type=float, default=[], metavar="WEIGHT",
        help="of each scale in score and map, by rising size (default: fitted on validation)",
    )  # fmt: skip


def run(
    parser: argparse.ArgumentParser,
    work: Callable[[argparse.Namespace], None],
    arguments: list[str] | None,
) -> None:
    """Parse the command line and do the work; an error of the project ends it with status 1."""
    given = parser.parse_args(arguments)
    try:
        work(given)
    except DrcoreError as error:
        parser.exit(1, f"{error}\n")


def labels_table(given: argparse.Namespace) -> Path:
    """Return the path of the labels table."""
    return given.labels or data_root() / "labels.csv"


def lesions_table(given: argparse.Namespace) -> Path:
    """Return the path of the table of lesion masks."""
    return given.lesions or labels_table(given).parent / "lesions.csv"


def labels(given: argparse.Namespace) -> list[Labelled]:
    """Read the labelled photographs."""
    rows = read_labels(labels_table(given), getattr(given, "images", None))
    if getattr(given, "further", False):
        rows += read_healthy(labels_table(given).with_name("healthy.csv"))
    return rows


def grader(given: argparse.Namespace) -> Grader:
    """Open the weights."""
    return Grader.from_folder(given.weights) if given.weights else Grader.bundled()


def write_json(given: argparse.Namespace, result: Mapping[str, Any], text: str) -> None:
    """Print the figures as text, or as JSON where `--json -` asks for it, and write them."""
    stored = json.dumps(result, indent=1)
    print(stored if str(given.json) == "-" else text)
    if given.json and str(given.json) != "-":
        given.json.write_text(stored + "\n", encoding="utf-8")


def measure_sample(
    module: str,
    description: str | None,
    measure: Callable[..., dict[str, Any]],
    table: Callable[[dict[str, Any]], str],
    arguments: list[str] | None,
    *,
    count: int,
) -> None:
    """Measure a bundle on a sample of photographs and print the figures.

    Args:
        measure: takes a grader, labelled photographs, `count`, `seed` and `quiet`.
        table: lays out as text what `measure` returns.
        arguments: of the command; those of the process where left out.
    """
    made = parser(module, description, "--weights", "--labels", "--images", "--json", "--quiet")
    made.add_argument("--count", type=int, default=count, help="photographs")
    made.add_argument("--seed", type=int, default=0, help="of the choice of photographs")

    def work(given: argparse.Namespace) -> None:
        rows, bundle = labels(given), grader(given)
        result = measure(bundle, rows, count=given.count, seed=given.seed, quiet=given.quiet)
        write_json(given, result, table(result))

    run(made, work, arguments)
