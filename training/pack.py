"""Photographs as shards of at most 60 MiB, for a machine without them: `python -m training.pack`.

"squares" are what our networks are trained on, "lesions" those with masks, "crops" what the
published networks are trained on, all 512 px WebP; "fine" are local contrast and masks of what the
finest scale is trained on, 1,024 px; "initial" are first weights: ImageNet's of the trunks, and
those that ship. The photographs of the test split stay at home.

    python -m training.pack shards --kinds squares lesions fine initial
"""

from __future__ import annotations

import argparse
from pathlib import Path

from drcore.preprocessing.network_input import Preprocessing
from training import cli
from training.data.duplicates import Repeat, keep_apart, read_repeats
from training.data.labels import Labelled
from training.data.lesion_squares import LesionSquares, photographs_to_learn_from
from training.data.shards import QUALITY, Packed, pack
from training.data.squares import Squares
from training.finest_scale.packed import FINE_QUALITY, fine_packed
from training.finest_scale.square_sets import ALL_TRAINED_ON, measured_kept_apart, open_squares
from training.finest_scale.squares import read_fine_rows
from training.optimisation.initial_weights import pack_initial
from training.reproduction.preprocessing import LARGEST, Photographs

KINDS = ("squares", "lesions", "crops", "fine", "initial")


def main(arguments: list[str] | None = None) -> None:
    """Write shards from the command line."""
    shared = ("--labels", "--images", "--lesions", "--without", "--cache", "--quiet")
    parser = cli.parser("pack", __doc__, *shared)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("out", type=Path, help="folder; do not share photographs of others")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--splits", nargs="+", default=["train", "val"])
    parser.add_argument("--quality", type=int, default=QUALITY, help="of WebP, 1-100")
    cli.run(parser, _pack, arguments)


def _pack(given: argparse.Namespace) -> None:
    every = cli.labels(given)
    repeats = read_repeats(given.without) if given.without else []
    every = keep_apart(every, (), repeats)
    rows = [row for row in every if row.split in given.splits]
    files = []
    if "initial" in given.kinds:
        files += pack_initial(given.out)
    for kind in ("squares", "lesions", "crops"):
        if kind in given.kinds:
            packed = _packed(given, kind, every if kind == "lesions" else rows)
            files += pack(packed, given.out, kind, quality=given.quality)
    if "fine" in given.kinds:
        fine = _fine(given, repeats)
        files += pack(fine, given.out, "fine", quality=min(given.quality, FINE_QUALITY))
    for file in files:
        print(f"{file.name}: {file.stat().st_size / 2**20:.1f} MiB")


def _packed(given: argparse.Namespace, kind: str, rows: list[Labelled]) -> Packed:
    if kind == "squares":
        squares = Squares.build(rows, given.cache, Preprocessing(), quiet=given.quiet)
        return Packed(rows, squares.pixels, squares.masks)
    if kind == "crops":
        crops = Photographs.build(rows, given.cache, LARGEST, quiet=given.quiet)
        return Packed(rows, crops.pixels)
    marked = photographs_to_learn_from(cli.lesions_table(given), rows)
    lesions = LesionSquares.build(marked, Preprocessing())
    named = [Labelled(one.path, 0, "lesions", "train", one.name) for one in marked]
    return Packed(named, lesions.pixels, lesions.masks, lesions.flags, lesions.known)


def _fine(given: argparse.Namespace, repeats: list[Repeat]) -> Packed:
    """What the finest scale is trained on, warped or from the cache of `training.finest`."""
    rows = read_fine_rows(cli.labels_table(given).parent)
    squares = open_squares(rows, given.cache, Preprocessing(), ALL_TRAINED_ON)
    return fine_packed(measured_kept_apart(squares, repeats) if repeats else squares)


if __name__ == "__main__":
    main()
