"""Evaluate the check for several retinas in a picture: `python -m training.composites`."""

from __future__ import annotations

import argparse

import cv2

from training import cli
from training.evaluation.composites import measure, table


def main(arguments: list[str] | None = None) -> None:
    """Print the figures from the command line."""
    parser = cli.parser("composites", __doc__, "--labels", "--images", "--json", "--quiet")
    parser.add_argument("--measure", action="store_true", help="the default; kept for old calls")
    parser.add_argument("--count", type=int, default=500, help="composites, and singles on pages")
    parser.add_argument("--seed", type=int, default=0)
    cv2.setNumThreads(1)
    cli.run(parser, _measure, arguments)


def _measure(given: argparse.Namespace) -> None:
    paths = [row.path for row in cli.labels(given)]
    result = measure(paths, count=given.count, seed=given.seed, quiet=given.quiet)
    cli.write_json(given, result, table(result))


if __name__ == "__main__":
    main()
