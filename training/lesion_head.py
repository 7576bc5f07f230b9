"""Telling the trunk where lesions are: a head that trains beside the grade and does not ship.

A grade says that there are lesions, not which spots they are. Where some training photographs have
masks, a 1 x 1 convolution on the same feature maps that the linear unit reads says for each cell
which lesions lie in it, and the map is asked to be calm where there are none. The network that
ships stays what it is: feature maps, their mean, one linear unit.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from drcore.preprocessing.network_input import Preparation
from training.augment import draw_change
from training.data import SQUARE, Labelled, warped
from training.device_batches import change_batch, contrast_batch, move_batch
from training.lesions import LESION_TYPES, Annotated, read_lesions
from training.recipe import Augmentation

__all__ = [
    "LesionBatch",
    "LesionHead",
    "LesionSquares",
    "lesion_batches",
    "lesion_loss",
    "photographs_to_learn_from",
]

_RARE = -3.0
_CALM = 0.2
_TRACE = 0.05


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
    def build(cls, photographs: list[Annotated], preparation: Preparation) -> LesionSquares:
        """Warp photographs and masks.

        Args:
            photographs: none of them clean: what is trained on can no longer be measured on.
            preparation: gives the rim margin.

        Returns:
            The squares.

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
        table: CSV as `training.lesions.read_lesions` wants it.
        rows: the graded photographs.

    Returns:
        The photographs; none of them is clean.

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


class LesionHead(nn.Module):
    """How much of each cell is lesion of each type, read off the feature maps.

    Args:
        channels: of the feature maps.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(channels, len(LESION_TYPES), 1)
        # Most cells have none: begin there.
        nn.init.zeros_(self.convolution.weight)
        nn.init.constant_(self.convolution.bias, _RARE)

    def forward(self, features: Tensor) -> Tensor:
        """Return the log-odds of each type, float (A, 4, m, m)."""
        found: Tensor = self.convolution(features)
        return found


def lesion_batches(
    squares: LesionSquares,
    device: torch.device,
    count: int,
    size: int,
    cells: int,
    preparation: Preparation,
    augmentation: Augmentation,
    seed: tuple[int, int],
) -> Iterator[LesionBatch]:
    """Draw photographs with masks without end, changed at random.

    Args:
        squares: the photographs.
        device: where batches are made.
        count: photographs A a batch.
        size: side S of the network input in pixels.
        cells: side m of the network's map.
        preparation: how squares become input.
        augmentation: random changes.
        seed: (seed, epoch).

    Yields:
        Batches on the device.
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


def lesion_loss(odds: Tensor, ram: Tensor, batch: LesionBatch) -> Tensor:
    """How badly lesions are told, and how much the map says where there are none.

    Args:
        odds: float (A, 4, m, m), see `LesionHead`.
        ram: float (A, m, m), Regression Activation Maps in grades.
        batch: the photographs.

    Returns:
        float (), cross-entropy summed over the types, and a share of mean(log(1 + |map|)) over
        cells that neither hold a lesion nor lie beside one.
    """
    told = functional.binary_cross_entropy_with_logits(odds, batch.amount, reduction="none")
    weight = batch.known[:, :, None, None] * batch.coverage[:, None]
    error = (told * weight).sum() / weight.sum().clamp_min(1.0) * len(LESION_TYPES)
    near = functional.max_pool2d(batch.amount.amax(dim=1, keepdim=True), 3, 1, 1)[:, 0] > _TRACE
    healthy = ~near * batch.coverage
    loud = (torch.log1p(ram.abs()) * healthy).sum() / healthy.sum().clamp_min(1.0)
    return error + _CALM * loud
