"""Training the finest scale, 1,024 px: `python -m training.finest tiles --out runs/fine`.

First on tiles with lesion masks, then, from those weights, on the grades of whole photographs:
`python -m training.finest grades --from runs/fine/tiles.average.safetensors --out runs/fine`; then
with more cameras and photographs of few pixels, in a folder of its own:
`python -m training.finest cameras --from runs/fine/grades.average.safetensors --out runs/cameras`,
and from there `archives`, with stronger compression, noise and blur, and `photographs`, which looks
at all of a photograph in each step; `whole` and `deep` are trials. What a run began with and went
through is averaged by `mean --from runs/archives --start FILE --at 0 2000 4000`. Then for
`training.export --finest`:
`python -m training.finest finish --from runs/cameras --before runs/fine --out runs/finest`.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from drcore.preprocessing.network_input import Preprocessing
from training.data.duplicates import read_repeats
from training.data.labels import data_root
from training.finest_scale.averaged import write_mean
from training.finest_scale.finished import write_finished
from training.finest_scale.grade_recipe import ARCHIVES, CAMERAS, DEEP, GRADES, PHOTOGRAPHS, WHOLE
from training.finest_scale.grade_training import train_grades
from training.finest_scale.square_sets import (
    ALL_TRAINED_ON,
    TRAINED_ON,
    measured_kept_apart,
    open_squares,
)
from training.finest_scale.squares import read_fine_rows
from training.finest_scale.tile_training import TILES, train_tiles

_GRADED = {
    "grades": GRADES,
    "cameras": CAMERAS,
    "whole": WHOLE,
    "deep": DEEP,
    "archives": ARCHIVES,
    "photographs": PHOTOGRAPHS,
}


def main(arguments: list[str] | None = None) -> None:
    """Train the finest scale from the command line."""
    parser = argparse.ArgumentParser(prog="python -m training.finest", description=__doc__)
    parser.add_argument("stage", choices=("tiles", *_GRADED, "mean", "finish"))
    parser.add_argument(
        "--from",
        type=Path,
        dest="start",
        help="weights that grades begin with; for mean and finish, the run",
    )
    parser.add_argument(
        "--start", type=Path, dest="began", help="for mean: what the run began with"
    )
    parser.add_argument(
        "--at", type=int, nargs="+", default=[0], metavar="STEP",
        help="for mean: steps whose weights were kept; 0 for --start",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, default=Path("runs/fine"), help="folder of the run")
    parser.add_argument("--cache", type=Path, default=Path("cache"), help="folder for squares")
    parser.add_argument("--steps", type=int, help="instead of the recipe's")
    parser.add_argument("--seed", type=int, help="instead of the recipe's")
    parser.add_argument("--threads", type=int, default=2, help="that share a step")
    parser.add_argument(
        "--without", type=Path, metavar="REPEATS",
        help="pairs of photographs of one eye, as training.repeats writes them",
    )  # fmt: skip
    parser.add_argument(
        "--leave-out", nargs="*", default=[], metavar="DATASET",
        help="data sets that are not trained on, to be measured on as if from elsewhere",
    )  # fmt: skip
    parser.add_argument(
        "--before", type=Path, nargs="*", default=[], metavar="RUN",
        help="for finish: folders of the runs before, whose recipes are recorded",
    )  # fmt: skip
    parser.add_argument(
        "--ceiling", type=float, help="for finish: of the link, instead of the run's"
    )
    given = parser.parse_args(arguments)
    if given.stage != "tiles" and given.start is None:
        parser.error(f"{given.stage} needs --from, what the stage before left")
    if given.stage == "finish":
        write_finished(given.start, given.out, given.before, given.ceiling)
    elif given.stage == "mean":
        if given.began is None:
            parser.error("mean needs --start, the weights that the run began with")
        write_mean(given.start, given.began, given.at, given.out)
    else:
        _train(given)


def _train(given: argparse.Namespace) -> None:
    preparation = Preprocessing()
    names = TRAINED_ON if given.stage in ("tiles", "grades") else ALL_TRAINED_ON
    rows = [row for row in read_fine_rows(data_root()) if row.dataset not in given.leave_out]
    squares = open_squares(rows, given.cache, preparation, names)
    if given.without:
        squares = measured_kept_apart(squares, read_repeats(given.without))
    steps = {} if given.steps is None else {"steps": given.steps}
    seed = {} if given.seed is None else {"seed": given.seed}
    if given.stage == "tiles":
        recipe = replace(TILES, **steps, **seed)
        train_tiles(recipe, squares, given.out, preparation, threads=given.threads)
        return
    chosen = _GRADED[given.stage]
    train_grades(
        replace(chosen, **steps, tiles=replace(chosen.tiles, **seed)), squares, given.start,
        given.out, preparation, threads=given.threads,
    )  # fmt: skip


if __name__ == "__main__":
    main()
