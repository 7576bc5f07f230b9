"""Measuring a bundle on graded photographs: `python -m training.evaluate`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from drcore.errors import DrcoreError
from drcore.grading.grader import Grader
from training.data.duplicates import read_repeats, with_eyes_in_training
from training.data.labels import data_root, read_labels
from training.evaluation.grading import evaluate, table

__all__ = []


def main(arguments: list[str] | None = None) -> None:
    """Print figures of a bundle from the command line."""
    parser = argparse.ArgumentParser(prog="python -m training.evaluate", description=__doc__)
    parser.add_argument("--weights", type=Path, help="folder of a bundle (default: the bundled)")
    parser.add_argument("--labels", type=Path, help="labels.csv (default: $DRCORE_DATA/labels.csv)")
    parser.add_argument("--images", type=Path, help="folder of the photographs")
    parser.add_argument("--splits", nargs="+", default=["val", "test"])
    parser.add_argument(
        "--without", type=Path, metavar="REPEATS",
        help="leave out photographs whose eye is in training, too, as training.repeats found it",
    )  # fmt: skip
    parser.add_argument("--json", type=Path, help="write the figures here too; - for the screen")
    given = parser.parse_args(arguments)
    try:
        labels = read_labels(given.labels or data_root() / "labels.csv", given.images)
        rows = [row for row in labels if row.split in given.splits]
        if given.without:
            names = [row.path.name for row in rows]
            known = with_eyes_in_training(names, labels, read_repeats(given.without))
            rows = [row for row in rows if row.path.name not in known]
        grader = Grader.from_folder(given.weights) if given.weights else Grader.bundled()
        result = evaluate(grader, rows, quiet=str(given.json) == "-")
    except DrcoreError as error:
        parser.exit(1, f"{error}\n")
    text = json.dumps(result, indent=1)
    if str(given.json) == "-":
        print(text)
        return
    print(table(result))
    if given.json:
        given.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
