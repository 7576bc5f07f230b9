"""Photographs to measure with: a public-domain retina as 12-megapixel cameras store it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import skimage.data
from PIL import Image

from drcore.photographs.formats import EXTENSIONS

WIDTH, HEIGHT = 4288, 2848


def make_photographs(folder: Path, count: int, width: int = WIDTH, height: int = HEIGHT) -> None:
    """Write varied JPEGs of `skimage.data.retina()`: turned, mirrored, moved, lit and with noise.

    Args:
        folder: exists.
        count: how many.
        width, height: of each, in pixels.
    """
    rng = np.random.default_rng(0)
    retina = cv2.resize(skimage.data.retina(), (height, height), interpolation=cv2.INTER_CUBIC)
    spare = width - height
    for index in range(count):
        turned = np.rot90(retina, index % 4)[:, :: 1 if index % 8 < 4 else -1]
        left = spare // 2 + int(rng.integers(-spare // 8, spare // 8 + 1))
        canvas = np.zeros((height, width, 3), np.float32)
        canvas[:, left : left + height] = turned * rng.uniform(0.75, 1.1)
        canvas += rng.normal(0, 4, (height, width, 1)).astype(np.float32)
        picture = Image.fromarray(np.clip(canvas, 0, 255).astype(np.uint8))
        picture.save(folder / f"eye_{index:04d}.jpg", quality=92)


def photographs_in(folder: Path) -> list[Path]:
    """Return the photographs of a folder, sorted; none is an error with a sentence."""
    files = sorted(f for f in folder.iterdir() if f.suffix.lower() in EXTENSIONS)
    if not files:
        raise SystemExit(f"There is no photograph in {folder}.")
    return files
