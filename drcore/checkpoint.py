"""Weights on disk: safetensors beside a manifest that says what they are. No pickle."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass, field, fields
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drcore.certainty import Certainty
from drcore.errors import CheckpointError
from drcore.placement import Placement
from drcore.prepare import Preparation

if TYPE_CHECKING:
    from drcore.network import RamNetwork

__all__ = ["FORMAT_VERSION", "MANIFEST", "Bundle", "bundled_folder", "load_bundle", "save_bundle"]

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


@dataclass(frozen=True, slots=True)
class Bundle:
    """Trained networks and what is needed to use them.

    Attributes:
        name, version: of the model.
        networks: by input size in pixels, in evaluation mode.
        preparation: how squares become input.
        thresholds: the four scores that part grade 0 from 1, 1 from 2, 2 from 3, 3 from 4.
        certainty: how sure a grade is; None where nobody has calibrated it.
        fusion: by input size in pixels, how much each scale counts in the score and in the fused
            map, sum 1; all alike where left out.
        placement: from which score maps are shown in their places; None for always.
        created: ISO date.
        training: data, recipes and seeds, for the reader.
        metrics: measured figures, for the reader.
        licence, intended_use: sentences.
    """

    name: str
    version: str
    networks: dict[int, RamNetwork]
    preparation: Preparation
    thresholds: tuple[float, float, float, float]
    certainty: Certainty | None = None
    fusion: dict[int, float] = field(default_factory=dict)
    placement: Placement | None = None
    created: str = ""
    training: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    licence: str = ""
    intended_use: str = ""

    def __post_init__(self) -> None:
        """Let all scales count alike where nobody has said otherwise."""
        if not self.fusion:
            alike = dict.fromkeys(self.networks, 1 / max(len(self.networks), 1))
            object.__setattr__(self, "fusion", alike)
        elif set(self.fusion) != set(self.networks):
            raise CheckpointError("The weights of the scales do not belong to these networks.")


def bundled_folder() -> Path:
    """Return the folder of the weights that ship with the package."""
    return Path(str(resources.files("drcore"))) / "weights"


def save_bundle(bundle: Bundle, folder: Path) -> None:
    """Write weights in half precision, one file a network, and the manifest.

    Args:
        bundle: what to write.
        folder: created where missing; files of the same name are replaced.
    """
    import torch
    from safetensors.torch import save

    folder.mkdir(parents=True, exist_ok=True)
    entries = []
    for size, network in sorted(bundle.networks.items()):
        file = folder / f"{network.config.name}.safetensors"
        tensors = {
            name: (value.half() if value.is_floating_point() else value).cpu().contiguous()
            for name, value in network.state_dict().items()
            if not name.endswith("num_batches_tracked")  # only training reads it
        }
        overflow = [name for name, value in tensors.items() if not torch.isfinite(value).all()]
        if overflow:
            raise CheckpointError(f"{overflow[0]} does not fit into half precision.")
        file.write_bytes(save(tensors))  # save_file would hide it from other users of the machine
        entries.append(
            {
                "preset": network.config.name,
                "input_size": size,
                "architecture": asdict(network.config),
                "file": file.name,
                "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
                "level": float(network.level),
            }
        )
    manifest = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "name": bundle.name,
        "version": bundle.version,
        "created": bundle.created,
        "licence": bundle.licence,
        "intended_use": bundle.intended_use,
        "networks": entries,
        "preparation": bundle.preparation.to_dict(),
        "fusion": {
            "rule": "mean",
            "scales": sorted(bundle.networks),
            "weights": [bundle.fusion[size] for size in sorted(bundle.networks)],
        },
        "thresholds": list(bundle.thresholds),
        "certainty": None if bundle.certainty is None else bundle.certainty.to_dict(),
        "placement": None if bundle.placement is None else bundle.placement.to_dict(),
        "training": bundle.training,
        "metrics": bundle.metrics,
    }
    text = json.dumps(manifest, indent=1, ensure_ascii=False) + "\n"
    (folder / MANIFEST).write_text(text, encoding="utf-8")


def load_bundle(folder: Path, device: str = "cpu") -> Bundle:
    """Read a bundle, checking every claim of its manifest.

    Args:
        folder: holds `manifest.json` and the weight files that it names.
        device: where the networks go, "cpu" or "cuda".

    Returns:
        The bundle, networks in float32 and evaluation mode.

    Raises:
        CheckpointError: something is missing, damaged, or not understood; says what.
    """
    manifest = read_manifest(folder)
    try:
        preparation = _preparation(manifest["preparation"])
        thresholds = _thresholds(manifest["thresholds"])
        networks = dict(_network(entry, folder, device) for entry in manifest["networks"])
        if not networks:
            raise CheckpointError(f"The manifest of {folder.name} names no network. Get it again.")
        return Bundle(
            name=str(manifest["name"]),
            version=str(manifest["version"]),
            networks=networks,
            preparation=preparation,
            thresholds=thresholds,
            certainty=_certainty(manifest.get("certainty"), thresholds),
            fusion=_fusion(manifest["fusion"], sorted(networks)),
            placement=_placement(manifest.get("placement")),
            created=str(manifest.get("created", "")),
            training=dict(manifest.get("training", {})),
            metrics=dict(manifest.get("metrics", {})),
            licence=str(manifest.get("licence", "")),
            intended_use=str(manifest.get("intended_use", "")),
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise CheckpointError(
            f"The manifest of {folder.name} lacks or garbles an entry ({_short(error)}). "
            "Get the weights again."
        ) from error


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
            f"The manifest of {folder.name} is not JSON ({_short(error)}). Get the weights again."
        ) from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise CheckpointError(f"{folder.name} is not a {FORMAT}: its manifest does not say so.")
    version = manifest.get("format_version")
    if type(version) is not int or version not in _KNOWN_OF_VERSION:
        raise CheckpointError(
            f"The weights in {folder.name} have manifest version {_short(version)}; this drcore "
            f"understands {', '.join(map(str, range(1, FORMAT_VERSION)))} and {FORMAT_VERSION}. "
            "Update drcore, or use other weights."
        )
    unknown = sorted(set(manifest) - _KNOWN_OF_VERSION[version])
    if unknown:
        raise CheckpointError(
            f"The manifest of {folder.name} has entries that this drcore does not understand: "
            f"{_short(', '.join(unknown))}. Update drcore."
        )
    return manifest


def _preparation(entry: dict[str, Any]) -> Preparation:
    known = {f.name for f in fields(Preparation)}
    if set(entry) != known or entry["kind"] != Preparation().kind:
        raise CheckpointError(f"The preparation {_short(entry)} in the manifest is not understood.")
    numbers = {k: float(v) for k, v in entry.items() if k != "kind"}
    if not all(math.isfinite(v) for v in numbers.values()) or numbers["std"] <= 0:
        raise CheckpointError("The preparation in the manifest holds impossible numbers.")
    return Preparation(kind=entry["kind"], **numbers)


def _thresholds(entry: list[float]) -> tuple[float, float, float, float]:
    a, b, c, d = (float(value) for value in entry)
    if not (math.isfinite(a) and a < b < c < d and math.isfinite(d)):
        raise CheckpointError(f"The thresholds {_short(entry)} in the manifest do not rise.")
    return a, b, c, d


def _certainty(entry: object, thresholds: tuple[float, float, float, float]) -> Certainty | None:
    if entry is None:
        return None
    certainty = Certainty.from_dict(entry)
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
        raise CheckpointError(f"The fusion {_short(entry)} in the manifest is not understood.")
    return {size: float(weight) for size, weight in zip(scales, weights, strict=True)}


def _placement(entry: object) -> Placement | None:
    return None if entry is None else Placement.from_dict(entry)


def _network(entry: dict[str, Any], folder: Path, device: str) -> tuple[int, RamNetwork]:
    import torch
    from safetensors.torch import load

    from drcore.network import PRESETS, RamNetwork

    unknown = sorted(set(entry) - _KNOWN_OF_NETWORK)
    if unknown:
        raise CheckpointError(
            "A network in the manifest has entries that this drcore does not understand: "
            f"{_short(', '.join(unknown))}. Update drcore."
        )
    preset = entry["preset"]
    config = PRESETS.get(preset)
    if (
        config is None
        or json.loads(json.dumps(asdict(config))) != entry["architecture"]
        or config.input_size != entry["input_size"]
    ):
        raise CheckpointError(
            f"The network {_short(preset)} in the manifest is not one that this drcore can build. "
            "Update drcore, or use other weights."
        )
    level = float(entry["level"])
    if not math.isfinite(level):
        raise CheckpointError(
            f"The level of {_short(preset)} in the manifest is not a finite number."
        )
    file = folder / str(entry["file"])
    if file.name != entry["file"] or file.suffix != ".safetensors":
        raise CheckpointError(
            f"The manifest names {_short(entry['file'])}: not a safetensors file here."
        )
    try:
        data = file.read_bytes()
    except OSError as error:
        raise CheckpointError(
            f"The weights {_short(file.name)} are missing. Get them again."
        ) from error
    if hashlib.sha256(data).hexdigest() != entry["sha256"]:
        raise CheckpointError(
            f"The weights {file.name} do not have the checksum that the manifest gives: "
            "they are damaged or were exchanged. Get them again."
        )
    try:
        tensors = load(data)
    except Exception as error:  # not only its own SafetensorError, on a hostile header
        raise CheckpointError(
            f"The weights {file.name} are not whole safetensors ({_short(error)}). Get them again."
        ) from error
    network = RamNetwork(config)
    wanted = {k: v for k, v in network.state_dict().items() if "num_batches_tracked" not in k}
    wrong = sorted(set(wanted) ^ set(tensors)) or [
        k
        for k, v in wanted.items()
        if tensors[k].shape != v.shape or not tensors[k].is_floating_point()
    ]
    if wrong:
        raise CheckpointError(
            f"The weights {file.name} do not fit the network: {_short(wrong[0])}."
        )
    if not all(torch.isfinite(v).all() for v in tensors.values()):
        raise CheckpointError(f"The weights {file.name} hold numbers that are not finite.")
    network.load_state_dict({k: v.float() for k, v in tensors.items()}, strict=False)
    network.set_level(level)
    network.requires_grad_(requires_grad=False)
    network.eval().to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return config.input_size, network


def _short(said: object) -> str:
    """One line of what a hostile file says, or of an error that quotes it."""
    text = " ".join(str(said).split())
    return text if len(text) <= 160 else f"{text[:157]}..."
