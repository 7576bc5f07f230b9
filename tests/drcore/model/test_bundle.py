"""Weights on disk: what goes out comes back, and every kind of damage is refused by name."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from drcore.errors import CheckpointError
from drcore.grading.grader import Grader
from drcore.model.bundle import Bundle, bundled_folder, load_bundle, save_bundle
from drcore.model.manifest import MANIFEST
from drcore.preprocessing.network_input import Preprocessing
from tests.support.bundles import CERTAINTY, refused


def exchange(folder: Path, content: bytes) -> None:
    """Put other bytes in place of the weights and give the manifest their checksum."""
    (folder / "tiny-128.safetensors").write_bytes(content)
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["networks"][0]["sha256"] = hashlib.sha256(content).hexdigest()
    (folder / MANIFEST).write_text(json.dumps(manifest))


def exchange_tensors(folder: Path, change) -> None:
    tensors = load_file(folder / "tiny-128.safetensors")
    change(tensors)
    save_file(tensors, folder / "other.safetensors")
    exchange(folder, (folder / "other.safetensors").read_bytes())


# --- round trip ---------------------------------------------------------------------------------


def test_everything_comes_back(small):
    bundle = load_bundle(small)
    assert (bundle.name, bundle.version, bundle.created) == ("tiny", "3", "2026-01-02")
    assert bundle.preparation == Preprocessing(gain=5.0)
    assert bundle.thresholds == (0.4, 1.2, 2.1, 3.3)
    assert bundle.training == {"seed": 5}
    assert bundle.metrics == {"kappa": 0.1}
    assert bundle.certainty == CERTAINTY
    assert (bundle.licence, bundle.intended_use) == ("Research use.", "Tests.")
    assert list(bundle.networks) == [128]


def test_weights_come_back_in_half_precision(small, make_network):
    original, loaded = make_network("tiny-128", seed=5), load_bundle(small).networks[128]
    tensors = load_file(small / "tiny-128.safetensors")
    assert all(tensor.dtype == torch.float16 for tensor in tensors.values())
    state = loaded.state_dict()
    for name, value in original.state_dict().items():
        if "num_batches" not in name:
            assert state[name].dtype == torch.float32
            assert torch.equal(state[name], value.half().float()), name
    assert not loaded.training
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    assert float(loaded.level) == 0.5
    squares = torch.randn(2, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    original.set_level(0.5)
    with torch.no_grad():
        for before, after in zip(original(squares), loaded(squares), strict=True):
            assert torch.allclose(before, after, atol=0.05)
    assert loaded.bias == pytest.approx(original.bias, abs=1e-3)


def test_loading_and_saving_again_changes_nothing(small, tmp_path):
    save_bundle(load_bundle(small), tmp_path / "again")
    for file in small.iterdir():
        assert (tmp_path / "again" / file.name).read_bytes() == file.read_bytes()


def test_files_can_be_read_by_others(small):
    assert all(file.stat().st_mode & 0o044 for file in small.iterdir())


def test_three_scales_grade_alike_from_disk(bundle_folder, grader, phantom):
    loaded = Grader.from_folder(bundle_folder)
    assert loaded.scales == (128, 256, 512)
    rgb = phantom(seed=1).rgb
    assert loaded.grade(rgb).score == pytest.approx(grader.grade(rgb).score, abs=0.05)


def test_bundled_weights_are_whole():
    if not (bundled_folder() / MANIFEST).is_file():
        pytest.skip("the package was built without weights")
    bundle = load_bundle(bundled_folder())
    assert list(bundle.networks) == [128, 256, 512, 1024]


def test_weights_too_large_for_half_precision_are_not_written(make_network, tmp_path):
    network = make_network("tiny-128")
    with torch.no_grad():
        network.linear.bias.fill_(1e6)
    bundle = Bundle("tiny", "1", {128: network}, Preprocessing(), (0.5, 1.5, 2.5, 3.5))
    with pytest.raises(CheckpointError, match=r"linear\.bias does not fit into half precision"):
        save_bundle(bundle, tmp_path)
    assert not (tmp_path / MANIFEST).exists()


# --- refusals: the weights ----------------------------------------------------------------------


def test_missing_weights_file(spoiled):
    folder = spoiled()
    (folder / "tiny-128.safetensors").unlink()
    refused(folder, r"tiny-128\.safetensors are missing")


def test_changed_weights(spoiled):
    folder = spoiled()
    file = folder / "tiny-128.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    refused(folder, r"do not have the checksum .*damaged or were exchanged")


@pytest.mark.parametrize(
    "name",
    ["../tiny-128.safetensors", "/etc/passwd", "sub/x.safetensors", "weights.pkl", "", "..", 5],
)
def test_file_names_that_lead_elsewhere(spoiled, name):
    folder = spoiled(lambda m: m["networks"][0].update(file=name))
    outside = folder.parent / "tiny-128.safetensors"
    shutil.copy(folder / "tiny-128.safetensors", outside)
    refused(folder, "not a safetensors file here|networks.0.file.*valid string")


class _Trap:
    def __reduce__(self):
        return (Path.write_text, (Path("sprung"), "by a pickle"))


def test_renamed_pickle_is_refused_and_never_run(spoiled, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = spoiled()
    exchange(folder, pickle.dumps(_Trap()))
    refused(folder, "are not whole safetensors")
    torch.save({"x": torch.zeros(2)}, tmp_path / "model.pt")
    exchange(folder, (tmp_path / "model.pt").read_bytes())
    refused(folder, "are not whole safetensors")
    assert not (tmp_path / "sprung").exists()


def test_random_damage_behind_a_right_checksum(spoiled):
    folder = spoiled()
    whole = (folder / "tiny-128.safetensors").read_bytes()
    rng = np.random.default_rng(0)
    for trial in range(40):
        data = bytearray(whole)
        for place in rng.integers(0, 400, 3):  # the header
            data[place] = rng.integers(256)
        exchange(folder, bytes(data[: rng.integers(len(data))] if trial % 4 == 0 else data))
        try:
            load_bundle(folder)
        except CheckpointError as error:
            assert "tiny-128" in str(error)  # noqa: PT017 - some damage is harmless


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda t: t["linear.weight"].fill_(float("nan")), "not finite"),
        (lambda t: t["stem.1.running_var"].fill_(float("inf")), "not finite"),
        (lambda t: t.update({"linear.weight": torch.zeros(1, 3)}), "do not fit .*linear.weight"),
        (lambda t: t.pop("linear.bias") * 0, "do not fit the network: linear.bias"),
        (lambda t: t.update(extra=torch.zeros(1)), "do not fit the network: extra"),
        (
            lambda t: t.update({"linear.bias": torch.zeros(1, dtype=torch.int8)}),
            "do not fit the network: linear.bias",
        ),
    ],
    ids=["NaN", "infinite", "shape", "missing", "extra", "integer"],
)
def test_weights_that_cannot_be_used(spoiled, change, sentence):
    folder = spoiled()
    exchange_tensors(folder, change)
    refused(folder, sentence)


def test_bundle_is_frozen(small):
    with pytest.raises(dataclasses.FrozenInstanceError):
        load_bundle(small).version = "4"
