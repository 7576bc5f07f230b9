"""Training the finest scale, 1,024 px: `python -m training.finest tiles --out runs/fine`.

First on tiles with lesion masks, then, from those weights, on the grades of whole photographs:
`python -m training.finest grades --from runs/fine/tiles.average.safetensors --out runs/fine`.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from drcore.preprocessing.network_input import Preprocessing
from training.data.labels import data_root
from training.finest_scale.grade_training import GRADES, train_grades
from training.finest_scale.square_sets import TRAINED_ON, open_squares
from training.finest_scale.squares import read_fine_rows
from training.finest_scale.tile_training import TILES, train_tiles


def main(arguments: list[str] | None = None) -> None:
    """Train the finest scale from the command line."""
    parser = argparse.ArgumentParser(prog="python -m training.finest", description=__doc__)
    parser.add_argument("stage", choices=("tiles", "grades"))
    parser.add_argument("--from", type=Path, dest="start", help="weights that grades begin with")
    parser.add_argument("--out", type=Path, default=Path("runs/fine"), help="folder of the run")
    parser.add_argument("--cache", type=Path, default=Path("cache"), help="folder for squares")
    parser.add_argument("--steps", type=int, help="instead of the recipe's")
    given = parser.parse_args(arguments)
    if given.stage == "grades" and given.start is None:
        parser.error("grades need --from, the weights that training on tiles left")
    preparation = Preprocessing()
    squares = open_squares(read_fine_rows(data_root()), given.cache, preparation, TRAINED_ON)
    changes = {} if given.steps is None else {"steps": given.steps}
    if given.stage == "tiles":
        train_tiles(replace(TILES, **changes), squares, given.out, preparation)
    else:
        train_grades(replace(GRADES, **changes), squares, given.start, given.out, preparation)


if __name__ == "__main__":
    main()
