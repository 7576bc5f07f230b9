"""Squares with lesion masks, in batches."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from drcore.preprocessing.network_input import Preprocessing
from training.data.augmentation import draw_change
from training.data.augmentation_gpu import change_batch, contrast_batch, move_batch
from training.data.labels import Labelled
from training.data.lesion_masks import LESION_TYPES, Annotated, read_lesions
from training.data.squares import SQUARE, warped
from training.recipe import Augmentation

__all__ = ["LesionBatch", "LesionSquares", "lesion_batches", "photographs_to_learn_from"]


@dataclass(frozen=True, slots=True)
class LesionSquares:
    """Photographs with lesion masks, warped once.

    Attributes:
        pixels: uint8 (N, 512, 512, 3).
        masks: uint8 (N, 128, 128), 255 on the retina (rim margin left out).
        flags: uint8 (N, 512, 512), bit i for the i-th of `LESION_TYPES`.
        known: bool (N, 4), which types were looked for.
    """

    pixels: NDArray[np.uint8]
    masks: NDArray[np.uint8]
    flags: NDArray[np.uint8]
    known: NDArray[np.bool_]

    @classmethod
    def build(cls, photographs: list[Annotated], preparation: Preprocessing) -> LesionSquares:
        """Warp photographs and masks.

        Raises:
            ValueError: a photograph is clean, or there is none.
        """
        clean = [photograph.name for photograph in photographs if photograph.clean]
        if clean or not photographs:
            raise ValueError(
                f"Masks to train on: {len(photographs)} photographs, of which "
                f"{', '.join(clean) or 'none'} serve to measure maps; leave those out."
            )
        pixels, masks, flags, known = [], [], [], []
        for annotated in photographs:
            frame, square, mask = warped(annotated.path, preparation)
            found = annotated.lesions().on_square(frame)
            pixels.append(square)
            masks.append(mask)
            bits = np.zeros((SQUARE, SQUARE), np.uint8)
            for bit, name in enumerate(LESION_TYPES):
                if name in found:
                    bits |= found[name].astype(np.uint8) << bit
            flags.append(bits)
            known.append([name in annotated.annotated for name in LESION_TYPES])
        return cls(np.stack(pixels), np.stack(masks), np.stack(flags), np.array(known))


def photographs_to_learn_from(table: Path, rows: list[Labelled]) -> list[Annotated]:
    """Find the photographs with lesion masks whose picture is in the training split.

    Args:
        table: CSV as `training.data.lesion_masks.read_lesions` wants it.

    Raises:
        LesionsError: see `read_lesions`.
    """
    splits = {row.path.name: row.split for row in rows}
    photographs = read_lesions(table, splits)
    with table.open(newline="", encoding="utf-8") as file:
        same = {row["image"]: row["same_as"] for row in csv.DictReader(file)}
    return [p for p in photographs if splits.get(same[p.name]) == "train"]


@dataclass(frozen=True, slots=True)
class LesionBatch:
    """Some photographs with lesion masks as a network takes them.

    Attributes:
        pixels: local contrast uint8 (A, 3, S, S).
        coverage: float32 (A, m, m), 0-1.
        amount: float32 (A, 4, m, m), 0-1, square root of the share of the cell that is lesion of
            the type: a microaneurysm fills a twentieth of a cell.
        known: float32 (A, 4), 1 where the type was looked for.
    """

    pixels: Tensor
    coverage: Tensor
    amount: Tensor
    known: Tensor


def lesion_batches(
    squares: LesionSquares,
    device: torch.device,
    count: int,
    size: int,
    cells: int,
    preparation: Preprocessing,
    augmentation: Augmentation,
    seed: tuple[int, int],
) -> Iterator[LesionBatch]:
    """Draw photographs with masks without end, changed at random.

    Args:
        size: side S of the network input in pixels.
    """
    pixels = torch.from_numpy(squares.pixels.transpose(0, 3, 1, 2).copy()).to(device)
    masks = torch.from_numpy(squares.masks[:, None].copy()).to(device)
    flags = torch.from_numpy(squares.flags[:, None].copy()).to(device)
    known = torch.from_numpy(squares.known).float().to(device)
    bits = torch.arange(len(LESION_TYPES), device=device).view(1, -1, 1, 1)
    noise = torch.Generator(device).manual_seed(seed[0] * 1_000_003 + seed[1] + 1)
    rng = np.random.default_rng((*seed, len(squares.pixels)))
    while True:
        places = torch.from_numpy(rng.choice(len(pixels), count)).to(device)
        changes = [draw_change(size, augmentation, rng) for _ in range(count)]
        shown = change_batch(pixels[places].float(), changes, size, noise)
        retina = move_batch(masks[places].float(), changes).round_()
        lesions = move_batch(((flags[places] >> bits) & 1).float(), changes)
        share = functional.interpolate(lesions, (cells, cells), mode="area")
        yield LesionBatch(
            contrast_batch(shown, retina, preparation),
            functional.interpolate(retina, (cells, cells), mode="area")[:, 0] / 255,
            share.sqrt(),
            known[places],
        )
