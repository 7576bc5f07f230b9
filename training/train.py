"""Training a GAP regression network: `python -m training.train ram-128 --out runs/first`."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from drcore.errors import DrcoreError
from drcore.model.bundle import bundled_folder, load_bundle
from drcore.preprocessing.network_input import Preprocessing
from training.data.duplicates import keep_apart, photographs_with_masks, read_repeats
from training.data.labels import data_root, read_labels
from training.data.lesion_squares import LesionSquares, photographs_to_learn_from
from training.data.squares import Squares
from training.optimisation.distillation import distilled_targets
from training.optimisation.trainer import train
from training.recipe import RECIPES

__all__ = []


def main(arguments: list[str] | None = None) -> None:
    """Train presets one after the other from the command line."""
    parser = argparse.ArgumentParser(prog="python -m training.train", description=__doc__)
    parser.add_argument("presets", nargs="+", choices=sorted(RECIPES), help="in this order")
    parser.add_argument("--labels", type=Path, help="labels.csv (default: $DRCORE_DATA/labels.csv)")
    parser.add_argument("--images", type=Path, help="folder of the photographs")
    parser.add_argument("--lesions", type=Path, help="lesions.csv (default: beside labels.csv)")
    parser.add_argument(
        "--without", type=Path, metavar="REPEATS",
        help="leave out photographs whose eye is measured on, as training.repeats found it",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, default=Path("runs/first"), help="folder of the run")
    parser.add_argument("--cache", type=Path, default=Path("cache"), help="folder for squares")
    parser.add_argument("--epochs", type=int, help="instead of the recipe's")
    parser.add_argument(
        "--warm-start", help="instead of the recipe's: imagenet, none, bundled or a preset"
    )
    parser.add_argument("--seed", type=int, help="instead of the recipe's")
    parser.add_argument(
        "--teacher", type=Path, default=bundled_folder(), metavar="BUNDLE",
        help="for a recipe that is taught (default: the weights that ship)",
    )  # fmt: skip
    parser.add_argument("--workers", type=int, default=1, help="processes that augment")
    parser.add_argument("--device", choices=("cpu", "cuda"))
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    given = parser.parse_args(arguments)
    preparation = Preprocessing()
    try:
        table = given.labels or data_root() / "labels.csv"
        rows = read_labels(table, given.images)
        squares = Squares.build(rows, given.cache, preparation)
        lesion_table = given.lesions or table.parent / "lesions.csv"
        if given.without:
            masked = photographs_with_masks(lesion_table, rows)
            clean = [photograph.path.name for photograph in masked if photograph.clean]
            rows = keep_apart(rows, clean, read_repeats(given.without))
            squares = replace(squares, rows=rows)
        masks = None
        for preset in given.presets:
            recipe = RECIPES[preset]
            if given.seed is not None:
                recipe = replace(recipe, seed=given.seed)
            if given.epochs is not None:
                recipe = replace(recipe, epochs=given.epochs)
            if given.warm_start:
                recipe = replace(recipe, warm_start=given.warm_start)
            if recipe.lesions and masks is None:
                marked = photographs_to_learn_from(lesion_table, rows)
                masks = LesionSquares.build(marked, preparation)
            shown = squares
            if recipe.taught:
                given.out.mkdir(parents=True, exist_ok=True)
                soft_targets = distilled_targets(
                    load_bundle(given.teacher), squares, preparation, recipe.taught,
                    keep=given.out, workers=given.workers,
                )  # fmt: skip
                shown = replace(squares, soft_targets=soft_targets)
            train(
                recipe, shown, given.out, preparation=preparation, device=given.device,
                workers=given.workers, lesions=masks, quiet=given.quiet,
            )  # fmt: skip
    except DrcoreError as error:
        parser.exit(1, f"{error}\n")


if __name__ == "__main__":
    main()
