"""Train the detector of writing: `python -m training.writing OUT`.

It learns from photographs of the training split, with random strings in every font of a folder.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from training import cli
from training.optimisation.writing import publish, train


def main(arguments: list[str] | None = None) -> None:
    """Train from the command line."""
    parser = cli.parser("writing", __doc__, "--labels", "--images")
    parser.add_argument("out", type=Path, help="folder of the weights")
    parser.add_argument("--fonts", type=Path, default=Path("/usr/share/fonts"))
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--threshold", type=float, default=0.8, help="of the score")
    parser.add_argument("--seed", type=int, default=0)
    cli.run(parser, _train, arguments)


def _train(given: argparse.Namespace) -> None:
    given.out.mkdir(parents=True, exist_ok=True)
    files = [row.path for row in cli.labels(given) if row.split == "train"]
    state = given.out / "state.safetensors"
    publish(
        train(files, given.fonts, state, steps=given.steps, seed=given.seed),
        given.out,
        given.threshold,
    )


if __name__ == "__main__":
    main()
