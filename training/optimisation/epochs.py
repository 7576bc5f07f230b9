"""The batches of a training run: graded photographs and, beside them, some with lesion masks."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from drcore.model.network import PRESETS
from drcore.preprocessing.network_input import Preprocessing
from training.data.augmentation_gpu import device_batches
from training.data.lesion_squares import LesionBatch, LesionSquares, lesion_batches
from training.data.resident import ResidentSquares
from training.data.sampling import class_weights, draw
from training.data.squares import Sample, Squares, SquareSet
from training.optimisation.checkpoints import RunError
from training.recipe import Augmentation, Recipe

__all__ = ["EpochBatches"]


class EpochBatches:
    """The photographs of a run, epoch by epoch.

    What an epoch draws depends on the recipe's seed and the epoch alone, so a resumed run sees
    what a whole one would have seen.

    Args:
        lesions: photographs with masks, or None.
        resident: whether photographs live on the device and are changed there, 0.8 MB each.

    Attributes:
        training: int (N,), photographs that are trained on.
        validation: int (V,), photographs that are measured.
        chances: float64 (N,), how often each is drawn.
        steps: batches an epoch.

    Raises:
        RunError: there is nothing to train on.
    """

    def __init__(
        self,
        squares: Squares,
        lesions: LesionSquares | None,
        recipe: Recipe,
        preparation: Preprocessing,
        device: torch.device,
        *,
        resident: bool,
        workers: int,
    ) -> None:
        self.squares, self.recipe = squares, recipe
        self.preparation, self.device = preparation, device
        self._lesions = lesions
        self._workers = workers
        self._config = PRESETS[recipe.preset]
        splits = np.array([row.split for row in squares.rows])
        self.training = np.flatnonzero(splits == "train")
        self.validation = np.flatnonzero(splits == "val")
        if len(self.training) == 0:
            raise RunError("No photograph has the split 'train': there is nothing to train on.")
        self.chances = class_weights(
            [squares.rows[i] for i in self.training], recipe.class_power, dict(recipe.datasets),
            recipe.independence,
        )  # fmt: skip
        self.steps = math.ceil(len(self.training) / recipe.batch)
        self._resident = None
        if resident:
            both = np.concatenate([self.training, self.validation])
            self._resident = ResidentSquares(squares.pixels, device, masks=squares.masks, keep=both)

    def steps_of(self, epoch: int) -> Iterator[tuple[Sample, LesionBatch | None]]:
        """Return an epoch's batches: graded photographs, and those with masks or None."""
        graded = self._batches(self._drawn(epoch), epoch, self.recipe.augmentation)
        annotated: Iterable[LesionBatch | None] = itertools.repeat(None)
        if self.recipe.lesions and self._lesions is not None:
            annotated = lesion_batches(
                self._lesions, self.device, self.recipe.annotated, self._config.input_size,
                self._config.map_size, self.preparation, self.recipe.augmentation,
                (self.recipe.seed, epoch),
            )  # fmt: skip
        return zip(graded, annotated, strict=False)  # the second one never ends

    def first_of(self, epoch: int, batches: int) -> Iterable[Sample]:
        """Return an epoch's first batches again, at most so many."""
        few = self._drawn(epoch)[: batches * self.recipe.batch]
        return self._batches(few, epoch, self.recipe.augmentation)

    def plain(self, indices: NDArray[np.int64]) -> Iterable[Sample]:
        """Return photographs as they are."""
        return self._batches(indices, 0, None)

    def _drawn(self, epoch: int) -> NDArray[np.int64]:
        rng = np.random.default_rng((self.recipe.seed, epoch))
        return draw(rng, self.training, self.steps * self.recipe.batch, self.chances)

    def _batches(
        self, indices: NDArray[np.int64], epoch: int, augmentation: Augmentation | None
    ) -> Iterable[Sample]:
        size, cells, seed = self._config.input_size, self._config.map_size, self.recipe.seed
        if self._resident is not None:
            return device_batches(
                self.squares, self._resident, indices, self.recipe.batch, size, cells,
                self.preparation, augmentation, (seed, epoch),
            )  # fmt: skip
        data = SquareSet(
            self.squares, indices, size, cells, self.preparation, augmentation, (seed, epoch)
        )
        return DataLoader(
            data,
            batch_size=self.recipe.batch,
            num_workers=self._workers,
            generator=torch.Generator().manual_seed(seed),
        )
