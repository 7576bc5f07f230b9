"""A sample of labelled photographs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from training.data.labels import Labelled

__all__ = ["even_sample"]


def even_sample(rows: Sequence[Labelled], count: int, seed: int) -> list[Labelled]:
    """Choose photographs, grades and data sets as even as they can be."""
    order = np.random.default_rng(seed).permutation(len(rows))
    drawn: Counter[tuple[str, int]] = Counter()
    ranked = []
    for index in order:
        cell = (rows[index].dataset, rows[index].grade)
        ranked.append((drawn[cell], int(index)))
        drawn[cell] += 1
    return [rows[index] for _, index in sorted(ranked)[:count]]
