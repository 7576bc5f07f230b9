"""The published preprocessing: the eye's bounding box, resized to a square with aspect lost."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from drcore.errors import DrcoreError
from drcore.photograph import read_photograph
from training.data import Labelled, LabelsError

__all__ = ["Photographs", "crop_to_eye", "square"]


def crop_to_eye(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Cut a photograph to the eye's bounding box, or to the centre square if none is found.

    The background is as bright as the brightest value in strips along the left and right edge;
    what is brighter than that by a margin is eye.

    Args:
        rgb: uint8 (H, W, 3), 0-255.

    Returns:
        uint8 (h, w, 3), a view.
    """
    height, width = rgb.shape[:2]
    strip = max(1, width // 32)
    edges = np.concatenate([rgb[:, :strip], rgb[:, -strip:]], axis=1)
    # A high percentile rather than the maximum: a burnt-in label at the edge is no background.
    level = np.percentile(edges.reshape(-1, 3), 90, axis=0) + 10
    eye = (rgb > level).any(axis=2)
    # A row or column counts where a twentieth of it is eye: dust and labels are less.
    rows = np.flatnonzero(eye.mean(axis=1) > 0.05)
    columns = np.flatnonzero(eye.mean(axis=0) > 0.05)
    if len(rows) and len(columns):
        top, bottom = int(rows[0]), int(rows[-1]) + 1
        left, right = int(columns[0]), int(columns[-1]) + 1
        # A box of less than a third of the height is a reflex, not an eye.
        if min(bottom - top, right - left) > height / 3:
            return rgb[top:bottom, left:right]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return rgb[top : top + side, left : left + side]


def square(rgb: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Cut to the eye and resize; width and height are scaled independently, as published.

    Args:
        rgb: uint8 (H, W, 3), 0-255.
        size: side of the result in pixels.

    Returns:
        uint8 (size, size, 3).
    """
    cut = crop_to_eye(rgb)
    smaller = min(cut.shape[:2]) > size
    how = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(cut, (size, size), interpolation=how), np.uint8)


@dataclass(frozen=True, slots=True)
class Photographs:
    """Cropped photographs of a labels file.

    Attributes:
        rows: the labelled photographs, N of them.
        pixels: uint8 (N, 3, S, S), RGB, memory-mapped.
    """

    rows: list[Labelled]
    pixels: NDArray[np.uint8]

    @classmethod
    def build(
        cls, rows: list[Labelled], cache: Path, size: int, *, quiet: bool = False
    ) -> Photographs:
        """Crop the photographs, or open what an earlier run has cropped.

        Args:
            rows: labelled photographs.
            cache: folder for the arrays; 0.8 MB a photograph at 512 px.
            size: side S in pixels.
            quiet: no progress bar.

        Returns:
            The photographs.

        Raises:
            LabelsError: a photograph cannot be read; names it.
        """
        named = [(row.path.name, row.path.stat().st_size) for row in rows]
        key = hashlib.sha256(json.dumps([1, size, named]).encode()).hexdigest()[:16]
        cache.mkdir(parents=True, exist_ok=True)
        file = cache / f"{key}-crops.npy"
        if not file.exists():
            part = file.with_suffix(".part")
            pixels = np.lib.format.open_memmap(
                part, mode="w+", dtype=np.uint8, shape=(len(rows), 3, size, size)
            )
            for i, row in enumerate(tqdm(rows, desc="crops", unit="photograph", disable=quiet)):
                try:
                    rgb = read_photograph(row.path).rgb
                except DrcoreError as error:
                    raise LabelsError(f"{row.path.name} cannot be trained on: {error}") from error
                pixels[i] = square(rgb, size).transpose(2, 0, 1)
            pixels.flush()
            part.rename(file)  # only when whole: a killed run leaves no half-filled cache behind
        return cls(rows, np.load(file, mmap_mode="r"))
