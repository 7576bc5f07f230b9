"""From finished runs to a bundle."""

from __future__ import annotations

import datetime
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from drcore.errors import DrcoreError
from drcore.model.bundle import Bundle, bundled_folder
from drcore.model.link import Link, OnsetLink, link_of
from drcore.model.network import PRESETS, RamNetwork
from drcore.preprocessing.network_input import Preprocessing
from training.data.labels import Labelled
from training.optimisation.checkpoints import RunError, load_average, read_record

__all__ = ["bundle_of_run", "finished_network", "shipped_fusion", "shipped_link", "shipped_onset"]

LICENCE = (
    "Weights: research use only. They were trained on IDRiD (CC-BY 4.0), on APTOS 2019 and EyePACS "
    "competition images, and on Messidor-2, e-ophtha and ODIR photographs, whose terms allow "
    "nothing else. The code is Apache-2.0."
)
INTENDED_USE = (
    "Intended for research on grading diabetic retinopathy from colour fundus photographs. "
    "Decision support only; not a medical device. DMO is not assessed."
)


def bundle_of_run(
    run: Path,
    presets: Sequence[str],
    rows: Sequence[Labelled],
    *,
    name: str,
    version: str,
    kept: Bundle | None = None,
    keep: Sequence[str] = (),
    finest: Path | None = None,
    fusion: Sequence[float] = (),
    mirrored: bool = True,
    onset: OnsetLink | None = None,
) -> Bundle:
    """Put the networks of a run into a bundle that is not calibrated yet.

    Args:
        kept: bundle that the networks in `keep` are taken from.
        finest: folder of `finished_network` with the finest scale, which joins the others.
        fusion: weights of the scales, by rising size; equal if empty.
        mirrored: whether the scales but the finest see the mirror image, too.
        onset: link of the scales but the finest.

    Raises:
        RunError: a network was not trained.
    """
    networks, recipes = _networks(run, presets, kept, keep)
    for network in networks.values():
        network.mirrored, network.link = mirrored, onset
    if finest is not None:
        network, recipe = finished_network(finest)
        networks[network.config.input_size] = network
        recipes[network.config.name] = recipe
    if fusion and len(fusion) != len(networks):
        raise RunError(f"{len(fusion)} weights were given for {len(networks)} scales.")
    return Bundle(
        name=name,
        version=version,
        networks=networks,
        preparation=Preprocessing(),
        thresholds=(0.5, 1.5, 2.5, 3.5),
        fusion=dict(zip(sorted(networks), fusion, strict=True)) if fusion else {},
        created=datetime.datetime.now(datetime.UTC).date().isoformat(),
        training={
            "photographs": {
                d: sum(r.dataset == d and r.split == "train" for r in rows)
                for d in sorted({r.dataset for r in rows})
            },
            "start": "EfficientNet-Lite, ImageNet weights",
            "recipes": recipes,
            "lesion_masks": _said_of_masks(recipes),
        },
        licence=LICENCE,
        intended_use=INTENDED_USE,
    )


def _said_of_masks(recipes: dict[str, dict[str, object]]) -> str:
    """Which networks learnt from lesion masks, and of what photographs."""
    with_masks = ", ".join(sorted(p for p, recipe in recipes.items() if recipe.get("lesions")))
    return (
        "of IDRiD training photographs (recipes with further photographs: and of e-ophtha), by "
        f"{with_masks}"
        if with_masks
        else "not used"
    )


def shipped_fusion() -> dict[int, float]:
    """Return the weights of the scales in the bundle that ships, by input size."""
    fusion = _shipped_manifest()["fusion"]
    return dict(zip(fusion["scales"], fusion["weights"], strict=True))


def shipped_link(preset: str) -> Link:
    """Return the link of a network of the bundle that ships, whose map is never negative.

    Raises:
        RunError: it has none.
    """
    link = _shipped_links().get(preset)
    if not isinstance(link, Link):
        raise RunError(f"The bundled model has no {preset} with a link.")
    return link


def shipped_onset() -> OnsetLink | None:
    """Return the link of the coarser networks of the bundle that ships; None where it has none."""
    onsets = (link for link in _shipped_links().values() if isinstance(link, OnsetLink))
    return next(onsets, None)


def _shipped_links() -> dict[str, Link | OnsetLink]:
    """Links of the bundle that ships, by preset."""
    networks = _shipped_manifest()["networks"]
    return {entry["preset"]: link_of(entry["link"]) for entry in networks if "link" in entry}


def _shipped_manifest() -> dict[str, Any]:
    # Read as it is: `load_bundle` checks every claim, but needs pydantic, which the machine that
    # trains may lack.
    file = bundled_folder() / "manifest.json"
    return dict(json.loads(file.read_text(encoding="utf-8")))


def _networks(
    run: Path, presets: Sequence[str], kept: Bundle | None, keep: Sequence[str]
) -> tuple[dict[int, RamNetwork], dict[str, dict[str, object]]]:
    """Networks by input size, and by preset how they were trained."""
    networks: dict[int, RamNetwork] = {}
    recipes: dict[str, dict[str, object]] = {}
    for preset in presets:
        if kept is not None and preset in keep:
            network = next(n for n in kept.networks.values() if n.config.name == preset)
            recipes[preset] = dict(kept.training["recipes"][preset])
        else:
            network = load_average(preset, run)
            record = read_record(run / f"{preset}.state")
            # What was done is less than what was planned, where a run was cut short.
            recipes[preset] = {**record["recipe"], "done": record["progress"]}
        networks[network.config.input_size] = network
    return networks, recipes


def finished_network(folder: Path) -> tuple[RamNetwork, dict[str, object]]:
    """Read a network that another training has finished, and how it was made.

    Args:
        folder: holds one `PRESET.json` with `link` (the constants of `Link`), `mirrored`,
            `precision` and `recipe`, and the weights `PRESET.safetensors` beside it.

    Raises:
        RunError: something is missing or does not fit.
    """
    try:
        [card] = folder.glob("*.json")
        said = json.loads(card.read_text(encoding="utf-8"))
        network = RamNetwork(PRESETS[card.stem], Link(**said["link"]) if said["link"] else None)
        network.mirrored, network.precision = said["mirrored"], said["precision"]
        tensors = load_file(card.with_suffix(".safetensors"))
        state = {name: value.float() for name, value in tensors.items()}
        missing, unexpected = network.load_state_dict(state, strict=False)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, DrcoreError) as error:
        raise RunError(f"{folder}: there is no finished network ({error}).") from error
    wrong = [*unexpected, *(name for name in missing if "num_batches" not in name)]
    if wrong:
        raise RunError(f"{card.stem}: the weights do not fit the network: {wrong[0]}.")
    return network.requires_grad_(requires_grad=False).eval(), said["recipe"]
