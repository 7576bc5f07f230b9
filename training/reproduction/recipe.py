"""The published recipe, every piece of it switchable.

Source: Wang & Yang 2017 (section 3) and the benchmark whose recipe it keeps, Kaggle team o_O. Our
own networks' recipe is `training.recipe.Recipe`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.reproduction.networks import LAYOUTS, Head, Layout

__all__ = ["EIGENVECTORS", "MEAN", "SPREAD", "PublishedRecipe", "grade_weights", "published"]

MEAN = (108.646, 75.869, 54.340)
SPREAD = (70.539, 51.715, 43.034)
"""`(RGB - MEAN) / SPREAD` is what the networks see; grey levels 0-255."""

EIGENROOTS = (1.65513, 0.48450, 0.15651)
EIGENVECTORS = (
    (-0.56543, 0.71983, 0.40240),
    (-0.59895, -0.02305, -0.80036),
    (-0.56694, -0.69357, 0.44423),
)
"""Principal components of the normalised colours, a row a channel R, G, B."""

_AT_FIRST = np.array([1.361, 14.378, 6.638, 40.236, 49.613])
_AT_LAST = np.array([1.0, 2.0, 2.0, 2.0, 2.0])


@dataclass(frozen=True, slots=True)
class PublishedRecipe:
    """What decides a run of a published network, apart from the photographs.

    A run may be shorter than published: everything that happens at a certain epoch then happens
    at the same share of the run (`pace` published epochs pass in one).

    Attributes:
        layout: key of `LAYOUTS`.
        head: "gap" or "fc".
        untied: one bias an output pixel, as published.
        norm: batch norm, as in the paper's fork; the benchmark has none.
        epochs: passes; an epoch draws as many photographs as the training split has.
        published_epochs: how long the published run was: 201, and 251 at 512 px.
        batch: photographs a step, over all processes.
        rate: learning rate of stochastic gradient descent with Nesterov momentum.
        drops: published epochs at which the rate falls to a tenth.
        momentum: of the gradient.
        weight_decay: PyTorch's, on weights only: 1e-3 is the published 5e-4 times the sum of
            squares.
        clip: largest norm of the gradient, 0 for none (published); short runs with few
            photographs need it.
        resampling: draw by `grade_weights`; without it every photograph once an epoch.
        geometry: rotate, zoom, shift and flip.
        zoom: largest factor either way, log-uniform, width and height independent.
        shift: largest shift as share of the photograph's side (40 of 512 px).
        colour: standard deviation of the PCA colour noise: .5 (net-5), .25 (net-4), 0 for none.
        bfloat16: multiply in bfloat16 on processors too, which pays where they have AMX; on CUDA
            it is always so.
        start: name of the finished run whose weights this one starts from; "" for none.
        seed: seed of everything random.
    """

    layout: str
    head: Head = "gap"
    untied: bool = True
    norm: bool = False
    epochs: int = 201
    published_epochs: int = 201
    batch: int = 128
    rate: float = 0.003
    drops: tuple[int, ...] = (150, 220)
    momentum: float = 0.9
    weight_decay: float = 1e-3
    clip: float = 0.0
    resampling: bool = True
    geometry: bool = True
    zoom: float = 1.15
    shift: float = 40 / 512
    colour: float = 0.5
    bfloat16: bool = False
    start: str = ""
    seed: int = 0

    @property
    def net(self) -> Layout:
        """The layout itself."""
        return LAYOUTS[self.layout]

    @property
    def pace(self) -> float:
        """Published epochs that pass in one epoch of this run."""
        return self.published_epochs / self.epochs

    def rate_at(self, epoch: int) -> float:
        """Return the learning rate of an epoch, counted from 0."""
        return self.rate * self.rate_factor(epoch)

    def rate_factor(self, epoch: int) -> float:
        """Return the learning rate of an epoch, counted from 0, as a share of the first."""
        return float(0.1 ** sum(epoch * self.pace >= drop for drop in self.drops))


def published(layout: str, **changes: Any) -> PublishedRecipe:
    """Return the published recipe of a network.

    Args:
        layout: key of `LAYOUTS`.
        changes: fields of `PublishedRecipe` to be other than published.

    Raises:
        KeyError: there is no such layout.
    """
    large = LAYOUTS[layout].photograph == 512
    length = 251 if large else 201
    fields: dict[str, Any] = {
        "epochs": length,
        "published_epochs": length,
        "batch": 32 if large else 128,
        "colour": 0.25 if layout.startswith("net-4") else 0.5,
    }
    return PublishedRecipe(layout, **(fields | changes))


def grade_weights(epoch: float) -> NDArray[np.float64]:
    """Return how often a photograph of each grade is drawn, relative to the others.

    At first all grades come alike often (in the competition's data), later nearly as they are:
    .975^t (1.361 14.378 6.638 40.236 49.613) + (1 - .975^t) (1 2 2 2 2).

    Args:
        epoch: published epochs t passed, from 0.

    Returns:
        float64 (5,).
    """
    fresh = 0.975**epoch
    weights: NDArray[np.float64] = fresh * _AT_FIRST + (1 - fresh) * _AT_LAST
    return weights
