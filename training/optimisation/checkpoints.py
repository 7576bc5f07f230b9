"""The folder of a training run: what a killed run goes on from, and the weights it ends with."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from drcore.errors import DrcoreError
from drcore.files import replacing
from drcore.model.network import PRESETS, RamNetwork

__all__ = [
    "RunError",
    "TrainingState",
    "load_average",
    "read_record",
    "read_tensors",
    "remove_tensors",
    "resume",
    "save",
    "save_average",
    "write_tensors",
]

PART_BYTES = 15 * 2**20
"""Tensors of one file: with its header it stays below 16 MiB, and can be carried away from a
machine that hands back small files alone."""


class RunError(DrcoreError):
    """A training run cannot start or go on; the message says why."""


@dataclass(slots=True, eq=False)
class TrainingState:
    """Everything that a run changes.

    Attributes:
        recipe: what is done, as JSON has it.
        modules: what is trained or averaged, by name.
        optimiser: of their parameters.
        progress: how far the run has come, as JSON has it: "epoch" and "step" are those finished.
    """

    recipe: dict[str, Any]
    modules: dict[str, nn.Module]
    optimiser: torch.optim.Optimizer
    progress: dict[str, Any]


def save(state: TrainingState, stem: Path) -> None:
    """Write everything that a killed run goes on from."""
    tensors: dict[str, Tensor] = {}
    for part, module in state.modules.items():
        tensors |= {f"{part}.{k}": v for k, v in module.state_dict().items()}
    for index, values in state.optimiser.state_dict()["state"].items():
        tensors |= {
            f"optimiser.{index}.{k}": torch.as_tensor(v) for k, v in values.items() if v is not None
        }
    write_tensors(stem, tensors, {"recipe": state.recipe, "progress": state.progress})


def resume(state: TrainingState, stem: Path, *, free: Collection[str] = ()) -> None:
    """Go on where a run stopped, if there is one.

    Raises:
        RunError: the folder holds a run of another recipe.
    """
    try:
        record = read_record(stem)
    except FileNotFoundError:
        return
    stored, asked = record["recipe"], json.loads(json.dumps(state.recipe))
    changed = [k for k, v in asked.items() if k not in free and stored.get(k) != v]
    if changed:
        raise RunError(
            f"{stem.parent.name} holds a run with another recipe ({', '.join(changed)} differ): "
            "choose another folder, or the same recipe to go on."
        )
    parts: dict[str, dict[str, Tensor]] = {}
    for key, value in read_tensors(stem).items():
        part, name = key.split(".", 1)
        parts.setdefault(part, {})[name] = value
    for part, module in state.modules.items():
        module.load_state_dict(parts[part])
    moments: dict[int, dict[str, Tensor]] = {}
    for name, value in parts.get("optimiser", {}).items():
        index, field = name.split(".", 1)
        moments.setdefault(int(index), {})[field] = value
    whole = state.optimiser.state_dict()
    whole["state"] = moments
    state.optimiser.load_state_dict(whole)
    state.progress = record["progress"]


def load_average(preset: str, folder: Path) -> RamNetwork:
    """Open the averaged weights of a run.

    Args:
        preset: key of `PRESETS`.

    Raises:
        RunError: there is no such run.
    """
    try:
        weights = read_tensors(folder / f"{preset}.average")
    except FileNotFoundError:
        raise RunError(f"There is no trained {preset} in {folder.name}: train it first.") from None
    network = RamNetwork(PRESETS[preset])
    network.load_state_dict(weights)
    return network.to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload,no-any-return]


def save_average(weights: Mapping[str, Tensor], preset: str, out: Path) -> None:
    """Write the weights that are used, by name of the parameter."""
    write_tensors(out / f"{preset}.average", weights)


def write_tensors(
    stem: Path, tensors: Mapping[str, Tensor], record: Mapping[str, Any] | None = None
) -> None:
    """Write tensors so that a kill leaves those before, whole.

    Args:
        stem: path without ending. `STEM.safetensors` is written; where that would be larger than
            `PART_BYTES`, parts of that size and `STEM.parts.json`, which names them.
        tensors: by name, on any device.
    """
    parts: list[dict[str, Tensor]] = [{}]
    size = 0
    for name, value in tensors.items():
        tensor = value.detach().cpu().contiguous().clone()
        if parts[-1] and size + tensor.nbytes > PART_BYTES:
            parts.append({})
            size = 0
        parts[-1][name] = tensor
        size += tensor.nbytes
    metadata = {key: json.dumps(value) for key, value in (record or {}).items()}
    index, before = _index(stem), _parts(stem)
    if len(parts) == 1:
        file = stem.with_name(f"{stem.name}.safetensors")
        with replacing(file) as part:
            save_file(parts[0], part, metadata)
        names = [file.name]
        index.unlink(missing_ok=True)
    else:
        # Written beside the parts before; the index then changes all of them at once.
        turn = "b" if before and before[0].name.startswith(f"{stem.name}.a") else "a"
        names = [f"{stem.name}.{turn}{i}.safetensors" for i in range(len(parts))]
        for name, some in zip(names, parts, strict=True):
            save_file(some, stem.with_name(name))
        text = json.dumps({"parts": names, "metadata": metadata}, indent=1)
        with replacing(index) as part:
            part.write_text(text + "\n", encoding="utf-8")
    for file in before:
        if file.name not in names:
            file.unlink(missing_ok=True)


def remove_tensors(stem: Path) -> None:
    """Delete what `write_tensors` wrote, if it is there."""
    for file in [*_parts(stem), _index(stem)]:
        file.unlink(missing_ok=True)


def read_tensors(stem: Path) -> dict[str, Tensor]:
    """Read what `write_tensors` wrote; FileNotFoundError where nothing is."""
    tensors: dict[str, Tensor] = {}
    for file in _parts(stem):
        tensors |= load_file(file)
    if not tensors:
        raise FileNotFoundError(stem)
    return tensors


def read_record(stem: Path) -> dict[str, Any]:
    """Read the record that `write_tensors` wrote; FileNotFoundError where nothing is."""
    if _index(stem).exists():
        metadata = json.loads(_index(stem).read_text(encoding="utf-8"))["metadata"]
    else:
        with safe_open(stem.with_name(f"{stem.name}.safetensors"), framework="pt") as file:
            metadata = file.metadata() or {}
    return {key: json.loads(value) for key, value in metadata.items()}


def _index(stem: Path) -> Path:
    return stem.with_name(f"{stem.name}.parts.json")


def _parts(stem: Path) -> list[Path]:
    """The files that hold the tensors, in order; none where nothing was written."""
    if _index(stem).exists():
        names = json.loads(_index(stem).read_text(encoding="utf-8"))["parts"]
        # Names alone: an index that was tampered with reaches no other folder.
        return [stem.with_name(Path(name).name) for name in names]
    file = stem.with_name(f"{stem.name}.safetensors")
    return [file] if file.exists() else []
