"""Files whose bytes do not add up: lengths, checksums, streams that end early."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

__all__ = ["check_deflated", "check_segments", "check_stream", "shortened_webp"]


_HOLE = 64
"""Zero bytes in a row that no arithmetic coder writes."""

SPARE = 16
"""Bytes that `shortened_webp` takes away: an encoder may pad its last code with two or three."""


def check_stream(data: bytes, kind: str) -> None:
    """Check what a format declares of itself, which decoders pass over.

    Args:
        data: the encoded file.
        kind: "PNG", "WEBP", "AVIF" or "HEIC"; other kinds are checked where they are decoded.

    Raises:
        ValueError: a checksum is wrong, or something is missing or too much.
    """
    if kind == "PNG":
        _check_png(data)
    elif kind == "WEBP":
        _check_webp(data)
    elif kind in {"AVIF", "HEIC"}:
        _check_holes(data)


def _check_png(data: bytes) -> None:
    """Compare the checksum of each chunk (ISO/IEC 15948, 5.3)."""
    place, view = 8, memoryview(data)
    while place + 12 <= len(data):
        length = int.from_bytes(data[place : place + 4], "big")
        end = place + 8 + length
        if end + 4 > len(data):
            break
        if zlib.crc32(view[place + 4 : end]) != int.from_bytes(data[end : end + 4], "big"):
            raise ValueError(f"the checksum of the part at byte {place} is wrong")
        if data[place + 4 : place + 8] == b"IEND":
            return
        place = end + 4
    raise ValueError("it is cut short")


def _check_webp(data: bytes) -> None:
    """Follow the chunks of a WebP: they fill the file without gap or rest (RFC 9649)."""
    end = 8 + int.from_bytes(data[4:8], "little")
    if end > len(data):
        raise ValueError("it is cut short")
    if data[end:].strip(b"\0"):
        raise ValueError("it is longer than it declares")
    place = 12
    while place + 8 <= end:
        (length,) = struct.unpack_from("<L", data, place + 4)
        place += 8 + length + (length & 1)
    if place not in {end, end + 1}:  # the last byte of padding may be left out
        raise ValueError("its parts do not add up")


def _check_holes(data: bytes) -> None:
    """Look for a hole in arithmetic codes, which never hold as many zeros in a row.

    Not beside Exif data: that is kept among the codes, and may hold some.
    """
    place = 0 if b"Exif" not in data else len(data)
    while place + 16 <= len(data):
        length, kind = struct.unpack_from(">L4s", data, place)
        if length == 1:
            (length,) = struct.unpack_from(">Q", data, place + 8)
        end = place + length if length else len(data)
        if kind == b"mdat" and bytes(_HOLE) in data[place + 8 : end].rstrip(b"\0"):
            raise ValueError("a part of its picture is empty")
        if end <= place:
            return
        place = end


def shortened_webp(data: bytes) -> bytes | None:
    """Return a WebP without the last bytes of its picture, to be decoded in vain.

    The arithmetic decoder reads a whole picture to its last bytes. After damage it is out of step:
    it needs more, which it reports, or less, and then this decodes although it must not.

    Args:
        data: a WebP whose chunks add up.

    Returns:
        A WebP that holds this picture alone; None for an animation.

    Source:
        Boolean entropy decoder: RFC 6386, 7; entropy-coded image data: RFC 9649, 3.7.
    """
    place = 12
    while place + 8 <= len(data):
        kind = data[place : place + 4]
        length = int.from_bytes(data[place + 4 : place + 8], "little")
        if kind in {b"VP8 ", b"VP8L"}:
            body = data[place + 8 : place + 8 + length].rstrip(b"\0")[:-SPARE]
            body = body[: len(body) & ~1]
            head = struct.pack("<4sL4s4sL", b"RIFF", 12 + len(body), b"WEBP", kind, len(body))
            return head + body
        place += 8 + length + (length & 1)
    return None


def check_deflated(data: bytes, offsets: Sequence[int], counts: Sequence[int], size: int) -> None:
    """Compare the checksums of deflated strips or tiles, which libtiff does not.

    Args:
        data: the encoded file.
        offsets, counts: where each segment starts, and its bytes.
        size: bytes that a segment expands to at most.

    Raises:
        ValueError: a segment is damaged or cut short.
    """
    for start, count in zip(offsets, counts, strict=True):
        inflater = zlib.decompressobj()
        try:
            inflater.decompress(data[start : start + count], size + 64)
        except zlib.error as error:
            raise ValueError(f"a strip is damaged: {error}") from error
        if not inflater.eof:
            raise ValueError("a strip is cut short or too long")


def check_segments(
    data: bytes, offsets: Sequence[int], counts: Sequence[int], least: Sequence[int]
) -> None:
    """Check that the strips or tiles of a TIFF are there, each with as many bytes as it needs.

    Args:
        data: the encoded file.
        offsets, counts: where each segment starts, and its bytes, as declared.
        least: bytes that each must have at least; its length is the number of segments expected.

    Raises:
        ValueError: a segment is missing, lies outside the file or is too short.
    """
    if len(offsets) < len(least) or len(counts) < len(least):
        raise ValueError(f"{len(least)} strips were expected, but there are {len(offsets)}")
    for number, (start, count, needed) in enumerate(zip(offsets, counts, least, strict=False)):
        if start <= 0 or count < needed or start + count > len(data):
            raise ValueError(f"strip {number + 1} of {len(least)} is missing or cut short")
