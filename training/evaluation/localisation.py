"""One map of one photograph against its lesions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from drcore.errors import DrcoreError
from drcore.preprocessing.retina_square import RetinaSquare
from training.data.lesion_masks import DISC, LESION_TYPES, Lesions
from training.evaluation.baseline_maps import KeptScore

__all__ = [
    "GRID",
    "SINGLE_FIGURES",
    "TARGETS",
    "LocalisationFigures",
    "Map",
    "average_precision",
    "deletion_and_insertion",
    "divided",
    "from_counts",
    "measure",
    "on_grid",
    "outside_share",
    "patch_precision",
]


GRID = 512
"""Side of the working grid in pixels."""

TOLERANCE = 0.01
"""How far from a lesion the largest value may lie and still hit it, share of the diameter."""

PATCH, PATCHES = 33, 10
"""Side of a patch on the working grid in pixels, and how many patches are looked at."""

REACH = 0.02
"""How far around a lesion energy still counts as on it, share of the diameter."""

Map = NDArray[np.float32]
Mask = NDArray[np.bool_]

TARGETS = ("all", *LESION_TYPES)
SINGLE_FIGURES = (
    "hit",
    "patch_precision",
    "energy_on_lesions",
    "energy_on_disc",
    "energy_elsewhere",
    "energy_outside",
    "deletion",
    "insertion",
)


@dataclass(frozen=True, slots=True, eq=False)
class LocalisationFigures:
    """How well one map of one photograph points at its lesions; NaN where it cannot be asked.

    Attributes:
        hit: 1 where the largest value lies on a lesion or within `TOLERANCE` of one, else 0; the
            share that does where several pixels share the largest value.
        patch_precision: share of the highest patches that hold a lesion, see `patch_precision`.
        average_precision: 0-1, over pixels, for "all" lesions and each type that is annotated and
            present; pixels of other types count against a type.
        prevalence: 0-1, by the same names, share of pixels: the average precision of chance.
        energy_on_lesions: share of the map's positive part within `REACH` of a lesion.
        energy_on_disc: share on the optic disc, lesions beside it included.
        energy_elsewhere: share on neither.
        energy_outside: share outside the field of view, of the positive part of the whole map.
        deletion, insertion: see `deletion_and_insertion`; NaN where not measured.
        values: uint16 (K,), the map's values in order, for pooling pixels over photographs.
        counts: int64 (K, 6), at each value how many pixels, and how many of each target.
    """

    hit: float
    patch_precision: float
    average_precision: dict[str, float]
    prevalence: dict[str, float]
    energy_on_lesions: float
    energy_on_disc: float
    energy_elsewhere: float
    energy_outside: float
    deletion: float
    insertion: float
    values: NDArray[np.uint16]
    counts: NDArray[np.int64]

    def to_dict(self) -> dict[str, Any]:
        """Return the figures for JSON, without what is only for pooling."""
        single = {name: getattr(self, name) for name in SINGLE_FIGURES}
        return {
            **single,
            "average_precision": self.average_precision,
            "prevalence": self.prevalence,
        }


def measure(ram: Map, frame: RetinaSquare, margin: float, lesions: Lesions) -> LocalisationFigures:
    """Judge one map of one photograph against its lesions.

    Args:
        ram: float32 (m, m) over the square of the frame, any unit, higher means more suspicious;
            NaN where the map says nothing, which ranks lowest.
        margin: share of the radius left out along the rim, 0-1.

    Raises:
        DrcoreError: the map is not square, or holds infinite values.
        LesionsError: the masks have another size than the photograph.
    """
    grid = on_grid(ram)
    square = frame.at(GRID)
    retina = square.mask(margin)
    masks = lesions.on_square(square)
    lowest = np.finfo(np.float32).min
    values = np.where(np.isnan(grid), lowest, grid)[retina].astype(np.float32)
    inside = {name: masks[name][retina] if name in masks else None for name in TARGETS}
    present = {name: mask for name, mask in inside.items() if mask is not None and mask.any()}

    order = np.argsort(-values, kind="stable")
    precision = {name: _average_precision(values[order], present[name][order]) for name in present}
    prevalence = {name: float(mask.mean()) for name, mask in present.items()}

    near = _within(masks["all"], TOLERANCE)[retina]
    reached = _within(masks["all"], REACH)[retina]
    disc = masks[DISC][retina] if DISC in masks else None
    energy = np.maximum(values, 0)
    seen = "all" in present
    keys, counts = _tally(values, [inside[name] for name in TARGETS])
    return LocalisationFigures(
        hit=float(near[values == values.max()].mean()) if seen else math.nan,
        patch_precision=(
            patch_precision(np.where(retina, np.nan_to_num(grid), 0), masks["all"] & retina)
            if seen
            else math.nan
        ),
        average_precision=precision,
        prevalence=prevalence,
        energy_on_lesions=_share(energy, reached) if seen else math.nan,
        energy_on_disc=_share(energy, disc) if disc is not None else math.nan,
        energy_elsewhere=_share(energy, ~(reached | disc)) if disc is not None else math.nan,
        energy_outside=outside_share(grid, square.mask()),
        deletion=math.nan,
        insertion=math.nan,
        values=keys,
        counts=counts,
    )


def on_grid(ram: Map) -> Map:
    """Bring a map over the square to the working grid.

    Args:
        ram: float32 (m, m), NaN where it says nothing.

    Returns:
        float32 (GRID, GRID), interpolated bilinearly between the cells that say something.

    Raises:
        DrcoreError: the map is not square, or holds infinite values.
    """
    if ram.ndim != 2 or ram.shape[0] != ram.shape[1] or np.isinf(ram).any():
        raise DrcoreError(
            f"A map of shape {ram.shape} cannot be measured: give finite values, or NaN, over the "
            "square of the field of view."
        )
    if ram.shape[0] == GRID:
        return np.asarray(ram, np.float32)
    known = ~np.isnan(ram)
    how = cv2.INTER_LINEAR if ram.shape[0] < GRID else cv2.INTER_AREA
    value = cv2.resize(np.where(known, ram, 0).astype(np.float32), (GRID, GRID), interpolation=how)
    weight = cv2.resize(known.astype(np.float32), (GRID, GRID), interpolation=how)
    return divided(value, weight)


def patch_precision(ram: Map, lesions: Mask) -> float:
    """Share of the highest patches of a map that hold a lesion.

    The centre of the first patch is the largest value of the map, that of each further one the
    largest value that is left when no patch may lie over another. Patches without evidence, whose
    value is not above 0, are not counted.

    Args:
        ram: float32 (GRID, GRID), 0 where it says nothing.
        lesions: bool (GRID, GRID).

    Returns:
        0-1, over `PATCHES` patches or as many as there are; NaN where the map has no evidence.

    Source:
        Djoumessi et al. 2023, Sparse activations for interpretable disease grading (MIDL).
    """
    left, half, found = ram.copy(), PATCH // 2, []
    while len(found) < PATCHES and left.max() > 0:
        row, column = divmod(int(left.argmax()), left.shape[1])
        top, first = max(0, row - half), max(0, column - half)
        found.append(lesions[top : row + half + 1, first : column + half + 1].any())
        left[max(0, row - 2 * half) : row + PATCH, max(0, column - 2 * half) : column + PATCH] = 0
    return float(np.mean(found)) if found else math.nan


def average_precision(values: NDArray[np.floating[Any]], positive: Mask) -> float:
    """Area under precision against recall as a sum of steps, equal values taken together.

    Args:
        values: float (N,), higher first.
        positive: bool (N,).

    Returns:
        0-1; NaN where nothing is positive.
    """
    order = np.argsort(-values, kind="stable")
    return _average_precision(values[order], positive[order])


def outside_share(ram: Map, field_of_view: Mask) -> float:
    """Share of the positive part of a map that lies outside the field of view.

    Args:
        ram: float32 (H, W), NaN where nothing is shown.
        field_of_view: bool (H, W).

    Returns:
        0-1; 0 where the map has no positive part.
    """
    energy = np.maximum(np.nan_to_num(ram), 0)
    total = float(energy.sum(dtype=np.float64))
    return float(energy[~field_of_view].sum(dtype=np.float64)) / total if total > 0 else 0.0


def deletion_and_insertion(
    ram: Map, retina: Mask, score: KeptScore, *, steps: int = 12, seed: int = 0
) -> tuple[float, float]:
    """Mean score while pixels are taken away, or put back, in the order of a map.

    After Petsiuk et al. 2018 (RISE), with the score in grades in place of a probability. The
    shares taken are (i / steps)^2, because lesions are a few per cent of the retina: plain steps
    would pass over them with the first. The area over the share is taken by trapezoids.

    Args:
        ram: float32 (n, n) over the square; NaN ranks lowest.
        retina: bool (n, n), the pixels that are taken.
        score: of the photograph when only a part is kept, float32 (B, n, n), 0-1.

    Returns:
        Deletion, lower for a better map, and insertion, higher for a better map, in grades.
    """
    places = np.flatnonzero(retina)
    places = places[np.random.default_rng(seed).permutation(len(places))]
    values = np.nan_to_num(ram.ravel()[places], nan=np.finfo(np.float32).min)
    places = places[np.argsort(-values, kind="stable")]
    shares = (np.arange(steps + 1) / steps) ** 2
    # The surround stays: it holds nothing that could be taken away.
    kept = np.ones((2 * steps, retina.size), np.float32)
    kept[steps:, places] = 0
    for step, share in enumerate(shares[:-1]):
        first = places[: round(share * len(places))]
        kept[step, first] = 0
        kept[steps + step, first] = 1
    taken, put_back = score(kept.reshape(-1, *retina.shape)).reshape(2, steps)
    # Each curve ends where the other begins.
    deletion = np.trapezoid(np.append(taken, put_back[0]), shares)
    insertion = np.trapezoid(np.append(put_back, taken[0]), shares)
    return float(deletion), float(insertion)


def divided(value: Map, weight: Map) -> Map:
    """Interpolated values over interpolated presence; NaN where nothing was present."""
    some = weight > 0
    return np.where(some, value / np.where(some, weight, 1), np.nan).astype(np.float32)


def _within(mask: Mask, share: float) -> Mask:
    if not mask.any():
        return mask
    distance = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray(distance <= share * mask.shape[0], bool)


def _share(energy: Map, where: Mask) -> float:
    total = float(energy.sum(dtype=np.float64))
    return float(energy[where].sum(dtype=np.float64)) / total if total > 0 else math.nan


def _average_precision(ordered: NDArray[np.floating[Any]], positive: Mask) -> float:
    """Average precision of values that fall."""
    last = np.append(np.flatnonzero(np.diff(ordered)), len(ordered) - 1)  # of each run of equals
    return from_counts(last + 1, np.cumsum(positive)[last]) if len(ordered) else math.nan


def from_counts(taken: NDArray[np.int64], found: NDArray[np.int64]) -> float:
    """Average precision from how many pixels are above each value, and how many of the wanted."""
    if not found[-1]:
        return math.nan
    gained = np.diff(found, prepend=0)
    return float((gained * (found / taken)).sum() / found[-1])


def _tally(
    values: Map, targets: Sequence[Mask | None]
) -> tuple[NDArray[np.uint16], NDArray[np.int64]]:
    """Count pixels by value, in steps of 1/128 of its power of two: pooling needs no more.

    The upper half of a float's bits, with the sign undone, keeps its order in 16 bits; 81 maps
    of as many photographs then fit into memory.
    """
    bits = (values + np.float32(0)).view(np.uint32)  # -0 becomes 0
    ordered = np.where(bits >> 31, ~bits, bits | np.uint32(1 << 31)) >> 16
    keys, place = np.unique(ordered.astype(np.uint16), return_inverse=True)
    columns = [np.bincount(place, minlength=len(keys))]
    for target in targets:
        chosen = place[target] if target is not None else place[:0]
        columns.append(np.bincount(chosen, minlength=len(keys)))
    return keys, np.stack(columns, axis=1).astype(np.int64)
