"""Measuring a bundle on graded photographs: `python -m training.evaluate`."""

from __future__ import annotations

import argparse

from training import cli
from training.data.duplicates import read_repeats, with_eyes_in_training
from training.evaluation.grading import evaluate, table


def main(arguments: list[str] | None = None) -> None:
    """Print figures of a bundle from the command line."""
    shared = ("--weights", "--labels", "--images", "--without", "--json", "--quiet")
    parser = cli.parser("evaluate", __doc__, *shared)
    parser.add_argument("--splits", nargs="+", default=["val", "test"])
    cli.run(parser, _evaluate, arguments)


def _evaluate(given: argparse.Namespace) -> None:
    every = cli.labels(given)
    rows = [row for row in every if row.split in given.splits]
    if given.without:
        names = [row.path.name for row in rows]
        known = with_eyes_in_training(names, every, read_repeats(given.without))
        rows = [row for row in rows if row.path.name not in known]
    quiet = given.quiet or str(given.json) == "-"
    result = evaluate(cli.grader(given), rows, quiet=quiet)
    cli.write_json(given, result, table(result))


if __name__ == "__main__":
    main()
