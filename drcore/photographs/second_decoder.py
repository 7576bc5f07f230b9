"""Decoders that tell what others make up without a word.

The arithmetic decoder of AV1 and of HEVC goes on with whatever follows damage. Where its data then
ends too early or too late, libaom refuses a picture that dav1d shows, and libde265 has a warning
that libheif passes over.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import functools
import io
import struct
from pathlib import Path

import cv2
import numpy as np

from drcore.photographs.heif_items import HeifItems, heif_items

__all__ = ["check_av1", "check_hevc"]

_MADE_UP = "a part of it cannot be decoded with certainty"
_STEPS = 1000
"""Calls that one picture takes at most; it takes a few."""


def check_av1(data: bytes, number: int) -> None:
    """Decode an AVIF again, with libaom, if OpenCV has it.

    Args:
        data: the encoded file.
        number: of the frame, from 0.

    Raises:
        ValueError: the data of a tile does not end where it must.
    """
    if not cv2.haveImageWriter(".avif"):
        return
    encoded = np.frombuffer(data, np.uint8)
    if number:
        there, _ = cv2.imdecodemulti(encoded, cv2.IMREAD_GRAYSCALE, range=(number, number + 1))
    else:
        there = cv2.imdecode(encoded, cv2.IMREAD_GRAYSCALE) is not None
    if not there:
        raise ValueError(_MADE_UP)


def check_hevc(data: bytes, place: int) -> None:
    """Decode a HEIC again and ask for warnings, if libde265 is there.

    Args:
        data: the encoded file.
        place: of the picture among those that the file shows, from 0.

    Raises:
        ValueError: the decoder had to make up a part.
        Exception: whatever damage to the table of items brings about.
    """
    library = _libde265()
    if library is None:
        return
    items = heif_items(io.BytesIO(data))
    for leaf in items.leaves(items.shown[place]):
        if items.kinds.get(leaf) == b"hvc1" and _warns(library, _units(data, items, leaf)):
            raise ValueError(_MADE_UP)


@functools.cache
def _libde265() -> ctypes.CDLL | None:
    """The library that pi-heif brings along, or the system's; None where there is neither."""
    import pi_heif

    package = Path(pi_heif.__file__).parent
    folders = package.with_name("pi_heif.libs"), package / ".dylibs", package
    paths = [str(path) for folder in folders for path in folder.glob("*libde265*")]
    for path in (*paths, ctypes.util.find_library("de265")):
        try:
            library = ctypes.CDLL(path) if path else None
        except OSError:
            continue
        if library is not None and hasattr(library, "de265_get_warning"):
            return _declared(library)
    return None


def _declared(library: ctypes.CDLL) -> ctypes.CDLL:
    """Tell ctypes of pointers, which are longer than the integers that it takes them for."""
    context, whole = ctypes.c_void_p, ctypes.c_int
    library.de265_new_decoder.restype = library.de265_peek_next_picture.restype = context
    library.de265_push_NAL.argtypes = (context, ctypes.c_char_p, whole, ctypes.c_int64, context)
    library.de265_decode.argtypes = (context, ctypes.POINTER(whole))
    for name in ("flush_data", "get_warning", "peek_next_picture", "free_decoder"):
        getattr(library, f"de265_{name}").argtypes = (context,)
    return library


def _units(data: bytes, items: HeifItems, number: int) -> list[bytes]:
    """Parameter sets and slices of a coded item (ISO/IEC 14496-15, 8.3.3)."""
    head = next(content for kind, content in items.properties[number] if kind == b"hvcC")
    units, place = [], 23
    for _ in range(head[22]):
        (count,) = struct.unpack_from(">H", head, place + 1)
        place += 3
        for _ in range(count):
            (length,) = struct.unpack_from(">H", head, place)
            units.append(head[place + 2 : place + 2 + length])
            place += 2 + length
    codes = b"".join(data[start : start + size] for start, size in items.places[number])
    size, place = (head[21] & 3) + 1, 0
    while place + size <= len(codes):
        length = int.from_bytes(codes[place : place + size], "big")
        units.append(codes[place + size : place + size + length])
        place += size + length
    return units


def _warns(library: ctypes.CDLL, units: list[bytes]) -> bool:
    """Decode an item; True for an error, and where the decoder warns of anything."""
    decoder = library.de265_new_decoder()
    try:
        for unit in units:
            library.de265_push_NAL(decoder, unit, len(unit), 0, None)
        library.de265_flush_data(decoder)
        more = ctypes.c_int(1)
        for _ in range(_STEPS):
            failed = library.de265_decode(decoder, ctypes.byref(more))
            if failed or library.de265_get_warning(decoder):
                return True
            if library.de265_peek_next_picture(decoder) or not more.value:
                return False
        return True
    finally:
        library.de265_free_decoder(decoder)
