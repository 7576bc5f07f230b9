"""How often each photograph is drawn."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from training.data.labels import Labelled

__all__ = ["class_weights", "draw"]


def class_weights(
    rows: Sequence[Labelled],
    power: float,
    datasets: dict[str, float],
    independence: float = 0.0,
) -> NDArray[np.float64]:
    """Return the probability with which each training photograph is drawn.

    Args:
        power: 0 draws as they are, 1 draws all grades alike.
        datasets: factor by dataset, 1 where not named.
        independence: 1 draws each grade from all datasets alike, up to their size and factor; 0
            leaves the grades of a dataset as they are; between, the geometric mean.

    Returns:
        float64 (N,), sums to 1.
    """
    counts = np.bincount([row.grade for row in rows], minlength=5)
    weights = np.array(
        [datasets.get(row.dataset, 1.0) * counts[row.grade] ** -power for row in rows]
    )
    if independence:
        places = {name: i for i, name in enumerate(sorted({row.dataset for row in rows}))}
        joint = np.zeros((len(places), 5))
        for row in rows:
            joint[places[row.dataset], row.grade] += 1
        expected = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0) / joint.sum()
        weights *= [
            (expected[places[row.dataset], row.grade] / joint[places[row.dataset], row.grade])
            ** independence
            for row in rows
        ]
    result: NDArray[np.float64] = weights / weights.sum()
    return result


def draw(
    rng: np.random.Generator,
    indices: NDArray[np.int64],
    count: int,
    weights: NDArray[np.float64] | None,
) -> NDArray[np.int64]:
    """Draw the photographs of an epoch.

    Args:
        indices: int64 (N,), to draw from.
        weights: float64 (N,), how often each comes, with replacement; None draws each once, in
            random order, where there are enough of them.

    Returns:
        int64 (count,).
    """
    if weights is None and count <= len(indices):
        return rng.permutation(indices)[:count]
    chances = None if weights is None else weights / weights.sum()
    return rng.choice(indices, count, p=chances)
