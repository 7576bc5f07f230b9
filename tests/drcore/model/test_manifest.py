"""Manifests: every kind of damage is refused by name."""

from __future__ import annotations

import json
import math

import pytest

from drcore.maps.attenuation import Attenuation
from drcore.model.bundle import load_bundle, save_bundle
from drcore.model.link import Link, OnsetLink
from drcore.model.manifest import MANIFEST
from tests.support.bundles import refused


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


@pytest.mark.parametrize("version", [6, 0, "1", None, True, 1.0, [1]])
def test_future_version(spoiled, version):
    refused(
        spoiled(lambda m: m.update(format_version=version)),
        r"have manifest version .*this drcore understands 1, 2, 3, 4 and 5\. Update drcore",
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


def test_bundles_before_version_four_grade_by_their_thresholds(spoiled):
    bundle = load_bundle(spoiled(lambda m: m.update(format_version=3)))
    assert bundle.certainty.decision == "thresholds"
    assert bundle.certainty.cuts != bundle.thresholds


def test_a_median_has_thresholds_that_are_its_cuts(spoiled):
    def median(manifest):
        manifest["certainty"]["decision"] = "median"
        manifest["thresholds"] = manifest["certainty"]["cuts"]

    bundle = load_bundle(spoiled(median))
    assert (bundle.certainty.decision, bundle.certainty.cuts) == ("median", bundle.thresholds)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"format_version": 4}, "thresholds are not their cuts"),
        ({"format_version": 3}, "does not understand: certainty.decision"),
    ],
    ids=str,
)
def test_two_verdicts_in_a_bundle_are_refused(spoiled, change, sentence):
    def median(manifest):
        manifest["certainty"]["decision"] = "median"
        manifest.update(change)

    refused(spoiled(median), sentence)


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


def test_a_placement_of_the_finest_scale_comes_back(spoiled):
    entry = {"nowhere": 1.0, "everywhere": 1.5, "finest": {"nowhere": 0.7, "everywhere": 1.0}}
    folder = spoiled(lambda m: m.update(placement=entry))
    bundle = load_bundle(folder)
    assert bundle.placement == Attenuation(1.0, 1.5, Attenuation(0.7, 1.0))
    save_bundle(bundle, folder)
    assert load_bundle(folder).placement == bundle.placement


def test_a_placement_of_the_finest_scale_needs_version_4(spoiled):
    entry = {"nowhere": 1.0, "everywhere": 1.5, "finest": {"nowhere": 0.7, "everywhere": 1.0}}

    def earlier(manifest):
        manifest.update(placement=entry, format_version=3)
        manifest["certainty"].pop("decision", None)

    refused(spoiled(earlier), "placement.finest")


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


LINK_ENTRY = {"kind": "log", "bias": -0.03, "slope": 0.7, "knee": 0.002, "ceiling": 2.5}


def linked(manifest, **changes):
    manifest["networks"][0].update(map="softplus", link=LINK_ENTRY, level=0.0)
    manifest["networks"][0].update(changes)


def test_what_a_network_says_of_its_map_comes_back(spoiled, tmp_path):
    change = {"mirrored": False, "precision": "bfloat16"}
    network = load_bundle(spoiled(lambda m: linked(m, **change))).networks[128]
    assert network.link == Link(-0.03, 0.7, 0.002, 2.5)
    assert (network.mirrored, network.precision) == (False, "bfloat16")
    save_bundle(load_bundle(tmp_path / "weights"), tmp_path / "again")
    again = json.loads((tmp_path / "again" / MANIFEST).read_text())
    assert again["format_version"] == 5
    assert again["networks"][0]["link"] == LINK_ENTRY
    assert load_bundle(tmp_path / "again").networks[128].link == network.link


ONSET_ENTRY = {"kind": "onset", "onset": 1.0, "width": 0.8, "slope": 1.25}


def test_the_onset_of_a_linear_map_comes_back(spoiled, tmp_path):
    network = load_bundle(spoiled(lambda m: m["networks"][0].update(link=ONSET_ENTRY)))
    assert network.networks[128].link == OnsetLink(1.0, 0.8, 1.25)
    save_bundle(network, tmp_path / "again")
    again = json.loads((tmp_path / "again" / MANIFEST).read_text())
    assert again["networks"][0]["link"] == ONSET_ENTRY


def test_version_four_has_no_onset(spoiled):
    def change(manifest):
        manifest["networks"][0].update(link=ONSET_ENTRY)
        manifest.update(format_version=4)

    refused(spoiled(change), r"does not understand: networks\.0\.link\.kind")


def test_networks_of_version_three_have_linear_maps_and_mirror_images(spoiled):
    network = load_bundle(spoiled(lambda m: m.update(format_version=3))).networks[128]
    assert (network.link, network.mirrored, network.precision) == (None, True, "float32")


@pytest.mark.parametrize("key", ["map", "link", "mirrored", "precision"])
def test_version_three_does_not_say_so(spoiled, key):
    def change(manifest):
        value = {"map": "linear", "link": None, "mirrored": True, "precision": "float32"}[key]
        manifest["networks"][0][key] = value
        manifest.update(format_version=3)

    refused(spoiled(change), rf"does not understand: networks\.0\.{key}")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"link": None}, "a softplus map needs a log link"),
        ({"map": "linear"}, "a linear map has an onset or none"),
        ({"map": "exp"}, "networks.0.map"),
        ({"level": 0.5}, "a softplus map has no level"),
        ({"link": {**LINK_ENTRY, "kind": "power"}}, "networks.0.link.*power"),
        ({"link": {**LINK_ENTRY, "power": 2}}, "does not understand: networks.0.link.log.power"),
        ({"link": {**LINK_ENTRY, "knee": 0.0}}, "The link of a network needs"),
        ({"link": {**LINK_ENTRY, "ceiling": float("nan")}}, "finite number"),
        ({"link": {**LINK_ENTRY, "slope": "1"}}, "valid number"),
        ({"mirrored": 1}, "networks.0.mirrored"),
        ({"precision": "int8"}, "networks.0.precision"),
    ],
    ids=str,
)
def test_link_that_cannot_be_used(spoiled, change, sentence):
    refused(spoiled(lambda m: linked(m, **change)), sentence)
