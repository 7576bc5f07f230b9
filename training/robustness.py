"""Evaluate robustness to another camera: `python -m training.robustness`.

Validation photographs are graded as they are, and again as if another camera, another light or
another archive had made them: changes that a reader would not mind. What the score then does says
more of photographs from elsewhere than any figure of the photographs themselves, which come from
the cameras that were trained on.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

from training import cli
from training.evaluation.drift import graded_changes
from training.evaluation.robustness import measure, table


def main(arguments: list[str] | None = None) -> None:
    """Print the figures from the command line."""
    parser = cli.parser(
        "robustness", __doc__, "--weights", "--labels", "--images", "--json", "--quiet"
    )
    parser.add_argument("--count", type=int, default=150, help="photographs")
    parser.add_argument("--seed", type=int, default=0, help="of the choice of photographs")
    parser.add_argument(
        "--out", type=Path, help="folder of the graded tables, shared with training.monitoring"
    )
    cli.run(parser, _measure, arguments)


def _measure(given: argparse.Namespace) -> None:
    labels, grader = cli.labels(given), cli.grader(given)
    with TemporaryDirectory() as folder:
        rows = graded_changes(
            grader, labels, given.out or Path(folder), count=given.count, changed=given.count,
            seed=given.seed, quiet=given.quiet,
        )  # fmt: skip
    result = measure(grader, rows, labels)
    cli.write_json(given, result, table(result))


if __name__ == "__main__":
    main()
