"""Maps against lesion masks."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from drcore.agreement.statistics import bootstrap_interval
from drcore.errors import DrcoreError
from drcore.grading.grader import Grader, Prepared
from drcore.grading.report import GradeReport, Scale
from drcore.maps.fusion import FUSION_RULES, FusionRule
from drcore.preprocessing.retina_square import RetinaSquare
from training.data.labels import Labelled
from training.data.lesion_masks import DISC, LESION_TYPES, Annotated, Lesions
from training.evaluation.baseline_maps import (
    KeptScore,
    centre_gaussian,
    contrast_alone,
    grad_cam,
    kept_score,
    mean_map,
    occlusion,
    random_map,
)

__all__ = [
    "FUSED",
    "GRID",
    "BaselineMaps",
    "LocalisationFigures",
    "average_precision",
    "compare",
    "deletion_and_insertion",
    "healthy_excess",
    "localise",
    "measure",
    "on_grid",
    "outside_share",
    "summarise",
]


GRID = 512
"""Side of the working grid in pixels."""

TOLERANCE = 0.01
"""How far from a lesion the largest value may lie and still hit it, share of the diameter."""

REACH = 0.02
"""How far around a lesion energy still counts as on it, share of the diameter."""

FUSED = f"fused {FUSION_RULES[0]}"
"""Name of the map that a user sees first."""

HEALTHY_LIMIT = 1.0
"""What the fused map of a healthy eye should nowhere exceed, in grades."""

Map = NDArray[np.float32]
Mask = NDArray[np.bool_]

_TARGETS = ("all", *LESION_TYPES)
_SINGLE = (
    "hit",
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
        single = {name: getattr(self, name) for name in _SINGLE}
        return {
            **single,
            "average_precision": self.average_precision,
            "prevalence": self.prevalence,
        }


@dataclass(frozen=True, slots=True)
class BaselineMaps:
    """Which other maps are measured beside the Regression Activation Maps.

    Attributes:
        cheap: random maps, a centre Gaussian, the photograph's local contrast without a network,
            and Grad-CAM.
        occlusion: input sizes, in pixels, at which patches are taken away; about 700 forward
            passes a photograph each.
    """

    cheap: bool = False
    occlusion: tuple[int, ...] = ()


def measure(ram: Map, frame: RetinaSquare, margin: float, lesions: Lesions) -> LocalisationFigures:
    """Judge one map of one photograph against its lesions.

    Args:
        ram: float32 (m, m) over the square of the frame, any unit, higher means more suspicious;
            NaN where the map says nothing, which ranks lowest.
        frame: of the photograph, at any size.
        margin: share of the radius left out along the rim, 0-1.
        lesions: of the photograph.

    Returns:
        The figures, without deletion and insertion.

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
    inside = {name: masks[name][retina] if name in masks else None for name in _TARGETS}
    present = {name: mask for name, mask in inside.items() if mask is not None and mask.any()}

    order = np.argsort(-values, kind="stable")
    precision = {name: _average_precision(values[order], present[name][order]) for name in present}
    prevalence = {name: float(mask.mean()) for name, mask in present.items()}

    near = _within(masks["all"], TOLERANCE)[retina]
    reached = _within(masks["all"], REACH)[retina]
    disc = masks[DISC][retina] if DISC in masks else None
    energy = np.maximum(values, 0)
    seen = "all" in present
    keys, counts = _tally(values, [inside[name] for name in _TARGETS])
    return LocalisationFigures(
        hit=float(near[values == values.max()].mean()) if seen else math.nan,
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
    return _divided(value, weight)


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
        steps: points of each curve after the first.
        seed: of the order among equal values.

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


def summarise(figures: Sequence[LocalisationFigures], *, draws: int = 1000) -> dict[str, Any]:
    """Bring the figures of one kind of map together over photographs.

    Args:
        figures: one a photograph.
        draws: bootstrap resamples.

    Returns:
        By measure, the mean over the photographs that have it, its 95 % interval by a bootstrap
        over photographs, and how many they are. Average precision by target, with that over the
        pixels of all photographs together ("pooled"), and the average precision of chance.
    """
    result: dict[str, Any] = {"photographs": len(figures)}
    for name in _SINGLE:
        result[name] = _mean_and_interval([getattr(f, name) for f in figures], draws)
    result["average_precision"] = {
        target: {
            **_mean_and_interval([_precision(f, target) for f in figures], draws),
            "pooled": _pooled(figures, target),
            "chance": _mean(np.array([f.prevalence.get(target, math.nan) for f in figures])),
        }
        for target in _TARGETS
    }
    return result


def compare(
    first: Sequence[LocalisationFigures],
    second: Sequence[LocalisationFigures],
    *,
    draws: int = 1000,
) -> dict[str, Any]:
    """Compare two kinds of map on the same photographs.

    Args:
        first, second: one a photograph, in the same order.
        draws: bootstrap resamples; a photograph's two figures are drawn together.

    Returns:
        For pointing hit and for average precision of all lesions, the mean of first - second with
        its 95 % interval; for average precision also the ratio of the means with its interval.
    """
    hits = np.array([[f.hit for f in side] for side in (first, second)])
    areas = np.array([[_precision(f, "all") for f in side] for side in (first, second)])

    def ratio(i: NDArray[np.int64]) -> float:
        below = _mean(areas[1, i])
        return _mean(areas[0, i]) / below if below > 0 else math.nan

    return {
        "hit": _mean_and_interval(hits[0] - hits[1], draws),
        "average_precision": _mean_and_interval(areas[0] - areas[1], draws),
        "average_precision_ratio": {
            "mean": ratio(np.arange(areas.shape[1])),
            "interval": bootstrap_interval(ratio, areas.shape[1], draws=draws),
        },
    }


def localise(
    grader: Grader,
    photographs: Sequence[Annotated],
    *,
    rivals: BaselineMaps | None = None,
    steps: int = 12,
    quiet: bool = False,
) -> dict[str, list[LocalisationFigures]]:
    """Measure every map of a bundle, as a user gets it, and its rivals.

    Args:
        grader: the bundle.
        photographs: with their lesion masks.
        rivals: other maps of the same networks; none where left out.
        steps: points of the deletion and insertion curves, 0 for none. A map of one scale is asked
            about the score of that scale, every other about the fused score.
        quiet: no progress bar.

    Returns:
        By name of the map, one entry a photograph: "ram 128" of one scale, "fused mean" by a rule,
        "cells 128" as the network gave it (before `drcore.maps.refinement`), "grad-cam 256",
        "grad-cam 128+256" for the mean over scales, "contrast", "centre".

    Raises:
        DrcoreError: a photograph cannot be read, or there is no such scale.
        LesionsError: a mask is bad.
    """
    rivals = rivals or BaselineMaps()
    unknown = sorted(set(rivals.occlusion) - set(grader.scales))
    if unknown:
        raise DrcoreError(
            f"There is no network at {unknown[0]} px to occlude; choose from "
            f"{', '.join(map(str, grader.scales))}."
        )
    margin = grader.bundle.preparation.margin
    figures: dict[str, list[LocalisationFigures]] = {}
    for annotated in tqdm(photographs, desc="maps", unit="photograph", disable=quiet):
        prepared = grader.attempt(annotated.path)
        if isinstance(prepared, GradeReport):
            raise DrcoreError(f"{annotated.where}: {prepared.reason}")
        report = grader.finish([prepared])[0]
        lesions = annotated.lesions()
        retina = prepared.frame.at(GRID).mask(margin)
        seed = zlib.crc32(annotated.name.encode())  # the same in every selection of photographs
        for one in (
            *_regression_maps(report, prepared.frame),
            *_rival_maps(grader, prepared, rivals, seed),
        ):
            entry = measure(one.values, prepared.frame, margin, lesions)
            if one.outside is not None:
                entry = replace(entry, energy_outside=one.outside)
            if steps:
                score = _score(grader, prepared, one.scales)
                deletion, insertion = deletion_and_insertion(
                    on_grid(one.values), retina, score, steps=steps, seed=seed
                )
                entry = replace(entry, deletion=deletion, insertion=insertion)
            figures.setdefault(one.name, []).append(entry)
    return figures


def healthy_excess(
    grader: Grader, rows: Sequence[Labelled], *, draws: int = 1000, quiet: bool = False
) -> dict[str, Any]:
    """Count the healthy eyes whose fused map claims more than `HEALTHY_LIMIT` somewhere.

    Args:
        grader: the bundle.
        rows: photographs of grade 0, at least one.
        draws: bootstrap resamples over patients.
        quiet: no progress bar.

    Returns:
        For all and by dataset: photographs, share with an excess, its 95 % interval, and the
        median over photographs of the largest value; the same three again under "cells" for the
        map as the networks gave it.

    Raises:
        DrcoreError: a photograph cannot be read.
    """
    largest = []
    reports = grader.grade_many(row.path for row in rows)
    for row, report in tqdm(
        zip(rows, reports, strict=True),
        total=len(rows), desc="healthy", unit="photograph", disable=quiet,
    ):  # fmt: skip
        if report.status == "failed":
            raise DrcoreError(f"{row.path.name} cannot be measured: {report.reason}")
        both = report.ram("fused"), report.cells("fused").values
        largest.append([float(np.nanmax(ram)) for ram in both])
    shown, given = np.array(largest).T
    datasets = np.array([row.dataset for row in rows])
    patients = np.array([f"{row.dataset} {row.patient}" for row in rows])
    result = {}
    for name in ("all", *sorted(set(datasets))):
        chosen = np.flatnonzero((datasets == name) | (name == "all"))
        result[name] = {
            "photographs": len(chosen),
            **_excess(shown[chosen], patients[chosen], draws),
            "cells": _excess(given[chosen], patients[chosen], draws),
        }
    return result


def _excess(largest: NDArray[np.float64], patients: NDArray[np.str_], draws: int) -> dict[str, Any]:
    above = largest > HEALTHY_LIMIT
    return {
        "share": _mean(above),
        "interval": bootstrap_interval(
            lambda i: _mean(above[i]), len(above), groups=patients, draws=draws
        ),
        "median_largest": float(np.median(largest)),
    }


@dataclass(frozen=True, slots=True, eq=False)
class _Candidate:
    """A map to measure: over the square, and which scales' mean score it speaks of."""

    name: str
    values: Map
    scales: tuple[int, ...]
    outside: float | None = None


def _regression_maps(report: GradeReport, frame: RetinaSquare) -> Iterator[_Candidate]:
    """Maps of a report as a user gets them: on the photograph, NaN outside, then on the grid."""
    asked: list[tuple[str, Scale, FusionRule]] = [
        (f"ram {scale}", scale, FUSION_RULES[0]) for scale in report.scales
    ]
    asked += [(f"fused {rule}", "fused", rule) for rule in FUSION_RULES]
    field_of_view = frame.field_of_view.mask(frame.height, frame.width)
    square = frame.at(GRID)
    for name, scale, rule in asked:
        full = report.ram(scale, rule=rule)
        known = ~np.isnan(full)
        value = np.asarray(square.warp(np.where(known, full, np.float32(0))), np.float32)
        weight = np.asarray(square.warp(known.astype(np.float32)), np.float32)
        scales = report.scales if scale == "fused" else (int(scale),)
        outside = outside_share(full, field_of_view)
        yield _Candidate(name, _divided(value, weight), scales, outside)
    # As the networks gave them, before `drcore.maps.refinement`.
    for scale in (*report.scales, "fused"):
        of = report.scales if scale == "fused" else (int(scale),)
        yield _Candidate(f"cells {scale}", report.cells(scale).values, of)


def _rival_maps(
    grader: Grader, prepared: Prepared, rivals: BaselineMaps, seed: int
) -> Iterator[_Candidate]:
    margin = grader.bundle.preparation.margin
    makers: dict[str, tuple[tuple[int, ...], Callable[[int], Map]]] = {}
    if rivals.cheap:
        finest = prepared.inputs[grader.scales[-1]]
        yield _Candidate("contrast", contrast_alone(finest), grader.scales)
        yield _Candidate("centre", centre_gaussian(GRID), grader.scales)
        makers["random"] = (
            grader.scales,
            lambda size: random_map(
                prepared.coverage[size].shape[0], np.random.default_rng([seed, size])
            ),
        )
        makers["grad-cam"] = (
            grader.scales,
            lambda size: grad_cam(
                grader.bundle.networks[size], prepared.inputs[size], prepared.coverage[size]
            ),
        )
    makers["occlusion"] = (
        rivals.occlusion,
        lambda size: occlusion(
            _score(grader, prepared, (size,)), prepared.frame.at(size).mask(margin)
        ),
    )
    for kind, (scales, make) in makers.items():
        maps = {size: make(size) for size in scales}
        for size, ram in maps.items():
            yield _Candidate(f"{kind} {size}", ram, (size,))
        if len(maps) > 1:
            name = f"{kind} {'+'.join(map(str, scales))}"
            yield _Candidate(name, mean_map(list(maps.values())), grader.scales)


def _score(grader: Grader, prepared: Prepared, scales: Sequence[int]) -> KeptScore:
    return kept_score(grader.bundle.networks, prepared.inputs, prepared.coverage, scales)


def _divided(value: Map, weight: Map) -> Map:
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
    return _from_counts(last + 1, np.cumsum(positive)[last]) if len(ordered) else math.nan


def _from_counts(taken: NDArray[np.int64], found: NDArray[np.int64]) -> float:
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


def _pooled(figures: Sequence[LocalisationFigures], target: str) -> float:
    total = np.zeros((1 << 16, 2), np.int64)
    column = 1 + _TARGETS.index(target)
    for figure in figures:
        if target in figure.average_precision:
            total[figure.values] += figure.counts[:, [0, column]]
    falling = total[total[:, 0] > 0][::-1]
    if len(falling) == 0:
        return math.nan
    return _from_counts(np.cumsum(falling[:, 0]), np.cumsum(falling[:, 1]))


def _precision(figures: LocalisationFigures, target: str) -> float:
    return figures.average_precision.get(target, math.nan)


def _mean(values: NDArray[Any]) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else math.nan


def _mean_and_interval(values: Sequence[float] | NDArray[np.float64], draws: int) -> dict[str, Any]:
    known = np.asarray(values, np.float64)
    known = known[np.isfinite(known)]
    return {
        "mean": _mean(known),
        "interval": bootstrap_interval(lambda i: _mean(known[i]), len(known), draws=draws),
        "photographs": len(known),
    }
