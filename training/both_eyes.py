"""Evaluate the use of the other eye: `python -m training.both_eyes`.

The blend of Wang & Yang 2017 sees both eyes of a patient. Here it is one number: how much of the
other eye's score goes into this eye's. It is fitted on other patients than those it is judged on.
"""

from __future__ import annotations

import argparse
import json

import numpy as np

from training import cli
from training.evaluation.both_eyes import blend_gain
from training.evaluation.scoring import score_photographs


def main(arguments: list[str] | None = None) -> None:
    """Print what the other eye adds on the validation photographs of EyePACS."""
    cli.run(
        cli.parser("both_eyes", __doc__, "--weights", "--labels", "--images", "--quiet"),
        _measure,
        arguments,
    )


def _measure(given: argparse.Namespace) -> None:
    rows, grader = cli.labels(given), cli.grader(given)
    rows = [row for row in rows if row.split == "val" and row.dataset == "eyepacs"]
    scored = score_photographs(grader, rows, quiet=given.quiet)
    scored = scored.where(scored.gradable)
    pairs = [
        found
        for patient in np.unique(scored.patient)
        if len(found := np.flatnonzero(scored.patient == patient)) == 2
    ]
    both = np.array(pairs, np.int64).reshape(-1, 2)
    result = blend_gain(scored.score[both], scored.truth[both], grader.bundle.thresholds)
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
