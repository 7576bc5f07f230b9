"""The manifest of a bundle of weights: its form, and how it is read without trusting it."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from drcore.errors import CheckpointError, DrcoreError
from drcore.maps.attenuation import Attenuation
from drcore.model.calibration import Decision, GradeCalibration
from drcore.model.link import Link, OnsetLink, link_of
from drcore.model.manifest_format import FORMAT, FORMAT_VERSION, MANIFEST
from drcore.preprocessing.network_input import Preprocessing
from drcore.text import one_line

__all__ = ["FORMAT", "FORMAT_VERSION", "MANIFEST", "Manifest", "NetworkEntry", "read_manifest"]

_MAX_MANIFEST = 1 << 20
_SINCE_VERSION = {"certainty": 2, "placement": 3, "reference": 4}
_DECISION_SINCE = 4
_ONSET_SINCE = 5
_OF_NETWORK_SINCE = dict.fromkeys(("map", "link", "mirrored", "precision"), 4)

Probability = Annotated[float, Field(ge=0, le=1)]


class _Entry(BaseModel):
    """An entry that knows all its keys, converts nothing and holds finite numbers only."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class _Link(_Entry):
    kind: Literal["log"]
    bias: float
    slope: float
    knee: float
    ceiling: float | None = None


class _OnsetLink(_Entry):
    kind: Literal["onset"]
    onset: float
    width: float
    slope: float


class NetworkEntry(_Entry):
    """One network and its weight file; see `drcore.model.network.RamNetwork`."""

    preset: str
    input_size: int
    architecture: dict[str, Any]
    file: str
    sha256: str
    level: float
    map: Literal["linear", "softplus"] = "linear"
    link: Annotated[_Link | _OnsetLink, Field(discriminator="kind")] | None = None
    mirrored: bool = True
    precision: Literal["float32", "bfloat16"] = "float32"

    @model_validator(mode="after")
    def _link_fits_the_map(self) -> Self:
        if (self.map == "softplus") != isinstance(self.link, _Link):
            raise ValueError("a softplus map needs a log link, a linear map has an onset or none")
        if self.map == "softplus" and self.level:
            raise ValueError("a softplus map has no level")
        return self

    def link_function(self) -> Link | OnsetLink | None:
        """Return from the mean of the map to the score; None for their sum with the bias."""
        return None if self.link is None else link_of(self.link.model_dump())


class _Preparation(_Entry):
    kind: Literal["local-contrast"]
    margin: float
    gain: float
    sigma: float
    mean: float
    std: Annotated[float, Field(gt=0)]


class _Fusion(_Entry):
    rule: Literal["mean"]
    scales: list[int]
    weights: list[Probability] | None = None


class _Certainty(_Entry):
    kind: Literal["cumulative-logistic"]
    cuts: list[float]
    width: float
    widening: float
    coverage: float
    level: float
    sensitive: float
    decision: Decision = "thresholds"


class _Ramp(_Entry):
    nowhere: float
    everywhere: float


class _Fit(_Entry):
    means: list[float]
    deviations: list[float]
    weights: list[float]


class _Histogram(_Entry):
    edges: list[float]
    counts: list[Annotated[int, Field(ge=0)]]
    mean: float
    deviation: Annotated[float, Field(ge=0)]
    fit: _Fit | None = None


class _Reference(_Entry):
    source: str
    photographs: Annotated[int, Field(gt=0)]
    histograms: dict[str, _Histogram]


class _Placement(_Ramp):
    finest: _Ramp | None = None


class Manifest(_Entry):
    """What `manifest.json` holds; `GradeCalibration` and its like are made by the properties."""

    format: Literal["drcore-bundle"]
    format_version: int
    name: str
    version: str
    created: str = ""
    licence: str = ""
    intended_use: str = ""
    networks: Annotated[list[NetworkEntry], Field(min_length=1)]
    preparation: _Preparation
    fusion: _Fusion
    thresholds: Annotated[list[float], Field(min_length=4, max_length=4)]
    certainty: _Certainty | None = None
    placement: _Placement | None = None
    reference: _Reference | None = None
    training: dict[str, Any] = {}
    metrics: dict[str, Any] = {}

    @field_validator("thresholds")
    @classmethod
    def _thresholds_rise(cls, values: list[float]) -> list[float]:
        if sorted(set(values)) != values:
            raise ValueError(f"the thresholds {values} do not rise")
        return values

    def preprocessing(self) -> Preprocessing:
        """Return how squares become network input."""
        return Preprocessing(**self.preparation.model_dump())

    def calibration(self) -> GradeCalibration | None:
        """Return the calibration of grades; refuse one that refers fewer eyes than the default."""
        if self.certainty is None:
            return None
        entry = self.certainty.model_dump(exclude={"kind"})
        calibration = GradeCalibration(**{**entry, "cuts": tuple(entry["cuts"])})
        if calibration.sensitive > self.thresholds[1]:
            raise DrcoreError(
                "the sensitive operating point is above the threshold of grade 2: it would miss "
                "more than the default."
            )
        return calibration

    def attenuation(self) -> Attenuation | None:
        """Return between which scores maps are shown in full; None for always."""
        if self.placement is None:
            return None
        own = self.placement.finest
        finest = None if own is None else Attenuation(own.nowhere, own.everywhere)
        return Attenuation(self.placement.nowhere, self.placement.everywhere, finest)

    def reference_entry(self) -> dict[str, Any] | None:
        """Return the reference histograms of `drcore.monitoring`; None where there are none."""
        return None if self.reference is None else self.reference.model_dump(exclude_none=True)

    def weights_of_scales(self) -> dict[int, float]:
        """Return by input size in pixels how much a scale counts, sum 1."""
        scales = sorted(entry.input_size for entry in self.networks)
        weights = self.fusion.weights or [1 / len(scales)] * len(scales)
        sound = (
            self.fusion.scales == scales
            and len(weights) == len(scales)
            and math.isclose(sum(weights), 1, abs_tol=1e-6)
        )
        if not sound:
            raise DrcoreError(f"the fusion {one_line(self.fusion)} does not fit the networks.")
        return dict(zip(scales, weights, strict=True))


def read_manifest(folder: Path) -> Manifest:
    """Read and check a manifest, without touching the weights.

    Args:
        folder: holds `manifest.json`.

    Returns:
        The manifest.

    Raises:
        CheckpointError: missing, damaged, or of a format that is not understood.
    """
    content = _read(folder)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise CheckpointError(f"{folder.name} is not a {FORMAT}: its manifest does not say so.")
    version = content.get("format_version")
    if type(version) is not int or not 1 <= version <= FORMAT_VERSION:
        raise CheckpointError(
            f"The weights in {folder.name} have manifest version {one_line(version)}; this drcore "
            f"understands {', '.join(map(str, range(1, FORMAT_VERSION)))} and {FORMAT_VERSION}. "
            "Update drcore, or use other weights."
        )
    if early := _too_early(content, version):
        raise CheckpointError(_not_understood(folder, early))
    try:
        return Manifest.model_validate(content)
    except ValidationError as error:
        raise CheckpointError(_explain(folder, error)) from error


def _too_early(content: dict[str, Any], version: int) -> list[str]:
    """Name entries that a manifest of that version does not have."""
    certainty, networks = content.get("certainty"), content.get("networks")
    found = [key for key, since in _SINCE_VERSION.items() if version < since and key in content]
    if version < _DECISION_SINCE and isinstance(certainty, dict) and "decision" in certainty:
        found.append("certainty.decision")
    placement = content.get("placement")
    if version < 4 and isinstance(placement, dict) and "finest" in placement:
        found.append("placement.finest")
    for index, entry in enumerate(networks if isinstance(networks, list) else []):
        keys = entry if isinstance(entry, dict) else {}
        link = keys.get("link")
        if version < _ONSET_SINCE and isinstance(link, dict) and link.get("kind") == "onset":
            found.append(f"networks.{index}.link.kind")
        found += [
            f"networks.{index}.{key}"
            for key, since in _OF_NETWORK_SINCE.items()
            if version < since and key in keys
        ]
    return found


def _read(folder: Path) -> object:
    file = folder / MANIFEST
    try:
        if file.stat().st_size > _MAX_MANIFEST:
            raise CheckpointError(f"The manifest of {folder.name} is too large to be one.")
        return json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise CheckpointError(
            f"There is no readable {MANIFEST} in the folder {folder.name}. "
            "Give a folder written by drcore, or reinstall the package."
        ) from error
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        raise CheckpointError(
            f"The manifest of {folder.name} is not JSON ({one_line(error)}). Get the weights again."
        ) from error


def _explain(folder: Path, error: ValidationError) -> str:
    """Say in one sentence what the first fault is."""
    faults = error.errors(include_url=False)
    unknown = [".".join(map(str, f["loc"])) for f in faults if f["type"] == "extra_forbidden"]
    if unknown:
        return _not_understood(folder, unknown)
    place = ".".join(map(str, faults[0]["loc"]))
    return (
        f"The manifest of {folder.name} cannot be used at '{one_line(place)}': "
        f"{one_line(faults[0]['msg'])}. Get the weights again, or update drcore."
    )


def _not_understood(folder: Path, entries: list[str]) -> str:
    return (
        f"The manifest of {folder.name} has entries that this drcore does not understand: "
        f"{one_line(', '.join(entries))}. Update drcore."
    )
