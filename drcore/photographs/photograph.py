"""A fundus photograph in memory, its limits, and what its file name says."""

from __future__ import annotations

import logging
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
from numpy.typing import NDArray

from drcore.errors import PhotographError
from drcore.eye import Laterality
from drcore.photographs.dicom_frames import DicomFrame

__all__ = ["MAX_BYTES", "MAX_PIXELS", "Photograph", "Source", "check_size"]


# The decoders write to stderr what our errors say better, some lines for every damaged file. Set
# once: to set and restore it around each call would not be safe between threads.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
logging.getLogger("tifffile").setLevel(logging.CRITICAL)
warnings.filterwarnings("ignore", module=r"PIL\.")

RGB = NDArray[np.uint8]

MAX_PIXELS = 150_000_000
"""Largest declared picture, in pixels: ten times a 12-megapixel camera, far below a bomb."""

MAX_BYTES = 512 * 1024 * 1024
"""Largest encoded file, in bytes."""

MIN_SIDE = 32
"""Shortest side of a photograph that is accepted, in pixels."""

GRADING_SIDE = 640
"""Reduced decoding keeps at least this many pixels on the short side, if not told otherwise: a
quarter more than 512 px, so the reduction costs no detail that networks of that input could see."""


@dataclass(frozen=True, slots=True, eq=False)
class Photograph:
    """An upright colour photograph, perhaps decoded at a reduced size.

    Attributes:
        rgb: uint8 (h, w, 3), 0-255, upright (EXIF orientation applied).
        width: width of the original, upright, in pixels; `rgb` has ceil(width / reduction).
        height: height of the original, upright, in pixels.
        reduction: original pixels per pixel of `rgb` along each axis: 1, 2, 4 or 8.
        name: display name without folders or control characters; still untrusted text.
        sha256: SHA-256 of the encoded file (of the pixels, where an array was given), hex.
        laterality: "OD", "OS", or None where neither DICOM header nor name tells for certain.
        patient: the DICOM header's PatientID, or what the name says for certain, or None.
        burned_in: whether the DICOM header says that identity is burnt into the pixels; None
            where nothing is said.
        exam_date: of the examination, `YYYY-MM-DD`, from the DICOM header or the name; None where
            neither tells. Never the file's own time stamp.
        identity_source: where these were read, `eye=name patient=dicom`.
        file_size: of the encoded file, in bytes; 0 where an array was given.
        note: a sentence on what else the file holds and was passed over, such as a thumbnail;
            empty where it holds nothing else.
        field_degrees: width of the field of view by the DICOM header; None where it gives none.
        camera: model of the camera by the DICOM header; empty where it gives none. Untrusted text.
    """

    rgb: RGB
    width: int
    height: int
    reduction: int
    name: str
    sha256: str
    laterality: Laterality | None
    patient: str | None
    burned_in: bool | None = None
    exam_date: str | None = None
    identity_source: str = ""
    file_size: int = 0
    note: str = ""
    field_degrees: float | None = None
    camera: str = ""


Source = str | Path | bytes | bytearray | memoryview | BinaryIO | RGB | Photograph | DicomFrame


def check_size(width: int, height: int, label: str, max_pixels: int) -> None:
    """Refuse a picture by its declared size, before anything is decoded.

    Args:
        width, height: in pixels.
        label: display name, for the error.
        max_pixels: largest number of pixels accepted.

    Raises:
        PhotographError: the picture is too large, or too small to be a fundus photograph.
    """
    if width * height > max_pixels:
        raise PhotographError(
            f"{label}: {width} x {height} is {width * height / 1e6:.0f} megapixels; at most "
            f"{max_pixels / 1e6:.0f} are accepted. Export it smaller."
        )
    if min(width, height) < MIN_SIDE:
        raise PhotographError(
            f"{label}: {width} x {height} pixels are too few for a fundus photograph "
            f"(at least {MIN_SIDE} on each side)."
        )
