"""Photographs as local contrast at the finest input size, with their lesions, cached on disk."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from drcore.photographs.reader import read_photograph
from drcore.preprocessing.field_of_view import find_field_of_view
from drcore.preprocessing.network_input import Preprocessing
from drcore.preprocessing.retina_square import RetinaSquare
from training.data.further_sets import read_healthy
from training.data.labels import Labelled, read_labels
from training.data.lesion_masks import read_lesions

__all__ = ["FINE", "OUTSIDE", "UNKNOWN", "FineSquare", "FineSquares", "read_fine_rows"]

FINE = 1024
"""Side of the squares in pixels."""

UNKNOWN = 64
"""Bit of a mask's pixels: lesions were not looked for in this photograph."""

OUTSIDE = 128
"""Bit of a mask's pixels: not retina, or the rim margin."""


@dataclass(frozen=True, slots=True)
class FineSquare:
    """One photograph of the finest scale.

    Attributes:
        path: of the photograph.
        dataset: name of its data set.
        split: "train", "val", "test" or "clean" (masks that only measure).
        patient: group key.
        grade: 0-4; None where there is none.
        mask: path of the lesion mask in the photograph's geometry; None where there is none.
        annotated: bits of the types that were looked for.
    """

    path: Path
    dataset: str
    split: str
    patient: str
    grade: int | None
    mask: Path | None = None
    annotated: int = 0


def read_fine_rows(root: Path) -> list[FineSquare]:
    """List all photographs that the finest scale is trained and measured on.

    Args:
        root: folder of the photographs with `labels.csv`, `lesions.csv`, `eophtha.csv` and
            `healthy.csv`.

    Returns:
        The photographs. Healthy eyes of other cameras are divided by patient: a third measures.
    """
    labels = read_labels(root / "labels.csv")
    return [
        *(_graded(row) for row in labels),
        *_idrid_masks(root, labels),
        *_eophtha(root),
        *(_graded(row) for row in read_healthy(root / "healthy.csv")),
    ]


def _graded(row: Labelled) -> FineSquare:
    return FineSquare(row.path, row.dataset, row.split, row.patient, row.grade)


def _idrid_masks(root: Path, labels: Sequence[Labelled]) -> list[FineSquare]:
    splits = {row.path.name: row.split for row in labels}
    with (root / "lesions.csv").open(newline="", encoding="utf-8") as file:
        same = {row["image"]: row["same_as"] for row in csv.DictReader(file)}
    bits = {"MA": 1, "HE": 2, "EX": 4, "SE": 8, "OD": 16}
    return [
        FineSquare(
            one.path, "idrid-masks", "clean" if one.clean else splits[same[one.name]], one.name,
            None, one.mask, sum(bits[name] for name in one.annotated),
        )
        for one in read_lesions(root / "lesions.csv", splits)
    ]  # fmt: skip


def _eophtha(root: Path) -> list[FineSquare]:
    with (root / "eophtha.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [
        FineSquare(
            root / "eophtha" / row["image"], "eophtha", row["split"], row["patient"], None,
            root / "eophtha" / f"{Path(row['image']).stem}_mask.png", 1,
        )
        for row in rows
    ]  # fmt: skip


@dataclass(frozen=True, slots=True)
class FineSquares:
    """Photographs warped once, as local contrast.

    Attributes:
        rows: N photographs.
        contrast: uint8 (N, 1024, 1024, 3), memory-mapped; 128 where nothing stands out.
        masks: uint8 (N, 1024, 1024), memory-mapped; lesion bits of `MASK_FLAGS`,
            `UNKNOWN` and `OUTSIDE`.
        widths: int (N,), diameter of the field of view in the photograph's pixels.
    """

    rows: list[FineSquare]
    contrast: NDArray[np.uint8]
    masks: NDArray[np.uint8]
    widths: NDArray[np.int64]

    @classmethod
    def build(
        cls,
        rows: Sequence[FineSquare],
        cache: Path,
        preparation: Preprocessing,
        *,
        quiet: bool = False,
    ) -> FineSquares:
        """Warp photographs, or open what an earlier run has warped.

        Args:
            rows: the photographs.
            cache: folder for the arrays; 4 MB a photograph.
            preparation: how squares become input.
            quiet: no progress bar.

        Returns:
            The squares.
        """
        key = hashlib.sha256(
            json.dumps([1, asdict(preparation), *(str(row.path) for row in rows)]).encode()
        ).hexdigest()[:16]
        cache.mkdir(parents=True, exist_ok=True)
        files = [cache / f"{key}-{name}.npy" for name in ("contrast", "masks", "widths")]
        if not all(file.exists() for file in files):
            n = len(rows)
            parts = [file.with_suffix(".part") for file in files]
            contrast = np.lib.format.open_memmap(parts[0], "w+", np.uint8, (n, FINE, FINE, 3))
            masks = np.lib.format.open_memmap(parts[1], "w+", np.uint8, (n, FINE, FINE))
            widths = np.lib.format.open_memmap(parts[2], "w+", np.int64, (n,))
            for i, row in enumerate(tqdm(rows, desc="squares", disable=quiet)):
                contrast[i], masks[i], widths[i] = _warped(row, preparation)
            del contrast, masks, widths
            for part, file in zip(parts, files, strict=True):
                part.rename(file)
        loaded = [np.load(file, mmap_mode="r") for file in files]
        return cls(list(rows), *loaded)


def _warped(
    row: FineSquare, preparation: Preprocessing
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], int]:
    photograph = read_photograph(row.path, for_grading=True)
    fov = find_field_of_view(photograph.rgb).scaled(photograph.reduction)
    frame = RetinaSquare(fov, photograph.width, photograph.height, FINE)
    inside = frame.mask(preparation.margin)
    square = np.asarray(frame.warp(photograph.rgb), np.uint8)
    contrast = preparation.contrast(square, inside, FINE)
    mask = np.full((FINE, FINE), UNKNOWN, np.uint8)
    if row.mask is not None:
        flags = cv2.imread(str(row.mask), cv2.IMREAD_GRAYSCALE)
        mask = np.asarray(frame.warp(flags, nearest=True), np.uint8)
    mask[~inside] = OUTSIDE
    return contrast, mask, round(2 * fov.radius)
