"""Weights half-way between those that ship and those of a run that went on from them.

`python -m training.halfway ram-256 --run runs/second --out runs/halfway`

What training on has learnt stays for the most part, and what it has forgotten comes back (Wortsman
et al. 2022, "Robust fine-tuning of zero-shot models"). Norms must have kept their statistics.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from drcore.model.bundle import bundled_folder, load_bundle
from training import cli
from training.optimisation.checkpoints import (
    RunError,
    load_average,
    read_record,
    save_average,
    write_tensors,
)
from training.optimisation.weight_averaging import halfway


def main(arguments: list[str] | None = None) -> None:
    """Average from the command line; `training.export` takes the new folder as a run."""
    parser = cli.parser("halfway", __doc__)
    parser.add_argument("presets", nargs="+")
    parser.add_argument("--run", type=Path, required=True, help="folder of the run")
    parser.add_argument("--out", type=Path, required=True, help="folder of the averages")
    parser.add_argument("--start", type=Path, default=bundled_folder(), help="bundle it began with")
    parser.add_argument("--share", type=float, default=0.5, help="of the run's weights, 0-1")
    cli.run(parser, _average, arguments)


def _average(given: argparse.Namespace) -> None:
    bundle = load_bundle(given.start)
    given.out.mkdir(parents=True, exist_ok=True)
    for preset in given.presets:
        end = load_average(preset, given.run)
        start = bundle.networks.get(end.config.input_size)
        if start is None:
            raise RunError(f"{bundle.name} has no network for {end.config.input_size} px.")
        save_average(halfway(start, end, given.share), preset, given.out)
        record = read_record(given.run / f"{preset}.state")
        record["progress"] |= {
            "averaged_with": f"{bundle.name} {bundle.version}",
            "share": given.share,
        }
        # No optimiser: an average is not gone on from, only exported.
        write_tensors(given.out / f"{preset}.state", {"share": torch.tensor(given.share)}, record)


if __name__ == "__main__":
    main()
