"""Find photographs of the same eye: `python -m training.repeats --out repeats.csv`.

A photograph that is in the labels twice biases a measurement where one copy is trained on. Where
both were graded, it shows how far the grades themselves agree. Tables rarely say so. Found by key
points of the vessels (SIFT, Lowe 2004) that lie alike in both; two eyes of a patient are
not found, nor two views of one eye that overlap little.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from drcore.preprocessing.network_input import Preprocessing
from training import cli
from training.data.duplicates import (
    Repeat,
    find_repeats,
    grades_of_repeats,
    photographs_with_masks,
    pictures_of,
    with_eyes_in_training,
    write_repeats,
)
from training.data.labels import Labelled
from training.data.squares import Squares


def _report(
    dataset: str, rows: Sequence[Labelled], clean: Collection[str], repeats: Sequence[Repeat]
) -> Iterator[str]:
    """Say what was found in a dataset, a line at a time."""
    grades = {row.path.name: row.grade for row in rows}
    patient = {row.path.name: row.patient for row in rows}
    graded = [r for r in repeats if r.image in grades and r.other in grades]
    spread = float(np.var([row.grade for row in rows]))
    yield f"{dataset}: {len(rows)} photographs, variance of the grades {spread:.2f}"
    hidden = sum(patient[r.image] != patient[r.other] for r in graded)
    yield f"  pairs of one eye: {len(graded)}; {hidden} are two patients in the labels file"
    for name, side in (("val", "validation"), ("test", "test")):
        here = [row.path.name for row in rows if row.split == name]
        shared = with_eyes_in_training(here, rows, repeats)
        if here:
            yield f"  {side} photographs whose eye is in training: {len(shared)} of {len(here)}"
    if clean:
        shared = with_eyes_in_training(clean, rows, repeats)
        known = f"{len(shared)} of {len(clean)}"
        yield f"  clean photographs with masks whose eye is in training: {known}"
    for title, chosen in (
        ("one eye photographed twice", [r for r in graded if not r.same_picture]),
        ("one photograph twice", [r for r in graded if r.same_picture]),
        ("both together", graded),
    ):
        found = grades_of_repeats(chosen, grades, spread)
        yield f"  {title}: {found['pairs']} pairs" + "".join(
            f", {text} {found[key]['value']:.2f} ({found[key]['interval'][0]:.2f}-"
            f"{found[key]['interval'][1]:.2f})"
            for key, text in (
                ("alike", "same grade"),
                ("largest_correlation", "largest correlation"),
            )
            if not math.isnan(found[key]["value"])
        )


def main(arguments: list[str] | None = None) -> None:
    """Find repeated photographs from the command line."""
    shared = ("--labels", "--images", "--lesions", "--cache", "--quiet")
    parser = cli.parser("repeats", __doc__, *shared)
    parser.add_argument("--datasets", nargs="+", help="only these; each is searched by itself")
    parser.add_argument("--with-lesions", default="idrid", help="dataset that the masks belong to")
    parser.add_argument("--out", type=Path, help="write the pairs here, CSV")
    cv2.setNumThreads(1)
    cli.run(parser, _find, arguments)


def _find(given: argparse.Namespace) -> None:
    found = []
    rows = cli.labels(given)
    squares = Squares.build(rows, given.cache, Preprocessing(), quiet=given.quiet)
    masks = photographs_with_masks(cli.lesions_table(given), rows)
    for dataset in given.datasets or sorted({row.dataset for row in rows}):
        mine = [row for row in rows if row.dataset == dataset]
        annotated = masks if dataset == given.with_lesions else []
        names = {row.path.name for row in mine}
        repeats = find_repeats(pictures_of(squares, names, annotated), quiet=given.quiet)
        found += repeats
        clean = [one.path.name for one in annotated if one.clean]
        print("\n".join(_report(dataset, mine, clean, repeats)), flush=True)
    if given.out:
        write_repeats(found, given.out)


if __name__ == "__main__":
    main()
