"""From finished runs to a bundle: half precision, level of healthy retina, calibration, figures."""

from __future__ import annotations

import argparse
import datetime
import json
from pathlib import Path

from safetensors import safe_open

from drcore.errors import DrcoreError
from drcore.grading.grader import Grader
from drcore.model.bundle import Bundle, bundled_folder, load_bundle, save_bundle
from drcore.model.network import PRESETS, RamNetwork
from drcore.preprocessing.network_input import Preprocessing
from training.calibrate import measure, with_calibration
from training.data.labels import data_root, read_labels
from training.evaluation.calibration import PLAIN, Scored, calibrate, score_photographs
from training.optimisation.checkpoints import load_average

__all__ = ["set_levels"]

SHIPPED = ("ram-128", "ram-256", "ram-512-lite2")
LICENCE = (
    "Code and weights Apache-2.0. Trained on IDRiD (CC-BY 4.0) and on APTOS 2019 and EyePACS "
    "competition photographs, whose terms allow research use only: so are these weights."
)
INTENDED_USE = (
    "Research on diabetic retinopathy grading from colour fundus photographs. "
    "Decision support, not a medical device. Macular oedema is not graded."
)


def set_levels(bundle: Bundle, scored: Scored) -> None:
    """Make 0 in each map mean "as in a healthy eye"; no score changes.

    The mean healthy score stays in the bias, so the maps of healthy eyes have mean zero.

    Args:
        bundle: its networks are changed.
        scored: validation photographs, graded with this bundle.
    """
    healthy = scored.scales[scored.truth == 0].mean(axis=0)
    for mean, (_, network) in zip(healthy, sorted(bundle.networks.items()), strict=True):
        network.set_level(float(network.linear.bias.detach()) - float(mean))


def main(arguments: list[str] | None = None) -> None:
    """Write a bundle from the command line."""
    parser = argparse.ArgumentParser(prog="python -m training.export", description=__doc__)
    parser.add_argument("--run", type=Path, default=Path("runs/first"), help="folder of the runs")
    parser.add_argument("--out", type=Path, default=bundled_folder(), help="folder of the bundle")
    parser.add_argument("--name", default="ram-lite")
    parser.add_argument("--model-version", default="0.1.0")
    parser.add_argument("--labels", type=Path, help="labels.csv (default: $DRCORE_DATA/labels.csv)")
    parser.add_argument(
        "--presets", nargs="+", default=SHIPPED, choices=sorted(PRESETS), metavar="PRESET",
        help="networks of the bundle, one for each input size",
    )  # fmt: skip
    parser.add_argument(
        "--keep", nargs="+", default=[], choices=sorted(PRESETS), metavar="PRESET",
        help="take these networks from the weights that ship, not from the run",
    )  # fmt: skip
    given = parser.parse_args(arguments)
    try:
        rows = read_labels(given.labels or data_root() / "labels.csv")
        kept = load_bundle(bundled_folder()) if given.keep else None
        networks = {
            n.config.input_size: n
            for n in (
                _network(p, given.run, kept if p in given.keep else None) for p in given.presets
            )
        }
        recipes = {
            p: _recipe(given.run, p, kept if p in given.keep else None) for p in given.presets
        }
        with_masks = sorted(p for p, recipe in recipes.items() if recipe.get("lesions"))
        bundle = Bundle(
            name=given.name,
            version=given.model_version,
            networks=networks,
            preparation=Preprocessing(),
            thresholds=PLAIN,
            created=datetime.datetime.now(datetime.UTC).date().isoformat(),
            training={
                "photographs": {
                    d: sum(r.dataset == d and r.split == "train" for r in rows)
                    for d in sorted({r.dataset for r in rows})
                },
                "start": "EfficientNet-Lite, ImageNet weights",
                "recipes": recipes,
                "lesion_masks": (
                    f"of IDRiD training photographs, by {', '.join(with_masks)}"
                    if with_masks
                    else "not used"
                ),
            },
            licence=LICENCE,
            intended_use=INTENDED_USE,
        )
        save_bundle(bundle, given.out)
        # Fitted on what was written: half precision, and a user's path from file to score.
        grader = Grader.from_folder(given.out)
        scored = score_photographs(grader, [row for row in rows if row.split == "val"])
        set_levels(grader.bundle, scored)
        save_bundle(with_calibration(grader.bundle, calibrate(scored)), given.out)
        stored = measure(given.out, [row for row in rows if row.split != "train"])
        print(f"{stored.name} {stored.version}: thresholds {stored.thresholds}")
    except DrcoreError as error:
        parser.exit(1, f"{error}\n")


def _network(preset: str, run: Path, kept: Bundle | None) -> RamNetwork:
    if kept is None:
        return load_average(preset, run)
    return next(n for n in kept.networks.values() if n.config.name == preset)


def _recipe(run: Path, preset: str, kept: Bundle | None) -> dict[str, object]:
    if kept is not None:
        return dict(kept.training["recipes"][preset])
    with safe_open(run / f"{preset}.state.safetensors", framework="pt") as file:
        metadata = file.metadata()
    # What was done, which after a run that was cut short is less than what was planned.
    return {**json.loads(metadata["recipe"]), "done": json.loads(metadata["progress"])}


if __name__ == "__main__":
    main()
