"""Fitting thresholds, probabilities and fusion to labelled scores."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from tqdm import tqdm

from drcore.errors import DrcoreError
from drcore.grading.grader import Grader
from drcore.icdr import REFERABLE
from drcore.maps.attenuation import Attenuation
from drcore.model.calibration import GradeCalibration, nonconformity, spread_of
from training.data.labels import Labelled

__all__ = [
    "Fitted",
    "Scored",
    "calibrate",
    "calibration_errors",
    "cross_validated",
    "expected_calibration_error",
    "fit_certainty",
    "fit_fusion",
    "fit_placement",
    "fit_thresholds",
    "grade_with",
    "score_photographs",
]


PLAIN = (0.5, 1.5, 2.5, 3.5)
REACH = 0.8
"""No threshold is further from the plain one, in grades."""
STEP = 0.025
PULL = 0.0
"""Price in kappa of moving a threshold by a grade. Cross-validation found none that helps."""
BAGS = 50
FOLDS = 5
COVERAGE = 0.9
SENSITIVITY = 0.95
WEIGHT_STEP = 0.05
LEAST_WEIGHT = 0.1
"""No scale counts for less in the fused score and map: the reader may look at each of them."""
HEALTHY_UNPLACED = 0.96
"""Share of healthy eyes whose map is shown as its mean alone."""
PLACEMENT_RAMP = 0.3
"""Width of the ramp from there to a map in all its places, in grades."""

Statistic = Callable[[NDArray[np.int64]], float]
"""Of the observations with these indices."""

_WEIGHT = (np.arange(5)[:, None] - np.arange(5)) ** 2 / 16.0


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """Graded photographs beside their labels, N of them.

    Attributes:
        score: float64 (N,), fused severity in grades.
        spread: float64 (N,), highest less lowest score over the scales, in grades.
        truth: int64 (N,), reference grades 0-4.
        dataset: str (N,).
        split: str (N,).
        patient: str (N,), unique over datasets.
        gradable: bool (N,), False where the Grader turns the photograph away.
        scales: float64 (N, S), scores by input size, rising.
    """

    score: NDArray[np.float64]
    spread: NDArray[np.float64]
    truth: NDArray[np.int64]
    dataset: NDArray[np.str_]
    split: NDArray[np.str_]
    patient: NDArray[np.str_]
    gradable: NDArray[np.bool_]
    scales: NDArray[np.float64]

    def __len__(self) -> int:
        """Return the number of photographs."""
        return len(self.truth)

    def where(self, chosen: NDArray[np.bool_] | NDArray[np.int64]) -> Scored:
        """Return some of the photographs.

        Args:
            chosen: bool (N,) or indices int (M,).

        Returns:
            Those photographs.
        """
        return Scored(**{f.name: getattr(self, f.name)[chosen] for f in fields(self)})


@dataclass(frozen=True, slots=True)
class Fitted:
    """What a calibration gives: thresholds, certainty, weights of the scales, placement of maps."""

    fusion: tuple[float, ...]
    thresholds: tuple[float, float, float, float]
    certainty: GradeCalibration
    placement: Attenuation | None


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """What N photographs get: grades (N,), probabilities (N, 5), sets bool (N, 5), calls (N,)."""

    grade: NDArray[np.int64]
    probabilities: NDArray[np.float64]
    sets: NDArray[np.bool_]
    sensitive: NDArray[np.bool_]


def score_photographs(grader: Grader, rows: Sequence[Labelled], *, quiet: bool = False) -> Scored:
    """Grade labelled photographs the way a user would, from the file.

    Args:
        grader: the bundle to calibrate.
        rows: labelled photographs.
        quiet: no progress bar.

    Returns:
        Their scores beside their labels.

    Raises:
        DrcoreError: a photograph cannot be read.
    """
    reports = grader.grade_many(row.path for row in rows)
    fused, scores, gradable = [], [], []
    for row, found in tqdm(
        zip(rows, reports, strict=True), total=len(rows), unit="photograph", disable=quiet
    ):
        if found.status == "failed":
            raise DrcoreError(f"{row.path.name} cannot be calibrated on: {found.reason}")
        fused.append(found.score)
        scores.append([found.scores[scale] for scale in grader.scales])
        gradable.append(found.gradable)
    scales = np.array(scores, np.float64).reshape(len(rows), len(grader.scales))
    return Scored(
        score=np.array(fused, np.float64),
        spread=np.array([spread_of(row) for row in scales.tolist()]),
        truth=np.array([row.grade for row in rows], np.int64),
        dataset=np.array([row.dataset for row in rows]),
        split=np.array([row.split for row in rows]),
        patient=np.array([f"{row.dataset}/{row.patient}" for row in rows]),
        gradable=np.array(gradable, np.bool_),
        scales=scales,
    )


# --- thresholds ---------------------------------------------------------------------------------


def fit_thresholds(
    score: NDArray[np.float64],
    truth: NDArray[np.int64],
    dataset: NDArray[np.str_],
    patient: NDArray[np.str_] | None = None,
    *,
    pull: float = PULL,
    bags: int = BAGS,
    seed: int = 0,
) -> tuple[float, float, float, float]:
    """Find the four scores between grades that agree best with the validation labels.

    The mean of the optima over resamples of the patients (bagging, Breiman 1996): kappa jumps
    from photograph to photograph, and one optimum would follow the jumps. Each optimum is the
    highest mean over datasets of quadratic weighted kappa, so that the largest dataset does not
    decide alone, less a price, where one is asked, for leaving the plain rounding.

    Args:
        score: float (N,).
        truth: int (N,), 0-4.
        dataset: str (N,).
        patient: str (N,), keys drawn together; single photographs where left out.
        pull: price in kappa of moving one threshold by one grade, squared.
        bags: resamples; 0 for the optimum on the photographs as they are.
        seed: of the resampling.

    Returns:
        Four rising thresholds.
    """
    keys = np.arange(len(score)) if patient is None else patient
    rng = np.random.default_rng(seed)
    parts = []
    for name in sorted(set(dataset.tolist())):
        chosen = dataset == name
        _, member = np.unique(keys[chosen], return_inverse=True)
        parts.append((score[chosen], truth[chosen], member))
    if bags == 0:
        found = [_best_thresholds([(s, t, np.ones(len(s))) for s, t, _ in parts], pull)]
    else:
        found = []
        for _ in range(bags):
            drawn = []
            for s, t, member in parts:
                patients = int(member.max()) + 1
                times = np.bincount(rng.integers(0, patients, patients), minlength=patients)
                drawn.append((s, t, times[member].astype(float)))
            found.append(_best_thresholds(drawn, pull))
    a, b, c, d = (round(float(value), 3) for value in np.mean(found, axis=0))
    return a, b, c, d


def _best_thresholds(
    parts: list[tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]]], pull: float
) -> NDArray[np.float64]:
    """Coordinate search for the highest mean kappa over parts of scores, grades and weights."""
    grid = np.round(np.arange(PLAIN[0] - REACH, PLAIN[3] + REACH + STEP / 2, STEP), 3)
    below = []
    for score, truth, weight in parts:
        # A score on a threshold gets the higher grade, as in Grader.grade_of.
        place = np.searchsorted(grid, score, side="right")
        cells = truth * (len(grid) + 1) + place
        counts = np.bincount(cells, weight, minlength=5 * (len(grid) + 1))
        below.append(np.cumsum(counts.reshape(5, -1), axis=1))  # [g, j]: of grade g, < grid[j]

    def quality(places: NDArray[np.int64]) -> NDArray[np.float64]:
        """Of candidates (C, 4), as places on the grid."""
        kappas = []
        for table in below:
            inner = table[:, places]  # (5, C, 4)
            edges = np.concatenate(
                [
                    0 * inner[..., :1],
                    inner,
                    np.broadcast_to(table[:, -1:, None], inner.shape)[..., :1],
                ],
                axis=2,
            )
            observed = np.diff(edges, axis=2).transpose(1, 0, 2)  # (C, reference, given)
            rows, columns = observed.sum(axis=2), observed.sum(axis=1)
            chance = np.einsum("ci,cj,ij->c", rows, columns, _WEIGHT) / table[:, -1].sum()
            error = (observed * _WEIGHT).sum(axis=(1, 2))
            kappas.append(1 - error / np.where(chance > 0, chance, np.nan))
        known = np.nan_to_num(np.array(kappas)).mean(axis=0)
        price = pull * ((grid[places] - PLAIN) ** 2).sum(axis=1)
        return np.asarray(known - price)

    near = [np.flatnonzero(np.abs(grid - plain) <= REACH + 1e-9) for plain in PLAIN]
    best = np.array([int(np.argmin(np.abs(grid - plain))) for plain in PLAIN])
    for _ in range(8):
        before = best.copy()
        for i in range(4):
            low = best[i - 1] if i else -1
            high = best[i + 1] if i < 3 else len(grid)
            values = near[i][(near[i] > low) & (near[i] < high)]
            trial = np.repeat(best[None], len(values), axis=0)
            trial[:, i] = values
            reached = quality(trial)
            if reached.max() > quality(best[None])[0] + 1e-9:
                # The middle of a plateau, not its end.
                top = values[reached >= reached.max() - 1e-9]
                best[i] = top[len(top) // 2]
        if (best == before).all():
            break
    return np.asarray(grid[best])


def grade_with(thresholds: Sequence[float], score: NDArray[np.float64]) -> NDArray[np.int64]:
    """Grade scores as `Grader.grade_of` does.

    Args:
        thresholds: four, rising.
        score: float (N,).

    Returns:
        int64 (N,), 0-4.
    """
    return np.searchsorted(thresholds, score, side="right").astype(np.int64)


# --- certainty ----------------------------------------------------------------------------------


def fit_certainty(
    scored: Scored, thresholds: tuple[float, float, float, float], seed: int = 0
) -> GradeCalibration:
    """Fit the probabilities, the sets and the sensitive operating point.

    Probabilities by maximum likelihood, datasets counting by the root of their size. The level of
    the sets and the sensitive operating point are conformal quantiles with the correction for
    finite samples (Vovk, Gammerman & Shafer 2005): the expected coverage, and the expected
    sensitivity, on further photographs of the same mixture are at least what was asked for. The
    level is taken from probabilities that were fitted without the patient in question
    (cross-conformal, Vovk 2015).

    Args:
        scored: gradable validation photographs.
        thresholds: between the grades.
        seed: of the folds.

    Returns:
        The certainty.
    """
    model = _fit_probabilities(scored)
    aside = np.empty(len(scored))
    given = grade_with(thresholds, scored.score)
    for inside, outside in folds(scored, seed):
        part = _fit_probabilities(scored.where(inside))
        shares = part.probabilities(scored.score[outside], scored.spread[outside])
        for i, p in zip(outside, shares, strict=True):
            aside[i] = nonconformity(p, int(given[i]))[scored.truth[i]]
    level = _upper_quantile(aside, _fair(scored), COVERAGE)
    referable = scored.truth >= REFERABLE
    eyes = scored.where(referable)
    point = -_upper_quantile(-eyes.score, np.ones(len(eyes)), SENSITIVITY)
    return replace(
        model,
        coverage=COVERAGE,
        level=min(1.0, float(np.ceil(level * 1e4) / 1e4)),
        # Never above the default, or the two would change roles.
        sensitive=min(thresholds[1], float(np.floor(point * 1e3) / 1e3)),
    )


def _fit_probabilities(scored: Scored) -> GradeCalibration:
    """Maximum likelihood; level and operating point are left at values that mean nothing yet."""
    weight = _fair(scored)
    index = np.arange(len(scored))

    def model(values: NDArray[np.float64]) -> GradeCalibration:
        a, b, c, d = np.cumsum(values[:4]).tolist()
        width, widening = values[4:].tolist()
        return GradeCalibration((a, b, c, d), width, widening, COVERAGE, level=1.0, sensitive=0.0)

    def cost(values: NDArray[np.float64]) -> float:
        shares = model(values).probabilities(scored.score, scored.spread)
        own = np.maximum(shares[index, scored.truth], 1e-12)
        return float(-(weight * np.log(own)).sum())

    found = minimize(
        cost,
        np.array([1.0, 0.4, 1.0, 0.8, 0.35, 0.1]),
        method="L-BFGS-B",
        bounds=[(-2.0, 3.0), *[(0.05, 3.0)] * 3, (0.05, 3.0), (0.0, 3.0)],
    )
    return model(np.round(found.x, 4))


def _fair(scored: Scored) -> NDArray[np.float64]:
    """Weights (N,), sum 1: datasets count by the root of their size.

    By their size, the largest would decide alone; all alike, a few dozen photographs would carry
    a third of the fit.
    """
    _, member, counts = np.unique(scored.dataset, return_inverse=True, return_counts=True)
    weight = 1.0 / np.sqrt(counts[member])
    return np.asarray(weight / weight.sum())


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


def folds(scored: Scored, seed: int = 0) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Part photographs into folds by patient, each dataset spread over all of them.

    Args:
        scored: photographs.
        seed: of the dealing.

    Yields:
        Indices of the photographs inside and outside, five times.
    """
    rng = np.random.default_rng(seed)
    fold = np.empty(len(scored), np.int64)
    for name in sorted(set(scored.dataset.tolist())):
        chosen = scored.dataset == name
        patients, member = np.unique(scored.patient[chosen], return_inverse=True)
        fold[chosen] = (rng.permutation(len(patients)) % FOLDS)[member]
    for number in range(FOLDS):
        yield np.flatnonzero(fold != number), np.flatnonzero(fold == number)


# --- all of it ----------------------------------------------------------------------------------


def calibrate(scored: Scored) -> Fitted:
    """Fit weights of the scales, thresholds, certainty and placement.

    Args:
        scored: validation photographs; those that the Grader turns away are left out, since
            they get no grade.

    Returns:
        What goes into the manifest.

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
    weights = fit_fusion(scored)
    scored = replace(scored, score=scored.scales @ np.array(weights))
    thresholds = fit_thresholds(scored.score, scored.truth, scored.dataset, scored.patient)
    return Fitted(weights, thresholds, fit_certainty(scored, thresholds), fit_placement(scored))


def fit_fusion(scored: Scored) -> tuple[float, ...]:
    """Fit how much each scale counts, by the squared error of the fused score.

    The error hardly changes near its least value, and scales that share are the safer choice for
    another camera: of the weights whose error cannot be told from the least (a paired difference
    within one standard error, after Breiman et al. 1984, section 3.4.3) the most even are taken.

    Args:
        scored: validation photographs; datasets count by the root of their size.

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


def fit_placement(scored: Scored) -> Attenuation:
    """Fit from which score maps are shown in their places.

    Args:
        scored: validation photographs, at least one of them healthy.

    Returns:
        Starts at the score that `HEALTHY_UNPLACED` of the healthy eyes stay under.
    """
    healthy = np.sort(scored.score[scored.truth == 0])
    # The order statistic above the quantile: the share must be under it in the next sample too.
    nowhere = healthy[min(math.ceil(HEALTHY_UNPLACED * (len(healthy) + 1)), len(healthy)) - 1]
    nowhere = round(float(nowhere), 3)
    return Attenuation(nowhere, round(nowhere + PLACEMENT_RAMP, 3))


def judge(fitted: Fitted, scored: Scored) -> Judged:
    """Apply a calibration, as the Grader does.

    Args:
        fitted: thresholds and certainty.
        scored: photographs.

    Returns:
        What each gets.
    """
    given = grade_with(fitted.thresholds, scored.score)
    shares = fitted.certainty.probabilities(scored.score, scored.spread)
    sets = np.zeros((len(scored), 5), np.bool_)
    for i, (p, grade) in enumerate(zip(shares, given, strict=True)):
        sets[i, list(fitted.certainty.grade_set(p, int(grade)))] = True
    return Judged(given, shares, sets, scored.score >= fitted.certainty.sensitive)


def cross_validated(scored: Scored, seed: int = 1) -> Judged:
    """Judge each photograph by a calibration that was fitted without its patient.

    Args:
        scored: gradable validation photographs.
        seed: of the folds, another than that of the fit.

    Returns:
        What each gets.
    """
    result = Judged(
        np.empty(len(scored), np.int64), np.empty((len(scored), 5)),
        np.empty((len(scored), 5), np.bool_), np.empty(len(scored), np.bool_),
    )  # fmt: skip
    for inside, outside in folds(scored, seed):
        part = judge(calibrate(scored.where(inside)), scored.where(outside))
        for f in fields(Judged):
            getattr(result, f.name)[outside] = getattr(part, f.name)
    return result


def expected_calibration_error(
    probabilities: NDArray[np.float64], truth: NDArray[np.int64], bins: int = 10
) -> float:
    """Mean distance between how sure and how often right the most probable grade is.

    Photographs are sorted into bins of equal width by the highest of their probabilities (Guo et
    al. 2017, equation 3). Chance alone makes it larger than 0 on few photographs.

    Args:
        probabilities: float (N, 5), sum 1.
        truth: int (N,), 0-4.
        bins: number of bins over 0-1.

    Returns:
        0-1, NaN for no photographs.
    """
    if len(truth) == 0:
        return float("nan")
    sure = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == truth
    place = np.minimum((sure * bins).astype(int), bins - 1)
    gaps = np.bincount(place, right - sure, minlength=bins)
    return float(np.abs(gaps).sum() / len(truth))


def calibration_errors(scored: Scored, partitions: int = 10) -> dict[str, NDArray[np.float64]]:
    """Cross-validate the calibration error over several partitions into folds.

    How the patients fall into folds moves the error by about as much as the error is large, so
    the figure of a single partition is luck.

    Args:
        scored: gradable validation photographs.
        partitions: how many.

    Returns:
        float64 (partitions,), 0-1, for each dataset.
    """
    names = sorted(set(scored.dataset.tolist()))
    errors = np.empty((len(names), partitions))
    for number in range(partitions):
        shares = np.empty((len(scored), 5))
        for inside, outside in folds(scored, seed=number + 1):
            model = _fit_probabilities(scored.where(inside))
            shares[outside] = model.probabilities(scored.score[outside], scored.spread[outside])
        for row, name in zip(errors, names, strict=True):
            chosen = scored.dataset == name
            row[number] = expected_calibration_error(shares[chosen], scored.truth[chosen])
    return dict(zip(names, errors, strict=True))
