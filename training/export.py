"""Export finished runs as a bundle, calibrated and measured: `python -m training.export`."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from drcore.evaluation.calibration_fit import calibrate
from drcore.grading.grader import Grader
from drcore.model.bundle import bundled_folder, load_bundle, save_bundle
from drcore.model.link import OnsetLink
from drcore.model.network import PRESETS
from training import cli
from training.evaluation.bundle import set_levels, shows_finest_alone, with_calibration
from training.evaluation.grading import evaluate_scored
from training.evaluation.scoring import score_photographs
from training.optimisation.bundle import bundle_of_run
from training.recipe import SHIPPED


def main(arguments: list[str] | None = None) -> None:
    """Write a bundle from the command line."""
    parser = cli.parser("export", __doc__, "--labels", "--images", "--further", "--quiet")
    parser.add_argument("--run", type=Path, default=Path("runs/first"), help="folder of the runs")
    parser.add_argument("--out", type=Path, default=bundled_folder(), help="folder of the bundle")
    parser.add_argument("--name", default="ram-lite")
    parser.add_argument("--model-version", default="0.1.0")
    parser.add_argument(
        "--presets", nargs="+", default=SHIPPED, choices=sorted(PRESETS), metavar="PRESET",
        help="networks of the bundle, one for each input size, but for the finest",
    )  # fmt: skip
    parser.add_argument(
        "--keep", nargs="+", default=[], choices=sorted(PRESETS), metavar="PRESET",
        help="take these networks from the weights that ship, not from the run",
    )  # fmt: skip
    parser.add_argument(
        "--single-pass", action="store_true",
        help="the scales but the finest do without the mirror image, in half the time",
    )  # fmt: skip
    parser.add_argument(
        "--onset", nargs=3, type=float, metavar=("ONSET", "WIDTH", "SLOPE"),
        help="the scales but the finest count from this score on, see drcore.model.link.OnsetLink",
    )  # fmt: skip
    cli.add_scales(parser)
    cli.run(parser, _export, arguments)


def _export(given: argparse.Namespace) -> None:
    rows = cli.labels(given)
    bundle = bundle_of_run(
        given.run, given.presets, rows, name=given.name, version=given.model_version,
        kept=load_bundle(bundled_folder()) if given.keep else None, keep=given.keep,
        finest=given.finest, fusion=given.fusion, mirrored=not given.single_pass,
        onset=OnsetLink(*given.onset) if given.onset else None,
    )  # fmt: skip
    save_bundle(bundle, given.out)
    # Fitted on what was written: half precision, and a user's path from file to score.
    grader = Grader.from_folder(given.out)
    others = [row for row in rows if row.split in {"val", "test"}]
    scored = score_photographs(grader, others, quiet=given.quiet)
    validation = scored.where(scored.split == "val")
    set_levels(grader.bundle, validation)
    fitted = calibrate(
        validation, fusion=given.fusion, finest_alone=shows_finest_alone(grader.bundle)
    )
    calibrated = with_calibration(
        grader.bundle, fitted, given=bool(given.fusion), further=given.further
    )  # fmt: skip
    save_bundle(calibrated, given.out)
    grader = Grader.from_folder(given.out)
    fused = replace(scored, score=scored.scales @ np.array(fitted.fusion))
    # Agreement means something where there is more than one grade.
    sets = evaluate_scored(grader, fused.where(fused.dataset != "healthy"))["sets"]
    save_bundle(replace(grader.bundle, metrics=sets), given.out)
    print(f"{grader.version}: thresholds {grader.bundle.thresholds}")


if __name__ == "__main__":
    main()
