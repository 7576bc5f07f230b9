"""The maps of a bundle, and other kinds of map, measured on photographs."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

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
from training.data.lesion_masks import Annotated
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
from training.evaluation.localisation import (
    GRID,
    LocalisationFigures,
    Map,
    deletion_and_insertion,
    divided,
    measure,
    on_grid,
    outside_share,
)

__all__ = ["FUSED", "HEALTHY_LIMIT", "BaselineMaps", "healthy_excess", "localise"]

FUSED = f"fused {FUSION_RULES[0]}"
"""Name of the map that a user sees first."""

HEALTHY_LIMIT = 1.0
"""What the fused map of a healthy eye should nowhere exceed, in grades."""


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


def localise(
    grader: Grader,
    photographs: Sequence[Annotated],
    *,
    baselines: BaselineMaps | None = None,
    steps: int = 12,
    quiet: bool = False,
) -> dict[str, list[LocalisationFigures]]:
    """Measure every map of a bundle, as a user gets it, and the baseline maps.

    Args:
        baselines: other maps of the same networks; none where left out.
        steps: points of the deletion and insertion curves, 0 for none. A map of one scale is asked
            about the score of that scale, every other about the fused score.

    Returns:
        By name of the map, one entry a photograph: "ram 128" of one scale, "fused mean" by a rule,
        "cells 128" as the network gave it (before `drcore.maps.refinement`), "grad-cam 256",
        "grad-cam 128+256" for the mean over scales, "contrast", "centre".

    Raises:
        DrcoreError: a photograph cannot be read, or there is no such scale.
        LesionsError: a mask is bad.
    """
    baselines = baselines or BaselineMaps()
    unknown = sorted(set(baselines.occlusion) - set(grader.scales))
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
            *_baseline_maps(grader, prepared, baselines, seed),
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
        rows: photographs of grade 0, at least one.

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
        "share": float(above.mean()),
        "interval": bootstrap_interval(
            lambda i: float(above[i].mean()), len(above), groups=patients, draws=draws
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
        yield _Candidate(name, divided(value, weight), scales, outside)
    # As the networks gave them, before `drcore.maps.refinement`.
    for scale in (*report.scales, "fused"):
        of = report.scales if scale == "fused" else (int(scale),)
        yield _Candidate(f"cells {scale}", report.cells(scale).values, of)


def _baseline_maps(
    grader: Grader, prepared: Prepared, baselines: BaselineMaps, seed: int
) -> Iterator[_Candidate]:
    margin = grader.bundle.preparation.margin
    makers: dict[str, tuple[tuple[int, ...], Callable[[int], Map]]] = {}
    if baselines.cheap:
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
        baselines.occlusion,
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
