"""Train the network of the gradability check: `python -m training.gate OUT`.

It learns from EyeQ and DRIMDB labels, graded photographs and healthy eyes, all of them spoilt on
purpose too, and pictures of other things. A network without DRIMDB, the healthy eyes, a third of
the patients of EyeQ and half of the kinds of other things is trained first. What it says of these
calibrates the score, and shows what the check does with a camera that nobody thought of.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from training import cli
from training.data.gate_squares import GateSquares, build, pictures_of
from training.evaluation.gate import Judged, calibrated, figures, is_gradable, left_out, table
from training.optimisation.gate import GateNetwork, odds_of, publish, trained

_LICENCE = (
    "Research use only: trained on IDRiD (CC-BY 4.0), DRIMDB, labels of EyeQ, ODIR, Messidor-2, "
    "e-ophtha and APTOS 2019 and EyePACS competition images, whose terms allow nothing else."
)


def main(arguments: list[str] | None = None) -> None:
    """Train from the command line; what is there already is not made again."""
    parser = cli.parser("gate", __doc__, "--labels", "--images", "--cache", "--json", "--quiet")
    parser.add_argument("out", type=Path, help="folder of the weights")
    parser.add_argument("--steps", type=int, default=500, help="of 64 squares, in a cycle")
    parser.add_argument("--cycles", type=int, default=5, help="of the learning rate")
    parser.add_argument("--seed", type=int, default=0)
    cli.run(parser, _train, arguments)


def _train(given: argparse.Namespace) -> None:
    given.out.mkdir(parents=True, exist_ok=True)
    given.cache.mkdir(parents=True, exist_ok=True)
    pictures = pictures_of(cli.labels_table(given).parent, cli.labels(given))
    data = build(pictures, given.cache / "gate.npz", quiet=given.quiet)
    for_training = ~data.held_out

    def network(name: str, among: np.ndarray) -> GateNetwork:
        return trained(
            data, np.flatnonzero(among), given.out / name, cycles=given.cycles, steps=given.steps,
            seed=given.seed, quiet=given.quiet,
        )  # fmt: skip

    out = for_training & left_out(data)
    unseen = _judged(network("without", for_training & ~out), data, out)
    calibration = calibrated(unseen)
    final = network("all", for_training)
    held_out = _judged(final, data, data.held_out)
    result = figures(unseen, held_out, calibration)
    about = {
        "slope": calibration.slope, "offset": calibration.offset,
        "threshold": calibration.threshold, "steps": given.steps * given.cycles, "seed": given.seed,
        "examples": int(for_training.sum()), "licence": _LICENCE,
    }  # fmt: skip
    publish(final, given.out, about)
    cli.write_json(given, result, table(result))


def _judged(network: GateNetwork, data: GateSquares, among: np.ndarray) -> Judged:
    chosen = np.flatnonzero(among)
    return Judged(data.kinds[chosen], is_gradable(data, chosen), odds_of(network, data, chosen)[0])


if __name__ == "__main__":
    main()
