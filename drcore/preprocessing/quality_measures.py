"""Physical figures of a photograph: light, colour, detail and how much of the field is seen."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import cv2
import numpy as np

from drcore.preprocessing.retina_square import RetinaSquare

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from drcore.preprocessing.field_of_view import FieldOfView

__all__ = ["SIDE", "measure", "retina_square"]

SIDE = 256
"""Detail is measured on a square of this side: the same for every camera."""

_LOG2 = np.log2(np.arange(256, dtype=np.float32) + 4)
"""Logarithm of a grey level, raised by 4 so that black weighs little."""

_COARSER = 4
"""The widest blur is made on a copy this many times as small; it has nothing finer."""


def retina_square(rgb: NDArray[np.uint8], field_of_view: FieldOfView) -> NDArray[np.uint8]:
    """Return the field of view as a square, black around it.

    Args:
        rgb: uint8 (H, W, 3), 0-255.
        field_of_view: in pixels of `rgb`.

    Returns:
        uint8 (256, 256, 3).
    """
    frame = RetinaSquare(field_of_view, rgb.shape[1], rgb.shape[0], SIDE)
    square = np.array(frame.warp(rgb), np.uint8)
    square[~frame.mask()] = 0
    return square


def measure(
    rgb: NDArray[np.uint8], field_of_view: FieldOfView, square: NDArray[np.uint8]
) -> dict[str, float]:
    """Measure a photograph.

    Args:
        rgb: uint8 (H, W, 3), 0-255.
        field_of_view: in pixels of `rgb`.
        square: of `retina_square`.

    Returns:
        The attributes of `drcore.preprocessing.gradability.Quality` from `visible` on.
    """
    frame = RetinaSquare(field_of_view, rgb.shape[1], rgb.shape[0], SIDE)
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
        mask = np.ones((SIDE, SIDE), bool)
    red, green, blue = pixels
    bright = np.maximum(np.maximum(red, green), blue)
    faint = np.minimum(np.minimum(red, green), blue)
    red_over_blue = red - blue
    return {
        "visible": field_of_view.visible_fraction,
        "brightness": float(np.median(bright)),
        "clipped": float((green >= 253).mean()),
        "red_clipped": float((red >= 253).mean()),
        "white": float((faint > 235).mean()),
        "saturation": float(np.median((bright - faint) / np.maximum(bright, 1))),
        "retina_colour": float((red_over_blue >= 0).mean()),
        "hue_spread": float(np.std(red_over_blue / np.maximum(bright, 20))),
        **_texture(square, mask),
        **_colour_and_light(square, mask),
    }


def _colour_and_light(square: NDArray[np.uint8], mask: NDArray[np.bool_]) -> dict[str, float]:
    """Measure the colour of the light and where it comes from, both as base 2 logarithms."""
    red, green, blue = (_LOG2[square[..., channel][mask]] for channel in range(3))
    bright = np.maximum(np.maximum(red, green), blue)
    y, x = (place * (2 / SIDE) - 1 for place in np.nonzero(mask))
    plane = np.stack([np.ones_like(x), x, y])
    slope = np.linalg.lstsq(plane @ plane.T, plane @ bright, rcond=1e-6)[0]
    return {
        "red_blue": float(np.mean(red - blue)),
        "red_green_spread": float(np.std(red - green)),
        "green_blue_spread": float(np.std(green - blue)),
        "light_right": 2 * float(slope[1]),
        "light_down": 2 * float(slope[2]),
    }


def _texture(square: NDArray[np.uint8], mask: NDArray[np.bool_]) -> dict[str, float]:
    """Measure detail inside the mask: contrast in percent of the local brightness, and colour."""
    weight = mask.astype(np.float32)
    planes = np.dstack([square[..., 0] * weight, square[..., 1] * weight, weight])

    def local(blurred: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        inside = blurred[mask]
        total = np.maximum(inside[:, 2], 1e-3)
        return [np.asarray(inside[:, channel] / total, np.float32) for channel in (0, 1)]

    fine = local(np.asarray(cv2.GaussianBlur(planes, (0, 0), 1.0), np.float32))
    middle = local(np.asarray(cv2.GaussianBlur(planes, (0, 0), 3.0), np.float32))
    wide = local(_widely_blurred(planes))
    level = [np.maximum(plane, 12.0) for plane in wide]
    red, green = ((f - m) / by for f, m, by in zip(fine, middle, level, strict=True))
    detail = float(np.std(green))
    coarse = float(np.std((middle[1] - wide[1]) / level[1]))
    both = float(np.std(red)) * detail
    green = green - green.mean()
    covariance = float(np.mean((red - red.mean()) * green))
    fourth = float(np.mean(np.square(np.square(green))))
    return {
        "detail": 100 * detail,
        "coarse_detail": 100 * coarse,
        "sharpness": detail / max(coarse, 1e-8),
        "colour_agreement": covariance / both if both > 1e-12 else 0.0,
        "colour_change": float(np.std(middle[1] / np.maximum(middle[0], 10.0))),
        "sparseness": fourth / detail**4 if detail > 1e-5 else 0.0,
    }


def _widely_blurred(planes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Blur by a Gaussian of eight pixels."""
    size = (SIDE // _COARSER,) * 2
    small = cv2.resize(planes, size, interpolation=cv2.INTER_AREA)
    # Averaging and enlarging blur, too, by a variance of 3.9 square pixels.
    small = cv2.GaussianBlur(small, (0, 0), float(np.sqrt(8.0**2 - 3.9)) / _COARSER)
    return np.asarray(cv2.resize(small, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR), np.float32)
