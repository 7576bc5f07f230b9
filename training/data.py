"""Labelled photographs: reading the table, refusing what would spoil a run, caching squares."""

from __future__ import annotations

import csv
import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset
from tqdm import tqdm

from drcore.errors import DrcoreError
from drcore.photographs.reader import read_photograph
from drcore.preprocessing.field_of_view import find_field_of_view
from drcore.preprocessing.network_input import Preparation
from drcore.preprocessing.retina_square import Frame
from training.augment import augment
from training.recipe import Augmentation

__all__ = [
    "SQUARE",
    "Labelled",
    "LabelsError",
    "Lessons",
    "Sample",
    "SquareSet",
    "Squares",
    "class_weights",
    "data_root",
    "network_input",
    "read_labels",
    "warped",
]

SQUARE = 512
"""Side of the cached squares in pixels: the largest network input."""

SPLITS = ("train", "val", "test")


class LabelsError(DrcoreError):
    """The labels file cannot be trained on; the message names the line and the reason."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """One row of the labels file: path of the photograph, grade 0-4, dataset, split, patient."""

    path: Path
    grade: int
    dataset: str
    split: str
    patient: str


def data_root() -> Path:
    """Return the folder of the photographs: `DRCORE_DATA`, by default `../shared/data`."""
    return Path(os.environ.get("DRCORE_DATA", "../shared/data"))


def read_labels(table: Path, folder: Path | None = None) -> list[Labelled]:
    """Read a labels file and check that it can be trained on.

    Args:
        table: CSV with the columns image, grade, dataset, split, patient (others are ignored).
        folder: where the photographs are; `images` beside the table where left out.

    Returns:
        The rows, in the order of the file.

    Raises:
        LabelsError: a column or a photograph is missing, a grade or a split is unknown, a name
            stands twice, or a patient stands on both sides of a split. Names the line.
    """
    folder = folder if folder is not None else table.parent / "images"
    try:
        with table.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            rows = list(reader)
            columns = set(reader.fieldnames or ())
    except (OSError, UnicodeDecodeError) as error:
        raise LabelsError(f"{table.name}: cannot be read ({error}).") from error
    missing = {"image", "grade", "dataset", "split", "patient"} - columns
    if missing:
        raise LabelsError(f"{table.name}: column(s) missing: {', '.join(sorted(missing))}.")
    labelled: list[Labelled] = []
    seen: dict[str, int] = {}
    side: dict[tuple[str, str], tuple[str, int]] = {}
    for line, row in enumerate(rows, start=2):
        where = f"{table.name}, line {line}"
        name, grade, split = row["image"] or "", row["grade"] or "", row["split"] or ""
        if grade not in {"0", "1", "2", "3", "4"}:
            raise LabelsError(f"{where}: grade {grade!r} of {name!r} is not an ICDR grade 0-4.")
        if split not in SPLITS:
            raise LabelsError(f"{where}: split {split!r} of {name!r} is not train, val or test.")
        if name in seen:
            raise LabelsError(f"{where}: {name!r} stands already on line {seen[name]}.")
        if not name or Path(name).name != name or not (folder / name).is_file():
            raise LabelsError(f"{where}: there is no photograph {name!r} in the image folder.")
        key = (row["dataset"] or "", row["patient"] or name)
        first = side.setdefault(key, (split, line))
        if first[0] != split:
            raise LabelsError(
                f"{where}: patient {key[1]!r} is in {split!r} here and in {first[0]!r} on line "
                f"{first[1]}; keep each patient on one side."
            )
        seen[name] = line
        labelled.append(Labelled(folder / name, int(grade), key[0], split, key[1]))
    if not labelled:
        raise LabelsError(f"{table.name}: there are no rows.")
    return labelled


def warped(
    path: Path, preparation: Preparation
) -> tuple[Frame, NDArray[np.uint8], NDArray[np.uint8]]:
    """Bring a photograph into the square that networks are trained on.

    Args:
        path: of the photograph.
        preparation: gives the rim margin.

    Returns:
        The frame; uint8 (512, 512, 3), 0-255; uint8 (128, 128), 255 on the retina.
    """
    photograph = read_photograph(path, for_grading=True)
    fov = find_field_of_view(photograph.rgb).scaled(photograph.reduction)
    frame = Frame(fov, photograph.width, photograph.height, SQUARE)
    mask = frame.at(SQUARE // 4).mask(preparation.margin).astype(np.uint8) * 255
    return frame, np.asarray(frame.warp(photograph.rgb), np.uint8), mask


@dataclass(frozen=True, slots=True)
class Lessons:
    """What scores are to be while training, where a teacher has a say; see `training.teacher`.

    Attributes:
        targets: float64 (N,), in grades.
        teacher: name and version of the bundle.
    """

    targets: NDArray[np.float64]
    teacher: str


@dataclass(frozen=True, slots=True)
class Squares:
    """Photographs of a labels file, warped once.

    Attributes:
        rows: the labelled photographs, N of them.
        pixels: uint8 (N, 512, 512, 3), memory-mapped.
        masks: uint8 (N, 128, 128), 255 on the retina (rim margin left out), memory-mapped.
        lessons: what is to be learnt of them, where that is not the plain grade.
    """

    rows: list[Labelled]
    pixels: NDArray[np.uint8]
    masks: NDArray[np.uint8]
    lessons: Lessons | None = None

    def target(self, index: int) -> float:
        """Return what a photograph's score is to be, in grades."""
        if self.lessons is not None:
            return float(self.lessons.targets[index])
        return float(self.rows[index].grade)

    @classmethod
    def build(
        cls, rows: list[Labelled], cache: Path, preparation: Preparation, *, quiet: bool = False
    ) -> Squares:
        """Warp the photographs, or open what an earlier run has warped.

        Args:
            rows: labelled photographs.
            cache: folder for the arrays; 0.8 MB a photograph.
            preparation: gives the rim margin.
            quiet: no progress bar.

        Returns:
            The squares.
        """
        key = hashlib.sha256(
            json.dumps(
                [3, preparation.margin, *[(str(r.path.name), r.path.stat().st_size) for r in rows]]
            ).encode()
        ).hexdigest()[:16]
        cache.mkdir(parents=True, exist_ok=True)
        pixel_file, mask_file = cache / f"{key}-pixels.npy", cache / f"{key}-masks.npy"
        if not (pixel_file.exists() and mask_file.exists()):
            n = len(rows)
            part = pixel_file.with_suffix(".part"), mask_file.with_suffix(".part")
            pixels = np.lib.format.open_memmap(
                part[0], mode="w+", dtype=np.uint8, shape=(n, SQUARE, SQUARE, 3)
            )
            masks = np.lib.format.open_memmap(
                part[1], mode="w+", dtype=np.uint8, shape=(n, SQUARE // 4, SQUARE // 4)
            )
            for i, row in enumerate(tqdm(rows, desc="squares", unit="photograph", disable=quiet)):
                _, pixels[i], masks[i] = warped(row.path, preparation)
            pixels.flush()
            masks.flush()
            # Renamed only when whole: a killed run leaves no half-filled cache behind.
            part[0].rename(pixel_file)
            part[1].rename(mask_file)
        return cls(rows, np.load(pixel_file, mmap_mode="r"), np.load(mask_file, mmap_mode="r"))


Sample = tuple[Tensor, Tensor, Tensor]
"""Local contrast uint8 (3, S, S); coverage float32 (m, m), 0-1; grade float32 ()."""


class SquareSet(Dataset[Sample]):
    """Squares as network input, augmented or as they are.

    Each draw has its own random stream, made from seed, epoch and place in the epoch: the result
    depends neither on the number of worker processes nor on where a killed run was resumed.

    Args:
        squares: the warped photographs.
        indices: which of them, in order; may repeat.
        size: side S of the network input in pixels.
        cells: side m of the network's map.
        preparation: how squares become input.
        augmentation: random changes, or None.
        seed: (seed, epoch).
    """

    def __init__(
        self,
        squares: Squares,
        indices: Sequence[int] | NDArray[np.int64],
        size: int,
        cells: int,
        preparation: Preparation,
        augmentation: Augmentation | None = None,
        seed: tuple[int, int] = (0, 0),
    ) -> None:
        self.squares = squares
        self.indices = list(map(int, indices))
        self.size = size
        self.cells = cells
        self.preparation = preparation
        self.augmentation = augmentation
        self.seed = seed

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, place: int) -> Sample:
        index = self.indices[place]
        pixels = np.asarray(self.squares.pixels[index])
        mask = np.asarray(self.squares.masks[index])
        if self.augmentation is not None:
            rng = np.random.default_rng((*self.seed, place))
            pixels, mask = augment(pixels, mask, self.size, self.augmentation, rng)
        full = cv2.resize(mask, pixels.shape[:2], interpolation=cv2.INTER_LINEAR) > 127
        contrast = self.preparation.contrast(pixels, full, self.size)
        coverage = cv2.resize(mask, (self.cells, self.cells), interpolation=cv2.INTER_AREA)
        return (
            torch.from_numpy(np.ascontiguousarray(contrast.transpose(2, 0, 1))),
            torch.from_numpy(coverage.astype(np.float32) / 255),
            torch.tensor(self.squares.target(index), dtype=torch.float32),
        )


def network_input(pixels: Tensor, preparation: Preparation, device: torch.device) -> Tensor:
    """Turn a batch of local contrast into what networks take.

    Args:
        pixels: uint8 (B, 3, S, S).
        preparation: gives mean and spread.
        device: where the networks are.

    Returns:
        float32 (B, 3, S, S), channels last.
    """
    moved = pixels.to(device, non_blocking=True).float()
    return ((moved - preparation.mean) / preparation.std).contiguous(
        memory_format=torch.channels_last
    )


def class_weights(
    rows: Sequence[Labelled],
    power: float,
    datasets: dict[str, float],
    independence: float = 0.0,
) -> NDArray[np.float64]:
    """Return the probability with which each training photograph is drawn.

    Args:
        rows: training photographs.
        power: 0 draws as they are, 1 draws all grades alike.
        datasets: factor by dataset, 1 where not named.
        independence: 1 draws each grade from all datasets alike, up to their size and factor; 0
            leaves the grades of a dataset as they are; between, the geometric mean.

    Returns:
        float64 (N,), sums to 1.
    """
    counts = np.bincount([row.grade for row in rows], minlength=5)
    weights = np.array(
        [datasets.get(row.dataset, 1.0) * counts[row.grade] ** -power for row in rows]
    )
    if independence:
        places = {name: i for i, name in enumerate(sorted({row.dataset for row in rows}))}
        joint = np.zeros((len(places), 5))
        for row in rows:
            joint[places[row.dataset], row.grade] += 1
        expected = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0) / joint.sum()
        weights *= [
            (expected[places[row.dataset], row.grade] / joint[places[row.dataset], row.grade])
            ** independence
            for row in rows
        ]
    result: NDArray[np.float64] = weights / weights.sum()
    return result
