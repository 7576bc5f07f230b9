"""The photographs on which model and label are furthest apart, with their maps."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from drcore.errors import DrcoreError
from drcore.evaluation.outcomes import Outcomes
from drcore.files import DERIVED_MARK
from drcore.maps.overlay import overlay
from drcore.photographs.reader import read_photograph

if TYPE_CHECKING:
    from drcore.grading.grader import Grader
    from drcore.sources.source import PhotographSource

__all__ = ["Disagreement", "add_pictures", "worst_disagreements"]

WORST = 12
SIDE = 420
"""Longer side of a picture in the report, in pixels."""


@dataclass(frozen=True, slots=True)
class Disagreement:
    """A photograph whose grade is not what its label says.

    Attributes:
        image: its name; untrusted text.
        label: "3", or "2 to 4" where the label is a range.
        grade: the model's, 0-4.
        score: the model's, in grades.
        probability: of the grades of the label, 0-1; NaN without calibration.
        photograph, overlay: JPEG as a data URI; empty where it could not be read again.
        problem: a sentence in that case, else empty.
    """

    image: str
    label: str
    grade: int
    score: float
    probability: float
    photograph: str = ""
    overlay: str = ""
    problem: str = ""


def worst_disagreements(outcomes: Outcomes, count: int = WORST) -> list[Disagreement]:
    """Return the worst disagreements.

    Args:
        outcomes: of the photographs.
        count: at most so many.

    Returns:
        Most grades between label and model first; among those, the least probable label first.
    """
    part = outcomes.where(outcomes.graded)
    away = np.maximum(np.maximum(part.low - part.grade, part.grade - part.high), 0)
    grades = np.arange(5)
    inside = (grades >= part.low[:, None]) & (grades <= part.high[:, None])
    probability = np.where(inside, part.probabilities, 0.0).sum(axis=1)
    order = np.lexsort((np.nan_to_num(probability), -away))
    return [
        Disagreement(
            image=str(part.image[i]),
            label=str(part.low[i]) if part.exact[i] else f"{part.low[i]} to {part.high[i]}",
            grade=int(part.grade[i]),
            score=float(part.score[i]),
            probability=float(probability[i]),
        )
        for i in order[:count]
        if away[i] > 0
    ]


def add_pictures(
    worst: list[Disagreement], sources: Mapping[str, PhotographSource], grader: Grader
) -> list[Disagreement]:
    """Read photographs again and draw their fused maps.

    Args:
        worst: of `worst_disagreements`.
        sources: photographs by the name in the table.
        grader: that graded them.

    Returns:
        The same with pictures; a photograph that cannot be read has a sentence instead.
    """
    return [_with_pictures(one, sources.get(one.image), grader) for one in worst]


def _with_pictures(
    one: Disagreement, source: PhotographSource | None, grader: Grader
) -> Disagreement:
    if source is None:
        return replace(one, problem="The photograph is not among those given.")
    try:
        place, name = source.source()
        photograph = read_photograph(place, name=name, for_grading=True)
        report = grader.grade(photograph, name=one.image)
        scale = SIDE / max(photograph.rgb.shape[:2])
        size = tuple(max(1, round(side * scale)) for side in photograph.rgb.shape[1::-1])
        small = cv2.resize(photograph.rgb, size, interpolation=cv2.INTER_AREA)
        drawn = overlay(np.asarray(small, np.uint8), report.evidence(), report.width)
    except DrcoreError as error:
        return replace(one, problem=str(error))
    return replace(one, photograph=_data_uri(small), overlay=_data_uri(drawn))


def _data_uri(rgb: NDArray[Any]) -> str:
    buffer = io.BytesIO()
    Image.fromarray(np.asarray(rgb, np.uint8)).save(
        buffer, "JPEG", quality=85, comment=DERIVED_MARK
    )
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
