"""One map against fused maps: accuracy on labelled, localisation on lesion-marked photographs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from drcore.grading.grader import Grader
from training.data.labels import data_root, read_labels
from training.data.lesion_masks import read_lesions
from training.evaluation.localisation import LocalisationFigures
from training.evaluation.localisation_report import compare, summarise
from training.evaluation.localised_maps import localise

__all__ = ["measure_maps"]

_PUBLISHED_SCALES = (128, 256)
"""The scales whose maps the paper adds."""


def measure_maps(weights: Path | None = None, *, data: Path | None = None) -> dict[str, Any]:
    """Measure single and fused maps of a bundle against lesions that were marked by hand.

    The networks are the bundle's, not the published ones: the question is what fusing does.

    Args:
        weights: folder of a bundle; the bundled one if left out.
        data: folder with lesions.csv and labels.csv; `data_root()` if left out.

    Returns:
        By choice of scales: "photographs", "maps" (each with [mean, low, high] of pointing hit and
        average precision), "accuracy" (kappa of each scale and fused, from the manifest) and
        "notes", sentences on what fusing changes.

    Raises:
        DrcoreError: weights or photographs are missing or bad.
    """
    grader = Grader.from_folder(weights) if weights else Grader.bundled()
    data = data or data_root()
    splits = {row.path.name: row.split for row in read_labels(data / "labels.csv")}
    photographs = [one for one in read_lesions(data / "lesions.csv", splits) if one.clean]
    result = {}
    choices = [tuple(scale for scale in _PUBLISHED_SCALES if scale in grader.scales)]
    choices += [grader.scales] if grader.scales not in choices else []
    for scales in choices:
        networks = {scale: grader.bundle.networks[scale] for scale in scales}
        part = Grader(replace(grader.bundle, networks=networks, fusion={}), grader.device)
        figures = localise(part, photographs, steps=0, quiet=True)
        title = f"{grader.version}, {' + '.join(map(str, scales))} px"
        result[title] = {
            "photographs": len(photographs),
            "maps": {name: _row(summarise(some)) for name, some in figures.items()},
            "notes": _notes(figures),
        }
    accuracy = {
        name: {scale: [e["kappa"], *e["kappa_interval"]] for scale, e in entry.items()
               if isinstance(e, dict) and "kappa" in e}
        for name, entry in grader.bundle.metrics.items()
    }  # fmt: skip
    result[title]["accuracy"] = accuracy
    return result


def _row(summary: dict[str, Any]) -> dict[str, list[float]]:
    hit, precision = summary["hit"], summary["average_precision"]["all"]
    return {
        "pointing_hit": [hit["mean"], *hit["interval"]],
        "average_precision": [precision["mean"], *precision["interval"]],
    }


def _notes(figures: dict[str, list[LocalisationFigures]]) -> list[str]:
    """Compare the fused maps with the single one of the best average precision."""
    single = {name: some for name, some in figures.items() if name.startswith("ram")}
    best = max(single, key=lambda name: _row(summarise(single[name], draws=1))["average_precision"])
    notes = []
    for name, some in figures.items():
        if not name.startswith("fused"):
            continue
        gain = compare(some, single[best])["average_precision"]
        low, high = gain["interval"]
        told = "better" if low > 0 else "worse" if high < 0 else "cannot be told apart"
        notes.append(
            f"{name} less {best}, average precision: {gain['mean']:+.3f} "
            f"({low:+.3f} to {high:+.3f}): {told}."
        )
    return notes
