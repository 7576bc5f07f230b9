"""The folder of a training run: what a killed run goes on from, and the weights it ends with."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from drcore.errors import DrcoreError
from drcore.model.network import PRESETS, RamNetwork
from training.optimisation.lesion_task import LesionHead
from training.recipe import Recipe

__all__ = [
    "Progress",
    "RunError",
    "TrainingState",
    "load_average",
    "resume",
    "save",
    "save_average",
    "write_whole",
]


class RunError(DrcoreError):
    """A training run cannot start or go on; the message says why."""


@dataclass(slots=True)
class Progress:
    """How far a run has come; written beside its checkpoint.

    Attributes:
        epoch: epochs finished.
        step: optimiser steps finished.
        teacher: name and version of the bundle that taught; empty where none did.
    """

    epoch: int = 0
    step: int = 0
    teacher: str = ""


@dataclass(slots=True, eq=False)
class TrainingState:
    """Everything that a run changes.

    Attributes:
        recipe: what is done.
        network: what is trained.
        head: reads lesions off its feature maps while training, or None.
        average: moving average of the network's weights, by name.
        optimiser: of network and head.
        progress: how far it has come.
    """

    recipe: Recipe
    network: RamNetwork
    head: LesionHead | None
    average: dict[str, Tensor]
    optimiser: torch.optim.AdamW
    progress: Progress


def load_average(preset: str, folder: Path) -> RamNetwork:
    """Open the averaged weights of a run.

    Args:
        preset: key of `PRESETS`.
        folder: folder of the run.

    Returns:
        The network in evaluation mode, channels last.

    Raises:
        RunError: there is no such run.
    """
    file = folder / f"{preset}.average.safetensors"
    if not file.exists():
        raise RunError(f"There is no trained {preset} in {folder.name}: train it first.")
    network = RamNetwork(PRESETS[preset])
    network.load_state_dict(load_file(file))
    return network.to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload,no-any-return]


def save(learner: TrainingState, out: Path) -> None:
    """Write everything that a killed run goes on from, and the averaged weights.

    Args:
        learner: as it is after an epoch.
        out: folder of the run.
    """
    head = {} if learner.head is None else learner.head.state_dict()
    tensors = {f"network.{k}": v for k, v in learner.network.state_dict().items()}
    tensors |= {f"average.{k}": v for k, v in learner.average.items()}
    tensors |= {f"head.{k}": v for k, v in head.items()}
    for index, state in learner.optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{index}.{k}": torch.as_tensor(v) for k, v in state.items()}
    tensors = {k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}
    meta = {
        "recipe": json.dumps(asdict(learner.recipe)),
        "progress": json.dumps(asdict(learner.progress)),
    }
    stem = out / learner.recipe.preset
    # Written aside and renamed: a kill leaves the checkpoint of the epoch before.
    write_whole(
        stem.with_suffix(".state.safetensors"),
        lambda path: save_file(tensors, path, metadata=meta),
    )
    save_average(learner.average, learner.recipe.preset, out)
    text = json.dumps(meta, indent=1)
    write_whole(stem.with_suffix(".state.json"), lambda path: path.write_text(text))


def save_average(weights: dict[str, Tensor], preset: str, out: Path) -> None:
    """Write the weights that are used.

    Args:
        weights: of the network, by name.
        preset: key of `PRESETS`.
        out: folder of the run.
    """
    plain = {k: v.detach().cpu().contiguous().clone() for k, v in weights.items()}
    write_whole(out / f"{preset}.average.safetensors", lambda path: save_file(plain, path))


def resume(learner: TrainingState, out: Path) -> None:
    """Go on where a run in this folder stopped, if there is one.

    Args:
        learner: as it is before the first epoch; changed.
        out: folder of the run.

    Raises:
        RunError: the folder holds a run of another recipe.
    """
    recipe = learner.recipe
    state_file = out / f"{recipe.preset}.state.safetensors"
    if not state_file.exists():
        return
    with safe_open(state_file, framework="pt") as file:
        meta = file.metadata()
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    # The refit follows the last epoch: a finished run may get one, or another.
    stored = json.loads(meta["recipe"]) | {"refit": None}
    asked = json.loads(json.dumps(asdict(recipe))) | {"refit": None}
    if stored != asked:
        changed = [name for name, value in asked.items() if stored.get(name) != value]
        raise RunError(
            f"{out.name} holds a run of {recipe.preset} with another recipe "
            f"({', '.join(changed)} differ): choose another folder, or the same recipe to go on."
        )
    parts: dict[str, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        part, name = key.split(".", 1)
        parts.setdefault(part, {})[name] = value
    learner.network.load_state_dict(parts["network"])
    if learner.head is not None:
        learner.head.load_state_dict(parts["head"])
    for name, value in learner.average.items():
        value.copy_(parts["average"][name])
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in parts.get("optimiser", {}).items():
        index, field = name.split(".", 1)
        state.setdefault(int(index), {})[field] = value
    whole = learner.optimiser.state_dict()
    whole["state"] = state
    learner.optimiser.load_state_dict(whole)
    progress = Progress(**json.loads(meta["progress"]))
    if progress.teacher != learner.progress.teacher:
        raise RunError(
            f"{out.name} holds a run that was taught by {progress.teacher or 'nobody'}, not by "
            f"{learner.progress.teacher or 'nobody'}: choose another folder, or the same --teacher."
        )
    learner.progress = progress


def write_whole(file: Path, write: Callable[[Path], object]) -> None:
    """Write a file aside and rename it, so that a kill leaves the one before, or none.

    Args:
        file: to be written.
        write: writes to the path that it is given.
    """
    part = file.with_name(file.name + ".part")
    write(part)
    part.replace(file)
