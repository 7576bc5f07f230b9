"""Weights half-way between those that ship and those of a run that went on from them.

`python -m training.halfway ram-256 --run runs/second --out runs/halfway`

What training on has learnt stays for the most part, and what it has forgotten comes back (Wortsman
et al. 2022, "Robust fine-tuning of zero-shot models"). Norms must have kept their statistics.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from drcore.errors import DrcoreError
from drcore.model.bundle import bundled_folder, load_bundle
from training.optimisation.checkpoints import RunError, load_average, save_average
from training.optimisation.weight_averaging import halfway

__all__ = []


def main(arguments: list[str] | None = None) -> None:
    """Average from the command line; `training.export` takes the new folder as a run."""
    parser = argparse.ArgumentParser(prog="python -m training.halfway", description=__doc__)
    parser.add_argument("presets", nargs="+")
    parser.add_argument("--run", type=Path, required=True, help="folder of the run")
    parser.add_argument("--out", type=Path, required=True, help="folder of the averages")
    parser.add_argument("--start", type=Path, default=bundled_folder(), help="bundle it began with")
    parser.add_argument("--share", type=float, default=0.5, help="of the run's weights, 0-1")
    given = parser.parse_args(arguments)
    try:
        bundle = load_bundle(given.start)
        given.out.mkdir(parents=True, exist_ok=True)
        for preset in given.presets:
            end = load_average(preset, given.run)
            start = bundle.networks.get(end.config.input_size)
            if start is None:
                raise RunError(f"{bundle.name} has no network for {end.config.input_size} px.")
            save_average(halfway(start, end, given.share), preset, given.out)
            file = f"{preset}.state.safetensors"
            with safe_open(given.run / file, framework="pt") as stored:
                meta = stored.metadata()
            done = json.loads(meta["progress"]) | {
                "averaged_with": f"{bundle.name} {bundle.version}",
                "share": given.share,
            }
            meta["progress"] = json.dumps(done)
            # No optimiser: an average is not gone on from, only exported.
            save_file({"share": torch.tensor(given.share)}, given.out / file, metadata=meta)
    except DrcoreError as error:
        parser.exit(1, f"{error}\n")
