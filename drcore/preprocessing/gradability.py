"""The gradability check that comes before the grade."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import cv2
import numpy as np

from drcore.preprocessing.retina_count import why_not_single
from drcore.preprocessing.retina_square import RetinaSquare

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from drcore.preprocessing.field_of_view import FieldOfView

__all__ = ["Limits", "Quality", "assess"]

_NOT_A_RETINA = "This does not look like a colour photograph of a retina."

_SIDE = 256
"""Detail is measured on a square of this side: the same for every camera."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Beyond which values a photograph is not graded.

    Set on the training and validation photographs of IDRiD, APTOS 2019 and EyePACS, on deliberate
    degradations of some of them, and on pictures of other things (see `training.gradability`).
    """

    diameter: float = 120.0
    visible: float = 0.34
    brightness: float = 28.0
    clipped: float = 0.10
    red_clipped: float = 0.60
    white: float = 0.40
    saturation: float = 0.10
    retina_colour: float = 0.60
    hue_spread: float = 0.28
    detail: tuple[float, float] = (0.25, 10.0)
    detail_without_rim: float = 7.0
    coarse_detail: float = 11.0
    coarse_detail_without_rim: float = 8.0
    colour_agreement: tuple[float, float] = (0.15, 0.965)
    colour_change: tuple[float, float] = (0.013, 0.29)
    sparseness: float = 3.95
    few_strong_edges_without_rim: tuple[float, float] = (50.0, 4.0)
    sharpness: float = 0.50
    sharpest: float = 1.25
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
        limits: beyond which a photograph is not gradable; defaults if None.

    Returns:
        Measures, and the first reason found against grading: that the picture is not the
        photograph of one retina, or a measure beyond its limit.
    """
    limits = limits or Limits()
    frame = RetinaSquare(field_of_view, rgb.shape[1], rgb.shape[0], _SIDE)
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
    # Plane by plane, here and below: many times as fast as along a last axis of three.
    pixels = [square[..., channel][mask].astype(np.float32) for channel in range(3)]
    if len(pixels[0]) < 64:  # a sliver of retina: nothing to measure
        pixels = [np.zeros(64, np.float32)] * 3
        mask = np.ones((_SIDE, _SIDE), bool)
    red, green, blue = pixels
    bright = np.maximum(np.maximum(red, green), blue)
    faint = np.minimum(np.minimum(red, green), blue)
    red_over_blue = red - blue
    texture = _texture(square, mask)
    measures = {
        "diameter": 2 * field_of_view.radius * reduction,
        "visible": field_of_view.visible_fraction,
        "brightness": float(np.median(bright)),
        "clipped": float((green >= 253).mean()),
        "red_clipped": float((red >= 253).mean()),
        "white": float((faint > 235).mean()),
        "saturation": float(np.median((bright - faint) / np.maximum(bright, 1))),
        "retina_colour": float((red_over_blue >= 0).mean()),
        "hue_spread": float(np.std(red_over_blue / np.maximum(bright, 20))),
        **texture,
    }
    # First: what was measured may be of one retina of several.
    reason = why_not_single(rgb) or _reason(measures, limits, rim=field_of_view.found)
    return Quality(gradable=not reason, reason=reason, **measures)


def _texture(square: NDArray[np.uint8], mask: NDArray[np.bool_]) -> dict[str, float]:
    """Measure detail inside the mask: contrast in percent of the local brightness, and colour."""
    weight = mask.astype(np.float32)
    planes = [square[..., channel].astype(np.float32) * weight for channel in (0, 1)]

    def blurred(sigma: float) -> list[NDArray[np.float32]]:
        total = np.maximum(cv2.GaussianBlur(weight, (0, 0), sigma)[mask], 1e-3)
        return [np.asarray(cv2.GaussianBlur(p, (0, 0), sigma)[mask] / total) for p in planes]

    fine, middle, wide = blurred(1.0), blurred(3.0), blurred(8.0)
    level = [np.maximum(plane, 12.0) for plane in wide]
    red, green = ((f - m) / by for f, m, by in zip(fine, middle, level, strict=True))
    detail = float(np.std(green))
    coarse = float(np.std((middle[1] - wide[1]) / level[1]))
    both = float(np.std(red)) * detail
    covariance = float(np.mean((red - red.mean()) * (green - green.mean())))
    fourth = float(np.mean((green - green.mean()) ** 4))
    return {
        "detail": 100 * detail,
        "coarse_detail": 100 * coarse,
        "sharpness": detail / max(coarse, 1e-8),
        "colour_agreement": covariance / both if both > 1e-12 else 0.0,
        "colour_change": float(np.std(middle[1] / np.maximum(middle[0], 10.0))),
        "sparseness": fourth / detail**4 if detail > 1e-5 else 0.0,
    }


def _reason(measured: dict[str, float], limits: Limits, *, rim: bool) -> str:
    """Return the first sentence that holds against grading, empty where none does."""
    sparse, strong = limits.few_strong_edges_without_rim  # lids, letters, the rim of a table
    rimless = not rim and (
        measured["detail"] > limits.detail_without_rim
        or measured["coarse_detail"] > limits.coarse_detail_without_rim
        or (measured["sparseness"] > sparse and measured["detail"] > strong)
    )
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
            measured["clipped"] > limits.clipped
            or measured["white"] > limits.white
            # With red at its limit nearly everywhere, nothing in it agrees with green any more, and
            # a retina cannot be distinguished from other things.
            or (
                measured["red_clipped"] > limits.red_clipped
                and measured["colour_agreement"] < limits.colour_agreement[0]
            ),
            "The photograph is over-exposed.",
        ),
        (
            measured["saturation"] < limits.saturation
            or measured["retina_colour"] < limits.retina_colour
            or measured["hue_spread"] > limits.hue_spread
            or not _within(measured["detail"], limits.detail)
            or measured["coarse_detail"] > limits.coarse_detail
            or measured["sharpness"] > limits.sharpest
            or rimless,
            _NOT_A_RETINA,
        ),
        (
            measured["sharpness"] < limits.sharpness or measured["detail"] < limits.faintest_detail,
            "The photograph is blurred.",
        ),
        (
            not _within(measured["colour_agreement"], limits.colour_agreement)
            or not _within(measured["colour_change"], limits.colour_change)
            or measured["sparseness"] < limits.sparseness,
            _NOT_A_RETINA,
        ),
    )
    return next((sentence for fails, sentence in checks if fails), "")


def _within(value: float, bounds: tuple[float, float]) -> bool:
    low, high = bounds
    return low <= value <= high
