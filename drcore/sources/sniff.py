"""What a file is, by its first bytes: the one definition of an input.

The command line, the Batch page and the Review page all ask here, so that the same folder, archive
or upload gives the same photographs everywhere.
"""

from __future__ import annotations

import re
from typing import Literal

from drcore.files import DERIVED_MARK
from drcore.photographs.formats import EXTENSIONS, is_dicom

__all__ = [
    "HEAD_BYTES", "OVERLAY_ENDING", "FileKind", "is_archive", "may_hold_several", "sniff",
]  # fmt: skip

FileKind = Literal[
    "picture", "DICOM", "archive", "not a photograph", "drcore export", "DICOM directory",
    "resource fork", "unsupported archive",
]  # fmt: skip

HEAD_BYTES = 128 * 1024
"""Bytes that `sniff` looks at: marks and headers lie before, behind a thumbnail of 64 KiB."""

OVERLAY_ENDING = ".drcore-map.jpg"
"""Ending of the overlays that a batch writes."""

_PICTURE = re.compile(
    rb"\xff\xd8\xff|\x89PNG\r\n\x1a\n|II[*+]\0|MM\0[*+]|GIF8[79]a|RIFF....WEBP"
    rb"|\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51"  # JPEG 2000
    rb"|....ftyp(heic|heix|hevc|heim|heis|mif1|msf1|avif|avis)"
    rb"|BM.{4}\0{4}.{4}[\x0c\x10\x28\x34\x38\x40\x6c\x7c]\0\0\0",  # BMP and its header's size
    re.DOTALL,
)
_ENDINGS = (".zip", ".tar", ".tar.gz", ".tgz")
_OTHER_ARCHIVE = re.compile(
    r"\.(7z|rar|tar\.(bz2|xz|zst|lz4?)|tbz2?|txz|tzst|gz|bz2|xz|zst)\s*$", re.IGNORECASE
)
_OTHER_ARCHIVE_HEAD = (b"Rar!\x1a\x07", b"7z\xbc\xaf\x27\x1c", b"\xfd7zXZ\0", b"BZh", b"\x1f\x8b")
_PLAIN_NAME = re.compile(r"(?!.*\.\w*[A-Za-z]\w*\s*$).*", re.DOTALL)
"""A name without an ending, or with one of digits as hospitals' archives give them."""

_APPLE_DOUBLE = b"\0\x05\x16\x07"
_DIRECTORY = re.compile(rb"1\.2\.840\.10008\.1\.3\.10(?![\d.])")
"""Class of a DICOMDIR: it lists photographs and holds none."""

_OWN_DICOM = re.compile(
    rb"1\.2\.840\.10008\.5\.1\.4\.1\.1\.(7(\.\d)?|88\.\d+)(?![\d.]).*drcore \d", re.DOTALL
)
"""A secondary capture or structured report whose software versions name drcore."""


def sniff(name: str, head: bytes) -> FileKind:
    """Tell what a file is.

    Args:
        name: of the file; untrusted text. It counts only where the content says nothing: a file
            that is named like a photograph gets a row that says why it cannot be read.
        head: its first `HEAD_BYTES`, or all of a shorter file.

    Returns:
        The kind.
    """
    ending = name.rstrip().lower()
    if head.startswith(_APPLE_DOUBLE):
        return "resource fork"
    if ending.endswith(OVERLAY_ENDING) or DERIVED_MARK in head:
        return "drcore export"
    if is_dicom(head):
        return _dicom_kind(head)
    if _PICTURE.match(head):
        return "picture"
    return _by_name(ending, head)


def _dicom_kind(head: bytes) -> FileKind:
    if _DIRECTORY.search(head[:2048]):
        return "DICOM directory"
    return "drcore export" if _OWN_DICOM.search(head) else "DICOM"


def _by_name(ending: str, head: bytes) -> FileKind:
    """What is no picture: an archive, or what is only named like one or like a photograph."""
    packed = head.startswith(b"PK\3\4") or head[257:262] == b"ustar"
    if is_archive(ending) or (packed and _PLAIN_NAME.fullmatch(ending)):
        return "archive"
    if _OTHER_ARCHIVE.search(ending) or head.startswith(_OTHER_ARCHIVE_HEAD):
        return "unsupported archive"
    last = "".join(ending.rpartition(".")[1:])
    return "picture" if last in EXTENSIONS else "not a photograph"


def may_hold_several(head: bytes) -> bool:
    """Tell by the first bytes of a picture whether to count what the file holds costs more."""
    if head.startswith(b"\xff\xd8\xff"):
        return b"MPF\0" in head or b"\xff\xda" not in head  # the pixels have not begun
    if head.startswith(b"\x89PNG"):
        return b"acTL" in head or b"IDAT" not in head
    if head.startswith(b"RIFF"):
        return head[12:16] == b"VP8X" and bool(head[20:21] and head[20] & 2)
    return is_dicom(head) or head.startswith((b"II", b"MM", b"GIF8")) or head[4:8] == b"ftyp"


def is_archive(name: str) -> bool:
    """Tell an archive by its name."""
    return name.rstrip().lower().endswith(_ENDINGS)
