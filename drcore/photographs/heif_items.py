"""Which items of a HEIF file (HEIC, AVIF) are photographs, and the codes of each.

A file may hold thumbnails, gain maps, tiles, stereo twins and alternatives beside its photographs;
decoders tell the first two apart, and some show the first picture alone. ISO/IEC 23008-12.
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["HeifItems", "heif_items", "heif_places", "is_sequence", "with_primary"]

_PICTURES = frozenset({b"hvc1", b"av01", b"jpeg", b"j2k1", b"avc1", b"grid", b"iden", b"iovl"})
_LARGEST = 1 << 24
"""Bytes of a table of items, at most."""


@dataclass(slots=True)
class HeifItems:
    """The table of items of a file.

    Attributes:
        primary: number of the item that is shown where only one can be.
        primary_place: of that number in the file, and the bytes that it takes.
        kinds: by number of an item, its four letters; hidden ones are left out of `shown`.
        shown: numbers of pictures that are neither hidden, nor thumbnails, nor auxiliary.
        references: (kind, from, to), as in the file.
        groups: (kind, numbers) of items that belong together.
        places: by number, (offset, bytes) of each extent in the file, or in the table of items.
        properties: by number, (kind, content) of each property.
    """

    primary: int = 0
    primary_place: tuple[int, int] = (0, 0)
    kinds: dict[int, bytes] = field(default_factory=dict)
    shown: list[int] = field(default_factory=list)
    references: list[tuple[bytes, int, list[int]]] = field(default_factory=list)
    groups: list[tuple[bytes, list[int]]] = field(default_factory=list)
    places: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    properties: dict[int, list[tuple[bytes, bytes]]] = field(default_factory=dict)

    def photographs(self) -> list[int]:
        """Return numbers of the items that stand for themselves, in the order of the file."""
        parts = {
            to for kind, start, targets in self.references
            if kind == b"dimg" and (start in self.shown or self.kinds.get(start) == b"tmap")
            for to in targets if to != self.primary
        }  # fmt: skip
        for kind, members in self.groups:
            if kind in {b"ster", b"altr"}:
                there = [n for n in members if n in self.shown]
                kept = self.primary if self.primary in there else next(iter(there), 0)
                parts |= {number for number in there if number != kept}
        return [number for number in self.shown if number not in parts] or [self.primary]

    def leaves(self, number: int, depth: int = 4) -> set[int]:
        """Return the coded items that a picture is put together from; itself where it is one."""
        inputs = [to for kind, start, to in self.references if kind == b"dimg" and start == number]
        if not inputs or depth == 0:
            return {number}
        return {leaf for to in inputs[0] for leaf in self.leaves(to, depth - 1)}


def heif_items(file: BinaryIO) -> HeifItems:
    """Read the table of items.

    Args:
        file: that can be sought; only its heads are read.

    Returns:
        The table.

    Raises:
        ValueError: there is none.
        Exception: whatever damage brings about.
    """
    place = 0
    while True:
        file.seek(place)
        head = file.read(16)
        if len(head) < 8:
            raise ValueError("it has no table of items")
        length, kind = struct.unpack_from(">L4s", head)
        start = 8
        if length == 1:
            (length,), start = struct.unpack_from(">Q", head, 8), 16
        if kind == b"meta":
            file.seek(place + start)
            return _table(file.read(min(length - start, _LARGEST)), place + start)
        if length < 8:
            raise ValueError("it has no table of items")
        place += length


def is_sequence(head: bytes) -> bool:
    """Tell by its first bytes an AVIF whose pictures follow each other in time."""
    return head[8:12] == b"avis"


def heif_places(file: BinaryIO, seen: int | None) -> tuple[list[int], str]:
    """Say which pictures of a file are photographs.

    Args:
        file: that can be sought.
        seen: pictures that the decoder gives by their place; None if only the primary item.

    Returns:
        Places among those that the decoder gives, from 0, or numbers of items where it gives one;
        and a sentence on what was passed over.
    """
    try:
        items = heif_items(file)
        numbers, shown = items.photographs(), items.shown
    except Exception:
        if seen is None:
            raise
        return list(range(seen)), ""
    if seen is not None and seen != len(shown):
        lost = f"The file names {len(shown)} pictures, of which {seen} can be read."
        return list(range(seen)), lost
    places = [shown.index(number) for number in numbers]
    note = ""
    if len(numbers) < len(shown):
        chosen = ", ".join(str(place + 1) for place in places[:5])
        note = (
            f"Picture {chosen} of {len(shown)} was read; the others are stereo twins, parts or "
            "other versions of it."
        )
    return (numbers if seen is None else places), note


def with_primary(data: bytes, number: int) -> bytes:
    """Make another item of a file the one that is shown.

    Args:
        data: the encoded file.
        number: of the item.

    Returns:
        The file.
    """
    place, size = heif_items(io.BytesIO(data)).primary_place
    return data[:place] + number.to_bytes(size, "big") + data[place + size :]


def _boxes(data: bytes, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Kind, start and end of the content of each box."""
    while start + 8 <= end:
        length, kind = struct.unpack_from(">L4s", data, start)
        head = 8
        if length == 1:
            (length,), head = struct.unpack_from(">Q", data, start + 8), 16
        stop = start + length if length else end
        if length and length < head:
            return
        yield kind, start + head, min(stop, end)
        start = stop


def _table(data: bytes, base: int) -> HeifItems:
    """The boxes of a `meta` box whose content begins at `base` of the file."""
    items = HeifItems()
    boxes = {kind: (start, end) for kind, start, end in _boxes(data, 4, len(data))}
    start, _ = boxes[b"pitm"]
    size = 4 if data[start] else 2
    items.primary = int.from_bytes(data[start + 4 : start + 4 + size], "big")
    items.primary_place = base + start + 4, size
    hidden = _infos(data, *boxes[b"iinf"], items)
    if b"iref" in boxes:
        _references(data, *boxes[b"iref"], items)
    for kind, begin, _ in _boxes(data, *boxes.get(b"grpl", (0, 0))):
        (count,) = struct.unpack_from(">L", data, begin + 8)
        numbers = struct.unpack_from(f">{count}L", data, begin + 12)
        items.groups.append((kind, list(numbers)))
    inner, _ = boxes.get(b"idat", (0, 0))
    _locations(data, *boxes[b"iloc"], items, base + inner)
    _properties(data, *boxes[b"iprp"], items)
    aside = {start for kind, start, _ in items.references if kind in {b"thmb", b"auxl"}}
    items.shown = [
        number for number, kind in items.kinds.items()
        if number == items.primary
        or (kind in _PICTURES and number not in hidden and number not in aside)
    ]  # fmt: skip
    return items


def _infos(data: bytes, start: int, end: int, items: HeifItems) -> set[int]:
    """Read the kinds of the items; the numbers of hidden ones are returned."""
    hidden = set()
    for kind, begin, _ in _boxes(data, start + (8 if data[start] else 6), end):
        if kind != b"infe" or data[begin] < 2:
            continue
        size = 2 if data[begin] == 2 else 4
        number = int.from_bytes(data[begin + 4 : begin + 4 + size], "big")
        items.kinds[number] = data[begin + 6 + size : begin + 10 + size]
        if data[begin + 3] & 1:
            hidden.add(number)
    return hidden


def _references(data: bytes, start: int, end: int, items: HeifItems) -> None:
    letter = "L" if data[start] else "H"
    size = struct.calcsize(letter)
    for kind, begin, _ in _boxes(data, start + 4, end):
        number, count = struct.unpack_from(f">{letter}H", data, begin)
        to = struct.unpack_from(f">{count}{letter}", data, begin + size + 2)
        items.references.append((kind, number, list(to)))


def _locations(data: bytes, start: int, end: int, items: HeifItems, inner: int) -> None:
    """Where the bytes of each item lie; `inner` is where those in the table begin."""
    version = data[start]
    place = start + 6
    offset, length = data[start + 4] >> 4, data[start + 4] & 15
    base, index = data[start + 5] >> 4, data[start + 5] & 15

    def number(size: int) -> int:
        nonlocal place
        place += size
        return int.from_bytes(data[place - size : place], "big")

    for _ in range(number(4 if version == 2 else 2)):
        item = number(4 if version == 2 else 2)
        method = number(2) & 15 if version else 0
        number(2)
        first = number(base) + (inner if method == 1 else 0)
        extents = []
        for _ in range(number(2)):
            number(index if version else 0)
            extents.append((first + number(offset), number(length)))
        items.places[item] = extents if method < 2 else []
        if place > end:
            raise ValueError("its table of places is cut short")


def _properties(data: bytes, start: int, end: int, items: HeifItems) -> None:
    """Properties of each item, from the list of all and the table that assigns them."""
    boxes = [*_boxes(data, start, end)]
    properties = [
        (kind, data[begin:stop])
        for name, first, last in boxes if name == b"ipco"
        for kind, begin, stop in _boxes(data, first, last)
    ]  # fmt: skip
    for name, first, _ in boxes:
        if name != b"ipma":
            continue
        letter, size = ("L" if data[first] else "H"), (2 if data[first + 3] & 1 else 1)
        place = first + 8
        for _ in range(struct.unpack_from(">L", data, first + 4)[0]):
            number, count = struct.unpack_from(f">{letter}B", data, place)
            place += struct.calcsize(letter) + 1
            for _ in range(count):
                at = int.from_bytes(data[place : place + size], "big")
                at &= 0x7F if size == 1 else 0x7FFF  # the first bit says that it must be heeded
                place += size
                if at:
                    items.properties.setdefault(number, []).append(properties[at - 1])
