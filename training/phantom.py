"""Synthetic colour fundus photographs ("phantoms") with exact lesion masks.

A phantom is drawn from a recipe: the same recipe gives the same pixels (with the same versions of
numpy and OpenCV). No part of a real photograph is used. Phantoms serve tests, demonstrations and
continuous integration, where real photographs may not be shipped. They are not evidence of how
well a model grades patients.

Geometry is kept in *field units*: the origin is the centre of the field of view, its radius is 1,
x points to the patient's nose and y points down. A right eye (OD) therefore has its disc on the
right; a left eye (OS) is the mirror image. One field unit is about 22 degrees, so that a typical
optic disc has a radius of 0.14 and lies 0.7 (2.5 disc diameters) nasal of the fovea.

    python -m training.phantom OUT_DIR --count 20 --size 1024 --seed 0
    python -m training.phantom sample_images --samples
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Sequence
from training.synthetic.phantom import make_phantom
from training.synthetic.recipe import MASK_FLAGS, PhantomRecipe, random_recipe

# The pictures in sample_images/, rewritten by `--samples`.
SAMPLES: dict[str, PhantomRecipe] = {
    "phantom_none_OD.jpg": PhantomRecipe(seed=12, pigment=0.35, notch=True),
    "phantom_mild_OS.jpg": PhantomRecipe(
        seed=6, laterality="OS", microaneurysms=7, pigment=0.2, tint=(0.97, 1.0, 1.3)
    ),
    "phantom_moderate_OD.jpg": PhantomRecipe(
        seed=5, microaneurysms=18, haemorrhages=16, hard_exudates=6, soft_exudates=1
    ),
    "phantom_severe_OS.jpg": PhantomRecipe(
        seed=21, laterality="OS", microaneurysms=30, haemorrhages=115, hard_exudates=4,
        soft_exudates=5, pigment=0.65, notch=True,
    ),
    "phantom_cut_OS.jpg": PhantomRecipe(
        seed=2, laterality="OS", microaneurysms=12, haemorrhages=8, haemorrhage_quadrants=2,
        hard_exudates=3, cut_above=0.1, cut_below=0.1, notch=True,
    ),
    "phantom_dark_OD.jpg": PhantomRecipe(
        seed=30, microaneurysms=10, haemorrhages=6, pigment=0.8, exposure=0.5, vignetting=0.7,
        blur=9.0, noise=3.0, offset=(0.03, 0.01),
    ),
}  # fmt: skip


def _write(path: Path, image: NDArray[np.uint8]) -> None:
    """Write RGB or grey pixels; the JPEG quality is 90."""
    pixels = image[..., ::-1] if image.ndim == 3 else image
    options = [cv2.IMWRITE_JPEG_QUALITY, 90] if path.suffix == ".jpg" else []
    if not cv2.imwrite(str(path), pixels, options):
        raise OSError(f"could not write {path}")


def write_samples(folder: Path) -> None:
    """Write the six sample phantoms from their pinned recipes.

    Raises:
        OSError: a file could not be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, recipe in SAMPLES.items():
        _write(folder / name, make_phantom(recipe).rgb)


def write_dataset(folder: Path, count: int, size: int = 1024, seed: int = 0) -> None:
    """Write random phantoms with masks and labels, laid out like the real photographs.

    `images/NAME.jpg` is the picture, `masks/NAME_mask.png` has one byte a pixel with the bits of
    `MASK_FLAGS`, and `labels.csv` has the columns image, grade, dme, dataset, split and patient.
    Grades 0 to 3 take turns; every eighth round of them is for validation.

    Arguments:
        count: number of phantoms, >= 0.
        size: width of the pictures in px, at least 64.

    Raises:
        OSError: a file could not be written.
        ValueError: the size is too small.
    """
    (folder / "images").mkdir(parents=True, exist_ok=True)
    (folder / "masks").mkdir(exist_ok=True)
    rng = np.random.default_rng(seed)
    with (folder / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(("image", "grade", "dme", "dataset", "split", "patient"))
        for i in range(count):
            phantom = make_phantom(random_recipe(rng, size, grade=i % 4))
            name = f"phantom_{i:05d}"
            flags = np.zeros(phantom.rgb.shape[:2], np.uint8)
            for mask, flag in MASK_FLAGS.items():
                flags[phantom.masks[mask]] |= flag
            _write(folder / "images" / f"{name}.jpg", phantom.rgb)
            _write(folder / "masks" / f"{name}_mask.png", flags)
            split = "val" if i // 4 % 8 == 7 else "train"
            table.writerow((f"{name}.jpg", phantom.grade, phantom.dme, "phantom", split, name))


def main(argv: Sequence[str] | None = None) -> int:
    """Command line: write a set of random phantoms, or the sample pictures.

    Arguments:
        argv: arguments without the program's name; None takes them from the process.

    Returns:
        Exit status, 0.
    """
    parser = argparse.ArgumentParser(description="Write synthetic fundus photographs.")
    parser.add_argument("folder", type=Path, metavar="OUT_DIR")
    parser.add_argument("--count", type=int, default=20, help="number of phantoms (20)")
    parser.add_argument("--size", type=int, default=1024, help="width in px (1024)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the set (0)")
    parser.add_argument(
        "--samples", action="store_true", help="write the pictures of sample_images/ instead"
    )
    options = parser.parse_args(argv)
    if options.samples:
        write_samples(options.folder)
    else:
        write_dataset(options.folder, options.count, options.size, options.seed)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
