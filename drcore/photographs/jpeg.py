"""Decoding JPEG strictly: what the decoder would have to make up is an error."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from drcore.errors import PhotographError

__all__ = [
    "Blocks", "blocks_of", "check_jpeg", "check_one_picture", "decode_jpeg", "names_its_colours",
    "segments", "with_rgb_marker",
]  # fmt: skip


_FRAMES, _PROGRESSIVE = frozenset({0xC0, 0xC1, 0xC2}), 0xC2


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
    _check_scans(data)
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
    _check_scans(data)
    simplejpeg.decode_jpeg(data, "RGB", min_factor=8, strict=True)


def _check_scans(data: bytes) -> None:
    """Check that a picture stored in several scans has all of them: decoders take what is there."""
    start, frame, kind = 2, b"", 0
    for marker, body in segments(data):
        start += len(body) + 4
        if marker in _FRAMES:
            frame, kind = body, marker
    planes = frame[6 : 6 + 3 * frame[5] : 3] if len(frame) > 5 else b""
    place = data.find(b"\xff\xda", start)
    if place < 0 or not planes or (kind != _PROGRESSIVE and data[place + 4] == len(planes)):
        return
    end = data.find(b"\xff\xd9", place)
    left = {plane: [1] * 64 for plane in planes}  # bits of each coefficient that are to come
    while 0 <= place < end:
        count = data[place + 4]
        named = data[place + 5 : place + 5 + 2 * count : 2]
        first, last, bits = data[place + 5 + 2 * count : place + 8 + 2 * count]
        for plane in named:
            of_plane = left.setdefault(plane, [0] * 64)
            of_plane[first : last + 1] = [bits & 15] * (last + 1 - first)
        place = data.find(b"\xff\xda", place + 2, end)
    if any(any(of_plane) for of_plane in left.values()):
        raise ValueError("one of its scans is missing")


@dataclass(frozen=True, slots=True)
class Blocks:
    """The blocks in which a JPEG stores its picture, and how finely.

    Attributes:
        width, height: of a minimum coded unit, 8 to 32 pixels.
        quantum: grey levels of the smallest step between the means of two blocks, of luma and the
            two chroma planes.
    """

    width: int
    height: int
    quantum: tuple[float, float, float]


def blocks_of(data: bytes) -> Blocks | None:
    """Read from the head of a JPEG in which blocks its picture is stored.

    Args:
        data: the encoded picture.

    Returns:
        The blocks; None for a picture of other than one or three planes, or a damaged head.
    """
    steps: dict[int, int] = {}
    for marker, body in segments(data):
        if marker == 0xDB:
            _read_steps(body, steps)
        elif marker in {0xC0, 0xC1, 0xC2} and len(body) >= 6:
            planes = [body[place : place + 3] for place in range(6, 6 + 3 * body[5], 3)]
            if len(planes) not in {1, 3} or len(planes[-1]) < 3:
                return None
            quanta = [steps.get(plane[2], 0) / 8 for plane in planes] * (3 // len(planes))
            sides = [(8, 8)]
            if len(planes) == 3:
                sides = [((plane[1] >> 4) * 8, (plane[1] & 15) * 8) for plane in planes]
            width, height = (max(side[axis] for side in sides) for axis in (0, 1))
            return Blocks(max(8, width), max(8, height), (quanta[0], quanta[1], quanta[2]))
    return None


def _read_steps(body: bytes, steps: dict[int, int]) -> None:
    """Note the first step of each quantisation table (ITU-T T.81, B.2.4.1)."""
    place = 0
    while place < len(body):
        wide, number = body[place] >> 4, body[place] & 15
        steps[number] = int.from_bytes(body[place + 1 : place + 2 + bool(wide)], "big")
        place += 1 + (128 if wide else 64)


def segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Markers of a JPEG up to its first scan, with what belongs to each."""
    place = 2
    while place + 4 <= len(data) and data[place] == 0xFF:
        marker = data[place + 1]
        if marker == 0xFF:  # padding
            place += 1
            continue
        if marker in {0xD9, 0xDA}:
            return
        end = place + 2 + int.from_bytes(data[place + 2 : place + 4], "big")
        yield marker, data[place + 4 : end]
        place = end


def names_its_colours(data: bytes) -> bool:
    """Tell whether a JPEG says itself how its colours are stored, in a JFIF or an Adobe marker.

    Args:
        data: the encoded picture.

    Returns:
        False where a container has to say it.
    """
    return any(
        (marker == 0xE0 and body.startswith(b"JFIF\0"))
        or (marker == 0xEE and body.startswith(b"Adobe"))
        for marker, body in segments(data)
    )


def with_rgb_marker(data: bytes) -> bytes:
    """Mark a JPEG as one whose colours are stored as RGB, so that no decoder converts them.

    Args:
        data: the encoded picture, without a marker of its own.

    Returns:
        The same with an Adobe marker (transform 0).
    """
    return data[:2] + b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0\0" + data[2:]


def check_one_picture(data: bytes, label: str) -> None:
    """Refuse a JPEG behind whose end another begins, unless a table of pictures tells of it.

    Args:
        data: the encoded file.
        label: its display name, for the error.

    Raises:
        PhotographError: another picture follows.
    """
    start = 2
    for marker, body in segments(data):
        if marker == 0xE2 and body.startswith(b"MPF\0"):
            return
        start += len(body) + 4
    if data.find(b"\xff\xd9\xff\xd8\xff", start) >= 0:
        raise PhotographError(
            f"{label}: another picture follows the first one in this file, without a table that "
            "says what it is. Save each as a file of its own."
        )
