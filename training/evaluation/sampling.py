"""What the measurements of a bundle on a sample of photographs share: sample and command line."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from drcore.errors import DrcoreError
from drcore.grading.grader import Grader
from training.data.labels import Labelled, data_root, read_labels

__all__ = ["even_sample", "measuring_command"]


def even_sample(rows: Sequence[Labelled], count: int, seed: int) -> list[Labelled]:
    """Choose photographs, grades and data sets as even as they can be.

    Args:
        rows: to choose from.
        count: how many.
        seed: of the choice.

    Returns:
        The chosen rows.
    """
    order = np.random.default_rng(seed).permutation(len(rows))
    drawn: Counter[tuple[str, int]] = Counter()
    ranked = []
    for index in order:
        cell = (rows[index].dataset, rows[index].grade)
        ranked.append((drawn[cell], int(index)))
        drawn[cell] += 1
    return [rows[index] for _, index in sorted(ranked)[:count]]


def measuring_command(
    module: str,
    description: str | None,
    measure: Callable[..., dict[str, Any]],
    table: Callable[[dict[str, Any]], str],
    arguments: list[str] | None,
    *,
    count: int,
) -> None:
    """Measure a bundle from the command line and print the figures.

    Args:
        module: that is run.
        description: of the command.
        measure: takes a grader, labelled photographs, `count`, `seed` and `quiet`.
        table: lays out as text what it returns.
        arguments: of the command; those of the process where left out.
        count: photographs, unless the command says another number.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=description)
    parser.add_argument("--weights", type=Path, help="folder of a bundle (default: the bundled)")
    parser.add_argument("--labels", type=Path, help="labels.csv (default: $DRCORE_DATA/labels.csv)")
    parser.add_argument("--images", type=Path, help="folder of the photographs")
    parser.add_argument("--count", type=int, default=count, help="photographs")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write the figures here too")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    given = parser.parse_args(arguments)
    try:
        rows = read_labels(given.labels or data_root() / "labels.csv", given.images)
        grader = Grader.from_folder(given.weights) if given.weights else Grader.bundled()
        result = measure(grader, rows, count=given.count, seed=given.seed, quiet=given.quiet)
    except DrcoreError as error:
        parser.exit(1, f"{error}\n")
    print(table(result))
    if given.json:
        given.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
