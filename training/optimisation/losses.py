"""The loss of a training step: grades, sparse maps and, where there are masks, lesions."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from drcore.model.network import RamNetwork
from drcore.preprocessing.network_input import Preprocessing
from training.data.lesion_squares import LesionBatch
from training.data.squares import Sample, network_input
from training.optimisation.arithmetic import Folded
from training.optimisation.lesion_task import LesionHead, lesion_loss
from training.optimisation.precision import mixed_precision

__all__ = ["losses"]


def losses(
    network: RamNetwork,
    head: LesionHead | None,
    batch: Sample,
    annotated: LesionBatch | None,
    preparation: Preprocessing,
    sparsity: float,
    fast: Folded | None = None,
) -> tuple[Tensor, Tensor]:
    """Compute the losses of a batch.

    Photographs with masks enter the lesion loss alone: they are few and come often, and their
    grades would be memorised.

    Args:
        head: reads lesions off the feature maps, or None.
        annotated: photographs with masks on the network's device, or None.
        sparsity: see `training.recipe.Recipe`.
        fast: the network in the faster arithmetic, or None.

    Returns:
        Losses of grades and of lesions, float ().
    """
    device = next(network.parameters()).device
    pixels, coverage, grade = (part.to(device, non_blocking=True) for part in batch)
    count = len(pixels)
    if head is not None and annotated is not None:
        pixels = torch.cat([pixels, annotated.pixels])
        coverage = torch.cat([coverage, annotated.coverage])
    with mixed_precision(device):
        inputs = network_input(pixels, preparation, device)
        features = (
            network.features(inputs) if fast is None
            else fast.features(inputs, fast.fold()).float()
        )  # fmt: skip
        score, ram = network.read(features, coverage)
    error = functional.mse_loss(score[:count], grade)
    magnitude = (torch.log1p(ram[:count].abs()) * coverage[:count]).sum() / coverage[:count].sum()
    grades = error + sparsity * magnitude
    if head is None or annotated is None:
        return grades, torch.zeros_like(grades)
    return grades, lesion_loss(head(features[count:].float()), ram[count:], annotated)
