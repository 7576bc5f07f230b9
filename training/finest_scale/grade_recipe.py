"""What a run of the finest scale on grades does."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from training.finest_scale.tile_training import TileRecipe
from training.finest_scale.tiles import TileChanges

__all__ = ["ARCHIVES", "CAMERAS", "DEEP", "GRADES", "PHOTOGRAPHS", "WHOLE", "GradeRecipe"]


@dataclass(frozen=True, slots=True)
class GradeRecipe:
    """What a run on grades does.

    Attributes:
        tiles: the tiles with masks beside, see `TileRecipe`; its steps and rate are not used.
        steps: of the optimiser.
        photographs: with grades a step; two tiles each.
        grades: weight of the loss of grades beside that of cells.
        changes: random changes of graded photographs; of their tone alone.
        class_power: photographs of a grade are drawn with weight (1 / its frequency) ** power,
            within each data set; data sets by `datasets`.
        datasets: share of the photographs by data set.
        rate: largest learning rate of AdamW.
        average: decay a step of the moving average.
        knee: of the link from the mean of the map to the score; the rest of it, and a line from
            logits to logits that the run starts with, are fitted to the first maps.
        frozen: blocks from the input that stay as they are.
        ceiling: of the link, see `Link`; grades near and above it are learnt as a little less.
        entire: whether a step looks at all of a photograph instead of two tiles of it.
        keep_link: whether the link of the run that the first weights are of stays, and the logits.
        plain_bank: whether kept cells are renewed only by photographs as they are, not changed.
        keep_every: steps between copies of the averaged weights; 0: none.
        grown_from: smaller network, a key of `drcore.model.network.PRESETS`, that the first weights
            are of, see `load_grown`; None where they are the network's own.
    """

    tiles: TileRecipe = field(
        default_factory=lambda: TileRecipe(
            dots=6, others=2, anywhere=2, healthy=4, temperature=3.0, seed=21
        )
    )
    steps: int = 1400
    photographs: int = 6
    grades: float = 10.0
    changes: TileChanges = field(
        default_factory=lambda: TileChanges(coarse=0.2, coarse_factor=2.0, noise_sigma=8.0)
    )
    class_power: float = 0.5
    datasets: tuple[tuple[str, float], ...] = (
        ("messidor2", 0.40), ("eyepacs", 0.30), ("idrid", 0.18), ("healthy", 0.12),
    )  # fmt: skip
    rate: float = 2e-4
    average: float = 0.995
    knee: float = 0.002
    frozen: int = 5
    ceiling: float | None = None
    entire: bool = False
    keep_link: bool = False
    plain_bank: bool = False
    keep_every: int = 0
    grown_from: str | None = None

    def chances(self, grades: NDArray[np.int64], datasets: NDArray[np.str_]) -> NDArray[np.float64]:
        """Return the probability with which each photograph of a grade and a data set is drawn."""
        chances = np.zeros(len(grades))
        for name, weight in self.datasets:
            own = datasets == name
            counts = np.bincount(grades[own], minlength=5)
            each = np.where(own, counts[grades].clip(1) ** -self.class_power, 0.0)
            chances += weight * each / max(each.sum(), 1e-9)
        return np.asarray(chances / chances.sum())


GRADES = GradeRecipe()

_CAMERAS = TileChanges(
    gain=0.5, colour=0.3, coarse=0.4, coarse_factor=2.6, noise_sigma=9.0, mix=0.15, sharpen=0.2
)

CAMERAS = GradeRecipe(
    tiles=TileRecipe(
        dots=5, others=2, anywhere=1, healthy=6, temperature=3.0, bright=0.3, loud=0.5,
        changes=_CAMERAS, seed=31,
    ),
    steps=900,
    changes=replace(_CAMERAS, coarse_factor=3.5),
    datasets=(
        ("messidor2", 0.30), ("eyepacs", 0.32), ("idrid", 0.14), ("healthy", 0.14),
        ("aptos2019", 0.10),
    ),
    frozen=3,
    ceiling=2.5,
    plain_bank=True,
    keep_every=100,
)  # fmt: skip
"""Goes on from `GRADES`: more cameras, photographs of few pixels, loud places of healthy eyes."""

WHOLE = replace(CAMERAS, steps=700, rate=1.5e-4, frozen=0, tiles=replace(CAMERAS.tiles, seed=33))
"""Goes on from `CAMERAS` with everything learnt."""

_ARCHIVES = replace(
    _CAMERAS, compression=0.45, archive=0.7, noise_sigma=20.0, blur_sigma=2.6, coarse_factor=3.0
)

ARCHIVES = replace(
    WHOLE,
    steps=4000,
    rate=2e-4,
    changes=replace(_ARCHIVES, coarse_factor=3.5),
    tiles=replace(CAMERAS.tiles, changes=_ARCHIVES, seed=35),
)
"""Goes on from `CAMERAS` with stronger compression, noise and blur, and everything learnt."""

PHOTOGRAPHS = replace(
    ARCHIVES,
    photographs=8,
    entire=True,
    keep_link=True,
    frozen=3,
    rate=1e-4,
    average=0.998,
    plain_bank=True,
    tiles=replace(ARCHIVES.tiles, dots=4, others=1, anywhere=1, healthy=4, seed=37),
)
"""Goes on from `ARCHIVES`: a step looks at all of eight photographs, so that no sum is stale."""

DEEP = replace(
    WHOLE,
    steps=3000,
    rate=3e-4,
    grown_from="ram-1024",
    tiles=replace(CAMERAS.tiles, preset="ram-1024-deep", seed=34),
)
"""Goes on from `CAMERAS` with a deeper network."""
