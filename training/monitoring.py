"""Measure the control charts: `python -m training.monitoring --out FOLDER`.

Validation photographs are graded as they are and as another camera would have made them (kept in
FOLDER, so the command goes on where it was stopped). Streams are then drawn with replacement. Each
change is injected into unchanged ones: after how many photographs is there an alarm? And how many
alarms do 10,000 unchanged photographs raise, over all charts?
"""

from __future__ import annotations

import argparse
from pathlib import Path

from training import cli
from training.evaluation.drift import graded_changes
from training.evaluation.monitoring import measure, table


def main(arguments: list[str] | None = None) -> None:
    """Print the figures from the command line."""
    parser = cli.parser(
        "monitoring", __doc__, "--weights", "--labels", "--images", "--json", "--quiet"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the graded tables")
    parser.add_argument("--count", type=int, default=925, help="photographs as they are")
    parser.add_argument("--changed", type=int, default=120, help="photographs under each change")
    parser.add_argument("--seeds", type=int, default=100, help="unchanged streams")
    parser.add_argument("--injected", type=int, default=20, help="streams with each change")
    cli.run(parser, _measure, arguments)


def _measure(given: argparse.Namespace) -> None:
    labels, grader = cli.labels(given), cli.grader(given)
    rows = graded_changes(
        grader, labels, given.out, count=given.count, changed=given.changed, quiet=given.quiet
    )
    result = measure(rows, labels, seeds=given.seeds, injected=given.injected, quiet=given.quiet)
    cli.write_json(given, {"model": grader.version, **result}, table(result))


if __name__ == "__main__":
    main()
