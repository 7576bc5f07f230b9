"""A small bundle on disk that tests may spoil."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from drcore.model.bundle import Bundle, save_bundle
from drcore.model.manifest import MANIFEST
from drcore.preprocessing.network_input import Preprocessing
from tests.support.bundles import CERTAINTY


@pytest.fixture(scope="module")
def small(make_network, tmp_path_factory) -> Path:
    """A bundle of one tiny network: quick to copy and to spoil."""
    network = make_network("tiny-128", seed=5)
    network.set_level(0.5)
    folder = tmp_path_factory.mktemp("small")
    bundle = Bundle(
        "tiny", "3", {128: network}, Preprocessing(gain=5.0), (0.4, 1.2, 2.1, 3.3),
        certainty=CERTAINTY, created="2026-01-02", training={"seed": 5}, metrics={"kappa": 0.1},
        licence="Research use.", intended_use="Tests.",
    )  # fmt: skip
    save_bundle(bundle, folder)
    return folder


@pytest.fixture
def spoiled(small, tmp_path):
    """Copy the bundle, change its manifest by a function, return the folder."""

    def spoil(change=None) -> Path:
        folder = tmp_path / "weights"
        shutil.copytree(small, folder)
        if change is not None:
            manifest = json.loads((folder / MANIFEST).read_text())
            changed = change(manifest)
            manifest = manifest if changed is None else changed
            (folder / MANIFEST).write_text(json.dumps(manifest))
        return folder

    return spoil
