"""What calibration and measurement put into a bundle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from drcore.evaluation.calibration_fit import CLASS_POWER, HEALTHY_UNPLACED, Fitted
from drcore.evaluation.scored import Scored
from drcore.grading.grader import Grader
from drcore.model.bundle import Bundle, save_bundle
from drcore.model.link import Link
from training.data.labels import Labelled
from training.evaluation.grading import evaluate

__all__ = ["measure", "set_levels", "with_calibration"]


def set_levels(bundle: Bundle, scored: Scored) -> None:
    """Make 0 in each map mean "as in a healthy eye"; no score changes.

    The mean healthy score stays in the bias, so the maps of healthy eyes have mean zero.
    """
    healthy = scored.scales[scored.truth == 0].mean(axis=0)
    for mean, (_, network) in zip(healthy, sorted(bundle.networks.items()), strict=True):
        if isinstance(network.link, Link):  # zero already means that there is nothing to see
            continue
        plain = float(mean) if network.link is None else network.link.plain(float(mean))
        network.set_level(float(network.linear.bias.detach()) - plain)


def measure(folder: Path, rows: Sequence[Labelled], *, quiet: bool = False) -> Bundle:
    """Measure weights on photographs that were not trained on; store the figures beside them."""
    # What was written is read again: half precision, thresholds, the reading path of a user.
    grader = Grader.from_folder(folder)
    bundle = replace(grader.bundle, metrics=evaluate(grader, rows, quiet=quiet)["sets"])
    save_bundle(bundle, folder)
    return bundle


def shows_finest_alone(bundle: Bundle) -> bool:
    """Whether the finest map is never negative, and so may be shown by its own score."""
    return isinstance(bundle.networks[max(bundle.networks)].link, Link)


def with_calibration(
    bundle: Bundle, fitted: Fitted, *, given: bool = False, further: bool = False
) -> Bundle:
    """Put a calibration into a bundle; figures measured with other thresholds are dropped.

    Args:
        bundle: that the calibration was fitted for.
        fitted: the calibration.
        given: whether the weights of the scales were given, not fitted.
        further: whether healthy eyes of other cameras took part.
    """
    weights = tuple(bundle.fusion[size] for size in sorted(bundle.networks))
    unchanged = (bundle.thresholds, weights) == (fitted.thresholds, fitted.fusion)
    return replace(
        bundle,
        thresholds=fitted.thresholds,
        certainty=fitted.certainty,
        fusion=dict(zip(sorted(bundle.networks), fitted.fusion, strict=True)),
        placement=fitted.placement,
        reference=None,  # of other scores and grades: `training.reference` writes it again
        metrics=bundle.metrics if unchanged else {},
        training={
            **{k: v for k, v in bundle.training.items() if k != "thresholds"},
            "certainty": "fitted on the validation split, on the scores that the Grader reports; "
            "datasets count by the root of their size, "
            f"grades by their frequency to the power of {1 - CLASS_POWER:g}"
            + ("; healthy eyes of other cameras take part" if further else ""),
            "decision": "the grade is the median of the probabilities",
            "fusion": "weights of the scales chosen on the validation split"
            if given
            else "weights of the scales fitted on the validation split: the most even of "
            "those whose squared error cannot be told from the least",
            "placement": f"{HEALTHY_UNPLACED:.0%} of healthy validation eyes are below its "
            "start, and below that of the finest scale where it has one",
        },
    )
