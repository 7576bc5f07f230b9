"""Graded photographs with a reference grade, to calibrate on: from labels or from decisions."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from drcore.agreement.adjudication import StudyRules, reading_statuses
from drcore.evaluation.labels import Label
from drcore.evaluation.outcomes import outcomes_of
from drcore.evaluation.scored import Scored
from drcore.model.calibration import GradeCalibration
from drcore.results.columns import Row

if TYPE_CHECKING:
    from collections.abc import Iterable

    from drcore.reviews.decision import Decision

__all__ = ["References", "counted_decisions", "references_from_decisions", "references_from_labels"]


@dataclass(frozen=True, slots=True, eq=False)
class References:
    """What a site gives to calibrate on.

    Attributes:
        scored: gradable photographs with one reference grade.
        source: "labels" or "decisions".
        left_out: number of photographs by the reason for which they do not count.
        digest: SHA-256 over hash and reference grade of each photograph, hex.
    """

    scored: Scored
    source: str
    left_out: dict[str, int]
    digest: str


def references_from_labels(
    rows: Sequence[Row], labels: Mapping[str, Label], certainty: GradeCalibration | None
) -> References:
    """Use labels and the results of the photographs.

    Args:
        rows: of the table of results.
        labels: by image.
        certainty: of the bundle that graded them.

    Returns:
        Photographs that were graded and whose label is one grade.
    """
    outcomes = outcomes_of(rows, labels, certainty)
    used = outcomes.graded & outcomes.exact
    left_out = {
        "ungradable or failed": int((~outcomes.graded).sum()),
        "label is not one grade": int((outcomes.graded & ~outcomes.exact).sum()),
    }
    part = outcomes.where(used)
    by_image = {row["image"]: row.get("sha256", "") for row in rows}
    digest = _digest(
        (by_image[str(image)], int(grade))
        for image, grade in zip(part.image, part.low, strict=True)
    )
    scored = _scored(part.score, part.spread, part.low, part.patient)
    return References(scored, "labels", left_out, digest)


def counted_decisions(decisions: Iterable[Decision], *, masked_only: bool) -> list[Decision]:
    """Return the decisions that may count.

    Args:
        decisions: of the record.
        masked_only: only those that were taken before the model's result was on screen.

    Returns:
        Where only masked ones count, later decisions of a reader who then saw it are left out too.
    """
    return [d for d in decisions if not masked_only or d.machine_visible is False]


def references_from_decisions(
    decisions: Sequence[Decision],
    rows: Sequence[Row],
    models: frozenset[str],
    *,
    masked_only: bool = True,
) -> References:
    """Use the readers' final grades, and the scores of the table of results or of the record.

    Args:
        decisions: of the record, in its order.
        rows: of a table of results of the same model, found by the hash of the file; may be empty:
            then the fused score of the record is used, without the spread between the scales.
        models: names and versions of weights whose scores count.
        masked_only: see `counted_decisions`.

    Returns:
        Photographs with a final grade: the arbiter's, else what all readers agree on.
    """
    made = [d for d in decisions if d.model_version in models]
    counted = counted_decisions(made, masked_only=masked_only)
    statuses = reading_statuses(counted, StudyRules(second_read="none"))
    results = {row["sha256"]: row for row in rows if row["status"] == "graded"}
    last = {d.sha256: d for d in counted}
    kept: list[tuple[str, float, float, int, str]] = []
    open_ = ungradable = 0
    for sha256, status in statuses.items():
        decision = last[sha256]
        scores = _scores(decision, results.get(sha256), any_results=bool(rows))
        if status.final is None:
            open_ += 1
        elif status.final.grade is None or scores is None:
            ungradable += 1
        else:
            patient = decision.patient or ""
            key = f"patient {patient}" if patient else f"image {sha256}"
            kept.append((sha256, *scores, status.final.grade, key))
    left_out = {
        "decisions of another model": len(list(decisions)) - len(made),
        "decisions with the model's result on screen, or unknown": len(made) - len(counted),
        "readers disagree and no arbiter has decided": open_,
        "ungradable, or not in the results": ungradable,
    }
    scored = _scored(
        np.array([k[1] for k in kept]), np.array([k[2] for k in kept]),
        np.array([k[3] for k in kept]), np.array([k[4] for k in kept]),
    )  # fmt: skip
    digest = _digest((k[0], k[3]) for k in kept)
    return References(scored, "decisions", left_out, digest)


def _scores(
    decision: Decision, row: Row | None, *, any_results: bool
) -> tuple[float, float] | None:
    """Return score and spread of a photograph; None where it was not graded."""
    if row is not None:
        found = outcomes_of([row], {row["image"]: Label(row["image"], 0, 0)}, None)
        return float(found.score[0]), float(found.spread[0])
    if any_results or decision.machine_status != "graded" or decision.machine_score is None:
        return None
    return decision.machine_score, 0.0


def _scored(score: object, spread: object, truth: object, patient: object) -> Scored:
    """Return photographs of one site, all gradable."""
    grades = np.asarray(truth, np.int64)
    values = np.asarray(score, np.float64)
    count = len(grades)
    return Scored(
        score=values,
        spread=np.nan_to_num(np.asarray(spread, np.float64)),
        truth=grades,
        dataset=np.full(count, "site"),
        split=np.full(count, "site"),
        patient=np.asarray(patient, np.str_),
        gradable=np.full(count, fill_value=True),
        scales=values[:, None],
    )


def _digest(used: Iterable[tuple[str, int]]) -> str:
    lines = sorted(f"{sha256}:{grade}" for sha256, grade in used)
    return hashlib.sha256("\n".join(lines).encode("ascii", "replace")).hexdigest()
