"""Files that hold several pictures: how many, which of them are photographs, and the n-th of them.

TIFF pages, pictures of an MPO, AVIF or HEIC, frames of an animated WebP, PNG, GIF or AVIF. (For
frames of DICOM files see `dicom_reader`.) Thumbnails and stereo twins are no photographs of their
own: they are skipped, and `Picture.note` says so.
"""

from __future__ import annotations

import io
import re
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from PIL import Image

from drcore.errors import PhotographError
from drcore.photographs.formats import register_heif
from drcore.photographs.heif_items import heif_places, is_sequence, with_primary
from drcore.photographs.jpeg import Blocks, blocks_of, check_jpeg, check_one_picture
from drcore.photographs.stream_damage import check_deflated, check_segments

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tifffile import TiffPage

__all__ = [
    "MAX_PICTURES", "Picture", "TiffHead", "check_tiff", "picture_of", "pictures_in", "tiff_blocks",
    "tiff_head",
]  # fmt: skip

_ANIMATED = frozenset({"PNG", "WEBP", "GIF", "AVIF", "HEIC"})

MAX_PICTURES = 1000
"""Pictures of one file at most, as for the frames of a DICOM file."""

_ORIENTATION_TAG = 274
_EXTRA_SAMPLES_TAG = 338
_DEFLATE = frozenset({8, 32946})
_REDUCED, _MASK = 1, 4
"""Bits of NewSubfileType: a smaller copy of another page, a mask of it."""


@dataclass(frozen=True, slots=True)
class Picture:
    """One photograph of a file.

    Attributes:
        data: encoded bytes in which it is the first picture, or the `seek`-th.
        seek: frame that Pillow has to seek, from 0.
        note: a sentence on what else the file holds and was passed over; else empty.
    """

    data: bytes
    seek: int = 0
    note: str = ""


def pictures_in(source: bytes | BinaryIO, kind: str) -> int:
    """Count the photographs of a file from its headers; no pixels are decoded.

    Args:
        source: the encoded bytes, or a file that can be sought.
        kind: "JPEG", "PNG", "TIFF", "WEBP", "GIF", "AVIF", "HEIC" or another format.

    Returns:
        1 or more: pages that are no thumbnails, pictures of an MPO that are neither thumbnails nor
        stereo twins, frames of an animation. 1 for what cannot be read: reading it tells why.
    """
    file = io.BytesIO(source) if isinstance(source, bytes) else source
    try:
        if kind == "TIFF":
            return max(1, len(_tiff_pages(file)[0]))
        if kind == "JPEG":
            return max(1, len(_mpo_pictures(file)[0]))
        if kind in _ANIMATED:
            return max(1, len(_frames(file, kind)[0]))
    except Exception:  # noqa: BLE001 - parsers raise whatever they like on hostile bytes
        return 1
    return 1


def picture_of(data: bytes, kind: str, number: int | None, label: str) -> Picture:
    """Take one photograph out of a file, without decoding it.

    Args:
        data: the encoded file.
        kind: its format, as for `pictures_in`.
        number: of the photograph, from 1; None for the only one of a file.
        label: display name, for the error.

    Returns:
        The photograph.

    Raises:
        PhotographError: there is no such photograph, or none was named and there are several.
        Exception: whatever a parser raises on a damaged head.
    """
    if kind == "TIFF":
        places, passed = _tiff_pages(io.BytesIO(data))
    elif kind == "JPEG":
        places, passed = _mpo_pictures(io.BytesIO(data))
    elif kind in _ANIMATED:
        if kind == "HEIC":
            register_heif(label)  # or say what to install
        places, passed = _frames(io.BytesIO(data), kind)
    else:
        places, passed = [0], ""
    places = places or [0]
    if number is None and len(places) > 1:
        raise PhotographError(
            f"{label}: this file holds {len(places)} photographs, and none may stand for the "
            "others. Open them one by one (frame=1, 2, ...), or export each as a file of its own."
        )
    index = (1 if number is None else number) - 1
    if not 0 <= index < len(places):
        raise PhotographError(
            f"{label}: there is no photograph {number}; this file holds {len(places)}."
        )
    place = places[index]
    if kind == "TIFF":
        return Picture(_first_page_at(data, place), note=passed)
    if kind == "JPEG":
        check_one_picture(data, label)
        return Picture(data[place:] if place else data, note=passed)
    if kind == "AVIF" and not is_sequence(data):
        return Picture(with_primary(data, place), note=passed)
    return Picture(data, seek=place, note=passed)


# --- TIFF ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TiffHead:
    """What a decoder has to know of the first page of a TIFF.

    Attributes:
        data: the file with orientation 1: decoders disagree on whether they turn a page upright.
        width, height: in pixels, as stored.
        orientation: 1 to 8.
        extra: kind of the fourth sample: 0 no alpha, 1 multiplied in, 2 separate; None without.
        extra_place: where that kind stands in the file.
        icc: profile of the colours; empty without.
        page: the page as tifffile sees it.
    """

    data: bytes
    width: int
    height: int
    orientation: int
    extra: int | None
    extra_place: int
    icc: bytes
    page: TiffPage

    @property
    def raw(self) -> bool:
        """Whether the pixels are stored row by row without compression."""
        return int(self.page.compression) == 1 and not self.page.is_tiled

    @property
    def packed(self) -> bool:
        """Whether the pixels are compressed without loss; OpenCV passes over damage to these."""
        return int(self.page.compression) not in {1, 6, 7}

    @property
    def jpeg(self) -> bool:
        """Whether the strips or tiles are JPEGs."""
        return int(self.page.compression) == 7


def tiff_head(data: bytes) -> TiffHead:
    """Read the tags of the first page of a TIFF that the reader needs.

    Args:
        data: the encoded file.

    Returns:
        The tags, and the file without its orientation.
    """
    from tifffile import TiffFile  # costs 60 ms to import, and TIFF is rare

    with TiffFile(io.BytesIO(data)) as tiff:
        page = tiff.pages.first
        tags = page.tags
        width, height = int(tags[256].value), int(tags[257].value)
        little = tiff.byteorder == "<"
        icc = tags.valueof(34675)
        extra = tags.get(_EXTRA_SAMPLES_TAG)
        first = None if extra is None else extra.value
        first = first[0] if isinstance(first, tuple) and first else first
        tag, orientation = tags.get(_ORIENTATION_TAG), 1
        if tag is not None and tag.count == 1 and isinstance(tag.value, int) and tag.value != 1:
            orientation = int(tag.value)
            start, length = tag.valueoffset, tag.valuebytecount
            upright = (1).to_bytes(length, "little" if little else "big")
            data = data[:start] + upright + data[start + length :]
        return TiffHead(
            data=data,
            width=width,
            height=height,
            orientation=orientation,
            extra=int(first) if isinstance(first, int) else None,
            extra_place=0 if extra is None else int(extra.valueoffset) + (0 if little else 1),
            icc=bytes(icc) if isinstance(icc, bytes) else b"",
            page=page,
        )


def check_tiff(head: TiffHead) -> None:
    """Check that the strips or tiles of a TIFF are all there, and those that are JPEGs whole.

    Args:
        head: of the page to be decoded.

    Raises:
        ValueError: something is missing, cut short or damaged.
    """
    page = head.page
    check_segments(head.data, page.dataoffsets, page.databytecounts, _least_bytes(page))
    if int(page.compression) in _DEFLATE:
        check_deflated(head.data, page.dataoffsets, page.databytecounts, _segment_bytes(page))
    if head.jpeg:
        for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True):
            if count:  # a second plane may be empty
                check_jpeg(_whole_jpeg(head, offset, count))


def tiff_blocks(head: TiffHead) -> Blocks | None:
    """Return the blocks of a TIFF that stores strips of JPEG, as `blocks_of` does.

    Args:
        head: of the page.

    Returns:
        The blocks; None for other compressions, tiles and single planes.
    """
    page = head.page
    if not head.jpeg or page.is_tiled or int(page.planarconfig) != 1:
        return None
    return blocks_of(_whole_jpeg(head, page.dataoffsets[0], page.databytecounts[0]))


def _whole_jpeg(head: TiffHead, offset: int, count: int) -> bytes:
    """A strip or tile with the tables that all of them share."""
    tables, strip = head.page.jpegtables, head.data[offset : offset + count]
    return bytes(tables[:-2]) + strip[2:] if tables else strip


def _segment_bytes(page: TiffPage) -> int:
    """Bytes that a strip or tile expands to at most."""
    rows = page.tilelength if page.is_tiled else page.rowsperstrip or page.imagelength
    across = page.tilewidth if page.is_tiled else page.imagewidth
    bits = int(page.samplesperpixel) * int(page.bitspersample)
    return min(int(rows), int(page.imagelength) + int(page.tilelength)) * -(
        -int(across) * bits // 8
    )


def _least_bytes(page: TiffPage) -> list[int]:
    """Bytes that each strip or tile of a page must have, in the order of the file."""
    width, height = int(page.imagewidth), int(page.imagelength)
    samples = int(page.samplesperpixel)
    planes = samples if int(page.planarconfig) == 2 else 1
    if page.is_tiled:
        across, down = int(page.tilewidth), int(page.tilelength)
        rows = [down] * (-(-width // across) * -(-height // down))
    else:
        across, down = width, min(int(page.rowsperstrip) or height, height)
        rows = [min(down, height - top) for top in range(0, height, down)]
    if int(page.compression) != 1 or int(page.photometric) == 6:
        return [1] * (len(rows) * planes)
    line = -(-across * (samples // planes) * int(page.bitspersample) // 8)
    return [row * line for row in rows] * planes


def _tiff_pages(file: BinaryIO) -> tuple[list[int], str]:
    """Offsets of the directories of pages that are photographs, and what was passed over."""
    from tifffile import TiffFile

    with TiffFile(file) as tiff:
        pages = []
        for page in tiff.pages:
            pages.append(page.aspage())
            if len(pages) > MAX_PICTURES:
                raise ValueError(f"it has more than {MAX_PICTURES} pages")
        sizes = [(int(page.imagewidth), int(page.imagelength)) for page in pages]
        largest = max(sizes, key=lambda size: size[0] * size[1])
        marked = [_is_marked_copy(page) for page in pages]
        kept = [
            n for n, size in enumerate(sizes)
            if not marked[n] and not _is_copy(size, largest)
        ]  # fmt: skip
        kept = kept or [sizes.index(largest)]
        note = ""
        if len(kept) < len(pages):
            chosen = ", ".join(str(n + 1) for n in kept[:5]) + (", ..." if len(kept) > 5 else "")
            note = (
                f"Page {chosen} of {len(pages)} was read; the others are smaller copies or masks."
            )
        return [int(pages[n].offset) for n in kept], note


def _is_marked_copy(page: TiffPage) -> bool:
    kind, old = page.tags.valueof(254), page.tags.valueof(255)
    return bool(isinstance(kind, int) and kind & (_REDUCED | _MASK)) or old == 2


def _is_copy(size: tuple[int, int], largest: tuple[int, int]) -> bool:
    """Whether a page is a thumbnail of the largest by its size: the same shape, a third or less."""
    (width, height), (full_width, full_height) = size, largest
    if min(size) < 1 or min(largest) < 1 or width * 3 > full_width:
        return False
    # A thumbnail's sides are whole pixels: one pixel either way.
    return abs(width * full_height - height * full_width) <= 1.5 * max(full_width, full_height)


def _first_page_at(data: bytes, offset: int) -> bytes:
    """Make the directory at an offset the first of a TIFF: every decoder reads that one."""
    little = data[:2] == b"II"
    big = data[2:4] in {b"+\0", b"\0+"}
    start, kind = (8, "Q") if big else (4, "I")
    pointer = struct.pack(("<" if little else ">") + kind, offset)
    if data[start : start + len(pointer)] == pointer:
        return data
    return data[:start] + pointer + data[start + len(pointer) :]


# --- MPO ----------------------------------------------------------------------------------------


def _mpo_pictures(file: BinaryIO) -> tuple[list[int], str]:
    """Offsets of the JPEGs of a multi-picture object that are photographs (CIPA DC-007)."""
    head = file.read(1 << 17)
    file.seek(0)
    if b"MPF\0" not in head:
        return [0], ""
    with Image.open(file, formats=("JPEG",)) as image:
        entries: Sequence[dict[str, object]] = (getattr(image, "mpinfo", None) or {}).get(45058, ())
    base = head.index(b"MPF\0") + 4
    places, twins = [], 0
    for number, entry in enumerate(entries[:MAX_PICTURES]):
        attribute = entry["Attribute"]
        kind = str(attribute["MPType"]) if isinstance(attribute, dict) else ""
        place = base + int(str(entry["DataOffset"])) if number else 0
        if number and ("Thumbnail" in kind or "Disparity" in kind or _is_gain_map(file, place)):
            twins += 1
            continue
        places.append(place)
    note = (
        f"Picture 1 of {len(entries)} was read; the others are smaller copies, stereo twins or "
        "gain maps."
        if twins and len(places) == 1
        else ""
    )
    return places or [0], note


def _is_gain_map(file: BinaryIO, place: int) -> bool:
    """Whether a picture holds the brightness for HDR screens, as those of telephones do."""
    file.seek(place)
    return re.search(rb"hdrgm:|:ts:21496:|HDRGainMap", file.read(4096)) is not None


# --- animations ---------------------------------------------------------------------------------


def _frames(file: BinaryIO, kind: str) -> tuple[list[int], str]:
    """Numbers for Pillow to seek, one for a picture that does not move; of an AVIF, of its items.

    And a sentence on what was passed over.
    """
    head = file.read(21)
    file.seek(0)
    if kind == "WEBP" and not (head[12:16] == b"VP8X" and head[20] & 2):
        return [0], ""
    if kind == "AVIF" and not is_sequence(head):
        return heif_places(file, None)
    if kind == "HEIC":
        register_heif("photograph")
    with Image.open(file, formats=("HEIF" if kind == "HEIC" else kind,)) as image:
        count = int(getattr(image, "n_frames", 1))
        first = 1 if kind == "PNG" and image.info.get("default_image") else 0
    if count > MAX_PICTURES:
        raise ValueError(f"it has more than {MAX_PICTURES} pictures")
    if kind == "HEIC":
        return heif_places(file, count)
    return list(range(min(first, count - 1), count)), ""
