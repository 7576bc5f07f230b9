"""Fitting fusion, thresholds, probabilities and placement of maps to labelled scores."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from drcore.errors import DrcoreError
from drcore.evaluation.likelihood import most_likely
from drcore.evaluation.scored import Scored, dataset_weights, folds
from drcore.icdr import REFERABLE
from drcore.maps.attenuation import Attenuation
from drcore.model.bundle import Bundle
from drcore.model.calibration import GradeCalibration, nonconformity

__all__ = [
    "HEALTHY_UNPLACED",
    "Fit",
    "Fitted",
    "Judged",
    "calibrate",
    "cross_validated",
    "fit_certainty",
    "fit_fusion",
    "fit_placement",
    "fit_probabilities",
    "judge",
]

Fit = Callable[[Scored], GradeCalibration]
"""Fits the probabilities to graded photographs."""

SET_COVERAGE = 0.9
SENSITIVITY = 0.95
WEIGHT_STEP = 0.05
LEAST_WEIGHT = 0.1
"""No scale counts for less in the fused score and map: the reader may look at each of them."""
HEALTHY_UNPLACED = 0.96
"""Share of healthy eyes whose map is shown as its mean alone."""
HEALTHY_UNPLACED_FUSED = 0.99
"""The same by the fused score alone, where the finest scale shows its map by its own score."""
CLASS_POWER = 0.125
"""Within a dataset, grades count by their frequency to this power less: see EXPERIMENTS.md."""
PLACEMENT_RAMP = 0.3
"""Width of the ramp from there to a map in all its places, in grades."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """What a calibration gives: certainty, weights of the scales, placement of maps."""

    fusion: tuple[float, ...]
    certainty: GradeCalibration
    placement: Attenuation | None

    @property
    def thresholds(self) -> tuple[float, float, float, float]:
        """Where the median of the probabilities changes: the grade is that median."""
        return self.certainty.cuts


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """What N photographs get: grades (N,), probabilities (N, 5), sets bool (N, 5), calls (N,)."""

    grade: NDArray[np.int64]
    probabilities: NDArray[np.float64]
    sets: NDArray[np.bool_]
    sensitive: NDArray[np.bool_]


def fit_certainty(scored: Scored, fit: Fit | None = None, seed: int = 0) -> GradeCalibration:
    """Fit the probabilities, whose median is the grade, the sets and the sensitive point.

    The level of the sets and the sensitive operating point are conformal quantiles with the
    correction for finite samples (Vovk, Gammerman & Shafer 2005): the expected coverage, and the
    expected sensitivity, on further photographs of the same mixture are at least what was asked
    for. The level is taken from probabilities that were fitted without the patient in question
    (cross-conformal, Vovk 2015).

    Args:
        scored: graded photographs.
        fit: of the probabilities; `fit_probabilities` where left out.
        seed: of the folds.
    """
    fit = fit or fit_probabilities
    model = fit(scored)
    aside = np.empty(len(scored))
    given = model.grade(scored.score)
    for inside, outside in folds(scored, seed):
        part = fit(scored.where(inside))
        shares = part.probabilities(scored.score[outside], scored.spread[outside])
        for i, p in zip(outside, shares, strict=True):
            aside[i] = nonconformity(p, int(given[i]))[scored.truth[i]]
    level = _upper_quantile(aside, dataset_weights(scored), SET_COVERAGE)
    referable = scored.truth >= REFERABLE
    eyes = scored.where(referable)
    point = -_upper_quantile(-eyes.score, np.ones(len(eyes)), SENSITIVITY)
    return replace(
        model,
        coverage=SET_COVERAGE,
        level=min(1.0, float(np.ceil(level * 1e4) / 1e4)),
        # Never above the default, or the two would change roles.
        sensitive=min(model.cuts[1], float(np.floor(point * 1e3) / 1e3)),
    )


def fit_weights(scored: Scored, class_power: float = CLASS_POWER) -> NDArray[np.float64]:
    """Return how much each photograph counts in the fit of the probabilities, sum 1.

    Datasets count by the root of their size, grades within a dataset by their frequency to the
    power of 1 - `class_power`, a little nearer to grades that are all as frequent: this is what
    keeps kappa high although the grade is the median.
    """
    weight = dataset_weights(scored)
    for name in set(scored.dataset.tolist()):
        chosen = scored.dataset == name
        counts = np.bincount(scored.truth[chosen], minlength=5)
        rarer = weight[chosen] * counts[scored.truth[chosen]] ** -class_power
        weight[chosen] = rarer / rarer.sum() * weight[chosen].sum()
    return weight


def fit_probabilities(
    scored: Scored,
    *,
    parent: GradeCalibration | None = None,
    class_power: float = CLASS_POWER,
    times: NDArray[np.float64] | None = None,
) -> GradeCalibration:
    """Fit by maximum likelihood; level and operating point stay at values that mean nothing yet.

    Args:
        scored: graded photographs.
        parent: calibration that few photographs stay near, see `most_likely`.
        class_power: see `fit_weights`.
        times: float64 (N,), how often each photograph was drawn; once where left out.
    """
    weight = fit_weights(scored, class_power) * len(scored)
    if times is not None:
        weight = weight * times
    cuts, width, widening = most_likely(scored, weight, parent)
    a, b, c, d = np.round(cuts, 4).tolist()
    return GradeCalibration(
        (a, b, c, d), round(width, 4), round(widening, 4), SET_COVERAGE, level=1.0, sensitive=0.0,
        decision="median",
    )  # fmt: skip


def _upper_quantile(
    values: NDArray[np.float64], weight: NDArray[np.float64], share: float
) -> float:
    """Smallest value that at least `share` do not exceed, one more unseen photograph counted in."""
    weight = weight / weight.sum()
    unseen = float((weight**2).sum())  # 1 / N for equal weights, 1 / effective number else
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(weight[order]) / (1 + unseen)
    place = int(np.searchsorted(reached, share - 1e-12))
    return float(values[order][min(place, len(values) - 1)])


def calibrate(
    scored: Scored,
    kept: Bundle | None = None,
    fusion: Sequence[float] = (),
    *,
    finest_alone: bool = False,
) -> Fitted:
    """Fit weights of the scales, certainty and placement.

    Args:
        scored: validation photographs; those that the Grader turns away are left out, since
            they get no grade.
        kept: bundle whose weights of the scales and placement stay as they are, so that no score
            and no map changes.
        fusion: weights of the scales, by rising size; fitted if empty.
        finest_alone: whether the finest scale, whose map is never negative, shows its map by its
            own score.

    Raises:
        DrcoreError: too few photographs, or not all grades among them.
    """
    scored = scored.where(scored.gradable)
    counts = np.bincount(scored.truth, minlength=5)
    if counts.min() < 2:
        raise DrcoreError(
            f"Of the gradable validation photographs {counts.tolist()} have the grades 0-4: "
            "thresholds need some of each. Label more."
        )
    if kept is not None:
        weights = tuple(kept.fusion[size] for size in sorted(kept.networks))
        return Fitted(weights, fit_certainty(scored), kept.placement)
    weights = tuple(fusion) or fit_fusion(scored)
    scored = replace(scored, score=scored.scales @ np.array(weights))
    return Fitted(weights, fit_certainty(scored), fit_placement(scored, finest_alone=finest_alone))


def fit_fusion(scored: Scored) -> tuple[float, ...]:
    """Fit how much each scale counts, by the squared error of the fused score.

    The error hardly changes near its least value, and scales that share are the safer choice for
    another camera: of the weights whose error does not differ from the least (a paired difference
    within one standard error, after Breiman et al. 1984, section 3.4.3) the most even are taken.

    Returns:
        A weight for each input size, rising sizes, multiples of `WEIGHT_STEP`, none below
        `LEAST_WEIGHT`, sum 1.
    """
    _, place, sizes = np.unique(scored.dataset, return_inverse=True, return_counts=True)
    importance = 1 / np.sqrt(sizes[place])
    importance = importance / importance.mean()
    steps, scales = round(1 / WEIGHT_STEP), scored.scales.shape[1]
    least = min(round(LEAST_WEIGHT / WEIGHT_STEP), steps // scales)
    tried = np.array(
        [
            counts
            for counts in itertools.product(range(least, steps + 1), repeat=scales)
            if sum(counts) == steps
        ]
    ) / float(steps)
    errors = importance[:, None] * (scored.scales @ tried.T - scored.truth[:, None]) ** 2
    means = errors.mean(axis=0)
    best = int(np.argmin(means))
    doubt = (errors - errors[:, [best]]).std(axis=0) / math.sqrt(len(errors))
    uneven = np.where(means - means[best] <= doubt, ((tried - 1 / scales) ** 2).sum(axis=1), np.inf)
    return tuple(float(weight) for weight in tried[int(np.argmin(uneven))])


def fit_placement(scored: Scored, *, finest_alone: bool = False) -> Attenuation:
    """Fit from which score maps are shown in their places.

    Args:
        scored: graded photographs.
        finest_alone: whether the finest scale shows its map by its own score.

    Returns:
        Starts at the score that `HEALTHY_UNPLACED` of the healthy eyes stay under. With
        `finest_alone` as many stay under both starts, and `HEALTHY_UNPLACED_FUSED` under that of
        the fused score.
    """
    healthy = scored.truth == 0
    fused, finest = scored.score[healthy], scored.scales[healthy, -1]
    if not finest_alone:
        return _ramp(fused, HEALTHY_UNPLACED)
    coarse = _ramp(fused, HEALTHY_UNPLACED_FUSED)
    # An eye that the fused score shows already costs nothing more.
    own = _ramp(np.where(fused >= coarse.flat_below, np.inf, finest), HEALTHY_UNPLACED)
    return replace(coarse, finest=own)


def _ramp(scores: NDArray[np.float64], share: float) -> Attenuation:
    ordered = np.sort(scores)
    # The order statistic above the quantile: the share must be under it in the next sample too.
    place = min(math.ceil(share * (len(ordered) + 1)), len(ordered)) - 1
    nowhere = round(float(ordered[place]), 3)
    return Attenuation(nowhere, round(nowhere + PLACEMENT_RAMP, 3))


def judge(
    certainty: GradeCalibration, scored: Scored, thresholds: Sequence[float] | None = None
) -> Judged:
    """Apply a calibration, as the Grader does.

    Args:
        certainty: the calibration.
        scored: graded photographs.
        thresholds: of a bundle that decides by them; the median where left out.
    """
    given = certainty.grade(scored.score)
    if thresholds is not None:
        given = np.searchsorted(thresholds, scored.score, side="right").astype(np.int64)
    shares = certainty.probabilities(scored.score, scored.spread)
    sets = np.zeros((len(scored), 5), np.bool_)
    for i, (p, grade) in enumerate(zip(shares, given, strict=True)):
        sets[i, list(certainty.grade_set(p, int(grade)))] = True
    return Judged(given, shares, sets, scored.score >= certainty.sensitive)


def cross_validated(scored: Scored, fit: Fit | None = None, seed: int = 1) -> Judged:
    """Judge each photograph by a calibration that was fitted without its patient.

    Args:
        scored: graded photographs.
        fit: gives a whole calibration of the scores as they are; `fit_certainty` where left out.
        seed: of the folds.
    """
    result = Judged(
        np.empty(len(scored), np.int64), np.empty((len(scored), 5)),
        np.empty((len(scored), 5), np.bool_), np.empty(len(scored), np.bool_),
    )  # fmt: skip
    for inside, outside in folds(scored, seed):
        chosen = scored.where(inside)
        certainty = (fit or fit_certainty)(chosen)
        part = judge(certainty, scored.where(outside))
        for f in fields(Judged):
            getattr(result, f.name)[outside] = getattr(part, f.name)
    return result
