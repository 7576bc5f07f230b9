"""Labelled photographs as squares of the field of view, and as network input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from drcore.photographs.reader import read_photograph
from drcore.preprocessing.field_of_view import find_field_of_view
from drcore.preprocessing.network_input import Preprocessing
from drcore.preprocessing.retina_square import RetinaSquare
from training.data.augmentation import augment
from training.data.cache import build_arrays, cache_key
from training.data.labels import Labelled
from training.recipe import Augmentation

__all__ = ["SQUARE", "Sample", "SoftTargets", "SquareSet", "Squares", "network_input", "warped"]


SQUARE = 512
"""Side of the cached squares in pixels: the largest network input."""


def warped(
    path: Path, preparation: Preprocessing
) -> tuple[RetinaSquare, NDArray[np.uint8], NDArray[np.uint8]]:
    """Bring a photograph into the square that networks are trained on.

    Returns:
        The frame; uint8 (512, 512, 3), 0-255; uint8 (128, 128), 255 on the retina.
    """
    photograph = read_photograph(path, for_grading=True)
    fov = find_field_of_view(photograph.rgb).scaled(photograph.reduction)
    frame = RetinaSquare(fov, photograph.width, photograph.height, SQUARE)
    mask = frame.at(SQUARE // 4).mask(preparation.margin).astype(np.uint8) * 255
    return frame, np.asarray(frame.warp(photograph.rgb), np.uint8), mask


@dataclass(frozen=True, slots=True)
class SoftTargets:
    """Targets of a recipe with a teacher.

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
        soft_targets: targets, where they are not the plain grades.
    """

    rows: list[Labelled]
    pixels: NDArray[np.uint8]
    masks: NDArray[np.uint8]
    soft_targets: SoftTargets | None = None

    def target(self, index: int) -> float:
        """Return the target of a photograph, in grades."""
        if self.soft_targets is not None:
            return float(self.soft_targets.targets[index])
        return float(self.rows[index].grade)

    @classmethod
    def build(
        cls, rows: list[Labelled], cache: Path, preparation: Preprocessing, *, quiet: bool = False
    ) -> Squares:
        """Warp the photographs, or open what an earlier run has warped.

        Args:
            cache: folder for the arrays; 0.8 MB a photograph.
        """
        key = cache_key(rows, 3, preparation.margin)
        pixels, masks = build_arrays(
            [
                (cache / f"{key}-pixels.npy", (SQUARE, SQUARE, 3)),
                (cache / f"{key}-masks.npy", (SQUARE // 4, SQUARE // 4)),
            ],
            [row.path.name for row in rows],
            lambda index: warped(rows[index].path, preparation)[1:],
            quiet=quiet,
        )
        return cls(rows, pixels, masks)


Sample = tuple[Tensor, Tensor, Tensor]
"""Local contrast uint8 (3, S, S); coverage float32 (m, m), 0-1; grade float32 ()."""


class SquareSet(Dataset[Sample]):
    """Squares as network input, augmented or as they are.

    Each draw has its own random stream, made from seed, epoch and place in the epoch: the result
    depends neither on the number of worker processes nor on where a killed run was resumed.

    Args:
        size: side S of the network input in pixels.
        augmentation: random changes, or None.
    """

    def __init__(
        self,
        squares: Squares,
        indices: Sequence[int] | NDArray[np.int64],
        size: int,
        cells: int,
        preparation: Preprocessing,
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


def network_input(pixels: Tensor, preparation: Preprocessing, device: torch.device) -> Tensor:
    """Turn a batch of local contrast into what networks take.

    Args:
        pixels: uint8 (B, 3, S, S).

    Returns:
        float32 (B, 3, S, S), channels last.
    """
    moved = pixels.to(device, non_blocking=True).float()
    return ((moved - preparation.mean) / preparation.std).contiguous(
        memory_format=torch.channels_last
    )
