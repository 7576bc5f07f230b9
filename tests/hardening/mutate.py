"""Seeded damage: to bytes of any kind, and to the declared size of each format."""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np

from tests.hardening.pictures import png_chunk

__all__ = ["MUTATORS", "damaged", "damaged_json", "oversized"]

RNG = np.random.Generator
_EXTREMES = (b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f",
             b"\x80\0\0\0", b"\0\0\0\x80", b"\xff\xff", b"\0\0", b"\x01\0", b"\0\x01")  # fmt: skip
_SIZES = (0, 1, 2, 31, 32, 33, 30_000, 65_535, 65_536, 2**31 - 1, 2**31, 2**32 - 1)


def _flip(data: bytearray, rng: RNG) -> bytearray:
    for place in rng.integers(0, len(data), rng.integers(1, 40)):
        data[place] ^= 1 << int(rng.integers(8))
    return data


def _flip_head(data: bytearray, rng: RNG) -> bytearray:
    for place in rng.integers(0, min(len(data), 400), rng.integers(1, 8)):
        data[place] = int(rng.integers(256))
    return data


def _truncate(data: bytearray, rng: RNG) -> bytearray:
    return data[: int(rng.integers(0, len(data)))]


def _extreme(data: bytearray, rng: RNG) -> bytearray:
    for _ in range(rng.integers(1, 4)):
        value = _EXTREMES[rng.integers(len(_EXTREMES))]
        top = len(data) if rng.random() < 0.4 else min(len(data), 600)
        place = int(rng.integers(0, top))
        data[place : place + len(value)] = value
    return data


def _insert(data: bytearray, rng: RNG) -> bytearray:
    place = int(rng.integers(0, len(data)))
    data[place:place] = rng.bytes(int(rng.integers(1, 300)))
    return data


def _delete(data: bytearray, rng: RNG) -> bytearray:
    place = int(rng.integers(0, len(data)))
    del data[place : place + int(rng.integers(1, 300))]
    return data


def _repeat(data: bytearray, rng: RNG) -> bytearray:
    start = int(rng.integers(0, len(data)))
    piece = data[start : start + int(rng.integers(1, 600))]
    return data[:start] + piece * int(rng.integers(2, 40)) + data[start:]


def _blank(data: bytearray, rng: RNG) -> bytearray:
    start = int(rng.integers(0, len(data)))
    end = min(len(data), start + int(rng.integers(1, 2000)))
    data[start:end] = bytes([int(rng.choice([0, 255]))]) * (end - start)
    return data


def _append(data: bytearray, rng: RNG) -> bytearray:
    return data + rng.bytes(int(rng.integers(1, 5000)))


MUTATORS = (_flip, _flip_head, _truncate, _extreme, _insert, _delete, _repeat, _blank, _append)


def damaged(data: bytes, rng: RNG) -> bytes:
    """Return a file with one to three kinds of damage."""
    result = bytearray(data)
    for _ in range(rng.integers(1, 4)):
        if result:
            result = MUTATORS[rng.integers(len(MUTATORS))](result, rng)
    return bytes(result)


def oversized(  # noqa: C901 - a branch for each format
    kind: str, data: bytes, rng: RNG
) -> bytes:
    """Return a file that declares another size than it has, in the way of its format."""
    width, height = (int(_SIZES[i]) for i in rng.integers(0, len(_SIZES), 2))
    result = bytearray(data)
    if kind.startswith("jpeg"):
        place = next(
            (i for i in range(len(data)) if data[i : i + 2] in {b"\xff\xc0", b"\xff\xc2"}), 0
        )
        result[place + 5 : place + 9] = struct.pack(">HH", height & 65535, width & 65535)
    elif kind.startswith("png"):
        head = struct.pack(">II", width, height) + data[24:29]
        result[8:33] = png_chunk(b"IHDR", head)
    elif kind.startswith("bmp"):
        result[18:26] = struct.pack("<II", width, height)
    elif kind.startswith("tiff"):
        _resize_tiff(result, width, height, rng)
    elif kind.startswith("webp"):
        place = data.find(b"VP8X")
        place = place + 12 if place > 0 else 26
        result[place : place + 6] = rng.bytes(6)
    elif kind.startswith("gif"):
        result[6:10] = struct.pack("<HH", width & 65535, height & 65535)
    elif kind.startswith("dicom"):
        for tag, value in ((b"\x28\0\x10\0", height), (b"\x28\0\x11\0", width)):
            place = data.find(tag)
            if place > 0 and rng.random() < 0.8:
                result[place + 8 : place + 10] = struct.pack("<H", value & 65535)
        if rng.random() < 0.5:  # a length that is nonsense
            places = [i for i in range(len(data) - 8) if data[i : i + 2] == b"\x28\0"]
            place = int(rng.choice(places)) if places else 0
            result[place + 4 : place + 8] = _EXTREMES[rng.integers(6)]
    else:
        return damaged(data, rng)
    return bytes(result)


def _resize_tiff(data: bytearray, width: int, height: int, rng: RNG) -> None:
    """Change tags of the first directory of a classic little-endian TIFF."""
    (start,) = struct.unpack_from("<I", data, 4)
    if start + 2 > len(data):
        return
    (count,) = struct.unpack_from("<H", data, start)
    odd = int(rng.integers(count)) if rng.random() < 0.5 else -1
    for index in range(count):
        place = start + 2 + 12 * index
        if place + 12 > len(data):
            return
        (tag,) = struct.unpack_from("<H", data, place)
        if tag in {256, 257}:
            value = width if tag == 256 else height
            data[place + 2 : place + 12] = struct.pack("<HII", 4, 1, value)
        elif index == odd:  # strips, bits a sample, compression, ...: whatever stands there
            data[place + 4 : place + 12] = struct.pack(
                "<II", int(rng.choice([0, 1, 3, 2**31, 2**32 - 1])), int(rng.integers(2**32))
            )


_ODD: tuple[Any, ...] = (
    None, True, -1, 0, 1e308, -0.0, "", "../../etc/passwd", "x" * 5000, [], {}, [[]], {"a": {}},
    2**70, "\ud800", float("nan"), float("inf"), 10**400,
)  # fmt: skip


def damaged_json(value: Any, rng: RNG) -> Any:
    """Return a copy of decoded JSON in which one value is odd, missing, added or exchanged."""
    copy = json.loads(json.dumps(value))
    places: list[tuple[Any, Any]] = []

    def collect(node: Any) -> None:
        if isinstance(node, (dict, list)):
            keys = list(node) if isinstance(node, dict) else range(len(node))
            for key in keys:
                places.append((node, key))
                collect(node[key])

    collect(copy)
    for _ in range(rng.integers(1, 3)):
        node, key = places[rng.integers(len(places))]
        try:
            what = rng.integers(4)
            if what == 0:
                del node[key]
            elif what == 1 and isinstance(node, dict):
                node[f"{key}_"] = node[key]
            elif what == 2:
                other, place = places[rng.integers(len(places))]
                node[key] = json.loads(json.dumps(other[place]))
            else:
                node[key] = _ODD[rng.integers(len(_ODD))]
        except (KeyError, IndexError):
            continue
    return copy
