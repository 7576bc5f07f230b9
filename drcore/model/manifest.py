"""The manifest of a bundle of weights, read and checked."""

from __future__ import annotations

import json
import math
from dataclasses import fields
from pathlib import Path
from typing import Any

from drcore.errors import CheckpointError
from drcore.maps.attenuation import Attenuation
from drcore.model.calibration import GradeCalibration
from drcore.preprocessing.network_input import Preprocessing
from drcore.text import one_line

__all__ = ["FORMAT_VERSION", "MANIFEST"]


FORMAT = "drcore-bundle"
FORMAT_VERSION = 3
"""Version that is written. Version 1 is read too: it has no `certainty`."""

MANIFEST = "manifest.json"
_MAX_MANIFEST = 1 << 20
_KNOWN_OF_NETWORK = {"preset", "input_size", "architecture", "file", "sha256", "level"}
_KNOWN = {
    "format", "format_version", "name", "version", "created", "licence", "intended_use",
    "networks", "preparation", "fusion", "thresholds", "training", "metrics",
}  # fmt: skip
_KNOWN_OF_VERSION = {
    1: _KNOWN,
    2: _KNOWN | {"certainty"},
    3: _KNOWN | {"certainty", "placement"},
}


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read and check the head of a manifest, without touching the weights.

    Args:
        folder: holds `manifest.json`.

    Returns:
        The manifest.

    Raises:
        CheckpointError: missing, damaged, or of a format that is not understood.
    """
    file = folder / MANIFEST
    try:
        if file.stat().st_size > _MAX_MANIFEST:
            raise CheckpointError(f"The manifest of {folder.name} is too large to be one.")
        manifest = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise CheckpointError(
            f"There is no readable {MANIFEST} in the folder {folder.name}. "
            "Give a folder written by drcore, or reinstall the package."
        ) from error
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        raise CheckpointError(
            f"The manifest of {folder.name} is not JSON ({one_line(error)}). Get the weights again."
        ) from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise CheckpointError(f"{folder.name} is not a {FORMAT}: its manifest does not say so.")
    version = manifest.get("format_version")
    if type(version) is not int or version not in _KNOWN_OF_VERSION:
        raise CheckpointError(
            f"The weights in {folder.name} have manifest version {one_line(version)}; this drcore "
            f"understands {', '.join(map(str, range(1, FORMAT_VERSION)))} and {FORMAT_VERSION}. "
            "Update drcore, or use other weights."
        )
    unknown = sorted(set(manifest) - _KNOWN_OF_VERSION[version])
    if unknown:
        raise CheckpointError(
            f"The manifest of {folder.name} has entries that this drcore does not understand: "
            f"{one_line(', '.join(unknown))}. Update drcore."
        )
    return manifest


def _preparation(entry: dict[str, Any]) -> Preprocessing:
    known = {f.name for f in fields(Preprocessing)}
    if set(entry) != known or entry["kind"] != Preprocessing().kind:
        raise CheckpointError(
            f"The preparation {one_line(entry)} in the manifest is not understood."
        )
    numbers = {k: float(v) for k, v in entry.items() if k != "kind"}
    if not all(math.isfinite(v) for v in numbers.values()) or numbers["std"] <= 0:
        raise CheckpointError("The preparation in the manifest holds impossible numbers.")
    return Preprocessing(kind=entry["kind"], **numbers)


def _thresholds(entry: list[float]) -> tuple[float, float, float, float]:
    a, b, c, d = (float(value) for value in entry)
    if not (math.isfinite(a) and a < b < c < d and math.isfinite(d)):
        raise CheckpointError(f"The thresholds {one_line(entry)} in the manifest do not rise.")
    return a, b, c, d


def _certainty(
    entry: object, thresholds: tuple[float, float, float, float]
) -> GradeCalibration | None:
    if entry is None:
        return None
    certainty = GradeCalibration.from_dict(entry)
    if certainty.sensitive > thresholds[1]:
        raise CheckpointError(
            "The sensitive operating point in the manifest is above the threshold of grade 2: it "
            "would miss more than the default. Get the weights again."
        )
    return certainty


def _fusion(entry: dict[str, Any], scales: list[int]) -> dict[int, float]:
    rest = {name: value for name, value in entry.items() if name != "weights"}
    weights = entry.get("weights", [1 / len(scales)] * len(scales))
    sound = (
        rest == {"rule": "mean", "scales": scales}
        and len(weights) == len(scales)
        and all(type(weight) in {int, float} and 0 <= weight <= 1 for weight in weights)
        and math.isclose(sum(weights), 1, abs_tol=1e-6)
    )
    if not sound:
        raise CheckpointError(f"The fusion {one_line(entry)} in the manifest is not understood.")
    return {size: float(weight) for size, weight in zip(scales, weights, strict=True)}


def _placement(entry: object) -> Attenuation | None:
    return None if entry is None else Attenuation.from_dict(entry)
