"""Write reference histograms into a bundle's manifest: `python -m training.reference`.

The validation photographs are graded as a user would grade them. How all that `drcore watch`
charts, from score to colour and light, is distributed there is what it compares with. Run it last:
calibrating drops the reference, and weights stay as they are.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from tqdm import tqdm

from drcore.evaluation.outcomes import read_results
from drcore.grading.grader import Grader
from drcore.model.bundle import bundled_folder
from drcore.monitoring.reference import add_reference
from drcore.results.columns import row_of
from training import cli


def main(arguments: list[str] | None = None) -> None:
    """Add the reference from the command line."""
    parser = cli.parser("reference", __doc__, "--weights", "--labels", "--images", "--quiet")
    parser.set_defaults(weights=bundled_folder())
    parser.add_argument(
        "--results", type=Path, metavar="CSV",
        help="table of drcore grade for these photographs, instead of grading them",
    )  # fmt: skip
    cli.run(parser, _add, arguments)


def _add(given: argparse.Namespace) -> None:
    if given.results:
        rows = read_results(given.results)
    else:
        grader = Grader.from_folder(given.weights)
        chosen = [row.path for row in cli.labels(given) if row.split == "val"]
        reports = tqdm(
            grader.grade_many(chosen), total=len(chosen), unit="photograph", disable=given.quiet
        )
        rows = [row_of(report) for report in reports]
    count = add_reference(given.weights, rows, "validation photographs")
    print(f"{given.weights}: reference of {count:,} photographs written.")


if __name__ == "__main__":
    main()
