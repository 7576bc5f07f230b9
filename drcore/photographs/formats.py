"""What kind of file some bytes are, by their content."""

from __future__ import annotations

import errno
import re
import time
from pathlib import Path
from typing import BinaryIO

from drcore.errors import RETRY_LATER, PhotographError
from drcore.photographs.photograph import MAX_BYTES
from drcore.text import clean_name

__all__ = ["EXTENSIONS", "encoded_bytes", "is_dicom", "register_heif"]


EXTENSIONS = frozenset(
    {
        ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".tif", ".tiff", ".bmp", ".webp",
        ".gif", ".heic", ".heif", ".avif", ".jp2", ".j2k", ".dcm", ".dicom",
    }
)  # fmt: skip
"""Endings of photographs. What a file *is* is decided by its content (`drcore.sources.sniff`); one
that ends so gets a row, and a reason, whatever it holds."""

_FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "WEBP", "GIF", "JPEG2000", "AVIF", "HEIF")
_MAGIC = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
    (b"II+\x00", "TIFF"),  # BigTIFF
    (b"MM\x00+", "TIFF"),
    (b"BM", "BMP"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),  # without the container
)
_HEIC_BRANDS = frozenset({b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1"})
_AVIF_BRANDS = frozenset({b"avif", b"avis"})
_PASSING = frozenset(
    {
        errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EAGAIN, errno.EBUSY, errno.ENOTCONN,
        errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENETDOWN, errno.ENETUNREACH, errno.ECONNRESET,
        errno.ECONNABORTED,
    }
)  # fmt: skip
"""What network drives answer while they cannot be reached."""

PAUSES = (0.5, 1.0, 2.0)
"""Seconds before a file is tried again that its drive does not give."""

_DEFLATE = 1032  # bytes that one byte of a PNG can stand for at most


def encoded_bytes(
    source: str | Path | bytes | bytearray | memoryview | BinaryIO, name: str | None = None
) -> tuple[bytes, str]:
    """Read an encoded file whole, if it is there and not too large.

    Args:
        source: a path, the encoded bytes, or a binary file object.
        name: display name; from the path or file object if None.

    Returns:
        The bytes, and the cleaned display name.

    Raises:
        PhotographError: the source is missing, empty or larger than `MAX_BYTES`.
    """
    data, found = _bytes_of(source)
    label = clean_name(name if name is not None else found)
    if not data:
        raise PhotographError(f"{label}: the file is empty. Export the photograph again.")
    if len(data) > MAX_BYTES:
        raise PhotographError(
            f"{label}: the file has {len(data) / 2**20:.0f} MiB; at most {MAX_BYTES >> 20} MiB "
            "are accepted. Export it as JPEG."
        )
    return data, label


def _bytes_of(source: str | Path | bytes | bytearray | memoryview | BinaryIO) -> tuple[bytes, str]:
    if isinstance(source, bytes | bytearray | memoryview):
        return bytes(source), "upload"
    if isinstance(source, str | Path):
        path = Path(source)
        label = clean_name(path.name)
        try:
            if not path.is_file():  # a folder, a pipe or a device would block or lie
                what = "this is a folder" if path.is_dir() else "there is no such file"
                raise PhotographError(f"{label}: {what}. Give the path of a photograph.")
            if path.stat().st_size > MAX_BYTES:
                raise PhotographError(
                    f"{label}: the file has {path.stat().st_size / 2**20:.0f} MiB; at most "
                    f"{MAX_BYTES >> 20} MiB are accepted. Export it as JPEG."
                )
            return _read(path), path.name
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or str(error)
            later = f" {RETRY_LATER}" if getattr(error, "errno", None) in _PASSING else ""
            raise PhotographError(f"{label}: the file cannot be opened ({why}).{later}") from error
    try:
        data = source.read(MAX_BYTES + 1)
    except (OSError, ValueError, AttributeError) as error:
        raise PhotographError(f"The given source cannot be read ({error}).") from error
    if not isinstance(data, bytes):
        raise PhotographError("The given file object is open as text; open it in binary mode.")
    found = getattr(source, "name", None)  # a number, where the file has none
    return data, found if isinstance(found, str) else "upload"


def _read(path: Path) -> bytes:
    """Read a file, again after growing pauses where its drive fails for a moment."""
    for pause in PAUSES:
        try:
            return path.read_bytes()
        except OSError as error:
            if error.errno not in _PASSING:
                raise
        time.sleep(pause)
    return path.read_bytes()


def is_dicom(head: bytes) -> bool:
    """Tell whether a file is DICOM.

    Args:
        head: its first 132 bytes or more.

    Returns:
        True for DICOM, with or without a preamble.
    """
    # Without preamble the file starts with a low tag of group 2 or 8.
    return head[128:132] == b"DICM" or bool(
        re.match(rb"[\x02\x08]\0[\0-\x20]\0(UL|..\0\0|[A-Z]{2})", head, re.DOTALL)
    )


def _kind(data: bytes) -> str | None:
    if is_dicom(data):  # before all others: its preamble may be the head of a TIFF
        return "DICOM"
    for magic, kind in _MAGIC:
        if data.startswith(magic):
            return kind
    if data[4:8] == b"ftyp":
        # Sequences and single pictures alike; a general brand comes before the particular ones.
        brands = {data[8:12], *(data[i : i + 4] for i in range(16, min(64, len(data)), 4))}
        return "AVIF" if brands & _AVIF_BRANDS else "HEIC" if brands & _HEIC_BRANDS else None
    return "WEBP" if data[:4] == b"RIFF" and data[8:12] == b"WEBP" else None


def register_heif(label: str) -> None:
    """Teach Pillow HEIC. Never by pillow-heif: what that one bundles is under the GPL.

    Args:
        label: display name of the file that needs it.

    Raises:
        PhotographError: the extra is not installed.
    """
    try:
        import pi_heif
    except ImportError as error:
        raise PhotographError(
            f'{label}: this is a HEIC file, and reading it needs the extra "heif". '
            'Install it: python -m pip install "drcore[heif]"'
        ) from error
    pi_heif.register_heif_opener()
