"""One map against fused maps: accuracy on labelled, localisation on lesion-marked photographs."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from drcore.grading.grader import Grader
from drcore.photographs.reader import read_photograph
from drcore.preprocessing.field_of_view import find_field_of_view
from drcore.preprocessing.network_input import Preprocessing
from drcore.preprocessing.retina_square import RetinaSquare
from training.data.labels import data_root, read_labels
from training.data.lesion_masks import Annotated, read_lesions
from training.evaluation.localisation import GRID, LocalisationFigures, divided, measure
from training.evaluation.localisation_report import compare, summarise
from training.evaluation.localised_maps import localise
from training.reproduction.augmentation import PublishedInput, unchanged
from training.reproduction.networks import PublishedNetwork
from training.reproduction.preprocessing import eye_box, resized
from training.reproduction.recipe import PublishedRecipe
from training.reproduction.weights import load_kept

__all__ = ["map_on_square", "measure_maps", "published_figures", "published_networks"]

_PUBLISHED_SCALES = (128, 256)
"""The scales whose maps the paper adds."""


def measure_maps(
    weights: Path | None = None, runs: Path | None = None, *, data: Path | None = None
) -> dict[str, Any]:
    """Measure single and fused maps against lesions that were marked by hand.

    Args:
        weights: folder of a bundle; the bundled one if left out.
        runs: folder of the published networks; those of the maps are measured, too.
        data: folder with lesions.csv and labels.csv; `data_root()` if left out.

    Returns:
        By choice of networks: "photographs", "maps" (each with [mean, low, high] of pointing hit
        and average precision), "accuracy" (kappa of each scale and fused, from the manifest) and
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
        result[title] = _entry(figures)
    accuracy = {
        name: {scale: [e["kappa"], *e["kappa_interval"]] for scale, e in entry.items()
               if isinstance(e, dict) and "kappa" in e}
        for name, entry in grader.bundle.metrics.items()
    }  # fmt: skip
    result[title]["accuracy"] = accuracy
    published = published_networks(runs) if runs is not None else {}
    if published:
        name = f"Networks of the paper's maps, {' + '.join(map(str, published))} px"
        result[name] = _entry(published_figures(published, photographs))
    return result


def published_networks(runs: Path) -> dict[int, PublishedNetwork]:
    """Open the trained networks of the published maps, by side of the photograph; first seeds."""
    found: dict[int, PublishedNetwork] = {}
    for file in sorted(runs.glob("fine-*/result.json")):
        stored = json.loads(file.read_text(encoding="utf-8"))["recipe"]
        recipe = PublishedRecipe(**{**stored, "drops": tuple(stored["drops"])})
        found.setdefault(recipe.net.photograph, load_kept(recipe, file.parent))
    return dict(sorted(found.items()))


def published_figures(
    networks: Mapping[int, PublishedNetwork], photographs: Sequence[Annotated]
) -> dict[str, list[LocalisationFigures]]:
    """Measure the maps of published networks, alone and fused as published, in pairs and all.

    Published: each map stretched to 0-1, then added. "mean" adds them in grades.
    """
    figures: dict[str, list[LocalisationFigures]] = {}
    for annotated in photographs:
        rgb = read_photograph(annotated.path).rgb
        frame = RetinaSquare(find_field_of_view(rgb), rgb.shape[1], rgb.shape[0], GRID)
        single = {side: map_on_square(network, rgb, frame) for side, network in networks.items()}
        maps = {f"ram {side}": one for side, one in single.items()}
        for count in range(2, len(single) + 1):
            for sides in itertools.combinations(single, count):
                some, name = [single[side] for side in sides], "+".join(map(str, sides))
                maps[f"fused min-max {name}"] = np.sum([_stretched(one) for one in some], axis=0)
                maps[f"fused mean {name}"] = np.mean(some, axis=0)
        lesions = annotated.lesions()
        for name, one in maps.items():
            entry = measure(one.astype(np.float32), frame, Preprocessing().margin, lesions)
            figures.setdefault(name, []).append(entry)
    return figures


def map_on_square(
    network: PublishedNetwork, rgb: NDArray[np.uint8], frame: RetinaSquare
) -> NDArray[np.float32]:
    """Return the map of a photograph over the square of the field of view.

    The network sees the central 7/8 of the eye's box: only there does its map say something.

    Args:
        rgb: uint8 (H, W, 3), the photograph.
        frame: gives the square.

    Returns:
        float32 (S, S), grades, NaN where the network did not look.
    """
    layout = network.layout
    top, bottom, left, right = eye_box(rgb)
    square = resized(rgb[top:bottom, left:right], layout.photograph)
    raw = torch.from_numpy(square.transpose(2, 0, 1).copy())[None]
    with torch.inference_mode():
        ram = network.ram(PublishedInput(layout)(raw, torch.from_numpy(unchanged(1, layout))))
    rim = (1 - layout.input_size / layout.photograph) / 2
    rows = [round(top + share * (bottom - top)) for share in (rim, 1 - rim)]
    columns = [round(left + share * (right - left)) for share in (rim, 1 - rim)]
    size = (columns[1] - columns[0], rows[1] - rows[0])
    full = np.zeros(rgb.shape[:2], np.float32)
    inside = np.zeros(rgb.shape[:2], np.float32)
    window = np.s_[rows[0] : rows[1], columns[0] : columns[1]]
    full[window] = cv2.resize(ram[0].numpy(), size, interpolation=cv2.INTER_LINEAR)
    inside[window] = 1
    value, weight = (np.asarray(frame.warp(one), np.float32) for one in (full, inside))
    return divided(value, weight)


def _stretched(ram: NDArray[np.float32]) -> NDArray[np.float32]:
    low, high = np.nanmin(ram), np.nanmax(ram)
    return np.asarray((ram - low) / max(high - low, 1e-6), np.float32)


def _entry(figures: dict[str, list[LocalisationFigures]]) -> dict[str, Any]:
    return {
        "photographs": len(next(iter(figures.values()))),
        "maps": {name: _row(summarise(some)) for name, some in figures.items()},
        "notes": _notes(figures),
    }


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
        told = "better" if low > 0 else "worse" if high < 0 else "no difference shown"
        notes.append(
            f"{name} less {best}, average precision: {gain['mean']:+.3f} "
            f"({low:+.3f} to {high:+.3f}): {told}."
        )
    return notes
