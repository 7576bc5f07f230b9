"""The gradability check that comes before the grade."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from drcore.preprocessing.gate import BLACK, judge
from drcore.preprocessing.quality_measures import measure, retina_square
from drcore.preprocessing.retina_count import why_not_single

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from drcore.preprocessing.field_of_view import FieldOfView

__all__ = ["Limits", "Quality", "assess"]

_REASONS = {
    "blurred": "The photograph is blurred.",
    "dark": "The photograph is too dark.",
    "over-exposed": "The photograph is over-exposed.",
    "cut": "Too much of the retina is cut off or covered.",
    "not a retina": "This does not look like a colour photograph of a retina.",
}
"""The sentence of each class of `drcore.preprocessing.gate` that is not gradable."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The plain physical limits; all else is learnt (`drcore.preprocessing.gate`).

    Attributes:
        diameter: least width of the field of view, in pixels of the original.
        visible: least share of the field of view in the picture, 0-1.
        lit: least share of the field of view that is not black, 0-1.
        one_colour: agreement of red and green from which a picture is a grey or tinted one, -1 to
            1. Cameras of strong tint reach 0.989 (DRIMDB), strong compression 0.994 (ODIR).
        detail: least detail; below it the picture is of one even colour.
    """

    diameter: float = 120.0
    visible: float = 0.34
    lit: float = 0.31
    one_colour: float = 0.995
    detail: float = 0.25


@dataclass(frozen=True, slots=True)
class Quality:
    """Whether a photograph is fit for a grade, and what was measured.

    Attributes:
        gradable: False where a grade would be a guess.
        reason: a sentence where not gradable, else empty.
        diameter: of the field of view, in pixels of the original.
        visible: share of the field of view that is not cut off, 0-1.
        brightness: median of the retina's brightest channel, 0-255.
        clipped: share of the retina with green at its limit, 0-1: there lesions are lost.
        red_clipped: share with red at its limit, 0-1; common, and little is lost.
        white: share of the retina with all channels near white, 0-1.
        saturation: median colour saturation, 0-1.
        retina_colour: share of the retina where red is not below blue, 0-1.
        hue_spread: standard deviation of (red - blue) / brightest channel.
        detail: standard deviation of detail of about 1/128 of the field of view, percent of the
            local brightness.
        coarse_detail: the same for detail about three times as large.
        sharpness: detail / coarse_detail; falls with blur, whatever the retina shows.
        colour_agreement: correlation of detail in red with detail in green, -1 to 1. Red light
            shows deeper layers than green: in a retina the two never agree completely, in a picture
            tinted with one colour they do.
        colour_change: standard deviation of green / red over the coarser structure.
        sparseness: kurtosis of detail in green, 3 for noise; vessels are few and stand out.
        red_blue: mean of log2(red / blue): the colour of light and retina together.
        red_green_spread, green_blue_spread: standard deviation of log2(red / green) and log2(green
            / blue): how much the colours of the retina differ, whatever the colour of the light.
        light_right, light_down: log2 of the brightness at the right rim over that at the left one,
            and at the lower over the upper one, of a plane through the logarithms.
        score: probability that a reader would call the photograph gradable, 0-1; 0 where a plain
            limit speaks against it, None in reports of releases before 0.7.

    What came after 0.7.0, `red_blue` to `light_down`, is None in reports of earlier releases.
    """

    gradable: bool
    reason: str
    diameter: float
    visible: float
    brightness: float
    clipped: float
    red_clipped: float
    white: float
    saturation: float
    retina_colour: float
    hue_spread: float
    detail: float
    coarse_detail: float
    sharpness: float
    colour_agreement: float
    colour_change: float
    sparseness: float
    score: float | None = None
    red_blue: float | None = None
    red_green_spread: float | None = None
    green_blue_spread: float | None = None
    light_right: float | None = None
    light_down: float | None = None


def assess(
    rgb: NDArray[np.uint8],
    field_of_view: FieldOfView,
    reduction: int = 1,
    limits: Limits | None = None,
    small: NDArray[np.uint8] | None = None,
) -> Quality:
    """Measure a photograph and decide whether it is fit for a grade.

    Args:
        rgb: uint8 (H, W, 3), 0-255.
        field_of_view: in pixels of `rgb`.
        reduction: original pixels per pixel of `rgb`.
        limits: beyond which a photograph is not gradable; defaults if None.
        small: its `drcore.preprocessing.field_of_view.thumbnail`, where it is there.

    Returns:
        Measures, a score, and what speaks against grading: that the picture is not the photograph
        of one retina, a plain limit, or what the network says.

    Raises:
        CheckpointError: the weights of the network are missing or damaged.
    """
    square = retina_square(rgb, field_of_view)
    measures = measure(rgb, field_of_view, square)
    diameter = 2 * field_of_view.radius * reduction
    limits = limits or Limits()
    # First: what was measured may be of one retina of several.
    reason = why_not_single(rgb, small) or _beyond(limits, diameter, measures["visible"])
    score = 0.0
    if not reason:
        judgement = judge(square)
        score = judgement.score
        even = measures["detail"] < limits.detail
        if not judgement.gradable:
            # Where there is no detail at all, nothing is cut off.
            defect = "not a retina" if even and judgement.defect == "cut" else judgement.defect
            reason = _REASONS[defect]
        elif (square.max(axis=2) > BLACK).mean() < limits.lit * np.pi / 4:
            reason, score = _REASONS["cut"], 0.0
        elif even or measures["colour_agreement"] > limits.one_colour:
            reason, score = _REASONS["not a retina"], 0.0
    return Quality(not reason, reason, diameter, **measures, score=score)


def _beyond(limits: Limits, diameter: float, visible: float) -> str:
    """Return the sentence of a plain limit that is passed, empty where none is."""
    if diameter < limits.diameter:
        return (
            f"The field of view is only {diameter:.0f} pixels wide; at least "
            f"{limits.diameter:.0f} are needed."
        )
    if visible < limits.visible:
        return "Less than a third of the field of view is in the picture."
    return ""
