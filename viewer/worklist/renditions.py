"""Renditions of a photograph for the browser: the original, reduced views, the thumbnail."""

from __future__ import annotations

import base64
import io
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from drcore.errors import PhotographError
from drcore.photographs.formats import encoded_bytes
from drcore.photographs.photograph import Photograph, Source
from drcore.photographs.reader import read_photograph
from drcore.preprocessing.contrast import clahe, local_contrast
from drcore.preprocessing.field_of_view import find_field_of_view

RGB = NDArray[np.uint8]

LONG_SIDE = 1600
"""Longest side of a reduced picture in pixels: enough for two panels on a large screen."""

THUMBNAIL_SIDE = 112

MAX_PIXELS = 12_500_000
"""Largest enhanced picture, in pixels: local contrast takes forty bytes of memory for each."""

_TYPES = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp"}
_ORIENTATION = 274
_DEEP_PNG = b"\x10"

# One full-size enhancement at a time: two would need the memory of both.
_ENHANCING = threading.Lock()


@dataclass(frozen=True, slots=True)
class Picture:
    """One encoded picture.

    Attributes:
        data: the file, such as JPEG.
        mimetype: of the file.
        width, height: in pixels.
    """

    data: bytes
    mimetype: str
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Renditions:
    """The renditions of one photograph.

    Attributes:
        sha256: of the file, hex.
        width, height: of the original, upright, in pixels.
        original: full size; the file itself if browsers show it as drcore reads it, else a
            JPEG of high quality.
        reduced: by view ("colour" and `ENHANCED`), at most `LONG_SIDE` pixels.
    """

    sha256: str
    width: int
    height: int
    original: Picture
    reduced: dict[str, Picture]


def renditions_of(
    source: Source, *, name: str | None = None, long_side: int = LONG_SIDE
) -> Renditions:
    """Read a photograph and make its renditions; `PhotographError` if it is unreadable."""
    data = encoded_bytes(source, name)[0] if isinstance(source, bytes | str | Path) else b""
    photograph = read_photograph(data or source, name=name)
    mimetype = readable_type(data)
    original = (
        Picture(data, mimetype, photograph.width, photograph.height)
        if mimetype
        else _jpeg(photograph.rgb, 95)
    )
    small = _shrunk(photograph.rgb, long_side)
    reduced = {"colour": _jpeg(small, 88)}
    reduced |= {view: _jpeg(enhance(small), 88) for view, enhance in ENHANCED.items()}
    return Renditions(photograph.sha256, photograph.width, photograph.height, original, reduced)


def enhanced(original: Picture, view: str) -> Picture:
    """Make one of the views `ENHANCED` at full size; takes a second and much memory."""
    if view not in ENHANCED:
        raise PhotographError(f"There is no view of this name; choose {' or '.join(ENHANCED)}.")
    with _ENHANCING:
        rgb = read_photograph(original.data).rgb
        factor = min(1.0, (MAX_PIXELS / (rgb.shape[0] * rgb.shape[1])) ** 0.5)
        return _jpeg(ENHANCED[view](_shrunk(rgb, int(max(rgb.shape[:2]) * factor))), 90)


def readable_type(data: bytes) -> str:
    """Return the media type with which a browser may get a file unchanged.

    It is empty if browsers cannot show it, or would show it differently from drcore: rotated, in
    CMYK, animated, or with more than 8 bits.
    """
    if not data or (data[24:25] == _DEEP_PNG and data.startswith(b"\x89PNG")):
        return ""
    try:
        with Image.open(io.BytesIO(data), formats=tuple(_TYPES)) as image:
            still = getattr(image, "n_frames", 1) == 1
            upright = image.getexif().get(_ORIENTATION, 1) == 1
            plain = image.mode in {"L", "LA", "P", "RGB", "RGBA"}
            return _TYPES.get(image.format or "", "") if still and upright and plain else ""
    except Exception:  # noqa: BLE001 - decoders raise whatever they like; then it is re-encoded
        return ""


def thumbnail(source: Source, *, name: str | None = None, side: int = THUMBNAIL_SIDE) -> str:
    """Read a photograph at a small size, as a JPEG in a data URI."""
    photograph: Photograph = read_photograph(source, name=name, for_grading=True)
    return data_uri(_jpeg(_shrunk(photograph.rgb, side), 78).data)


def data_uri(jpeg: bytes) -> str:
    """Return a JPEG as a data URI."""
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii")


def _flat_field(rgb: RGB) -> RGB:
    """Even out the illumination over a thirtieth of the square around the retina, as in grading."""
    fov = find_field_of_view(rgb)
    height, width = rgb.shape[:2]
    mask = fov.mask(height, width)
    even = local_contrast(rgb, mask, sigma=2 * fov.radius / 30 / width)
    even[~mask] = 0
    return even


ENHANCED: dict[str, Callable[[RGB], RGB]] = {"clahe": clahe, "local": _flat_field}
"""Views that are made on the server; the browser makes the others from the photograph itself."""


def _shrunk(rgb: RGB, long_side: int) -> RGB:
    height, width = rgb.shape[:2]
    factor = long_side / max(height, width)
    if factor >= 1:
        return rgb
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    return np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)


def _jpeg(rgb: RGB, quality: int) -> Picture:
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
    return Picture(data.tobytes(), "image/jpeg", rgb.shape[1], rgb.shape[0])
