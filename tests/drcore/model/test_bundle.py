"""Weights on disk: what goes out comes back, and every kind of damage is refused by name."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from drcore.errors import CheckpointError
from drcore.grading.grader import Grader
from drcore.maps.attenuation import Attenuation
from drcore.model.bundle import Bundle, bundled_folder, load_bundle, save_bundle
from drcore.model.calibration import GradeCalibration
from drcore.model.manifest import MANIFEST
from drcore.preprocessing.network_input import Preprocessing

CERTAINTY = GradeCalibration(
    cuts=(0.5, 1.1, 2.0, 3.1), width=0.3, widening=0.1,
    coverage=0.9, level=0.8, sensitive=0.9,
)  # fmt: skip


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


def refused(folder: Path, sentence: str) -> None:
    with pytest.raises(CheckpointError, match=sentence) as caught:
        load_bundle(folder)
    assert str(caught.value).endswith(".")


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
    assert list(bundle.networks) == [128, 256, 512]


def test_weights_too_large_for_half_precision_are_not_written(make_network, tmp_path):
    network = make_network("tiny-128")
    with torch.no_grad():
        network.linear.bias.fill_(1e6)
    bundle = Bundle("tiny", "1", {128: network}, Preprocessing(), (0.5, 1.5, 2.5, 3.5))
    with pytest.raises(CheckpointError, match=r"linear\.bias does not fit into half precision"):
        save_bundle(bundle, tmp_path)
    assert not (tmp_path / MANIFEST).exists()


# --- refusals: the manifest ---------------------------------------------------------------------


def test_missing_manifest_and_missing_folder(tmp_path):
    refused(tmp_path, r"There is no readable manifest\.json in the folder .*reinstall")
    refused(tmp_path / "gone", "There is no readable manifest")


@pytest.mark.parametrize(
    "content", [b"", b"weights", b"{", b"\xff\xfe\x00", b"[" * 100_000, b'{"format": }']
)
def test_manifest_that_is_not_json(spoiled, content):
    folder = spoiled()
    (folder / MANIFEST).write_bytes(content)
    refused(folder, "is not JSON")


def test_manifest_that_is_too_large(spoiled):
    folder = spoiled()
    (folder / MANIFEST).write_bytes(b" " * (2 << 20))
    refused(folder, "too large")


@pytest.mark.parametrize("other", [[], 3, None, "drcore-bundle", {}, {"format": "onnx"}])
def test_other_format(spoiled, other):
    folder = spoiled()
    (folder / MANIFEST).write_text(json.dumps(other))
    refused(folder, "is not a drcore-bundle")


@pytest.mark.parametrize("version", [4, 0, "1", None, True, 1.0, [1]])
def test_future_version(spoiled, version):
    refused(
        spoiled(lambda m: m.update(format_version=version)),
        r"have manifest version .*this drcore understands 1, 2 and 3\. Update drcore",
    )


def test_version_two_is_read_and_places_every_map(spoiled):
    def old(manifest):
        manifest.pop("placement")
        manifest.update(format_version=2)

    assert load_bundle(spoiled(old)).placement is None


def test_a_placement_that_falls_is_refused(spoiled):
    entry = {"nowhere": 1.0, "everywhere": 0.5}
    refused(spoiled(lambda m: m.update(placement=entry)), "placement of maps")


def test_version_one_is_read_and_has_no_certainty(spoiled):
    def old(manifest):
        manifest.pop("certainty")
        manifest.pop("placement")
        manifest.update(format_version=1)

    bundle = load_bundle(spoiled(old))
    assert bundle.certainty is None
    assert bundle.thresholds == (0.4, 1.2, 2.1, 3.3)


def test_certainty_in_version_one_is_not_understood(spoiled):
    refused(spoiled(lambda m: m.update(format_version=1)), "does not understand: certainty")


@pytest.mark.parametrize("entry", [None, "missing"])
def test_weights_that_nobody_calibrated(spoiled, entry):
    def change(manifest):
        manifest.update(certainty=None)
        if entry == "missing":
            manifest.pop("certainty")

    assert load_bundle(spoiled(change)).certainty is None


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"cuts": [2, 1, 0, -1]}, "cuts .* do not rise"),
        ({"cuts": [0, 1, 2, float("nan")]}, "finite number"),
        ({"width": 0}, "out of range"),
        ({"level": 7}, "no probability"),
        ({"code": "x"}, "does not understand: certainty.code"),
        ({"widening": "0.1"}, "valid number"),
    ],
    ids=str,
)
def test_certainty_that_cannot_be_used(spoiled, change, sentence):
    refused(spoiled(lambda m: m["certainty"].update(change)), sentence)


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "softmax"},
        {"kind": ["cumulative-logistic"]},
        {"temperature": 1.0},
        {"cuts": "0123"},
        {"cuts": {"0": 1}},
        {"cuts": [0, 1, 2, "3"]},
        {"cuts": [0, 1, 2, [3]]},
        {"cuts": [False, True, 2, 3]},
        {"cuts": [0, 1, 2, 10**400]},
        {"width": "0.3"},
        {"width": None},
        {"width": True},
        {"level": {}},
        {"sensitive": 10**400},
    ],
    ids=lambda change: str(change)[:40],
)
def test_hostile_certainty_is_refused(spoiled, change):
    refused(spoiled(lambda m: m["certainty"].update(change)), "certainty")


@pytest.mark.parametrize("entry", [[], 3, "text", True, {}, {"kind": "cumulative-logistic"}])
def test_certainty_of_another_shape_is_refused(spoiled, entry):
    refused(spoiled(lambda m: m.update(certainty=entry)), "certainty")


@pytest.mark.parametrize(
    "entry",
    [
        {"nowhere": 1.0},
        {"nowhere": 1.0, "everywhere": 1.0},
        {"nowhere": math.nan, "everywhere": 1.0},
        {"nowhere": 1.0, "everywhere": math.inf},
        {"nowhere": True, "everywhere": 2.0},
        {"nowhere": "1", "everywhere": 2.0},
        {"nowhere": 1.0, "everywhere": 2.0, "more": 3},
        [1.0, 2.0],
    ],
)
def test_a_placement_that_cannot_be_used_is_refused(spoiled, entry):
    refused(spoiled(lambda m: m.update(placement=entry)), "placement")


def test_a_placement_comes_back(spoiled):
    folder = spoiled(lambda m: m.update(placement={"nowhere": 1.0, "everywhere": 1.5}))
    bundle = load_bundle(folder)
    assert bundle.placement == Attenuation(1.0, 1.5)
    save_bundle(bundle, folder)
    assert load_bundle(folder).placement == bundle.placement


def test_sensitive_point_that_misses_more_than_the_default(spoiled):
    refused(
        spoiled(lambda m: m["certainty"].update(sensitive=1.3)), "above the threshold of grade 2"
    )


def test_unknown_entry(spoiled):
    refused(
        spoiled(lambda m: m.update(quantisation="int8")),
        r"entries that this drcore does not understand: quantisation\. Update drcore",
    )


def test_unknown_entry_of_a_network(spoiled):
    refused(
        spoiled(lambda m: m["networks"][0].update(quantised=True)),
        r"entries that this drcore does not understand: networks\.0\.quantised\. Update drcore",
    )


@pytest.mark.parametrize(
    "entry", ["name", "version", "networks", "preparation", "fusion", "thresholds"]
)
def test_missing_entry(spoiled, entry):
    refused(
        spoiled(lambda m: m.pop(entry) and None), rf"cannot be used at '{entry}': Field required"
    )


@pytest.mark.parametrize("entry", ["networks", "preparation", "thresholds", "training"])
@pytest.mark.parametrize("value", [None, 7, "text", [[[]]], [10**400] * 4])
def test_garbled_entry(spoiled, entry, value):
    refused(spoiled(lambda m: m.update({entry: value})), r"\.$")


@pytest.mark.parametrize(
    "thresholds",
    [
        [0.5, 1.5, 1.5, 3.5],
        [3.5, 2.5, 1.5, 0.5],
    ],
)
def test_thresholds_that_do_not_rise(spoiled, thresholds):
    refused(spoiled(lambda m: m.update(thresholds=thresholds)), "thresholds .* do not rise")


@pytest.mark.parametrize(
    "thresholds",
    [
        [0.5, 1.5, 2.5, float("nan")],
        [float("nan"), 1.5, 2.5, 3.5],
        [0.5, 1.5, 2.5, float("inf")],
    ],
)
def test_thresholds_that_are_not_finite(spoiled, thresholds):
    refused(spoiled(lambda m: m.update(thresholds=thresholds)), "thresholds.*finite number")


@pytest.mark.parametrize("thresholds", [[0.5, 1.5, 2.5], [0, 1, 2, 3, 4], [0, 1, 2, "x"]])
def test_thresholds_of_the_wrong_number_or_kind(spoiled, thresholds):
    refused(spoiled(lambda m: m.update(thresholds=thresholds)), "cannot be used at 'thresholds")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"kind": "grey"}, "preparation.kind"),
        ({"clahe": 2.0}, "does not understand: preparation.clahe"),
        ({"std": 0.0}, "preparation.std.*greater than 0"),
        ({"gain": float("inf")}, "preparation.gain.*finite number"),
    ],
)
def test_preparation_that_is_not_understood(spoiled, change, sentence):
    refused(spoiled(lambda m: m["preparation"].update(change)), sentence)


@pytest.mark.parametrize(
    "fusion", [{"rule": "median", "scales": [128]}, {"rule": "mean", "scales": [128, 512]}]
)
def test_fusion_that_is_not_understood(spoiled, fusion):
    refused(spoiled(lambda m: m.update(fusion=fusion)), "fusion")


def test_no_network_at_all(spoiled):
    def empty(manifest):
        manifest.update(networks=[], fusion={"rule": "mean", "scales": []})

    refused(spoiled(empty), "networks.*at least 1 item")


@pytest.mark.parametrize(
    "change",
    [
        {"preset": "resnet-50"},
        {"preset": "ram-512"},
        {"input_size": 512},
        {"architecture": {}},
    ],
    ids=str,
)
def test_network_that_cannot_be_built(spoiled, change):
    refused(spoiled(lambda m: m["networks"][0].update(change)), "not one that drcore can build")


@pytest.mark.parametrize("level", [float("nan"), float("inf"), 1e400])
def test_level_that_is_not_finite(spoiled, level):
    refused(spoiled(lambda m: m["networks"][0].update(level=level)), "level.*finite number")


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
