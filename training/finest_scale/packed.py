"""Squares of the finest scale as shards, for a machine without the photographs."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from training.data.labels import Labelled, LabelsError
from training.data.shards import Packed
from training.finest_scale.squares import FineSquare, FineSquares

__all__ = ["FINE_QUALITY", "fine_packed", "fine_unpacked"]

FINE_QUALITY = 80
"""Of WebP. Local contrast is four times that of the photograph, so its losses count a quarter."""

_NO_GRADE = -1


def fine_packed(squares: FineSquares, split: str = "train") -> Packed:
    """Return the photographs of a split as `training.data.shards.pack` takes them.

    Args:
        squares: may be memory-mapped, of several caches.
        split: the others stay where they are.

    Returns:
        Local contrast as pixels, masks as flags; a grade of -1 where there is none.
    """
    chosen = [i for i, row in enumerate(squares.rows) if row.split == split]
    rows = [squares.rows[i] for i in chosen]
    named = [
        Labelled(
            # One photograph may be here twice: with its grade, and with its mask.
            Path(f"{row.dataset}-{row.path.name}"),
            _NO_GRADE if row.grade is None else row.grade, row.dataset, row.split, row.patient,
        )
        for row in rows
    ]  # fmt: skip
    known = np.array([[bool(row.annotated & (1 << bit)) for bit in range(4)] for row in rows])
    return Packed(
        named, _Chosen(squares.contrast, chosen), None,  # type: ignore[arg-type]
        _Chosen(squares.masks, chosen), known, squares.widths[chosen],  # type: ignore[arg-type]
    )  # fmt: skip


def fine_unpacked(packed: Packed) -> FineSquares:
    """Return what `fine_packed` packed.

    Raises:
        LabelsError: the shards are of something else.
    """
    if packed.flags is None or packed.known is None or packed.widths is None:
        raise LabelsError("The shards of the finest scale are not whole: pack them again.")
    rows = []
    for row, known in zip(packed.rows, packed.known, strict=True):
        graded = row.grade != _NO_GRADE
        bits = sum(1 << bit for bit in range(4) if known[bit])
        rows.append(
            FineSquare(
                row.path, row.dataset, row.split, row.patient, row.grade if graded else None,
                None if graded else row.path, bits,
            )
        )  # fmt: skip
    return FineSquares(rows, packed.pixels, packed.flags, packed.widths)


class _Chosen:
    """Some entries of an array that stays on disk."""

    def __init__(self, array: np.ndarray, chosen: list[int]) -> None:
        self.array, self.chosen = array, chosen

    def __getitem__(self, index: int) -> np.ndarray:
        return np.asarray(self.array[self.chosen[index]])
