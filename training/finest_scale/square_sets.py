"""The square sets that the finest scale is trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from drcore.preprocessing.network_input import Preprocessing
from training.data.duplicates import Repeat, with_eyes_in
from training.data.further_sets import share_of
from training.finest_scale.squares import FineSquare, FineSquares

__all__ = ["ALL_TRAINED_ON", "TRAINED_ON", "joined", "measured_kept_apart", "open_squares"]


def joined(parts: list[FineSquares]) -> FineSquares:
    """Photographs of several caches as one, each still on disk."""
    return FineSquares(
        [row for part in parts for row in part.rows],
        _Rows([part.contrast for part in parts]),  # type: ignore[arg-type]
        _Rows([part.masks for part in parts]),  # type: ignore[arg-type]
        np.concatenate([part.widths for part in parts]),
    )


class _Rows:
    """Arrays one after the other along the first axis, without a copy."""

    def __init__(self, arrays: list[NDArray[np.uint8]]) -> None:
        self.arrays = arrays
        self.starts = np.cumsum([0, *(len(a) for a in arrays)])

    def __getitem__(self, key: int | tuple[int, ...]) -> NDArray[np.uint8]:
        index, rest = (key[0], key[1:]) if isinstance(key, tuple) else (key, ())
        which = int(np.searchsorted(self.starts, index, side="right")) - 1
        return self.arrays[which][(index - self.starts[which], *rest)]


def open_squares(
    rows: list[FineSquare], cache: Path, preparation: Preprocessing, names: set[str] | None = None
) -> FineSquares:
    """Warp or open photographs, a cache a data set, split and kind of file."""
    groups: dict[str, list[FineSquare]] = {}
    for row in rows:
        key = row.dataset
        if key == "eyepacs":
            key = f"eyepacs-{row.split}-{row.path.suffix[1:]}"
        elif key == "aptos2019":
            # A fifth of them is enough to know such photographs: 4 MB each.
            few = row.split != "train" or share_of(row.patient, 5)
            key = f"aptos-{row.split}" if few else "aptos-rest"
        groups.setdefault(key, []).append(row)
    return joined(
        [
            FineSquares.build(group, cache / key, preparation, quiet=True)
            for key, group in groups.items()
            if names is None or key in names
        ]
    )


TRAINED_ON = {"eophtha", "idrid-masks", "healthy", "messidor2", "eyepacs-train-webp", "idrid"}

ALL_TRAINED_ON = TRAINED_ON | {"eyepacs-train-jpg", "aptos-train"}


def measured_kept_apart(squares: FineSquares, repeats: Sequence[Repeat]) -> FineSquares:
    """The squares, of which those whose eye is measured on are left out of training."""
    measured = {row.path.name for row in squares.rows if row.split != "train"}
    trained = [row.path.name for row in squares.rows if row.split == "train"]
    out = with_eyes_in(trained, measured, repeats)
    rows = [replace(r, split="left out") if r.path.name in out else r for r in squares.rows]
    return replace(squares, rows=rows)
