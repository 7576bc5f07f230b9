"""Links from the mean of a map to the score: fixed, increasing functions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drcore.errors import DrcoreError
from drcore.maps.fusion import covered_mean

__all__ = ["Link", "OnsetLink", "in_grades", "link_entry", "link_of"]

_LEAST_MEAN = 1e-12
_FLAT = 1e-3


@dataclass(frozen=True, slots=True)
class Link:
    """A fixed, increasing, concave function from the mean of a map to the score in grades.

        plain = bias + slope * log(1 + mean / knee)
        score = ceiling * tanh(plain / ceiling)

    The first microaneurysms raise the score most, as they do the grade; with a ceiling, many of
    them alone do not make a high grade, which other lesions do.

    Attributes:
        bias: `plain` where the map is zero, in grades.
        slope: grades for each e-fold of the mean, above 0.
        knee: mean from which the logarithm bends, in the unit of the map, above 0.
        ceiling: score that is never reached, in grades, above 0; None for `score = plain`.

    Raises:
        DrcoreError: the numbers are not finite or out of range.
    """

    bias: float
    slope: float
    knee: float
    ceiling: float | None = None

    def __post_init__(self) -> None:
        """Refuse numbers that make no increasing function."""
        above_zero = (self.slope, self.knee, 1.0 if self.ceiling is None else self.ceiling)
        # Written so that NaN, of which no comparison is true, is refused too.
        if not (math.isfinite(self.bias) and all(0 < value < math.inf for value in above_zero)):
            raise DrcoreError(
                "The link of a network needs finite numbers, and slope, knee and ceiling above 0."
            )

    def score(self, mean: Any, library: Any = np) -> Any:
        """Return the score of a mean.

        Args:
            mean: float or array of any shape, 0 or more, in the unit of the map.
            library: whose array `mean` is, `numpy` or `torch`.

        Returns:
            Scores in grades, of the shape of `mean`.
        """
        plain = self.bias + self.slope * library.log1p(mean / self.knee)
        return plain if self.ceiling is None else self.ceiling * library.tanh(plain / self.ceiling)

    @property
    def least(self) -> float:
        """The score of a map that is zero everywhere: the bias of the map in grades."""
        return float(self.score(0.0))


@dataclass(frozen=True, slots=True)
class OnsetLink:
    """A fixed, increasing, convex function from the mean of a linear map to the score in grades.

        plain = mean + bias
        score = slope * width * log(1 + exp((plain - onset) / width))

    A network that cannot see the first microaneurysms says little where grades 0 and 1 part: what
    is well below the onset moves the score little, what is well above it by `slope` times.

    Attributes:
        onset: `plain` from which on it counts, in grades.
        width: of the bend around the onset, in grades, above 0.
        slope: grades of score for each grade well above the onset, above 0.

    Raises:
        DrcoreError: the numbers are not finite or out of range.
    """

    onset: float
    width: float
    slope: float

    def __post_init__(self) -> None:
        """Refuse numbers that make no increasing function."""
        above_zero = (self.width, self.slope)
        if not (math.isfinite(self.onset) and all(0 < value < math.inf for value in above_zero)):
            raise DrcoreError(
                "The link of a network needs finite numbers, and width and slope above 0."
            )

    def score(self, plain: Any, library: Any = np) -> Any:
        """Return the score.

        Args:
            plain: mean of the map and the bias, float or array of any shape, in grades.
            library: whose array `plain` is, `numpy` or `torch`.

        Returns:
            Scores in grades, above 0, of the shape of `plain`.
        """
        along = (plain - self.onset) / self.width
        return self.slope * self.width * library.logaddexp(along, library.zeros_like(along))

    def plain(self, score: float) -> float:
        """Return the mean of the map and the bias that have a score above 0, in grades."""
        along = score / (self.slope * self.width)
        return self.onset + self.width * (along + math.log(-math.expm1(-along)))

    def factor(self, mean: Any, bias: float, library: Any = np) -> Any:
        """Return what a map is multiplied with, so that its mean and `score(bias)` are the score.

        Args:
            mean: of the map over the retina, float or array of any shape, in grades.
            bias: `plain` where the map is zero, in grades.
            library: whose array `mean` is, `numpy` or `torch`.

        Returns:
            Above 0 and at most `slope`, of the shape of `mean`:
            `mean * factor + score(bias) == score(mean + bias)`.
        """
        # Where both are nearly the same, their quotient is the slope there.
        at = library.where(abs(mean) < _FLAT, library.full_like(mean, _FLAT), mean)
        least = self.score(library.full_like(at, bias), library)
        return (self.score(at + bias, library) - least) / at


_KINDS: dict[str, type[Link | OnsetLink]] = {"log": Link, "onset": OnsetLink}


def link_of(entry: Mapping[str, Any]) -> Link | OnsetLink:
    """Return the link that an entry of a manifest states: its `kind` and its numbers."""
    return _KINDS[entry["kind"]](**{name: v for name, v in entry.items() if name != "kind"})


def link_entry(link: Link | OnsetLink) -> dict[str, Any]:
    """Return what a manifest states of a link, see `link_of`."""
    (kind,) = (name for name, known in _KINDS.items() if isinstance(link, known))
    return {"kind": kind, **asdict(link)}


def in_grades(
    ram: NDArray[np.floating[Any]], coverage: NDArray[np.float32], link: Link
) -> tuple[float, NDArray[np.float32]]:
    """Bring a map into grade units, so that its mean and the bias are the score.

    Args:
        ram: float (m, m), 0 or more, any unit.
        coverage: float32 (m, m), 0-1, share of each cell that is retina.
        link: from the mean of the map to the score.

    Returns:
        The score, and the map in grades, float32 (m, m), 0 or more:
        `mean(map) + link.least == score` over the retina. Where the map is zero everywhere, it
        stays so.
    """
    mean = covered_mean(np.asarray(ram, np.float32), coverage)
    score = float(link.score(mean))
    factor = (score - link.least) / max(mean, _LEAST_MEAN)
    return score, np.asarray(ram * factor, np.float32)
