"""Decoding JPEG strictly: what the decoder would have to make up is an error."""

from __future__ import annotations

import numpy as np
import simplejpeg
from numpy.typing import NDArray

__all__ = [
    "check_jpeg", "decode_jpeg", "minimum_coded_unit", "names_its_colours", "with_rgb_marker",
]  # fmt: skip

_UNITS = {
    "Gray": (8, 8), "444": (8, 8), "422": (16, 8), "420": (16, 16), "440": (8, 16),
    "411": (32, 8), "441": (8, 32),
}  # fmt: skip


def decode_jpeg(data: bytes, width: int, height: int, reduction: int = 1) -> NDArray[np.uint8]:
    """Decode a JPEG, unless its decoder warns of anything.

    libjpeg goes on after damage and fills what is missing; each of its warnings is an error here.
    The pixels are those of Pillow, which bundles the same decoder and drops its warnings.

    Args:
        data: the encoded picture; what follows its end is not looked at.
        width, height: as declared, in pixels; to be checked before.
        reduction: 1, 2, 4 or 8: decode at this fraction of the size.

    Returns:
        uint8 (ceil(height / reduction), ceil(width / reduction), 3), RGB.

    Raises:
        ValueError: the stream is damaged or of a kind that is not decoded.
    """
    smaller = (-(-height // reduction), -(-width // reduction)) if reduction > 1 else (0, 0)
    rgb = simplejpeg.decode_jpeg(
        data, "RGB", min_height=smaller[0], min_width=smaller[1], strict=True
    )
    return np.asarray(rgb, np.uint8)


def check_jpeg(data: bytes) -> None:
    """Check a JPEG that another decoder reads: decoded strictly, as small as possible.

    Args:
        data: the encoded picture.

    Raises:
        ValueError: the stream is damaged.
    """
    simplejpeg.decode_jpeg(data, "RGB", min_factor=8, strict=True)


def minimum_coded_unit(data: bytes) -> tuple[int, int] | None:
    """Return width and height of the blocks in which a JPEG stores its picture, in pixels.

    Args:
        data: the encoded picture.

    Returns:
        8 to 32 each; None for a rare sampling of the colours, or where the head is damaged.
    """
    try:
        return _UNITS.get(str(simplejpeg.decode_jpeg_header(data)[3]))
    except ValueError:
        return None


def names_its_colours(data: bytes) -> bool:
    """Tell whether a JPEG says itself how its colours are stored, in a JFIF or an Adobe marker.

    Args:
        data: the encoded picture.

    Returns:
        False where a container has to say it.
    """
    place = 2
    while place + 4 <= len(data) and data[place] == 0xFF:
        marker = data[place + 1]
        if marker == 0xFF:  # padding
            place += 1
            continue
        if marker == 0xDA or 0xC0 <= marker <= 0xC3:  # the picture begins
            return False
        if data[place + 4 : place + 9] in {b"JFIF\0", b"Adobe"} and marker in {0xE0, 0xEE}:
            return True
        place += 2 + int.from_bytes(data[place + 2 : place + 4], "big")
    return False


def with_rgb_marker(data: bytes) -> bytes:
    """Mark a JPEG as one whose colours are stored as RGB, so that no decoder converts them.

    Args:
        data: the encoded picture, without a marker of its own.

    Returns:
        The same with an Adobe marker (transform 0).
    """
    return data[:2] + b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0\0" + data[2:]
