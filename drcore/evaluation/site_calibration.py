"""A bundle calibrated to one site: thresholds, probabilities, sets and operating points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from drcore.errors import DrcoreError
from drcore.evaluation.calibration_fit import (
    cross_validated,
    fit_certainty,
    fit_probabilities,
    judge,
)
from drcore.evaluation.calibration_report import judged_statistics
from drcore.evaluation.intervals import DRAWS, Statistic, patient_intervals
from drcore.evaluation.references import References
from drcore.evaluation.scored import Scored
from drcore.icdr import REFERABLE
from drcore.model.calibration import GradeCalibration

if TYPE_CHECKING:
    from drcore.model.bundle import Bundle

__all__ = [
    "Change",
    "Changes",
    "changes_of",
    "compare",
    "fit_site",
    "require_enough",
    "site_bundle",
]

LEAST_PATIENTS = 50
LEAST_OF_A_GRADE = 2
CLASS_POWER = 0.25
"""As `calibration_fit.CLASS_POWER`: a single site has fewer of the rare grades. Measured on EyePACS
and Messidor-2; see the README of this package."""
RESAMPLES = 20


@dataclass(frozen=True, slots=True)
class Change:
    """A figure before and after, each patient judged by a fit without them.

    Attributes:
        title: what it is.
        before, after: values of the parent and of the site's calibration.
        gain: 95 % bootstrap interval over patients of the difference.
    """

    title: str
    before: float
    after: float
    gain: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Changes:
    """What the new calibration would do to the site's photographs, of `photographs`.

    Attributes:
        photographs: number.
        other_grade: get another grade.
        newly_referred: become referable.
        no_longer: are referable no more.
    """

    photographs: int
    other_grade: int
    newly_referred: int
    no_longer: int


def require_enough(references: References) -> None:
    """Refuse what cannot be calibrated on.

    Raises:
        DrcoreError: too few patients, or a grade is missing; says how many are needed.
    """
    scored = references.scored
    patients = len(set(scored.patient.tolist()))
    counts = np.bincount(scored.truth, minlength=5)
    rare = [f"grade {g}: {n}" for g, n in enumerate(counts.tolist()) if n < LEAST_OF_A_GRADE]
    told = "; ".join(f"{count} {reason}" for reason, count in references.left_out.items() if count)
    left_out = f" Left out: {told}." if told else ""
    if patients < LEAST_PATIENTS:
        raise DrcoreError(
            f"Patients to calibrate on: {patients}. At least {LEAST_PATIENTS} are needed; label "
            f"{LEAST_PATIENTS - patients} more.{left_out}"
        )
    if rare:
        raise DrcoreError(
            f"Each grade needs at least {LEAST_OF_A_GRADE} photographs; there are too few of "
            f"{', '.join(rare)}. Label more of these.{left_out}"
        )


def fit_site(
    scored: Scored, parent: GradeCalibration, resamples: int = RESAMPLES
) -> GradeCalibration:
    """Fit the calibration of a site, near that of the parent where there is little to learn from.

    Args:
        scored: graded photographs of the site.
        parent: calibration of the bundle in use.
        resamples: of the patients, whose fits are averaged (bagging, Breiman 1996).

    Returns:
        Probabilities whose median is the grade, sets and operating points.
    """
    single = partial(fit_probabilities, parent=parent, class_power=CLASS_POWER)
    fitted = fit_certainty(scored, single)
    bagged = _bagged(scored, parent, resamples)
    return replace(
        bagged, coverage=fitted.coverage, level=fitted.level,
        sensitive=min(fitted.sensitive, bagged.cuts[1]),
    )  # fmt: skip


def _bagged(scored: Scored, parent: GradeCalibration, resamples: int) -> GradeCalibration:
    """Average the fits over resamples of the patients."""
    names, member = np.unique(scored.patient, return_inverse=True)
    rng = np.random.default_rng(0)
    fits = []
    for _ in range(resamples):
        drawn = np.bincount(rng.integers(0, len(names), len(names)), minlength=len(names))
        fits.append(
            fit_probabilities(
                scored, parent=parent, class_power=CLASS_POWER, times=drawn[member].astype(float)
            )
        )
    numbers = np.array([(*one.cuts, one.width, one.widening) for one in fits])
    a, b, c, d, width, widening = (round(float(value), 4) for value in numbers.mean(axis=0))
    return replace(fits[0], cuts=(a, b, c, d), width=width, widening=widening)


def compare(
    scored: Scored,
    parent: GradeCalibration,
    thresholds: Sequence[float] | None = None,
    *,
    resamples: int = RESAMPLES,
    draws: int = DRAWS,
) -> list[Change]:
    """Compare a site's calibration with the parent's, cross-validated by patient.

    Args:
        scored: graded photographs of the site.
        parent: calibration of the bundle in use.
        thresholds: of the bundle in use, where it decides by them.
        resamples: as for `fit_site`.
        draws: of the bootstrap.

    Returns:
        What `judged_statistics` measures.
    """
    before = judged_statistics(scored.truth, judge(parent, scored, thresholds))
    fitted = cross_validated(scored, lambda part: fit_site(part, parent, resamples))
    after = judged_statistics(scored.truth, fitted)
    index = np.arange(len(scored))

    def gain(name: str) -> Statistic:
        return lambda i: after[name](i) - before[name](i)

    gains = patient_intervals({name: gain(name) for name in before}, scored.patient, draws=draws)
    return [
        Change(name.capitalize(), before[name](index), after[name](index), gains[name])
        for name in before
    ]


def changes_of(scored: Scored, thresholds: Sequence[float], fitted: GradeCalibration) -> Changes:
    """Count what would change on the site's photographs.

    Args:
        scored: graded photographs of the site.
        thresholds: of the bundle in use.
        fitted: calibration of the site.
    """
    old = np.searchsorted(thresholds, scored.score, side="right")
    new = fitted.grade(scored.score)
    was, now = old >= REFERABLE, new >= REFERABLE
    return Changes(
        len(scored), int((old != new).sum()), int((now & ~was).sum()), int((was & ~now).sum())
    )


def site_bundle(
    parent: Bundle,
    parent_hash: str,
    references: References,
    fitted: GradeCalibration,
    compared: list[Change],
) -> Bundle:
    """Put a site's calibration into a bundle. Nothing of a patient is in it.

    Args:
        parent: bundle in use.
        parent_hash: SHA-256 of its manifest, hex.
        references: that were fitted on.
        fitted: to them.
        compared: figures before and after.

    Returns:
        The bundle; its networks, and so every score and map, are those of the parent.
    """
    scored = references.scored
    today = datetime.now(UTC).date()
    site: dict[str, Any] = {
        "parent": f"{parent.name} {parent.version}",
        "parent_manifest_sha256": parent_hash,
        "date": today.isoformat(),
        "source": references.source,
        "photographs": len(scored),
        "patients": len(set(scored.patient.tolist())),
        "grades": np.bincount(scored.truth, minlength=5).tolist(),
        "left_out": {reason: count for reason, count in references.left_out.items() if count},
        "references_sha256": references.digest,
        "cross_validated": {
            change.title: {"before": round(change.before, 4), "after": round(change.after, 4)}
            for change in compared
        },
    }
    return replace(
        parent,
        version=f"{parent.version}+site.{today:%Y%m%d}.{references.digest[:8]}",
        created=today.isoformat(),
        thresholds=fitted.cuts,
        certainty=fitted,
        reference=None,  # grades are others now, and the site has a reference of its own
        training={**parent.training, "site": site},
        metrics={},  # those of the parent were measured with its own thresholds
    )
