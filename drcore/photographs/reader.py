"""Reading a photograph from a file, bytes or pixels."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from drcore.errors import PhotographError
from drcore.photographs.dicom_frames import DicomFrame
from drcore.photographs.formats import _kind, encoded_bytes
from drcore.photographs.identity import read_name
from drcore.photographs.photograph import MAX_PIXELS, Photograph, Source, check_size
from drcore.photographs.raster import _decode
from drcore.text import clean_name

__all__ = ["read_photograph"]


def read_photograph(
    source: Source,
    *,
    name: str | None = None,
    for_grading: bool = False,
    max_pixels: int = MAX_PIXELS,
) -> Photograph:
    """Read one photograph, whatever its container, by content and never by extension.

    Args:
        source: a path, the encoded bytes, a binary file object, RGB uint8 (H, W, 3) pixels, a
            frame of a DICOM file, or a photograph that was read before.
        name: display name; from the path or file object if None.
        for_grading: let a large JPEG be decoded at 1/2, 1/4 or 1/8 of its size (the discrete
            cosine transform gives these for free), never below `GRADING_SIDE` px.
        max_pixels: refuse pictures that declare more pixels than this.

    Returns:
        The photograph; 16-bit, grey, palette, alpha and CMYK pictures become 8-bit RGB.

    Raises:
        PhotographError: the source is missing, empty, truncated, foreign, too large or too small,
            or a DICOM file with several photographs (`photographs_in` separates those).
    """
    if isinstance(source, Photograph):
        return source if name is None else replace(source, name=clean_name(name))
    if isinstance(source, np.ndarray):
        return _from_array(source, name, max_pixels)
    if isinstance(source, DicomFrame):
        from drcore.photographs.dicom_reader import read_frame

        return read_frame(source.file, source.number, name=name, max_pixels=max_pixels)
    data, label = encoded_bytes(source, name)
    kind = _kind(data)
    if kind is None:
        raise PhotographError(
            f"{label}: this is not a JPEG, PNG, TIFF, BMP, WebP or DICOM picture. "
            "Export the photograph in one of these formats."
        )
    if kind == "DICOM":
        from drcore.photographs.dicom_reader import (
            read_single_frame,  # an extra, which most readers do without
        )

        return read_single_frame(data, label, max_pixels)
    rgb, width, height, reduction = _decode(
        data, kind, label, for_grading=for_grading, max_pixels=max_pixels
    )
    identity = read_name(label)
    return Photograph(
        rgb=rgb,
        width=width,
        height=height,
        reduction=reduction,
        name=label,
        sha256=hashlib.sha256(data).hexdigest(),
        laterality=identity.laterality,
        patient=identity.patient,
        exam_date=identity.exam_date,
        identity_source=identity.source,
        file_size=len(data),
    )


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
