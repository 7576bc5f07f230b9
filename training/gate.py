"""Train the network of the gradability check: `python -m training.gate OUT`.

It learns from labels of EyeQ and DRIMDB, graded photographs and healthy eyes, all of them changed
and spoilt on purpose too, and pictures of other things. Its trunk has the weights of ImageNet and
is not trained, so that training takes minutes: a network is trained for each partition of
`training.evaluation.gate.partitions`, and what these say of what they have not seen calibrates the
score, sets the threshold, and shows what the check does with a camera that nobody thought of.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from tqdm import tqdm

from training import cli
from training.data.gate_squares import GRADABLE, build, pictures_of
from training.evaluation.gate import Judged, calibrated, figures, judged_by_folds, partitions, table
from training.optimisation.gate import odds_of, publish, train
from training.optimisation.gate_examples import examples
from training.optimisation.gate_trunk import trunk_weights

_LICENCE = (
    "Research use only: trained on IDRiD (CC-BY 4.0), DRIMDB, labels of EyeQ, ODIR, Messidor-2, "
    "e-ophtha and APTOS 2019 and EyePACS competition images, whose terms allow nothing else."
)


def main(arguments: list[str] | None = None) -> None:
    """Train from the command line; figures that are there are not made again."""
    parser = cli.parser("gate", __doc__, "--labels", "--images", "--cache", "--json", "--quiet")
    parser.add_argument("out", type=Path, help="folder of the weights")
    parser.add_argument("--steps", type=int, default=1600, help="of 256 examples")
    parser.add_argument("--seed", type=int, default=0)
    cli.run(parser, _train, arguments)


def _train(given: argparse.Namespace) -> None:
    given.out.mkdir(parents=True, exist_ok=True)
    given.cache.mkdir(parents=True, exist_ok=True)
    pictures = pictures_of(cli.labels_table(given).parent, cli.labels(given))
    data = build(pictures, given.cache / "gate.npz", quiet=given.quiet)
    shown = examples(data, given.cache / "gate-figures.npz", quiet=given.quiet)
    trainable = ~data.held_out[shown.source]
    as_it_is = shown.of(shown.change == "as it is")  # in the order of the pictures
    gradable = data.classes == GRADABLE

    odds = {}
    for name, out in tqdm(partitions(data).items(), disable=given.quiet):
        kept = trainable & ~out[shown.source]
        if kept.any() and out.any():
            head = train(data, shown, kept, steps=given.steps, seed=given.seed)
            odds[name] = odds_of(head, as_it_is.figures)
    unseen = judged_by_folds(odds, data)
    calibration = calibrated(unseen)

    held_out = data.held_out
    final = train(data, shown, trainable, steps=given.steps, seed=given.seed)
    judged = odds_of(final, as_it_is.figures[held_out])
    result = figures(unseen, Judged(data.kinds[held_out], gradable[held_out], judged), calibration)
    about = {
        "slope": calibration.slope, "offset": calibration.offset,
        "threshold": calibration.threshold, "steps": given.steps, "seed": given.seed,
        "pictures": int((~held_out).sum()), "examples": int(trainable.sum()), "licence": _LICENCE,
    }  # fmt: skip
    publish(final, trunk_weights(), given.out, about)
    cli.write_json(given, result, table(result))


if __name__ == "__main__":
    main()
