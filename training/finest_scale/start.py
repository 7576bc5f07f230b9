"""What a run on grades starts with: the line from logits to logits, and the link."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from drcore.model.link import Link
from drcore.model.network import RamNetwork

__all__ = ["Start", "fit_start", "reachable"]


def reachable(grades: NDArray[np.int64], ceiling: float | None) -> NDArray[np.float64]:
    """What the link is asked to give for grades: a little less than its ceiling at most."""
    return np.minimum(np.asarray(grades, float), np.inf if ceiling is None else 0.9 * ceiling)


@dataclass(frozen=True, slots=True)
class Start:
    """What a run on grades starts with: logits `factor * z + offset`, and the link."""

    factor: float
    offset: float
    link: Link

    @classmethod
    def read(cls, file: Path) -> Start:
        """Read what a run has kept in its folder."""
        kept = json.loads(file.read_text(encoding="utf-8"))
        return cls(kept["factor"], kept["offset"], Link(**kept["link"]))

    def apply(self, network: RamNetwork) -> None:
        """Put factor and offset into the linear unit of a network."""
        with torch.no_grad():
            network.linear.weight *= self.factor
            network.linear.bias *= self.factor
            network.linear.bias += self.offset


def fit_start(
    logits: NDArray[np.float32],
    share: NDArray[np.float32],
    grades: NDArray[np.float64],
    chances: NDArray[np.float64],
    knee: float,
    ceiling: float | None = None,
) -> Start:
    """Choose the line from logits to logits, and the link, with which maps tell the grade best.

    Args:
        logits: float (N, m, m).
        share: float (N, m, m), share of each cell that is retina.
        grades: (N,).
        chances: (N,), weights, sum 1.
        knee: of the link.
        ceiling: of the link.

    Returns:
        The start of smallest squared error.
    """
    grades = reachable(grades, ceiling)
    if ceiling is not None:
        grades = ceiling * np.arctanh(grades / ceiling)
    best = (np.inf, 1.0, 0.0, 0.0, 1.0)
    for factor in (1.0, 1.5, 2.0, 2.5, 3.0, 4.0):
        for zero in np.arange(-2.0, 2.51, 0.5):
            cells = np.logaddexp(0, factor * (logits - np.float32(zero)))
            means = (cells * share).sum((1, 2)) / share.sum((1, 2))
            x = np.log1p(means / knee)
            centre, middle = chances @ x, chances @ grades
            slope = (chances @ ((x - centre) * (grades - middle))) / (chances @ (x - centre) ** 2)
            bias = middle - slope * centre
            error = float(chances @ (bias + slope * x - grades) ** 2)
            if error < best[0]:
                best = (error, factor, float(-factor * zero), float(bias), float(slope))
    _, factor, offset, bias, slope = best
    return Start(factor, offset, Link(round(bias, 3), round(slope, 4), knee, ceiling))
