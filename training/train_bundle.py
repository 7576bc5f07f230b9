"""All scales of a bundle in one go, on a GPU: `python -m training.train_bundle --shards shards`.

Photographs, lesion masks and first weights come from shards (`python -m training.pack`). When
all scales are trained, a bundle with plain thresholds is written: run training.calibrate on it
where the photographs are. When the time is over before, the same command goes on there.
"""

from __future__ import annotations

import argparse
import shutil
import time
from dataclasses import replace
from pathlib import Path

from drcore.model.bundle import bundled_folder, load_bundle, save_bundle
from drcore.preprocessing.network_input import Preprocessing
from training import cli
from training.data.labels import LabelsError, few_of
from training.data.lesion_squares import LesionSquares
from training.data.shards import unpack
from training.data.squares import Squares
from training.optimisation.bundle import bundle_of_run
from training.optimisation.distillation import distilled_targets
from training.optimisation.trainer import train
from training.recipe import GPU_BUNDLE, RECIPES


def main(arguments: list[str] | None = None) -> None:
    """Train all scales from the command line."""
    parser = cli.parser("train_bundle", __doc__, "--quiet")
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--shards", type=Path, required=True, help="folder of training.pack")
    parser.add_argument("--presets", nargs="+", choices=sorted(RECIPES), default=GPU_BUNDLE)
    parser.add_argument("--out", type=Path, default=Path("runs/bundle"), help="folder of the run")
    parser.add_argument("--name", default="ram-lite")
    parser.add_argument("--model-version", default="0.0.0")
    parser.add_argument("--minutes", type=float, default=10.0, help="stop then, to be gone on with")
    parser.add_argument(
        "--teacher", type=Path, default=bundled_folder(), metavar="BUNDLE",
        help="for a recipe that is taught (default: the weights that ship)",
    )  # fmt: skip
    parser.add_argument("--device", choices=("cpu", "cuda"))
    parser.add_argument("--rehearse", action="store_true", help="one epoch of a few photographs")
    cli.add_scales(parser)
    cli.run(parser, _train, arguments)


def _train(given: argparse.Namespace) -> None:
    deadline = time.monotonic() + 60 * given.minutes
    squares, lesions = _photographs(given)
    given.out.mkdir(parents=True, exist_ok=True)
    for file in [*given.shards.glob("imagenet-*"), *given.shards.glob("bundled-*")]:
        shutil.copyfile(file, given.out / file.name)
    done = []
    for preset in given.presets:
        recipe = RECIPES[preset]
        if given.rehearse:
            recipe = replace(recipe, epochs=1, batch=4, annotated=1)
        shown = squares
        if recipe.taught:
            targets = distilled_targets(
                load_bundle(given.teacher), squares, Preprocessing(), recipe.taught, keep=given.out
            )
            shown = replace(squares, soft_targets=targets)
        train(
            recipe, shown, given.out, device=given.device, workers=0,
            lesions=lesions, measure_every=4, until=lambda: time.monotonic() > deadline,
            save_seconds=30.0, quiet=given.quiet,
        )  # fmt: skip
        done.append(recipe.preset)
        if time.monotonic() > deadline:
            print(f"The time is over while {recipe.preset} is trained: run the command again.")
            break
    if len(done) == len(given.presets):
        bundle = bundle_of_run(
            given.out, done, squares.rows, name=given.name, version=given.model_version,
            finest=given.finest, fusion=given.fusion,
        )  # fmt: skip
        save_bundle(bundle, given.out / "bundle")
        folder = given.out / "bundle"
        print(f"Next: python -m training.calibrate --weights {folder}, where the photographs are")


def _photographs(given: argparse.Namespace) -> tuple[Squares, LesionSquares | None]:
    packed = unpack(given.shards, "squares")
    if packed.mask is None:
        raise LabelsError("The shards of squares have no masks of the retina: pack them again.")
    chosen = few_of(packed.rows, 8, 4) if given.rehearse else list(range(len(packed.rows)))
    rows = [packed.rows[i] for i in chosen]
    squares = Squares(rows, packed.pixels[chosen], packed.mask[chosen])
    lesions = None
    if list(given.shards.glob("lesions-*.zip")):
        marked = unpack(given.shards, "lesions")
        if marked.mask is None or marked.flags is None or marked.known is None:
            raise LabelsError("The shards of lesions are not whole: pack them again.")
        lesions = LesionSquares(marked.pixels, marked.mask, marked.flags, marked.known)
    return squares, lesions


if __name__ == "__main__":
    main()
