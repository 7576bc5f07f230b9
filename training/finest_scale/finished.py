"""A finished run of the finest scale, as `training.export --finest` takes it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from drcore.files import replacing
from training.optimisation.checkpoints import RunError

__all__ = ["write_finished"]


def write_finished(
    run: Path, out: Path, before: Sequence[Path] = (), ceiling: float | None = None
) -> None:
    """Write averaged weights in half precision, and the card that goes with them.

    Args:
        run: folder of a run on grades.
        out: receives weights and card, named after the preset.
        before: folders of the runs that it started from, in order; their recipes are recorded.
        ceiling: of the link, instead of the run's.

    Raises:
        RunError: there is no such run.
    """
    try:
        weights = load_file(run / "grades.average.safetensors")
        link = json.loads((run / "start.json").read_text(encoding="utf-8"))["link"]
        stages = [record for folder in (*before, run) for record in _recipes(folder)]
        preset = stages[-1].get("tiles", {}).get("preset", "ram-1024")
    except (OSError, ValueError, LookupError) as error:
        raise RunError(f"{run.name} holds no finished run on grades ({error}).") from error
    if ceiling is not None:
        link["ceiling"] = ceiling
    half = {
        name: value.half().contiguous() if value.is_floating_point() else value.contiguous()
        for name, value in weights.items()
        if not name.endswith("num_batches_tracked")
    }
    if not all(torch.isfinite(value).all() for value in half.values()):
        raise RunError(f"{run.name}: weights are too large for half precision.")
    out.mkdir(parents=True, exist_ok=True)
    with replacing(out / f"{preset}.safetensors") as part:
        save_file(half, part)
    card = {
        "link": link,
        "mirrored": False,
        "precision": "bfloat16",
        "recipe": {"preset": preset, "stages": stages},
    }
    with replacing(out / f"{preset}.json") as part:
        part.write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")


def _recipes(folder: Path) -> list[dict[str, Any]]:
    """The recipes of the runs in a folder, with the steps that were done."""
    found = []
    for stage in ("tiles", "grades"):
        recipe = folder / f"{stage}.recipe.json"
        if recipe.exists():
            lines = (folder / f"{stage}.metrics.jsonl").read_text(encoding="utf-8").splitlines()
            said = json.loads(recipe.read_text(encoding="utf-8"))
            found.append({"stage": stage, **said, "done": json.loads(lines[-1])["step"]})
    return found
