"""All scales of a bundle in one go, on a GPU: `python -m training.train_bundle --shards shards`.

Photographs, lesion masks and first weights come from shards (`python -m training.pack`). Each
scale gets a share of the time, those that count most in the score first; what one leaves goes to
the next. When the time is over, a bundle of what is trained by then is written, with plain
thresholds, and with the weights of the scales that ship: run training.calibrate on it where the
photographs are. The same command again goes on with scales that were cut short.
"""

from __future__ import annotations

import argparse
import shutil
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from drcore.model.bundle import bundled_folder, load_bundle, save_bundle
from drcore.model.network import PRESETS
from drcore.preprocessing.network_input import Preprocessing
from training import cli
from training.data.labels import Labelled, LabelsError, few_of
from training.data.lesion_squares import LesionSquares
from training.data.shards import unpack
from training.data.squares import Squares
from training.finest_scale.device_training import WHOLE, few_squares, train_whole
from training.finest_scale.finished import write_finished
from training.finest_scale.packed import fine_unpacked
from training.optimisation.bundle import (
    bundle_of_run,
    shipped_fusion,
    shipped_link,
    shipped_onset,
)
from training.optimisation.distillation import distilled_targets
from training.optimisation.trainer import train
from training.recipe import GPU_BUNDLE, RECIPES, Recipe

_FINEST = WHOLE.grades.tiles.preset
_AT_THE_END = 10.0  # seconds, for the bundle
_Photographs = tuple[Squares, LesionSquares | None]


def main(arguments: list[str] | None = None) -> None:
    """Train all scales from the command line."""
    parser = cli.parser("train_bundle", __doc__, "--quiet")
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--shards", type=Path, required=True, help="folder of training.pack")
    parser.add_argument(
        "--presets", nargs="+", choices=sorted([*RECIPES, _FINEST]), default=list(GPU_BUNDLE),
        metavar="PRESET", help="in this order; default: %(default)s",
    )  # fmt: skip
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
    end = time.monotonic() + 60 * given.minutes - (0 if given.rehearse else _AT_THE_END)
    given.out.mkdir(parents=True, exist_ok=True)
    for file in [*given.shards.glob("imagenet-*"), *given.shards.glob("bundled-*")]:
        shutil.copyfile(file, given.out / file.name)
    coarse: list[_Photographs] = []
    if any(preset != _FINEST for preset in given.presets):
        coarse.append(_photographs(given))
    unfinished = []
    for position, preset in enumerate(given.presets):
        until = _until(given.presets[position:], end)
        if preset == _FINEST:
            whole = _train_finest(given, until)
        else:
            whole = _train_coarse(given, RECIPES[preset], coarse[0], until)
        unfinished += [] if whole else [preset]
    if unfinished:
        print(f"Cut short: {', '.join(unfinished)}. The same command goes on.")
    _write_bundle(given, coarse[0][0].rows if coarse else [])


def _until(presets: Sequence[str], end: float) -> float:
    """When the first of some scales has to stop."""
    shares = [GPU_BUNDLE.get(preset, 0.2) for preset in presets]
    now = time.monotonic()
    return now + max(0.0, end - now) * shares[0] / sum(shares)


def _train_finest(given: argparse.Namespace, until: float) -> bool:
    squares, recipe = fine_unpacked(unpack(given.shards, "fine")), WHOLE
    if given.rehearse:
        squares = few_squares(squares)
        grades = replace(recipe.grades, steps=1)
        recipe = replace(recipe, grades=grades, graded=2, masked=1, healthy=1)
    return train_whole(
        recipe, squares, shipped_link(_FINEST), given.out / "finest", device=given.device,
        until=until,
    )  # fmt: skip


def _train_coarse(
    given: argparse.Namespace, recipe: Recipe, photographs: _Photographs, until: float
) -> bool:
    squares, lesions = photographs
    if given.rehearse:
        recipe = replace(recipe, epochs=1, batch=4, annotated=1)
    if recipe.taught:
        targets = distilled_targets(
            load_bundle(given.teacher), squares, Preprocessing(), recipe.taught, keep=given.out
        )
        squares = replace(squares, soft_targets=targets)
    train(
        recipe, squares, given.out, device=given.device, workers=0,
        lesions=lesions, measure_every=4, until=lambda: time.monotonic() > until,
        save_seconds=30.0, quiet=given.quiet,
    )  # fmt: skip
    return time.monotonic() <= until


def _write_bundle(given: argparse.Namespace, rows: list[Labelled]) -> None:
    """Write a bundle of what is trained, where every scale that was asked for is."""
    coarse = [RECIPES[preset].preset for preset in given.presets if preset != _FINEST]
    wanted = [given.out / f"{preset}.state" for preset in coarse]
    finest = given.finest
    if _FINEST in given.presets:
        wanted.append(given.out / "finest" / "grades.state")
        finest = given.out / "finest" / "finished"
    missing = [stem.name for stem in wanted if not list(stem.parent.glob(f"{stem.name}.*"))]
    if missing:
        print(f"No bundle yet: there was no time for {', '.join(missing)}.")
        return
    if _FINEST in given.presets:
        write_finished(given.out / "finest", finest)
    sizes = sorted(
        [*(PRESETS[preset].input_size for preset in coarse), *([1024] if finest else [])]
    )
    shipped = shipped_fusion()
    fusion, onset = given.fusion, None
    if not fusion and sizes == sorted(shipped):
        fusion, onset = [shipped[size] for size in sizes], shipped_onset()
    bundle = bundle_of_run(
        given.out, coarse, rows, name=given.name, version=given.model_version,
        finest=finest, fusion=fusion, mirrored=not fusion, onset=onset,
    )  # fmt: skip
    folder = given.out / "bundle"
    save_bundle(bundle, folder)
    print(f"Next: python -m training.calibrate --weights {folder}, where the photographs are")


def _photographs(given: argparse.Namespace) -> _Photographs:
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
