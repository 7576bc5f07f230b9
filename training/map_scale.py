"""Saturation and outlines of heat maps on photographs: `python -m training.map_scale`."""

from __future__ import annotations

import argparse
import json

from training import cli
from training.evaluation.map_scale import map_scale


def main(arguments: list[str] | None = None) -> None:
    """Print how much of the retina lies beyond the colours, and where outlines are drawn."""
    parser = cli.parser("map_scale", __doc__, "--weights", "--labels", "--images", "--quiet")
    parser.add_argument("--grades", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--split", default="val")
    cli.run(parser, _measure, arguments)


def _measure(given: argparse.Namespace) -> None:
    rows = [
        row for row in cli.labels(given) if row.split == given.split and row.grade in given.grades
    ]
    print(json.dumps(map_scale(cli.grader(given), rows, quiet=given.quiet), indent=1))


if __name__ == "__main__":
    main()
