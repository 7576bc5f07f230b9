"""The mean of the weights that a run on grades began with and went through."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from drcore.files import replacing
from drcore.model.network import PRESETS, RamNetwork
from training.finest_scale.start import Start
from training.optimisation.checkpoints import RunError

__all__ = ["write_mean"]


def write_mean(run: Path, start: Path, steps: Sequence[int], out: Path) -> None:
    """Write the mean of kept weights of a run as a run of its own.

    What was learnt late stays for the most part, and what was forgotten comes back (Wortsman et
    al. 2022, "Model soups").

    Args:
        run: folder of a run on grades that kept copies of its weights.
        start: weights that it began with.
        steps: at which the weights were kept; 0 for those that it began with.
        out: receives what `write_finished` and further runs read.

    Raises:
        RunError: the run lacks a file.
    """
    try:
        recipe = json.loads((run / "grades.recipe.json").read_text(encoding="utf-8"))
        begin = Start.read(run / "start.json")
        network = RamNetwork(PRESETS[recipe["tiles"]["preset"]])
        members = [
            load_file(run / f"step{step}.safetensors") if step else _begun(network, start, begin)
            for step in steps
        ]
    except (OSError, ValueError, LookupError) as error:
        raise RunError(f"{run.name}: the mean cannot be taken ({error}).") from error
    mean = {
        name: torch.stack([member[name].float() for member in members]).mean(0)
        if value.is_floating_point()
        else value
        for name, value in members[-1].items()
    }
    out.mkdir(parents=True, exist_ok=True)
    with replacing(out / "grades.average.safetensors") as part:
        save_file(mean, part)
    for name in ("start.json", "grades.metrics.jsonl"):
        shutil.copy(run / name, out / name)
    said = json.dumps({**recipe, "mean_of_steps": list(steps)}, indent=1)
    (out / "grades.recipe.json").write_text(said, encoding="utf-8")


def _begun(network: RamNetwork, start: Path, begin: Start) -> dict[str, Tensor]:
    network.load_state_dict(load_file(start))
    begin.apply(network)
    return dict(network.state_dict())
