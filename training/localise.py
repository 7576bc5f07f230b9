"""Judging activation maps against pixel-level lesion masks: `python -m training.localise`.

All measures are taken on one working grid, the square of `RetinaSquare` at `GRID` pixels a side,
inside the field of view less the rim margin that the maps leave out too. A pixel of the grid is a
lesion where at least half of it is; a map of other cells is resampled bilinearly. Lengths are
shares of the diameter of the field of view, which is the side of the grid.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import numpy as np

from drcore.errors import DrcoreError
from training import cli
from training.data.duplicates import read_repeats, with_eyes_in_training
from training.data.labels import Labelled
from training.data.lesion_masks import Annotated, read_lesions
from training.evaluation.localisation_report import plain, result_of, table
from training.evaluation.localised_maps import BaselineMaps, healthy_excess, localise


def _parser() -> argparse.ArgumentParser:
    shared = (
        "--weights", "--labels", "--images", "--lesions", "--without", "--json", "--quiet",
    )  # fmt: skip
    parser = cli.parser("localise", "Judge activation maps against lesion masks.", *shared)
    parser.add_argument("--photographs", choices=("clean", "all", "both"), default="both")
    parser.add_argument(
        "--baselines", "--rivals", choices=("none", "cheap", "all"), default="cheap",
        help="other kinds of map to measure beside the Regression Activation Maps",
    )  # fmt: skip
    parser.add_argument(
        "--occlusion-scales", type=int, nargs="+", metavar="SIZE",
        help="input sizes for --baselines all (default: every one; the largest takes longest)",
    )  # fmt: skip
    parser.add_argument("--steps", type=int, default=12, help="of deletion and insertion; 0: none")
    parser.add_argument(
        "--healthy", type=int, metavar="N",
        help="measure N healthy validation photographs, drawn by a seed (default: all; 0: none)",
    )  # fmt: skip
    parser.add_argument("--draws", type=int, default=1000, help="resamples of the intervals")
    return parser


def main(arguments: list[str] | None = None) -> None:
    """Print how well the maps of a bundle point at lesions, from the command line."""
    parser = _parser()
    given = parser.parse_args(arguments)
    if given.steps < 0 or (given.healthy or 0) < 0 or given.draws < 1:
        parser.error("--steps, --healthy and --draws count: give 0 or more (draws: 1 or more).")
    if given.occlusion_scales and given.baselines != "all":
        parser.error("--occlusion-scales is for --baselines all.")
    if given.json and not given.json.absolute().parent.is_dir():
        parser.error(f"--json: there is no folder {given.json.parent} to write into.")
    cli.run(parser, _localise, arguments)


def _localise(given: argparse.Namespace) -> None:
    labels = cli.labels(given)
    photographs = _photographs(given, labels)
    clean = [i for i, photograph in enumerate(photographs) if photograph.clean]
    selections = {"clean": clean, "all": list(range(len(photographs)))}
    selections = {
        name: places
        for name, places in selections.items()
        if given.photographs in {name, "both"} and places
    }
    if not selections:
        raise DrcoreError("There is no clean photograph in the table of lesions.")
    grader = cli.grader(given)
    occluded = given.occlusion_scales or grader.scales if given.baselines == "all" else ()
    figures = localise(
        grader,
        photographs,
        baselines=BaselineMaps(given.baselines != "none", tuple(occluded)),
        steps=given.steps,
        quiet=given.quiet,
    )
    result = result_of(grader, photographs, figures, selections, given.draws)
    healthy = [row for row in labels if row.split == "val" and row.grade == 0]
    if given.healthy is not None and given.healthy < len(healthy):
        drawn = np.random.default_rng(0).choice(len(healthy), given.healthy, replace=False)
        healthy = [healthy[i] for i in sorted(drawn)]
    if healthy:
        result["healthy"] = healthy_excess(grader, healthy, draws=given.draws, quiet=given.quiet)
    cli.write_json(given, plain(result), table(result))


def _photographs(given: argparse.Namespace, labels: list[Labelled]) -> list[Annotated]:
    """The photographs with masks that the command line asks for."""
    splits = {row.path.name: row.split for row in labels}
    photographs = read_lesions(cli.lesions_table(given), splits)
    if given.without:
        names = [photograph.path.name for photograph in photographs]
        known = with_eyes_in_training(names, labels, read_repeats(given.without))
        photographs = [
            replace(photograph, clean=photograph.clean and photograph.path.name not in known)
            for photograph in photographs
        ]
    if given.photographs == "clean":
        return [photograph for photograph in photographs if photograph.clean]
    return photographs


if __name__ == "__main__":
    main()
