"""Grading labelled photographs for a fit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from tqdm import tqdm

from drcore.errors import DrcoreError
from drcore.evaluation.scored import Scored
from drcore.grading.grader import Grader
from drcore.model.calibration import spread_of
from training.data.labels import Labelled

__all__ = ["score_photographs"]


def score_photographs(grader: Grader, rows: Sequence[Labelled], *, quiet: bool = False) -> Scored:
    """Grade labelled photographs the way a user would, from the file.

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
