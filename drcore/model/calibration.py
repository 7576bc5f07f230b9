"""Probabilities of the grades of a score, and sets of grades that hold the true one."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from drcore.errors import DrcoreError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import ArrayLike, NDArray

__all__ = ["Decision", "GradeCalibration", "spread_of"]

Decision = Literal["median", "thresholds"]
"""How a bundle decides on the grade; see `GradeCalibration`."""

_GRADES = 5
_KIND = "cumulative-logistic"
_LARGEST = 100.0
"""No cut and no width is further out: severities are a few grades."""


def spread_of(scores: Iterable[float]) -> float:
    """Return how far the scales disagree.

    Args:
        scores: of one photograph, one for each scale, in grades.

    Returns:
        Highest less lowest, in grades; 0 for a single scale.
    """
    values = list(scores)
    return max(values) - min(values)


@dataclass(frozen=True, slots=True)
class GradeCalibration:
    """What a score and the spread between scales say about the grade.

    A cumulative logistic model (McCullagh 1980) whose width grows with the spread:

        P(grade > k) = 1 / (1 + exp(-(score - cuts[k]) / w)), w = width + widening * spread.

    The decision "median" takes the grade from these probabilities: it is the highest grade that
    is reached with a probability of at least 1/2, which is where the score is at or above the cut.
    So grade, referable (P(grade >= 2) >= 1/2), probabilities and set agree. The decision
    "thresholds", that of manifests before version 4, grades by thresholds of the bundle that were
    chosen for kappa alone; the grade then need not be the median. Either way a rare grade between
    two common ones (mild, severe) may be given without being the most probable, and the set of
    grades holds the given grade whatever its probability.

    Attributes:
        cuts: the four rising scores at which grade > k and grade <= k are equally probable.
        width: of the logistic curve where the scales agree, in grades, above 0.
        widening: of the curve for each grade of spread, 0 or more.
        coverage: how often the set of grades is to hold the reference grade, 0-1.
        level: reluctance up to which a grade is in the set, 0-1; calibrated for `coverage`.
        sensitive: score from which the sensitive operating point calls an eye referable.
        decision: "median", or "thresholds" where the grade comes from elsewhere.

    Raises:
        DrcoreError: the numbers are not finite, not in order, or out of range.
    """

    cuts: tuple[float, float, float, float]
    width: float
    widening: float
    coverage: float
    level: float
    sensitive: float
    decision: Decision = "thresholds"

    def __post_init__(self) -> None:
        """Refuse numbers that make no model."""
        rest = (self.width, self.widening, self.coverage, self.level, self.sensitive)
        # Written so that NaN, of which no comparison is true, is refused too.
        if not all(abs(value) <= _LARGEST for value in (*self.cuts, *rest)):
            raise DrcoreError("The certainty holds numbers that are not finite or far too large.")
        if len(self.cuts) != _GRADES - 1 or not all(a < b for a, b in pairwise(self.cuts)):
            raise DrcoreError(f"The cuts {list(self.cuts)} of the certainty do not rise.")
        if not (self.width >= 1e-3 and self.widening >= 0):
            raise DrcoreError("The certainty has a width or widening out of range.")
        if not (0 < self.coverage < 1 and 0 <= self.level <= 1):
            raise DrcoreError("The certainty has a coverage or level that is no probability.")

    def probabilities(self, score: ArrayLike, spread: ArrayLike) -> NDArray[np.float64]:
        """Return the probability of each grade.

        Args:
            score: (...), fused severity in grades.
            spread: (...), of the scales, in grades, as `spread_of` gives it.

        Returns:
            float64 (..., 5), 0-1, sum 1.
        """
        width = self.width + self.widening * np.asarray(spread, np.float64)[..., None]
        steps = (np.asarray(score, np.float64)[..., None] - np.array(self.cuts)) / width
        above = 0.5 * (1 + np.tanh(steps / 2))  # the logistic function, without overflow
        ones = np.ones_like(above[..., :1])
        # Cuts rise and the width is shared, so no difference is negative.
        return np.asarray(-np.diff(np.concatenate([ones, above, 0 * ones], axis=-1), axis=-1))

    def grade(self, score: ArrayLike) -> NDArray[np.int64]:
        """Return the median of the probabilities, whatever the spread.

        Args:
            score: (...), fused severity in grades.

        Returns:
            int64 (...), 0-4: the highest grade that is reached with a probability of 1/2.
        """
        return np.asarray(np.searchsorted(self.cuts, np.asarray(score), side="right"), np.int64)

    def grade_set(self, probabilities: ArrayLike, grade: int) -> tuple[int, ...]:
        """Return the grades that cannot be ruled out.

        Args:
            probabilities: (5,), of each grade.
            grade: that was given, 0-4.

        Returns:
            Neighbouring grades, rising, with the given one among them.
        """
        return tuple(np.flatnonzero(nonconformity(probabilities, grade) <= self.level).tolist())

    def to_dict(self) -> dict[str, Any]:
        """Return the entry of a manifest; without `decision` it is "thresholds"."""
        entry = {"kind": _KIND, **asdict(self), "cuts": list(self.cuts)}
        if self.decision == "thresholds":
            del entry["decision"]
        return entry


def nonconformity(probabilities: ArrayLike, grade: int) -> NDArray[np.float64]:
    """Return how improbable each grade is as a member of a set around the given one.

    One less the highest probability at or beyond a grade, seen from the given grade: so a set of
    all grades up to some reluctance has no gaps. It is the nonconformity score of the conformal
    sets (Sadinle, Lei & Wasserman 2019, least ambiguous sets), made ordinal.

    Args:
        probabilities: (5,), of each grade.
        grade: that was given, 0-4.

    Returns:
        float64 (5,), 0-1; 0 at the given grade, never falling away from it.
    """
    p = np.asarray(probabilities, np.float64)
    up = np.maximum.accumulate(p[::-1])[::-1]  # the highest at or above
    down = np.maximum.accumulate(p)  # the highest at or below
    result = 1 - np.where(np.arange(_GRADES) > grade, up, down)
    result[grade] = 0.0
    return np.asarray(np.clip(result, 0.0, 1.0))
