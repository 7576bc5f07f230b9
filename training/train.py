"""Training a GAP regression network: `python -m training.train ram-128 --out runs/first`."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from drcore.model.bundle import bundled_folder, load_bundle
from drcore.preprocessing.network_input import Preprocessing
from training import cli
from training.data.duplicates import (
    keep_apart,
    photographs_with_masks,
    read_repeats,
    with_eyes_in,
)
from training.data.further_sets import read_microaneurysms
from training.data.labels import Labelled
from training.data.lesion_masks import Annotated
from training.data.lesion_squares import LesionSquares, photographs_to_learn_from
from training.data.squares import Squares
from training.optimisation.distillation import distilled_targets
from training.optimisation.trainer import train
from training.recipe import RECIPES, Recipe


def main(arguments: list[str] | None = None) -> None:
    """Train presets one after the other from the command line."""
    shared = ("--labels", "--images", "--lesions", "--without", "--cache", "--quiet")
    parser = cli.parser("train", __doc__, *shared)
    parser.add_argument("presets", nargs="+", choices=sorted(RECIPES), help="in this order")
    parser.add_argument("--out", type=Path, default=Path("runs/first"), help="folder of the run")
    parser.add_argument("--epochs", type=int, help="instead of the recipe's")
    parser.add_argument(
        "--warm-start", help="instead of the recipe's: imagenet, none, bundled or a preset"
    )
    parser.add_argument("--seed", type=int, help="instead of the recipe's")
    parser.add_argument(
        "--teacher", type=Path, default=bundled_folder(), metavar="BUNDLE",
        help="for a recipe that is taught (default: the weights that ship)",
    )  # fmt: skip
    parser.add_argument(
        "--further", action="store_true",
        help="train on healthy.csv and eophtha.csv beside labels.csv, too",
    )  # fmt: skip
    parser.add_argument(
        "--folded", action="store_true", default=None,
        help="faster arithmetic on a processor: bfloat16, norms folded into convolutions",
    )  # fmt: skip
    parser.add_argument("--workers", type=int, default=1, help="processes that augment")
    parser.add_argument("--device", choices=("cpu", "cuda"))
    cli.run(parser, _train, arguments)


def _train(given: argparse.Namespace) -> None:
    preparation = Preprocessing()
    rows = cli.labels(given)
    squares = Squares.build(rows, given.cache, preparation)
    if given.without:
        rows = _measured_kept_apart(given, rows)
        squares = replace(squares, rows=rows)
    masks = None
    for preset in given.presets:
        recipe = _recipe(given, preset)
        if recipe.lesions and masks is None:
            marked = photographs_to_learn_from(cli.lesions_table(given), rows)
            if given.further:
                marked += _microaneurysms(given, rows)
            masks = LesionSquares.build(marked, preparation)
        shown = squares
        if recipe.taught:
            given.out.mkdir(parents=True, exist_ok=True)
            targets = distilled_targets(
                load_bundle(given.teacher), squares, preparation, recipe.taught,
                keep=given.out, workers=given.workers,
            )  # fmt: skip
            shown = replace(squares, soft_targets=targets)
        train(
            recipe, shown, given.out, preparation=preparation, device=given.device,
            workers=given.workers, lesions=masks, quiet=given.quiet,
        )  # fmt: skip


def _measured_kept_apart(given: argparse.Namespace, rows: list[Labelled]) -> list[Labelled]:
    """The rows, of which those whose eye is measured on are left out of training."""
    masked = photographs_with_masks(cli.lesions_table(given), rows)
    clean = [photograph.path.name for photograph in masked if photograph.clean]
    return keep_apart(rows, clean, read_repeats(given.without))


def _microaneurysms(given: argparse.Namespace, rows: list[Labelled]) -> list[Annotated]:
    """Photographs of e-ophtha to learn from, without eyes that are measured on."""
    table = cli.labels_table(given).with_name("eophtha.csv")
    marked = read_microaneurysms(table)
    if not given.without:
        return marked
    trained = {one.path.name for one in marked}
    measured = {row.path.name for row in rows if row.split != "train"}
    measured |= {file.name for file in (table.parent / "eophtha").glob("*.jpg")} - trained
    out = with_eyes_in(trained, measured, read_repeats(given.without))
    return [one for one in marked if one.path.name not in out]


def _recipe(given: argparse.Namespace, preset: str) -> Recipe:
    """The recipe of a preset with what the command line says instead."""
    asked = {name: getattr(given, name) for name in ("seed", "epochs", "warm_start", "folded")}
    return replace(RECIPES[preset], **{k: v for k, v in asked.items() if v is not None})


if __name__ == "__main__":
    main()
