"""Weights of published networks: fresh, from a smaller network, or of a finished run."""

from __future__ import annotations

from pathlib import Path

from torch.nn import functional

from training.optimisation.checkpoints import RunError, read_tensors
from training.reproduction.networks import PublishedNetwork
from training.reproduction.recipe import PublishedRecipe

__all__ = ["KEPT", "build", "load_kept", "start_from"]

KEPT = ("best-kappa", "best-mse", "last")
"""The three weights that a run keeps."""


def build(recipe: PublishedRecipe) -> PublishedNetwork:
    """Build the network of a recipe, freshly initialised."""
    return PublishedNetwork(recipe.net, head=recipe.head, untied=recipe.untied, norm=recipe.norm)


def start_from(network: PublishedNetwork, stem: Path) -> None:
    """Take over the weights of a smaller network, as the stages 128 -> 256 -> 512 do.

    Layers that the smaller one lacks keep their fresh weights. A bias that belongs to a pixel is
    interpolated to the larger map. The linear unit and the FC head are taken only where they fit.

    Args:
        stem: of the smaller network's weights, a path without ending.

    Raises:
        RunError: the file is missing or nothing in it fits.
    """
    try:
        given = read_tensors(stem)
    except FileNotFoundError:
        raise RunError(
            f"There are no weights {stem.name} in {stem.parent.name} to start from."
        ) from None
    own = network.state_dict()
    taken = {}
    for name, value in given.items():
        wanted = own.get(name)
        if wanted is None:
            continue
        if value.shape == wanted.shape:
            taken[name] = value
        elif name.endswith(".bias") and value.dim() == 3 and value.shape[0] == wanted.shape[0]:
            taken[name] = functional.interpolate(
                value[None], size=wanted.shape[1:], mode="bilinear", align_corners=False
            )[0]
    if not taken:
        raise RunError(f"The weights {stem.name} of {stem.parent.name} fit none of the layers.")
    network.load_state_dict(taken, strict=False)


def load_kept(recipe: PublishedRecipe, out: Path, kept: str = "best-kappa") -> PublishedNetwork:
    """Open one of the three kept weights of a run.

    Args:
        kept: one of `KEPT`.

    Raises:
        RunError: there is no such run.
    """
    network = build(recipe)
    try:
        network.load_state_dict(read_tensors(out / kept))
    except FileNotFoundError:
        raise RunError(f"There is no {kept} in {out.name}: train that run first.") from None
    return network.eval()
