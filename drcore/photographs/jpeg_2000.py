"""Damage to a JPEG 2000 that decoders pass over: its blocks are decoded to their end, or not.

An arithmetic decoder goes on after damage, out of step: it then needs more bytes of a block than
there are, or fewer. OpenJPEG counts them where a stream says that its blocks end predictably; so it
is told so, and its warnings are read. It is the library that Pillow decodes with.
"""

from __future__ import annotations

import ctypes
import functools
import re
from collections.abc import Callable
from typing import Any

__all__ = ["check_jpeg_2000"]

_SLACK = 4
"""Bytes by which encoders may end a block early or late."""

_SIZE, _CODING, _CODING_OF_ONE, _TILE = 0x51, 0x52, 0x53, 0x90
_BYPASS, _PREDICTABLE, _HIGH_THROUGHPUT = 0x01, 0x10, 0x40
"""Styles of blocks: some passes are raw, blocks end predictably, another coder altogether."""

_COUNTED = re.compile(r"PTERM check failure: (\d+) ")
_DAMAGE = ("segment too long", "truncated", "Missing packets", "Expected SOP", "Expected EPH")

_BYTES, _FAR, _ANY = ctypes.c_size_t, ctypes.c_int64, ctypes.c_void_p
_READ = ctypes.CFUNCTYPE(_BYTES, _ANY, _BYTES, _ANY)
_SKIP = ctypes.CFUNCTYPE(_FAR, _FAR, _ANY)
_SEEK = ctypes.CFUNCTYPE(ctypes.c_int, _FAR, _ANY)
_SAY = ctypes.CFUNCTYPE(None, ctypes.c_char_p, _ANY)
_FUNCTIONS: dict[str, tuple[Any, list[Any]]] = {
    "create_decompress": (_ANY, [ctypes.c_int]),
    "set_default_decoder_parameters": (None, [_ANY]),
    "setup_decoder": (ctypes.c_int, [_ANY, _ANY]),
    "set_warning_handler": (ctypes.c_int, [_ANY, _SAY, _ANY]),
    "stream_create": (_ANY, [_BYTES, ctypes.c_int]),
    "stream_set_read_function": (None, [_ANY, _READ]),
    "stream_set_skip_function": (None, [_ANY, _SKIP]),
    "stream_set_seek_function": (None, [_ANY, _SEEK]),
    "stream_set_user_data": (None, [_ANY, _ANY, _ANY]),
    "stream_set_user_data_length": (None, [_ANY, ctypes.c_uint64]),
    "read_header": (ctypes.c_int, [_ANY, _ANY, ctypes.POINTER(_ANY)]),
    "decode": (ctypes.c_int, [_ANY, _ANY, _ANY]),
    "destroy_codec": (None, [_ANY]),
    "stream_destroy": (None, [_ANY]),
    "image_destroy": (None, [_ANY]),
}
"""Of OpenJPEG's C interface (openjpeg.h): result and arguments."""


def check_jpeg_2000(data: bytes) -> None:
    """Decode a JPEG 2000 and count the bytes that each of its blocks takes.

    Args:
        data: code stream, or JP2 file, of a size that may be decoded.

    Raises:
        ValueError: a block takes more or fewer bytes than it has, or parts are missing.

    Source:
        Termination of code blocks: ISO/IEC 15444-1, D.4.2 and annex J.7.
    """
    stream, library = _ending_predictably(data), _library()
    if stream is None or library is None:
        return
    blocks, missing = 0, ""
    for told in _warnings(stream, library):
        counted = _COUNTED.match(told)
        blocks += counted is not None and int(counted[1]) > _SLACK
        if any(words in told for words in _DAMAGE):
            missing = told
    if blocks or missing:
        raise ValueError(missing or f"{blocks} of its blocks do not end where they should")


def _ending_predictably(data: bytes) -> bytes | None:
    """The same, marked as one whose blocks end predictably; None where that cannot be counted."""
    begin = data.find(b"\xff\x4f\xff\x51")
    if begin < 0:
        return None
    marked, place, wide = bytearray(data), begin + 2, 1
    while place + 14 < len(data) and data[place + 1] != _TILE:
        marker, style = data[place + 1], 0
        if marker == _SIZE and int.from_bytes(data[place + 38 : place + 40], "big") > 256:
            wide = 2
        if marker == _CODING:
            style = place + 12
        elif marker == _CODING_OF_ONE:
            style = place + 8 + wide
        if style:
            if data[style] & (_BYPASS | _HIGH_THROUGHPUT):
                return None
            marked[style] |= _PREDICTABLE
        place += 2 + int.from_bytes(data[place + 2 : place + 4], "big")
    return bytes(marked)


@functools.cache
def _library() -> Any:
    """OpenJPEG as Pillow has loaded it; None where Pillow was built otherwise."""
    from PIL import _imaging

    try:
        library = ctypes.CDLL(_imaging.__file__)
        for name, (result, arguments) in _FUNCTIONS.items():
            function = getattr(library, f"opj_{name}")
            function.restype, function.argtypes = result, arguments
    except (OSError, AttributeError):
        return None
    return library


def _warnings(data: bytes, library: Any) -> list[str]:
    """Decode once, and return what the decoder warned of."""
    told: list[str] = []
    read, skip, seek = _file_of(data)
    say = _SAY(lambda text, _: told.append(text.decode("latin-1").strip()))
    codec = library.opj_create_decompress(0 if data.startswith(b"\xff\x4f") else 2)
    stream = library.opj_stream_create(1 << 20, 1)
    image = _ANY()
    try:
        parameters = ctypes.create_string_buffer(1 << 15)  # of about 8 KiB
        library.opj_set_default_decoder_parameters(parameters)
        library.opj_set_warning_handler(codec, say, None)
        library.opj_stream_set_read_function(stream, read)
        library.opj_stream_set_skip_function(stream, skip)
        library.opj_stream_set_seek_function(stream, seek)
        library.opj_stream_set_user_data(stream, None, None)
        library.opj_stream_set_user_data_length(stream, len(data))
        if library.opj_setup_decoder(codec, parameters):
            told.clear()
            if library.opj_read_header(stream, codec, ctypes.byref(image)):
                library.opj_decode(codec, stream, image)
    finally:
        if image:
            library.opj_image_destroy(image)
        library.opj_stream_destroy(stream)
        library.opj_destroy_codec(codec)
    return told


def _file_of(data: bytes) -> tuple[Callable[..., Any], Callable[..., Any], Callable[..., Any]]:
    """How OpenJPEG reads, skips and seeks in bytes."""
    place = 0

    def read(target: int, wanted: int, _: object) -> int:
        nonlocal place
        part = data[place : place + wanted]
        ctypes.memmove(target, part, len(part))
        place += len(part)
        return len(part) or _BYTES(-1).value

    def skip(wanted: int, _: object) -> int:
        nonlocal place
        before, place = place, max(0, min(place + wanted, len(data)))
        return place - before or -1

    def seek(wanted: int, _: object) -> int:
        nonlocal place
        fits = 0 <= wanted <= len(data)
        place = wanted if fits else place
        return int(fits)

    return _READ(read), _SKIP(skip), _SEEK(seek)
