"""The elements of a DICOM file, walked over without parsing them, and its identifiers."""

from __future__ import annotations

import mmap
import re
import struct
from typing import NamedTuple

from drcore.errors import PhotographError
from drcore.text import one_line

__all__ = [
    "BODY", "MAX_ELEMENTS", "TRANSFER_SYNTAX", "UNDEFINED", "Identifiers", "is_uid",
    "names_its_kind", "read_identifiers", "walk_elements",
]  # fmt: skip

MAX_ELEMENTS = 200_000
"""Elements of a header at most, nested ones counted: twenty times a talkative camera's."""

TRANSFER_SYNTAX = 0x00020010
BODY = 0x00030000
"""The first tag that may follow the meta information."""
UNDEFINED = 0xFFFFFFFF
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_LONG_KINDS = frozenset(
    {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
)
"""Value representations whose length takes four bytes (PS3.5 7.1.2)."""
_LONGEST_VALUE = 1 << 20
_IN_META = (0x00020002, 0x00020003, TRANSFER_SYNTAX)
_IN_BODY = (0x00080016, 0x00080018, 0x0020000D, 0x0020000E)


class Identifiers(NamedTuple):
    """What tells one DICOM object from all others; each a UID.

    Attributes:
        sop_class: kind of object.
        sop_instance: of the object itself.
        study, series: that it belongs to.
        transfer_syntax: how its data set is encoded.
    """

    sop_class: str
    sop_instance: str
    study: str
    series: str
    transfer_syntax: str


def read_identifiers(data: bytes | mmap.mmap, label: str) -> Identifiers:
    """Read the identifiers of any DICOM file, a photograph or not.

    Args:
        data: the file's bytes.
        label: display name of the file.

    Raises:
        PhotographError: it is no DICOM file, lacks an identifier, or contradicts itself.
    """
    why = "it does not begin as a DICOM file does"
    named: list[str] = []
    own: list[str] = []
    if data[128:132] == b"DICM":
        try:
            meta, place = walk_elements(data, 132, set(_IN_META), BODY)
            found, _ = walk_elements(data, place, set(_IN_BODY), _IN_BODY[-1] + 1)
            named = [_text(meta.get(tag, b"")) for tag in _IN_META]
            own = [_text(found.get(tag, b"")) for tag in _IN_BODY]
            why = "an identifier is missing or no UID"
        except (ValueError, struct.error) as error:
            why = one_line(error)
    if not own or not all(map(is_uid, [*named, *own])):
        raise PhotographError(
            f"{label}: this is no DICOM file that can be sent or stored ({why}). Export it again."
        )
    if named[:2] != own[:2]:
        raise PhotographError(
            f"{label}: the DICOM file names two different objects, in its meta information and in "
            "its data set. Export it again."
        )
    return Identifiers(own[0], own[1], own[2], own[3], named[2])


def is_uid(text: str) -> bool:
    """Tell whether a text is a UID, also one with leading zeros, as some devices write them."""
    return len(text) <= 64 and re.fullmatch(r"[0-9]+(\.[0-9]+)*", text, re.ASCII) is not None


def _text(element: bytes) -> str:
    return element[8:].rstrip(b"\0 ").decode("ascii", "replace")


def names_its_kind(data: bytes | mmap.mmap, place: int) -> bool:
    """Whether the element there is explicit: two capitals stand where else the length would."""
    return re.fullmatch(rb"[A-Z]{2}", data[place + 4 : place + 6]) is not None


def walk_elements(
    data: bytes | mmap.mmap, place: int, wanted: set[int], stop: int
) -> tuple[dict[int, bytes], int]:
    """Walk over elements without parsing them, up to the first tag that is not below `stop`.

    pydicom builds an object for everything that it passes, nested or not: a header made of a
    million empty items would cost gigabytes. Here it costs a number.

    Returns:
        The encoded elements whose tags are wanted, and where the walk stopped.
    """
    found: dict[int, bytes] = {}
    explicit = names_its_kind(data, place)
    depth = 0
    for _ in range(MAX_ELEMENTS):
        if place + 8 > len(data):
            return found, len(data)
        group, element = struct.unpack_from("<HH", data, place)
        tag = group << 16 | element
        if depth == 0 and tag >= stop:
            return found, place
        (length,) = struct.unpack_from("<L", data, place + 4)
        body = place + 8
        if tag in {_ITEM_END, _SEQUENCE_END}:
            depth -= 1
        elif explicit and tag != _ITEM and names_its_kind(data, place):
            if data[place + 4 : place + 6] in _LONG_KINDS:
                (length,) = struct.unpack_from("<L", data, place + 8)
                body = place + 12
            else:
                (length,) = struct.unpack_from("<H", data, place + 6)
        if depth < 0:
            raise ValueError("a sequence ends that never began")
        if length == UNDEFINED:
            depth += 1
            length = 0
        elif depth == 0 and tag in wanted and length <= _LONGEST_VALUE:
            found[tag] = data[place : body + length]
        place = body + length
    raise ValueError(f"it has more than {MAX_ELEMENTS} elements")
