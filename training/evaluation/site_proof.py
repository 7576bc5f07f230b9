"""What calibrating on a site is worth, by the number of patients that were labelled there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

import numpy as np
from numpy.typing import NDArray

from drcore.agreement.statistics import quadratic_weighted_kappa
from drcore.errors import DrcoreError
from drcore.evaluation.calibration_fit import Judged, fit_certainty, judge
from drcore.evaluation.intervals import patient_intervals
from drcore.evaluation.metrics import expected_calibration_error
from drcore.evaluation.references import References
from drcore.evaluation.scored import Scored, folds
from drcore.evaluation.site_calibration import fit_site, require_enough
from drcore.icdr import REFERABLE
from drcore.model.calibration import GradeCalibration

__all__ = ["calibrated_elsewhere", "site_table"]


def calibrated_elsewhere(val: Scored, site: str) -> GradeCalibration:
    """Fit the calibration of a bundle that has not seen a site: on the other datasets."""
    return fit_certainty(val.where(val.dataset != site))


def site_table(
    pool: Scored,
    judged: Scored | None,
    parent: GradeCalibration,
    sizes: Sequence[int | None],
    *,
    draws: int = 20,
    quiet: bool = False,
) -> str:
    """Measure calibrating on few and many patients of a site.

    Args:
        pool: graded photographs of the site that are fitted on.
        judged: others that are judged; None to judge those of the pool, cross-validated.
        parent: calibration before.
        sizes: patients to fit on; None for all.
        draws: choices of the patients that are averaged over.
        quiet: print nothing meanwhile.

    Returns:
        A table: figures before, and for each size after with the 95 % interval of the gain, over
        all draws, also those that `drcore calibrate` would refuse, whose number stands beside them.
    """
    target = pool if judged is None else judged
    before = judge(parent, target)
    lines = [
        f"{'patients':<10}{'refused':>8}  " + "  ".join(f"{name:<30}" for name in _FIGURES),
        f"{'before':<10}{'':>8}  "
        + "  ".join(f"{_value(name, target, before):<30.3f}" for name in _FIGURES),
    ]
    for size in sizes:
        found, refused = _after(pool, judged, parent, size, draws)
        label = "all" if size is None else str(size)
        cells = [_gain(name, target, before, found) for name in _FIGURES]
        lines.append(f"{label:<10}{refused:>8}  " + "  ".join(f"{cell:<30}" for cell in cells))
        if not quiet:
            print(lines[-1], flush=True)
    return "\n".join(lines)


def _after(
    pool: Scored, judged: Scored | None, parent: GradeCalibration, size: int | None, draws: int
) -> tuple[list[Judged], int]:
    """Return the target as judged after each draw, and in how many the command would refuse."""
    found, refused = [], 0
    for seed in range(draws if size is not None or judged is None else 1):
        every = [(pool, judged)] if judged is not None else [
            (pool.where(inside), pool.where(outside)) for inside, outside in folds(pool, seed)
        ]  # fmt: skip
        parts = [(_some(given, size, seed), target) for given, target in every]
        refused += any(_is_refused(given) for given, _ in parts)
        places = [outside for _, outside in folds(pool, seed)] if judged is None else None
        made = [judge(fit_site(given, parent), target) for given, target in parts]
        found.append(made[0] if places is None else _in_order(made, places))
    return found, refused


def _in_order(made: Sequence[Judged], places: Sequence[NDArray[np.int64]]) -> Judged:
    order = np.argsort(np.concatenate(places))
    columns = [field.name for field in fields(Judged)]
    return Judged(
        **{name: np.concatenate([getattr(m, name) for m in made])[order] for name in columns}
    )


def _some(pool: Scored, size: int | None, seed: int) -> Scored:
    """Return the photographs of some of the patients."""
    if size is None:
        return pool
    drawn = np.random.default_rng(seed).permutation(np.unique(pool.patient))[:size]
    return pool.where(np.isin(pool.patient, drawn))


def _is_refused(given: Scored) -> bool:
    try:
        require_enough(References(given, "labels", {}, ""))
    except DrcoreError:
        return True
    return False


def _kappa(truth: NDArray[np.int64], judged: Judged, i: NDArray[np.int64]) -> float:
    return quadratic_weighted_kappa(truth[i], judged.grade[i])


def _exact(truth: NDArray[np.int64], judged: Judged, i: NDArray[np.int64]) -> float:
    return float((truth[i] == judged.grade[i]).mean())


def _sensitivity(truth: NDArray[np.int64], judged: Judged, i: NDArray[np.int64]) -> float:
    referable = truth[i] >= REFERABLE
    called = judged.grade[i] >= REFERABLE
    return float(called[referable].mean()) if referable.any() else float("nan")


def _specificity(truth: NDArray[np.int64], judged: Judged, i: NDArray[np.int64]) -> float:
    healthy = truth[i] < REFERABLE
    called = judged.grade[i] >= REFERABLE
    return float((~called)[healthy].mean()) if healthy.any() else float("nan")


def _error(truth: NDArray[np.int64], judged: Judged, i: NDArray[np.int64]) -> float:
    return expected_calibration_error(judged.probabilities[i], truth[i])


_FIGURES = {
    "kappa": _kappa,
    "exact agreement": _exact,
    "sensitivity": _sensitivity,
    "specificity": _specificity,
    "calibration error": _error,
}


def _value(name: str, target: Scored, judged: Judged) -> float:
    return _FIGURES[name](target.truth, judged, np.arange(len(target)))


def _gain(name: str, target: Scored, before: Judged, found: Sequence[Judged]) -> str:
    """Value after, mean over the draws, and the 95 % interval of the gain over patients."""
    figure, truth = _FIGURES[name], target.truth

    def gain(i: NDArray[np.int64]) -> float:
        after = np.mean([figure(truth, one, i) for one in found])
        return float(after - figure(truth, before, i))

    low, high = patient_intervals({name: gain}, target.patient, draws=500)[name]
    after = np.mean([_value(name, target, one) for one in found])
    return f"{after:.3f} ({low:+.3f} to {high:+.3f})"
