"""From finished runs to a bundle, and what calibration and measurement put into it."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from drcore.grading.grader import Grader
from drcore.model.bundle import Bundle, save_bundle
from drcore.model.network import RamNetwork
from drcore.preprocessing.network_input import Preprocessing
from training.data.labels import Labelled
from training.evaluation.calibration import HEALTHY_UNPLACED, Fitted
from training.evaluation.grading import evaluate
from training.evaluation.scored import Scored
from training.evaluation.thresholds import PLAIN_THRESHOLDS
from training.optimisation.checkpoints import load_average, read_record

__all__ = ["bundle_of_run", "measure", "set_levels", "with_calibration"]

LICENCE = (
    "Code and weights Apache-2.0. Trained on IDRiD (CC-BY 4.0) and on APTOS 2019 and EyePACS "
    "competition photographs, whose terms allow research use only: so are these weights."
)
INTENDED_USE = (
    "Research on diabetic retinopathy grading from colour fundus photographs. "
    "Decision support, not a medical device. Macular oedema is not graded."
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
        run: folder of the runs.
        presets: networks of the bundle, one for each input size.
        rows: labelled photographs, counted for the manifest.
        name, version: of the bundle.
        kept: bundle that the networks in `keep` are taken from.
        keep: presets that are not taken from the run.

    Returns:
        The bundle, with the plain thresholds.

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
        thresholds=PLAIN_THRESHOLDS,
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


def measure(folder: Path, rows: Sequence[Labelled], *, quiet: bool = False) -> Bundle:
    """Measure weights on photographs that were not trained on; store the figures beside them.

    Args:
        folder: of a bundle; its manifest gets the figures.
        rows: labelled photographs.
        quiet: no progress bar.

    Returns:
        The bundle with its figures.
    """
    # What was written is read again: half precision, thresholds, the reading path of a user.
    grader = Grader.from_folder(folder)
    bundle = replace(grader.bundle, metrics=evaluate(grader, rows, quiet=quiet)["sets"])
    save_bundle(bundle, folder)
    return bundle


def with_calibration(bundle: Bundle, fitted: Fitted) -> Bundle:
    """Put a calibration into a bundle; figures measured with other thresholds are dropped.

    Args:
        bundle: scores and maps stay as they are.
        fitted: thresholds and certainty.

    Returns:
        The bundle to save.
    """
    weights = tuple(bundle.fusion[size] for size in sorted(bundle.networks))
    unchanged = (bundle.thresholds, weights) == (fitted.thresholds, fitted.fusion)
    return replace(
        bundle,
        thresholds=fitted.thresholds,
        certainty=fitted.certainty,
        fusion=dict(zip(sorted(bundle.networks), fitted.fusion, strict=True)),
        placement=fitted.placement,
        metrics=bundle.metrics if unchanged else {},
        training={
            **bundle.training,
            "thresholds": "fitted on the validation split, on the scores that the Grader reports: "
            "mean over resamples of the optimum of the mean kappa over datasets",
            "certainty": "fitted on the validation split, datasets counting by the root of size",
            "fusion": "weights of the scales fitted on the validation split: the most even of "
            "those whose squared error cannot be told from the least",
            "placement": f"{HEALTHY_UNPLACED:.0%} of healthy validation eyes are below its start",
        },
    )
