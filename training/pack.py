"""Photographs as shards of at most 60 MiB, for a machine without them: `python -m training.pack`.

"squares" are what our networks are trained on, "lesions" those with masks, "crops" what the
published networks are trained on, all 512 px WebP; "initial" are first weights:
ImageNet's of the trunks, and those that ship. The photographs of the test split stay at home.

    python -m training.pack shards --kinds squares lesions initial
"""

from __future__ import annotations

import argparse
from pathlib import Path

from drcore.preprocessing.network_input import Preprocessing
from training import cli
from training.data.labels import Labelled
from training.data.lesion_squares import LesionSquares, photographs_to_learn_from
from training.data.shards import QUALITY, Packed, pack
from training.data.squares import Squares
from training.optimisation.initial_weights import pack_initial
from training.reproduction.preprocessing import LARGEST, Photographs

KINDS = ("squares", "lesions", "crops", "initial")


def main(arguments: list[str] | None = None) -> None:
    """Write shards from the command line."""
    shared = ("--labels", "--images", "--lesions", "--cache", "--quiet")
    parser = cli.parser("pack", __doc__, *shared)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("out", type=Path, help="folder; do not share photographs of others")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--splits", nargs="+", default=["train", "val"])
    parser.add_argument("--quality", type=int, default=QUALITY, help="of WebP, 1-100")
    cli.run(parser, _pack, arguments)


def _pack(given: argparse.Namespace) -> None:
    every = cli.labels(given)
    rows = [row for row in every if row.split in given.splits]
    files = []
    if "initial" in given.kinds:
        files += pack_initial(given.out)
    for kind in ("squares", "lesions", "crops"):
        if kind in given.kinds:
            packed = _packed(given, kind, every if kind == "lesions" else rows)
            files += pack(packed, given.out, kind, quality=given.quality)
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


if __name__ == "__main__":
    main()
