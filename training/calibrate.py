"""Calibrate a bundle: weights of the scales, probabilities: `python -m training.calibrate`.

Everything is fitted on the scores that `drcore.grading.grader.Grader` reports for the validation
photographs, from file to mean over square and mirror image: what a user gets.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from drcore.errors import DrcoreError
from drcore.evaluation.calibration_fit import calibrate, cross_validated, judge
from drcore.evaluation.calibration_report import calibration_errors, report
from drcore.evaluation.scored import Scored
from drcore.grading.grader import Grader
from drcore.model.bundle import bundled_folder, save_bundle
from training import cli
from training.evaluation.bundle import measure, set_levels, shows_finest_alone, with_calibration
from training.evaluation.decision_rules import decision_rules
from training.evaluation.scoring import score_photographs


def main(arguments: list[str] | None = None) -> None:
    """Calibrate a bundle from the command line."""
    parser = cli.parser(
        "calibrate", __doc__, "--weights", "--labels", "--images", "--further", "--quiet"
    )
    parser.set_defaults(weights=bundled_folder())
    parser.add_argument("--out", type=Path, help="write there (default: into --weights)")
    parser.add_argument("--model-version", help="of the calibrated bundle (default: as it is)")
    parser.add_argument(
        "--keep-scores", action="store_true",
        help="leave the weights of the scales and the placement of maps as they are",
    )  # fmt: skip
    cli.add_fusion(parser)
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
    cli.run(parser, _calibrate, arguments)


def _calibrate(given: argparse.Namespace) -> None:
    rows, grader = cli.labels(given), Grader.from_folder(given.weights)
    # The test photographs are opened to measure, never to fit.
    splits = {"val", "test"} if given.report else {"val"}
    chosen = [row for row in rows if row.split in splits]
    scored = score_photographs(grader, chosen, quiet=given.quiet)
    if given.report:
        print(_printed(grader, scored))
        return
    if grader.bundle.certainty is None and (scored.truth == 0).any():
        set_levels(grader.bundle, scored)  # as training.train_bundle left it: maps without a level
    fitted = calibrate(
        scored, grader.bundle if given.keep_scores else None, given.fusion,
        finest_alone=shows_finest_alone(grader.bundle),
    )  # fmt: skip
    out = given.out or given.weights
    bundle = with_calibration(
        grader.bundle, fitted, given=bool(given.fusion), further=given.further
    )
    bundle = replace(bundle, version=given.model_version or bundle.version)
    save_bundle(bundle, out)
    print(f"{bundle.name} {bundle.version}: {fitted.certainty}")
    if given.measure:
        measure(out, [row for row in rows if row.split != "train"], quiet=given.quiet)


def _printed(grader: Grader, scored: Scored) -> str:
    certainty = grader.bundle.certainty
    if certainty is None:
        raise DrcoreError(f"{grader.version} is not calibrated. Run training.calibrate first.")
    scored = scored.where(scored.gradable)
    val, test = scored.where(scored.split == "val"), scored.where(scored.split == "test")
    lines = [f"{grader.version}; ungradable photographs are left out", ""]
    if len(val):
        lines += ["Fitted without the patient in question", report(val, cross_validated(val))]
        lines += ["expected calibration error, mean of ten partitions (lowest to highest)"]
        for name, errors in calibration_errors(val).items():
            lines.append(
                f"  {name:<28}{errors.mean():>7.3f} ({errors.min():.3f} to {errors.max():.3f})"
            )
        lines += ["", "Decision rule", decision_rules(val, test), ""]
    if len(test):
        bundle = grader.bundle
        lines += [
            "Fitted on the validation photographs",
            report(test, judge(certainty, test, bundle.thresholds)),
        ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
