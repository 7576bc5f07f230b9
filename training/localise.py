"""Judging activation maps against pixel-level lesion masks: `python -m training.localise`.

All measures are taken on one working grid, the square of `RetinaSquare` at `GRID` pixels a side,
inside the field of view less the rim margin that the maps leave out too. A pixel of the grid is a
lesion where at least half of it is; a map of other cells is resampled bilinearly. Lengths are
shares of the diameter of the field of view, which is the side of the grid.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from drcore.errors import DrcoreError
from drcore.grading.grader import Grader
from training.data.duplicates import read_repeats, with_eyes_in_training
from training.data.labels import Labelled, data_root, read_labels
from training.data.lesion_masks import Annotated, read_lesions
from training.evaluation.localisation import BaselineMaps, healthy_excess, localise
from training.evaluation.localisation_report import _plain, _result, table

__all__ = []


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.localise",
        description="Judge activation maps against pixel-level lesion masks.",
    )
    parser.add_argument("--weights", type=Path, help="folder of a bundle (default: the bundled)")
    parser.add_argument("--lesions", type=Path, help="default: $DRCORE_DATA/lesions.csv")
    parser.add_argument("--labels", type=Path, help="default: $DRCORE_DATA/labels.csv")
    parser.add_argument("--photographs", choices=("clean", "all", "both"), default="both")
    parser.add_argument(
        "--without", type=Path, metavar="REPEATS",
        help="call no photograph clean whose eye is in training, as training.repeats found it",
    )  # fmt: skip
    parser.add_argument("--rivals", choices=("none", "cheap", "all"), default="cheap")
    parser.add_argument(
        "--occlusion-scales", type=int, nargs="+", metavar="SIZE",
        help="input sizes for --rivals all (default: every one; the largest takes longest)",
    )  # fmt: skip
    parser.add_argument("--steps", type=int, default=12, help="of deletion and insertion; 0: none")
    parser.add_argument(
        "--healthy", type=int, metavar="N",
        help="measure N healthy validation photographs, drawn by a seed (default: all; 0: none)",
    )  # fmt: skip
    parser.add_argument("--draws", type=int, default=1000, help="resamples of the intervals")
    parser.add_argument("--json", type=Path, help="write everything here too")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    return parser


def _photographs(given: argparse.Namespace, labels: list[Labelled]) -> list[Annotated]:
    """The photographs with masks that the command line asks for."""
    photographs = read_lesions(
        given.lesions or data_root() / "lesions.csv",
        {row.path.name: row.split for row in labels},
    )
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


def main(arguments: list[str] | None = None) -> None:
    """Print how well the maps of a bundle point at lesions, from the command line."""
    parser = _parser()
    given = parser.parse_args(arguments)
    if given.steps < 0 or (given.healthy or 0) < 0 or given.draws < 1:
        parser.error("--steps, --healthy and --draws count: give 0 or more (draws: 1 or more).")
    if given.occlusion_scales and given.rivals != "all":
        parser.error("--occlusion-scales is for --rivals all.")
    if given.json and not given.json.absolute().parent.is_dir():
        parser.error(f"--json: there is no folder {given.json.parent} to write into.")
    try:
        labels = read_labels(given.labels or data_root() / "labels.csv")
        photographs = _photographs(given, labels)
        clean = [i for i, photograph in enumerate(photographs) if photograph.clean]
        selections = {"clean": clean, "all": list(range(len(photographs)))}
        selections = {
            name: places
            for name, places in selections.items()
            if given.photographs in {name, "both"} and places
        }
        if not selections:
            parser.exit(1, "There is no clean photograph in the table of lesions.\n")
        grader = Grader.from_folder(given.weights) if given.weights else Grader.bundled()
        occluded = given.occlusion_scales or grader.scales if given.rivals == "all" else ()
        figures = localise(
            grader,
            photographs,
            rivals=BaselineMaps(given.rivals != "none", tuple(occluded)),
            steps=given.steps,
            quiet=given.quiet,
        )
        result = _result(grader, photographs, figures, selections, given.draws)
        healthy = [row for row in labels if row.split == "val" and row.grade == 0]
        if given.healthy is not None and given.healthy < len(healthy):
            drawn = np.random.default_rng(0).choice(len(healthy), given.healthy, replace=False)
            healthy = [healthy[i] for i in sorted(drawn)]
        if healthy:
            result["healthy"] = healthy_excess(
                grader, healthy, draws=given.draws, quiet=given.quiet
            )
    except DrcoreError as error:
        parser.exit(1, f"{error}\n")
    print(table(result))
    if given.json:
        text = json.dumps(_plain(result), indent=1, allow_nan=False)
        given.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
