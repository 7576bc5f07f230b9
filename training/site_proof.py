"""What calibrating on a site is worth: `python -m training.site_proof`.

Two sites that the calibration has not seen: Messidor-2, fitted on its first part and judged on the
other, and EyePACS validation, cross-validated by patient. A bundle whose networks were trained
without the site is what the figures are about.
"""

from __future__ import annotations

import argparse

from training import cli
from training.evaluation.scoring import score_photographs
from training.evaluation.site_proof import calibrated_elsewhere, site_table

SIZES = (50, 100, 200, None)


def main(arguments: list[str] | None = None) -> None:
    """Print the tables from the command line."""
    parser = cli.parser("site_proof", __doc__, "--weights", "--labels", "--images", "--quiet")
    parser.add_argument("--draws", type=int, default=20, help="choices of patients")
    cli.run(parser, _measure, arguments)


def _measure(given: argparse.Namespace) -> None:
    rows = cli.labels(given)
    chosen = [r for r in rows if r.split == "val" or (r.dataset, r.split) == ("messidor2", "train")]
    scored = score_photographs(cli.grader(given), chosen, quiet=given.quiet)
    scored = scored.where(scored.gradable)
    val, train = scored.where(scored.split == "val"), scored.where(scored.split == "train")
    for site, pool, judged in (
        ("messidor2", train, val.where(val.dataset == "messidor2")),
        ("eyepacs", val.where(val.dataset == "eyepacs"), None),
    ):
        parent = calibrated_elsewhere(val, site)
        table = site_table(pool, judged, parent, SIZES, draws=given.draws, quiet=True)
        print(f"{site}: gain with its 95 % interval over patients\n{table}\n")


if __name__ == "__main__":
    main()
