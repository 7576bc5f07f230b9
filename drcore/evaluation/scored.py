"""Scores of labelled photographs beside their labels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

__all__ = ["Scored", "dataset_weights", "folds"]

FOLDS = 5


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """Graded photographs beside their labels, N of them.

    Attributes:
        score: float64 (N,), fused severity in grades.
        spread: float64 (N,), highest less lowest score over the scales, in grades.
        truth: int64 (N,), reference grades 0-4.
        dataset: str (N,).
        split: str (N,).
        patient: str (N,), unique over datasets.
        gradable: bool (N,), False where the Grader turns the photograph away.
        scales: float64 (N, S), scores by input size, rising.
    """

    score: NDArray[np.float64]
    spread: NDArray[np.float64]
    truth: NDArray[np.int64]
    dataset: NDArray[np.str_]
    split: NDArray[np.str_]
    patient: NDArray[np.str_]
    gradable: NDArray[np.bool_]
    scales: NDArray[np.float64]

    def __len__(self) -> int:
        """Return the number of photographs."""
        return len(self.truth)

    def where(self, chosen: NDArray[np.bool_] | NDArray[np.int64]) -> Scored:
        """Return some of the photographs.

        Args:
            chosen: bool (N,) or indices int (M,).
        """
        return Scored(**{f.name: getattr(self, f.name)[chosen] for f in fields(self)})


def dataset_weights(scored: Scored) -> NDArray[np.float64]:
    """Weights (N,), sum 1: datasets count by the root of their size.

    By their size, the largest would decide alone; all alike, a few dozen photographs would carry
    a third of the fit.
    """
    _, member, counts = np.unique(scored.dataset, return_inverse=True, return_counts=True)
    weight = 1.0 / np.sqrt(counts[member])
    return np.asarray(weight / weight.sum())


def folds(scored: Scored, seed: int = 0) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Part photographs into folds by patient, each dataset spread over all of them."""
    rng = np.random.default_rng(seed)
    fold = np.empty(len(scored), np.int64)
    for name in sorted(set(scored.dataset.tolist())):
        chosen = scored.dataset == name
        patients, member = np.unique(scored.patient[chosen], return_inverse=True)
        fold[chosen] = (rng.permutation(len(patients)) % FOLDS)[member]
    for number in range(FOLDS):
        yield np.flatnonzero(fold != number), np.flatnonzero(fold == number)
