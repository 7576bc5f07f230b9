"""Fitting what turns scores into grades, and how sure they are: `python -m training.calibrate`.

Everything is fitted on the scores that `drcore.grading.grader.Grader` reports for the validation
photographs, from file to mean over square and mirror image: what a user gets.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from drcore.errors import DrcoreError
from drcore.grading.grader import Grader
from drcore.model.bundle import Bundle, bundled_folder, save_bundle
from training.data.labels import Labelled, data_root, read_labels
from training.evaluation.calibration import (
    HEALTHY_UNPLACED,
    Fitted,
    Scored,
    calibrate,
    calibration_errors,
    cross_validated,
    judge,
    score_photographs,
)
from training.evaluation.calibration_report import report
from training.evaluation.grading import evaluate

__all__ = ["measure"]


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


def main(arguments: list[str] | None = None) -> None:
    """Calibrate a bundle from the command line."""
    parser = argparse.ArgumentParser(prog="python -m training.calibrate", description=__doc__)
    parser.add_argument("--weights", type=Path, default=bundled_folder(), help="folder of a bundle")
    parser.add_argument("--out", type=Path, help="write there (default: into --weights)")
    parser.add_argument("--labels", type=Path, help="labels.csv (default: $DRCORE_DATA/labels.csv)")
    parser.add_argument("--images", type=Path, help="folder of the photographs")
    parser.add_argument("--model-version", help="of the calibrated bundle (default: as it is)")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    step = parser.add_mutually_exclusive_group()
    step.add_argument(
        "--report", action="store_true",
        help="write nothing; print the figures of certainty, cross-validated on the validation "
        "photographs, and as the weights are on the test photographs",
    )  # fmt: skip
    step.add_argument(
        "--measure", action="store_true",
        help="afterwards measure agreement on all photographs held out, and store the figures",
    )  # fmt: skip
    given = parser.parse_args(arguments)
    try:
        rows = read_labels(given.labels or data_root() / "labels.csv", given.images)
        grader = Grader.from_folder(given.weights)
        # The test photographs are opened to measure, never to fit.
        splits = {"val", "test"} if given.report else {"val"}
        scored = score_photographs(
            grader, [row for row in rows if row.split in splits], quiet=given.quiet
        )
        if given.report:
            print(_printed(grader, scored))
            return
        fitted = calibrate(scored)
        out = given.out or given.weights
        bundle = with_calibration(grader.bundle, fitted)
        save_bundle(replace(bundle, version=given.model_version or bundle.version), out)
        print(f"{grader.version}: thresholds {fitted.thresholds}\n{fitted.certainty}")
        if given.measure:
            measure(out, [row for row in rows if row.split != "train"], quiet=given.quiet)
    except DrcoreError as error:
        parser.exit(1, f"{error}\n")


def _printed(grader: Grader, scored: Scored) -> str:
    certainty = grader.bundle.certainty
    if certainty is None:
        raise DrcoreError(f"{grader.version} is not calibrated. Run training.calibrate first.")
    scored = scored.where(scored.gradable)
    val, test = scored.where(scored.split == "val"), scored.where(scored.split == "test")
    lines = [f"{grader.version}; photographs that are turned away are left out", ""]
    if len(val):
        lines += ["Fitted without the patient in question", report(val, cross_validated(val))]
        lines += ["expected calibration error, mean of ten partitions (lowest to highest)"]
        for name, errors in calibration_errors(val).items():
            lines.append(
                f"  {name:<28}{errors.mean():>7.3f} ({errors.min():.3f} to {errors.max():.3f})"
            )
        lines.append("")
    if len(test):
        bundle = grader.bundle
        weights = tuple(bundle.fusion[size] for size in sorted(bundle.networks))
        fitted = Fitted(weights, bundle.thresholds, certainty, bundle.placement)
        lines += ["Fitted on the validation photographs", report(test, judge(fitted, test))]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
