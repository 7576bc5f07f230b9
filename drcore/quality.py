"""The gradability check that comes before the grade."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import cv2
import numpy as np

from drcore.frame import Frame

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from drcore.field_of_view import FieldOfView

__all__ = ["Limits", "Quality", "assess"]

_SIDE = 256
"""Detail is measured on a square of this side: the same for every camera."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Beyond which values a photograph is not graded.

    Set on 450 photographs of IDRiD, APTOS 2019 and EyePACS and on deliberate degradations of
    them: each limit lies outside the 1st to 99th percentile of untouched IDRiD photographs.
    """

    diameter: float = 120.0
    visible: float = 0.34
    brightness: float = 28.0
    clipped: float = 0.60
    white: float = 0.40
    saturation: float = 0.10
    retina_colour: float = 0.60
    hue_spread: float = 0.28
    detail: tuple[float, float] = (0.25, 10.0)
    detail_without_rim: float = 7.0
    coarse_detail: float = 18.0
    sharpness: float = 0.50
    faintest_detail: float = 1.1


@dataclass(frozen=True, slots=True)
class Quality:
    """Whether a photograph is fit for a grade, and what was measured.

    Attributes:
        gradable: False where a grade would be a guess.
        reason: a sentence where not gradable, else empty.
        diameter: of the field of view, in pixels of the original.
        visible: share of the field of view that is not cut off, 0-1.
        brightness: median of the retina's brightest channel, 0-255.
        clipped: share of the retina with a channel at its limit, 0-1.
        white: share of the retina with all channels near white, 0-1.
        saturation: median colour saturation, 0-1.
        retina_colour: share of the retina where red is not below blue, 0-1.
        hue_spread: standard deviation of (red - blue) / brightest channel.
        detail: standard deviation of detail of about 1/128 of the field of view, percent of the
            local brightness.
        coarse_detail: the same for detail about three times as large.
        sharpness: detail / coarse_detail; falls with blur, whatever the retina shows.
    """

    gradable: bool
    reason: str
    diameter: float
    visible: float
    brightness: float
    clipped: float
    white: float
    saturation: float
    retina_colour: float
    hue_spread: float
    detail: float
    coarse_detail: float
    sharpness: float


def assess(
    rgb: NDArray[np.uint8],
    field_of_view: FieldOfView,
    reduction: int = 1,
    limits: Limits | None = None,
) -> Quality:
    """Measure a photograph and decide whether it is fit for a grade.

    Args:
        rgb: uint8 (H, W, 3), 0-255.
        field_of_view: in pixels of `rgb`.
        reduction: original pixels per pixel of `rgb`.
        limits: beyond which it is not; the defaults where left out.

    Returns:
        Measures, and the first reason found against grading.
    """
    limits = limits or Limits()
    frame = Frame(field_of_view, rgb.shape[1], rgb.shape[0], _SIDE)
    square = np.asarray(frame.warp(rgb), np.uint8)
    # Along a straight cut, pixels are mixed with the black beyond it: that edge is not detail.
    inner = 2 / frame.scale
    mask = replace(
        frame,
        field_of_view=replace(
            field_of_view,
            left=field_of_view.left + inner,
            top=field_of_view.top + inner,
            right=field_of_view.right - inner,
            bottom=field_of_view.bottom - inner,
        ),
    ).mask(0.08)
    pixels = square[mask].astype(np.float32)
    if len(pixels) < 64:  # a sliver of retina: nothing to measure
        pixels = np.zeros((64, 3), np.float32)
        mask = np.ones((_SIDE, _SIDE), bool)
    bright, faint = pixels.max(axis=1), pixels.min(axis=1)
    red_over_blue = pixels[:, 0] - pixels[:, 2]
    detail, coarse = _detail(square[..., 1], mask)
    measures = {
        "diameter": 2 * field_of_view.radius * reduction,
        "visible": field_of_view.visible_fraction,
        "brightness": float(np.median(bright)),
        "clipped": float((bright >= 253).mean()),
        "white": float((faint > 235).mean()),
        "saturation": float(np.median((bright - faint) / np.maximum(bright, 1))),
        "retina_colour": float((red_over_blue >= 0).mean()),
        "hue_spread": float(np.std(red_over_blue / np.maximum(bright, 20))),
        "detail": detail,
        "coarse_detail": coarse,
        "sharpness": detail / max(coarse, 1e-6),
    }
    reason = _reason(measures, limits, rim=field_of_view.found)
    return Quality(gradable=not reason, reason=reason, **measures)


def _detail(green: NDArray[np.uint8], mask: NDArray[np.bool_]) -> tuple[float, float]:
    """Contrast of fine and of coarser structure inside the mask, in percent."""
    weight = mask.astype(np.float32)
    masked = green.astype(np.float32) * weight

    def blurred(sigma: float) -> NDArray[np.float32]:
        total = cv2.GaussianBlur(weight, (0, 0), sigma)
        return np.asarray(cv2.GaussianBlur(masked, (0, 0), sigma) / np.maximum(total, 1e-3))

    fine, middle, wide = blurred(1.0), blurred(3.0), blurred(8.0)
    level = np.maximum(wide[mask], 12.0)
    return (
        100 * float(np.std((fine - middle)[mask] / level)),
        100 * float(np.std((middle - wide)[mask] / level)),
    )


def _reason(measured: dict[str, float], limits: Limits, *, rim: bool) -> str:
    """Return the first sentence that holds against grading, empty where none does."""
    low, high = limits.detail
    checks = (
        (
            measured["diameter"] < limits.diameter,
            (
                f"The field of view is only {measured['diameter']:.0f} pixels wide; at least "
                f"{limits.diameter:.0f} are needed."
            ),
        ),
        (
            measured["visible"] < limits.visible,
            "Less than a third of the field of view is in the picture.",
        ),
        (measured["brightness"] < limits.brightness, "The photograph is too dark."),
        (
            measured["clipped"] > limits.clipped or measured["white"] > limits.white,
            "The photograph is over-exposed.",
        ),
        (
            measured["saturation"] < limits.saturation
            or measured["retina_colour"] < limits.retina_colour
            or measured["hue_spread"] > limits.hue_spread
            or not low <= measured["detail"] <= high
            or measured["coarse_detail"] > limits.coarse_detail
            or (not rim and measured["detail"] > limits.detail_without_rim),
            "This does not look like a colour photograph of a retina.",
        ),
        (
            measured["sharpness"] < limits.sharpness or measured["detail"] < limits.faintest_detail,
            "The photograph is blurred.",
        ),
    )
    return next((sentence for fails, sentence in checks if fails), "")
