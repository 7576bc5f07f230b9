"""Photographs as the browser gets them: thumbnails and the views of one photograph, as JPEG."""

from __future__ import annotations

import base64
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from drcore.enhance import clahe, green_channel
from drcore.photograph import Source, read_photograph

__all__ = ["VIEWS", "Pictures", "data_uri", "pictures_of", "thumbnail"]

RGB = NDArray[np.uint8]

LONG_SIDE = 1600
"""Longest side of a view in pixels: three times what two panels on a large screen can show."""

THUMBNAIL_SIDE = 112

VIEWS = {"Colour": None, "Red-free": green_channel, "Contrast": clahe}
"""Ways to look at the original, by the name on the page."""


@dataclass(frozen=True, slots=True)
class Pictures:
    """The views of one photograph, ready to send.

    Attributes:
        sha256: of the file, hex.
        width, height: of the original, upright, in pixels.
        views: by name of the view, a JPEG as data URI.
    """

    sha256: str
    width: int
    height: int
    views: dict[str, str]


def pictures_of(source: Source, *, name: str | None = None, long_side: int = LONG_SIDE) -> Pictures:
    """Read a photograph and make its views.

    Args:
        source: path or encoded bytes.
        name: display name, for the error.
        long_side: of the views, in pixels; a smaller photograph keeps its size.

    Returns:
        Every view of `VIEWS`.

    Raises:
        PhotographError: the source cannot be read as a photograph.
    """
    photograph = read_photograph(source, name=name)
    small = _shrunk(photograph.rgb, long_side)
    views = {
        name: data_uri(_jpeg(small if enhance is None else enhance(small), 88))
        for name, enhance in VIEWS.items()
    }
    return Pictures(photograph.sha256, photograph.width, photograph.height, views)


def thumbnail(source: Source, *, name: str | None = None, side: int = THUMBNAIL_SIDE) -> str:
    """Read a photograph at a small size.

    Args:
        source: path or encoded bytes.
        name: display name, for the error.
        side: longest side in pixels.

    Returns:
        A JPEG as data URI.

    Raises:
        PhotographError: the source cannot be read as a photograph.
    """
    photograph = read_photograph(source, name=name, for_grading=True)
    return data_uri(_jpeg(_shrunk(photograph.rgb, side), 78))


def data_uri(jpeg: bytes) -> str:
    """Return a JPEG as a data URI."""
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii")


def _shrunk(rgb: RGB, long_side: int) -> RGB:
    height, width = rgb.shape[:2]
    factor = long_side / max(height, width)
    if factor >= 1:
        return rgb
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    return np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)


def _jpeg(rgb: RGB, quality: int) -> bytes:
    _, data = cv2.imencode(
        ".jpg",
        cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR),
        [
            cv2.IMWRITE_JPEG_QUALITY,
            quality,
            # Full colour resolution: small lesions are red on red.
            cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
            cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
        ],
    )
    return bytes(data)
