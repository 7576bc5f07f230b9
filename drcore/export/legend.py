"""What stands below an overlay that leaves: whose result it is, what the map shows, the notice."""

from __future__ import annotations

from typing import TYPE_CHECKING

from drcore.export.cautions import laser_sentence
from drcore.export.final_grade import status_words
from drcore.grading.statements import (
    map_key_words,
    map_sentence,
    model_sentence,
    operating_point,
    outcome_words,
    referable_words,
)  # fmt: skip
from drcore.icdr import NOTICE
from drcore.maps.legend import add_legend

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from drcore.export.case import Case

__all__ = ["with_legend"]


def with_legend(overlay: NDArray[np.uint8], case: Case) -> NDArray[np.uint8]:
    """Add legend, result and notice below an overlay, so that they stay with the picture.

    Args:
        overlay: uint8 (h, w, 3), RGB.
        case: of the photograph.

    Returns:
        uint8 (h + strip, w, 3); the pixels of the overlay are unchanged.
    """
    report, reading = case.report, case.reading
    result = "No final grade: readers disagree" if reading.readings else status_words(reading)
    result = status_words(reading) if reading.final is not None else result
    told = (
        map_key_words(report),
        map_sentence(report),
        laser_sentence(report, (mark for _, mark in case.marks)),
        f"{result}. {model_sentence(report)}: {outcome_words(report)}. {referable_words(report)}",
        operating_point(report),
        NOTICE,
    )
    return add_legend(overlay, filter(None, told))
