"""Weights on disk: safetensors files described by a manifest. No pickle."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drcore.errors import CheckpointError, DrcoreError
from drcore.maps.attenuation import Attenuation
from drcore.model.calibration import GradeCalibration
from drcore.model.link import Link, OnsetLink, link_entry
from drcore.model.manifest_format import FORMAT, FORMAT_VERSION, MANIFEST
from drcore.preprocessing.network_input import Preprocessing
from drcore.text import one_line

if TYPE_CHECKING:
    from torch import Tensor

    from drcore.model.manifest import NetworkEntry
    from drcore.model.network import RamNetwork

__all__ = ["Bundle", "bundled_folder", "load_bundle", "save_bundle"]


@dataclass(frozen=True, slots=True)
class Bundle:
    """Trained networks and what is needed to use them.

    Attributes:
        name, version: of the model.
        networks: by input size in pixels, in evaluation mode.
        preparation: how squares become input.
        thresholds: scores at which grades 1, 2, 3 and 4 begin; the cuts of `certainty` where the
            grade is the median of its probabilities.
        certainty: probabilities of grades; None if not calibrated.
        fusion: by input size in pixels, how much each scale counts in the score and in the fused
            map, sum 1; equal if empty.
        placement: from which score maps are shown in detail; None for always.
        reference: histograms of photographs on which nothing had changed, for
            `drcore.monitoring`; None where there are none.
        created: ISO date.
        training: data, recipes and seeds, for the reader.
        metrics: measured figures, for the reader.
        licence, intended_use: sentences.
    """

    name: str
    version: str
    networks: dict[int, RamNetwork]
    preparation: Preprocessing
    thresholds: tuple[float, float, float, float]
    certainty: GradeCalibration | None = None
    fusion: dict[int, float] = field(default_factory=dict)
    placement: Attenuation | None = None
    reference: dict[str, Any] | None = None
    created: str = ""
    training: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    licence: str = ""
    intended_use: str = ""

    def __post_init__(self) -> None:
        """Give all scales equal weight if none is given; refuse two verdicts in one bundle."""
        certainty = self.certainty
        if certainty and certainty.decision == "median" and certainty.cuts != self.thresholds:
            raise CheckpointError(
                "The grade is to be the median of the probabilities, but the thresholds are not "
                "their cuts. Calibrate the bundle again."
            )
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
    folder.mkdir(parents=True, exist_ok=True)
    entries = [
        _save_network(size, network, folder) for size, network in sorted(bundle.networks.items())
    ]
    manifest = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "name": bundle.name,
        "version": bundle.version,
        "created": bundle.created,
        "licence": bundle.licence,
        "intended_use": bundle.intended_use,
        "networks": entries,
        "preparation": asdict(bundle.preparation),
        "fusion": {
            "rule": "mean",
            "scales": sorted(bundle.networks),
            "weights": [bundle.fusion[size] for size in sorted(bundle.networks)],
        },
        "thresholds": list(bundle.thresholds),
        "certainty": None if bundle.certainty is None else bundle.certainty.to_dict(),
        "placement": _placement(bundle.placement),
        **({} if bundle.reference is None else {"reference": bundle.reference}),
        "training": bundle.training,
        "metrics": bundle.metrics,
    }
    text = json.dumps(manifest, indent=1, ensure_ascii=False) + "\n"
    (folder / MANIFEST).write_text(text, encoding="utf-8")


def _save_network(size: int, network: RamNetwork, folder: Path) -> dict[str, Any]:
    """Write the weights of a network; return its entry of the manifest."""
    import torch
    from safetensors.torch import save

    file = folder / f"{network.config.name}.safetensors"
    tensors = {
        name: (value.half() if value.is_floating_point() else value).cpu().contiguous()
        for name, value in network.state_dict().items()
        if not name.endswith("num_batches_tracked")  # only training reads it
    }
    overflow = [name for name, value in tensors.items() if not torch.isfinite(value).all()]
    if overflow:
        raise CheckpointError(f"{overflow[0]} does not fit into half precision.")
    data = save(tensors)
    file.write_bytes(data)  # save_file would hide it from other users of the machine
    return {
        "preset": network.config.name,
        "input_size": size,
        "architecture": asdict(network.config),
        "file": file.name,
        "sha256": hashlib.sha256(data).hexdigest(),
        "level": float(network.level),
        **_reading(network),
    }


def _reading(network: RamNetwork) -> dict[str, Any]:
    """What the entry of a network says of its map and of how it runs, where not as by default."""
    said: dict[str, Any] = {}
    if isinstance(network.link, Link):
        said["map"] = "softplus"
    if network.link is not None:
        said["link"] = link_entry(network.link)
    if not network.mirrored:
        said["mirrored"] = False
    if network.precision != "float32":
        said["precision"] = network.precision
    return said


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
    from drcore.model.manifest import read_manifest

    manifest = read_manifest(folder)
    networks = dict(_load_network(entry, folder, device) for entry in manifest.networks)
    try:
        parts: dict[str, Any] = {
            "preparation": manifest.preprocessing(),
            "certainty": manifest.calibration(),
            "fusion": manifest.weights_of_scales(),
            "placement": manifest.attenuation(),
            "reference": manifest.reference_entry(),
        }
    except DrcoreError as error:
        raise CheckpointError(
            f"The manifest of {folder.name} cannot be used: {error} Get the weights again."
        ) from error
    a, b, c, d = manifest.thresholds
    return Bundle(
        networks=networks,
        thresholds=(a, b, c, d),
        **parts,
        **{
            name: getattr(manifest, name)
            for name in (
                "name", "version", "created", "training", "metrics", "licence", "intended_use",
            )
        },
    )  # fmt: skip


def _load_network(entry: NetworkEntry, folder: Path, device: str) -> tuple[int, RamNetwork]:
    """Build the network of a manifest's entry and give it its weights."""
    import torch

    from drcore.model.network import PRESETS, RamNetwork

    config = PRESETS.get(entry.preset)
    if (
        config is None
        or json.loads(json.dumps(asdict(config))) != entry.architecture
        or config.input_size != entry.input_size
    ):
        raise CheckpointError(
            f"The network {one_line(entry.preset)} in the manifest is not one that drcore can "
            "build. Update drcore, or use other weights."
        )
    network = RamNetwork(config, _link_of(entry, folder))
    network.mirrored, network.precision = entry.mirrored, entry.precision
    tensors = _read_weights(entry, folder)
    _check_weights(tensors, network, entry.file)
    network.load_state_dict({k: v.float() for k, v in tensors.items()}, strict=False)
    network.set_level(entry.level)
    network.requires_grad_(requires_grad=False)
    network.eval().to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return config.input_size, network


def _link_of(entry: NetworkEntry, folder: Path) -> Link | OnsetLink | None:
    try:
        return entry.link_function()
    except DrcoreError as error:
        raise CheckpointError(
            f"The manifest of {folder.name} cannot be used: {error} Get the weights again."
        ) from error


def _read_weights(entry: NetworkEntry, folder: Path) -> dict[str, Tensor]:
    """Read a weight file whose name and checksum are those of the manifest."""
    from safetensors.torch import load

    file = folder / entry.file
    if file.name != entry.file or file.suffix != ".safetensors":
        raise CheckpointError(
            f"The manifest names {one_line(entry.file)}: not a safetensors file here."
        )
    try:
        data = file.read_bytes()
    except OSError as error:
        raise CheckpointError(
            f"The weights {one_line(file.name)} are missing. Get them again."
        ) from error
    if hashlib.sha256(data).hexdigest() != entry.sha256:
        raise CheckpointError(
            f"The weights {file.name} do not have the checksum that the manifest gives: "
            "they are damaged or were exchanged. Get them again."
        )
    try:
        return load(data)
    except Exception as error:  # not only its own SafetensorError, on a hostile header
        raise CheckpointError(
            f"The weights {file.name} are not whole safetensors ({one_line(error)}). Get them "
            "again."
        ) from error


def _check_weights(tensors: dict[str, Tensor], network: RamNetwork, file: str) -> None:
    """Refuse tensors that do not fit the network or hold what is no finite number."""
    import torch

    wanted = {k: v for k, v in network.state_dict().items() if "num_batches_tracked" not in k}
    wrong = sorted(set(wanted) ^ set(tensors)) or [
        k
        for k, v in wanted.items()
        if tensors[k].shape != v.shape or not tensors[k].is_floating_point()
    ]
    if wrong:
        raise CheckpointError(f"The weights {file} do not fit the network: {one_line(wrong[0])}.")
    if not all(torch.isfinite(v).all() for v in tensors.values()):
        raise CheckpointError(f"The weights {file} hold numbers that are not finite.")


def _placement(attenuation: Attenuation | None) -> dict[str, Any] | None:
    if attenuation is None:
        return None
    entry: dict[str, Any] = {
        "nowhere": attenuation.flat_below,
        "everywhere": attenuation.full_above,
    }
    return entry | ({"finest": _placement(attenuation.finest)} if attenuation.finest else {})
