"""The pictures of documents: a photograph and its overlay, re-encoded from pixels, at one size."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
from PIL import Image

from drcore.errors import PhotographError
from drcore.export.deidentification import Disclosure
from drcore.export.withheld import released
from drcore.files import DERIVED_MARK
from drcore.maps.overlay import overlay
from drcore.photographs.reader import read_photograph

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from drcore.export.case import Case

__all__ = ["LONG_SIDE", "ExportPictures", "illustrate", "jpeg"]

LONG_SIDE = 1600
"""Longest side in pixels: fine enough to see a microaneurysm, small enough for hundreds."""


@dataclass(frozen=True, slots=True, eq=False)
class ExportPictures:
    """A photograph beside its overlay.

    Attributes:
        photograph: uint8 (h, w, 3), 0-255, RGB.
        overlay: uint8 (h, w, 3), the same with outlines and a light fill of the fused map.
    """

    photograph: NDArray[np.uint8]
    overlay: NDArray[np.uint8]


def illustrate(case: Case, privacy: Disclosure, long_side: int = LONG_SIDE) -> ExportPictures:
    """Read a photograph again and draw its overlay.

    Args:
        case: graded or ungradable, as `privacy` leaves it.
        privacy: whether what surrounds the retina is blackened, and burnt-in identity shown.
        long_side: of the pictures at most, in pixels.

    Returns:
        Both pictures, with the fixed colours and outline levels of `drcore.maps.overlay`.

    Raises:
        PhotographError: the photograph vanished or changed, carries burnt-in identity and
            nobody asked for that, or may not leave de-identified (`PictureWithheldError`).
    """
    report = case.report
    if report.burned_in and not privacy.burned_in:
        raise PhotographError(
            f"{report.name}: its picture is left out, because the DICOM header says that the "
            "patient's identity is burnt into it. Ask for such pictures if you need them."
        )
    photograph = read_photograph(case.source, name=report.name)
    if photograph.sha256 != report.sha256:
        raise PhotographError(f"{report.name}: the file changed since it was graded. Grade again.")
    factor = min(1.0, long_side / max(photograph.width, photograph.height))
    # At full size: writing that is too small to be found in a smaller picture may still be read.
    rgb = released(photograph.rgb, report, privacy) if privacy.deidentified else photograph.rgb
    if factor < 1:
        size = (max(1, round(photograph.width * factor)), max(1, round(photograph.height * factor)))
        rgb = np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)
    return ExportPictures(rgb, overlay(rgb, report.evidence(), report.width))


def jpeg(rgb: NDArray[np.uint8], quality: int = 90) -> bytes:
    """Encode a picture as a JPEG that holds pixels and the mark of a derived picture.

    Args:
        rgb: uint8 (h, w, 3).
        quality: 1-95.

    Returns:
        The file.
    """
    file = io.BytesIO()
    # Full colour resolution: small lesions are red on red.
    Image.fromarray(rgb).save(file, "JPEG", quality=quality, subsampling=0, comment=DERIVED_MARK)
    return file.getvalue()
