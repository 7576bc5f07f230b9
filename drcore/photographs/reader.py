"""Reading a photograph from a file, bytes or pixels."""

from __future__ import annotations

import hashlib
import io
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from drcore.errors import PhotographError
from drcore.photographs.dicom_frames import DicomFrame, file_name, frame_name, frame_sha256
from drcore.photographs.formats import _kind, encoded_bytes
from drcore.photographs.frame_count import LONG_HEAD_BYTES, frames_in
from drcore.photographs.identity import read_name
from drcore.photographs.pages import (
    pictures_in,
)
from drcore.photographs.photograph import GRADING_SIDE, MAX_PIXELS, Photograph, Source, check_size
from drcore.photographs.raster import _decode
from drcore.text import clean_name

__all__ = ["frame_count", "read_photograph"]


def read_photograph(
    source: Source,
    *,
    name: str | None = None,
    for_grading: bool = False,
    least_side: int = GRADING_SIDE,
    max_pixels: int = MAX_PIXELS,
    frame: int | None = None,
) -> Photograph:
    """Read one photograph, whatever its container, by content and never by extension.

    Args:
        source: a path, the encoded bytes, a binary file object, RGB uint8 (H, W, 3) pixels, a
            frame of a file, or a photograph that was read before.
        name: display name; from the path or file object if None.
        for_grading: let a large JPEG be decoded at 1/2, 1/4 or 1/8 of its size (the discrete
            cosine transform gives these for free), never below `least_side`.
        least_side: of a picture that is decoded at a reduced size, in pixels.
        max_pixels: refuse pictures that declare more pixels than this.
        frame: number of the photograph, from 1, in a file that may hold several (`frame_count`):
            DICOM frames, TIFF pages, pictures of an MPO, frames of an animated WebP, PNG, GIF or
            AVIF. Its name then tells the number, `eye frame 2.tif`, where the file holds several.

    Returns:
        The photograph; 16-bit, grey, palette, alpha and CMYK pictures become 8-bit RGB.

    Raises:
        PhotographError: the source is missing, empty, damaged, foreign, too large or too small, or
            a file with several photographs of which none was named.
    """
    if isinstance(source, Photograph):
        return source if name is None else replace(source, name=clean_name(name))
    if isinstance(source, np.ndarray):
        return _from_array(source, name, max_pixels)
    if isinstance(source, DicomFrame):
        photograph = read_photograph(
            source.file, name=None if name is None else file_name(name), for_grading=for_grading,
            least_side=least_side, max_pixels=max_pixels, frame=source.number,
        )  # fmt: skip
        return photograph if name is None else replace(photograph, name=clean_name(name))
    data, label = encoded_bytes(source, name)
    kind = _kind(data)
    if kind is None:
        raise PhotographError(
            f"{label}: this is not a JPEG, PNG, TIFF, BMP, GIF, JPEG 2000, HEIC, AVIF, WebP or "
            "DICOM picture. Export the photograph in one of these formats."
        )
    if kind == "DICOM":
        # An extra, which most readers do without.
        from drcore.photographs.dicom_reader import read_frame, read_single_frame

        if frame is None:
            return read_single_frame(data, label, max_pixels)
        named = frame_name(label, frame) if frames_in(data) > 1 else label
        return read_frame(data, frame, name=named, max_pixels=max_pixels)
    return _from_raster(
        data, kind, label, least_side=least_side if for_grading else None, max_pixels=max_pixels,
        frame=frame,
    )  # fmt: skip


def _from_raster(
    data: bytes, kind: str, label: str, *, least_side: int | None, max_pixels: int,
    frame: int | None,
) -> Photograph:  # fmt: skip
    """Decode a file that is not DICOM, or one picture of it."""
    count = pictures_in(data, kind) if frame is not None else 1
    decoded = _decode(data, kind, label, least_side=least_side, max_pixels=max_pixels, number=frame)
    identity = read_name(label)
    digest = hashlib.sha256(data)
    sha256 = digest.hexdigest()
    if frame is not None and count > 1:  # as for the frames of a DICOM file
        sha256 = frame_sha256(digest, frame)
        label = frame_name(label, frame)
    return Photograph(
        rgb=decoded.rgb,
        width=decoded.width,
        height=decoded.height,
        reduction=decoded.reduction,
        name=label,
        sha256=sha256,
        laterality=identity.laterality,
        patient=identity.patient,
        exam_date=identity.exam_date,
        identity_source=identity.source,
        file_size=len(data),
        note=decoded.note,
    )


def frame_count(source: str | Path | bytes | bytearray | memoryview | BinaryIO) -> int:
    """Count the photographs of a file of any kind, from its headers: nothing is decoded.

    Args:
        source: a path, the encoded bytes, or a binary file object that can be sought; of a path
            or an object only the headers are read.

    Returns:
        1 or more: DICOM frames, TIFF pages, pictures of an MPO, frames of an animated WebP, PNG,
        GIF or AVIF; thumbnails, masks and stereo twins are not counted. 1 also for what is no
        photograph, damaged or not there: `read_photograph` tells why. With more than one, read each
        with `read_photograph(source, frame=n)`, or hand `DicomFrame(path_or_bytes, n)` to what
        takes a source.
    """
    if isinstance(source, str | Path):
        try:
            if not Path(source).is_file():  # a pipe would block
                return 1
            with Path(source).open("rb") as opened:
                return frame_count(opened)
        except (OSError, ValueError):
            return 1
    file = io.BytesIO(source) if isinstance(source, bytes | bytearray | memoryview) else source
    try:
        kind = _kind(file.read(140))
        file.seek(0)
        if kind == "DICOM":  # private elements may come before the number of frames
            return frames_in(file.read(LONG_HEAD_BYTES))
    except (OSError, ValueError, TypeError):
        return 1
    return 1 if kind is None else pictures_in(file, kind)


def _from_array(rgb: NDArray[np.generic], name: str | None, max_pixels: int) -> Photograph:
    label = clean_name(name or "array")
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3:
        raise PhotographError(
            f"{label}: expected RGB uint8 of shape (H, W, 3), got {rgb.dtype} {rgb.shape}."
        )
    check_size(rgb.shape[1], rgb.shape[0], label, max_pixels)
    pixels = np.ascontiguousarray(rgb, dtype=np.uint8)
    identity = read_name(label)
    digest = hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).hexdigest()
    return Photograph(
        pixels, pixels.shape[1], pixels.shape[0], 1, label, digest, identity.laterality,
        identity.patient, exam_date=identity.exam_date, identity_source=identity.source,
    )  # fmt: skip
