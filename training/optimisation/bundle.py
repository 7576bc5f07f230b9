"""From finished runs to a bundle."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path

from drcore.model.bundle import Bundle
from drcore.model.network import RamNetwork
from drcore.preprocessing.network_input import Preprocessing
from training.data.labels import Labelled
from training.optimisation.checkpoints import load_average, read_record

__all__ = ["bundle_of_run"]

LICENCE = (
    "Weights: research use only. They were trained on IDRiD (CC-BY 4.0) and on APTOS 2019 and "
    "EyePACS competition images, whose terms allow nothing else. The code is Apache-2.0."
)
INTENDED_USE = (
    "Intended for research on grading diabetic retinopathy from colour fundus photographs. "
    "Decision support only; not a medical device. DMO is not assessed."
)


def bundle_of_run(
    run: Path,
    presets: Sequence[str],
    rows: Sequence[Labelled],
    *,
    name: str,
    version: str,
    kept: Bundle | None = None,
    keep: Sequence[str] = (),
) -> Bundle:
    """Put the networks of a run into a bundle that is not calibrated yet.

    Args:
        kept: bundle that the networks in `keep` are taken from.

    Raises:
        RunError: a network was not trained.
    """
    networks: dict[int, RamNetwork] = {}
    recipes: dict[str, dict[str, object]] = {}
    for preset in presets:
        if kept is not None and preset in keep:
            network = next(n for n in kept.networks.values() if n.config.name == preset)
            recipes[preset] = dict(kept.training["recipes"][preset])
        else:
            network = load_average(preset, run)
            record = read_record(run / f"{preset}.state")
            # What was done is less than what was planned, where a run was cut short.
            recipes[preset] = {**record["recipe"], "done": record["progress"]}
        networks[network.config.input_size] = network
    with_masks = ", ".join(sorted(p for p, recipe in recipes.items() if recipe.get("lesions")))
    return Bundle(
        name=name,
        version=version,
        networks=networks,
        preparation=Preprocessing(),
        thresholds=(0.5, 1.5, 2.5, 3.5),
        created=datetime.datetime.now(datetime.UTC).date().isoformat(),
        training={
            "photographs": {
                d: sum(r.dataset == d and r.split == "train" for r in rows)
                for d in sorted({r.dataset for r in rows})
            },
            "start": "EfficientNet-Lite, ImageNet weights",
            "recipes": recipes,
            "lesion_masks": (
                f"of IDRiD training photographs, by {with_masks}" if with_masks else "not used"
            ),
        },
        licence=LICENCE,
        intended_use=INTENDED_USE,
    )
