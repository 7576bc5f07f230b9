"""The published preprocessing: the eye's bounding box, resized to a square with aspect lost."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from drcore.photographs.reader import read_photograph
from training.data.cache import build_arrays, cache_key
from training.data.labels import Labelled, LabelsError

__all__ = ["LARGEST", "Photographs", "crop_to_eye", "eye_box", "resized", "square"]

LARGEST = 512
"""Side of the largest published input in pixels. Smaller squares are averaged from this one, so
that they are the same whether the photograph was read for them or its larger square was there."""

_VERSION = 4
"""Part of the cache's key: raise it with every change that changes a pixel."""


def crop_to_eye(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Cut a photograph to the eye's bounding box: uint8 (h, w, 3), a view; see `eye_box`."""
    top, bottom, left, right = eye_box(rgb)
    return rgb[top:bottom, left:right]


def eye_box(rgb: NDArray[np.uint8]) -> tuple[int, int, int, int]:
    """Find the eye's bounding box, or the centre square if there is none.

    The background is as bright as the lower quartile of strips along the left and right edge; what
    is brighter than that by a margin is eye. The published level, the brightest value in the
    strips, holds for the competition's wide frames alone: where a photograph is cropped to the eye
    already, the strips hold retina too and only the corners show the background, and much of the
    eye would be cut away with it.

    Args:
        rgb: uint8 (H, W, 3), 0-255.

    Returns:
        Rows from and to, columns from and to, in pixels.
    """
    height, width = rgb.shape[:2]
    strip = max(1, width // 32)
    smooth = cv2.medianBlur(rgb, 5)  # noise is no eye; a blur, as published, would widen labels
    edges = np.concatenate([smooth[:, :strip], smooth[:, -strip:]], axis=1)
    level = np.percentile(edges.reshape(-1, 3), 25, axis=0) + 10
    eye = cv2.inRange(smooth, np.zeros(3), np.floor(level)) == 0
    # A row or column counts where a twentieth of it is eye: dust and labels are less.
    rows = np.flatnonzero(eye.mean(axis=1) > 0.05)
    columns = np.flatnonzero(eye.mean(axis=0) > 0.05)
    if len(rows) and len(columns):
        top, bottom = int(rows[0]), int(rows[-1]) + 1
        left, right = int(columns[0]), int(columns[-1]) + 1
        # A box of less than a third of the height is a reflex, not an eye.
        if min(bottom - top, right - left) > height / 3:
            return top, bottom, left, right
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return top, top + side, left, left + side


def square(rgb: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Cut to the eye and resize; width and height are scaled independently, as published.

    Args:
        rgb: uint8 (H, W, 3), 0-255.
        size: side of the result in pixels.

    Returns:
        uint8 (size, size, 3).
    """
    return resized(crop_to_eye(rgb), size)


@dataclass(frozen=True, slots=True)
class Photographs:
    """Cropped photographs of a labels file.

    Attributes:
        rows: the labelled photographs, N of them.
        pixels: uint8 (N, S, S, 3), RGB, memory-mapped.
    """

    rows: list[Labelled]
    pixels: NDArray[np.uint8]

    @classmethod
    def build(
        cls,
        rows: list[Labelled],
        cache: Path,
        size: int,
        *,
        workers: int = 1,
        quiet: bool = False,
    ) -> Photographs:
        """Crop the photographs, or open what an earlier run has cropped.

        Squares smaller than `LARGEST` are averaged from that size: from its array, where the
        cache has it, else from the photographs, with the same pixels as result.

        Args:
            cache: folder for the arrays; 0.8 MB a photograph at 512 px.
            size: side S in pixels.

        Raises:
            LabelsError: there are no rows, or photographs cannot be read; names the first ten.
            SourceError: the cache cannot be written, or its disk is too full.
        """
        if not rows:
            raise LabelsError("There are no photographs to crop: the list of rows is empty.")
        file, larger = (
            cache / f"{cache_key(rows, _VERSION, s)}-crops.npy" for s in (size, LARGEST)
        )
        if size < LARGEST and not file.exists() and larger.exists():
            whole = np.load(larger, mmap_mode="r")

            def make(index: int) -> list[NDArray[np.uint8]]:
                return [resized(np.ascontiguousarray(whole[index]), size)]
        else:

            def make(index: int) -> list[NDArray[np.uint8]]:
                return [_read_square(rows[index].path, size)]

        names = [row.path.name for row in rows]
        arrays = build_arrays([(file, (size, size, 3))], names, make, workers=workers, quiet=quiet)
        return cls(rows, arrays[0])


def _read_square(path: Path, size: int) -> NDArray[np.uint8]:
    photograph = read_photograph(path, for_grading=True)
    cut = crop_to_eye(photograph.rgb)
    if photograph.reduction > 1 and min(cut.shape[:2]) < max(size, LARGEST):
        # An eye that fills little of the photograph: the reduced one has too few pixels of it.
        cut = crop_to_eye(read_photograph(path).rgb)
    return resized(cut if size >= LARGEST else resized(cut, LARGEST), size)


def resized(rgb: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Average along the axes that shrink, then interpolate along those that grow."""
    height, width = rgb.shape[:2]
    shrunk = cv2.resize(rgb, (min(width, size), min(height, size)), interpolation=cv2.INTER_AREA)
    whole = cv2.resize(shrunk, (size, size), interpolation=cv2.INTER_LINEAR)
    return np.asarray(whole, np.uint8)
