"""The fast way to run the networks says what the plain way says."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch

from drcore.grading.grader import Grader, Prepared
from drcore.maps.fusion import covered_mean
from drcore.model.bundle import bundled_folder
from drcore.model.inference import OpenVinoRunner, TorchRunner, open_runner
from drcore.model.network import PRESETS, RamNetwork
from tests.support.networks import LINK

# Not imported here: the runner does so, and keeps out what reports over the network.
pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None, reason="OpenVINO is not installed"
)


@pytest.fixture(scope="module")
def prepared(grader, phantom) -> list[Prepared]:
    recipes = [{"seed": 1}, {"seed": 2, "cut_above": 0.12}, {"seed": 3, "offset": (0.12, -0.08)}]
    found = [grader.attempt(phantom(**recipe).rgb) for recipe in recipes]
    assert all(isinstance(item, Prepared) for item in found)
    return found


def answers(runner, prepared):
    return runner.run([item.inputs for item in prepared], [item.coverage for item in prepared])


@pytest.mark.parametrize("weights", ["random", "bundled"])
def test_compiled_is_as_plain(tiny_bundle, prepared, weights, phantom):
    networks = tiny_bundle.networks
    if weights == "bundled":
        if not (bundled_folder() / "manifest.json").is_file():
            pytest.skip("the package was built without weights")
        bundled = Grader.bundled("cpu")
        prepared, networks = [bundled.attempt(phantom(seed=1).rgb)], bundled.bundle.networks
        for network in networks.values():
            network.precision = "float32"  # not every processor has the other one
    plain = answers(TorchRunner(networks, "cpu"), prepared)
    fast = answers(OpenVinoRunner(networks), prepared)
    for slow_one, fast_one in zip(plain, fast, strict=True):
        assert list(fast_one) == list(slow_one) == sorted(networks)
        for size, (score, ram) in slow_one.items():
            assert fast_one[size][0] == pytest.approx(score, abs=1e-3)
            assert fast_one[size][1].dtype == ram.dtype == np.float32
            assert np.allclose(fast_one[size][1], ram, rtol=0, atol=1e-2)


def test_plain_is_the_networks_own_answer_and_that_of_its_mirror_image(tiny_bundle, prepared):
    item = prepared[1]
    score, ram = answers(TorchRunner(tiny_bundle.networks, "cpu"), [item])[0][256]
    squares = torch.from_numpy(item.inputs[256])[None]
    coverage = torch.from_numpy(item.coverage[256])[None]
    with torch.inference_mode():
        one, here = tiny_bundle.networks[256](squares, coverage)
        other, there = tiny_bundle.networks[256](squares.flip(3), coverage.flip(2))
    assert score == pytest.approx(float(one + other) / 2, abs=1e-5)
    assert np.allclose(ram, ((here + there.flip(2)) / 2)[0].numpy(), rtol=0, atol=1e-4)
    assert abs(float(one - other)) > 1e-4, "the test cannot tell one from the other"


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_every_preset_compiles_and_its_map_adds_up(make_network, preset):
    network = make_network(preset, seed=3)
    network.set_level(0.7)
    size, cells = network.config.input_size, network.config.map_size
    rng = np.random.default_rng(0)
    square = rng.normal(size=(3, size, size)).astype(np.float32)
    coverage = rng.uniform(size=(cells, cells)).astype(np.float32)
    score, ram = OpenVinoRunner({size: network}).run([{size: square}], [{size: coverage}])[0][size]
    assert ram.shape == (cells, cells)
    assert covered_mean(ram, coverage) + network.bias == pytest.approx(score, abs=1e-3)


@pytest.mark.parametrize("mirrored", [True, False])
def test_a_link_compiles_too(make_network, prepared, mirrored):
    network = make_network("tiny-128", seed=3, link=LINK)
    network.mirrored = mirrored
    plain = answers(TorchRunner({128: network}, "cpu"), few_cells(prepared, network))
    fast = answers(OpenVinoRunner({128: network}), few_cells(prepared, network))
    for item, slow_one, fast_one in zip(few_cells(prepared, network), plain, fast, strict=True):
        (score, ram), (quick, map_) = slow_one[128], fast_one[128]
        assert quick == pytest.approx(score, abs=1e-4)
        assert np.allclose(map_, ram, rtol=0, atol=1e-3)
        for found, said in ((ram, score), (map_, quick)):
            assert found.min() >= 0
            mean = covered_mean(found, item.coverage[128])
            assert mean + network.bias == pytest.approx(said, abs=1e-4)
        with torch.inference_mode():
            squares, share = (torch.from_numpy(v[128])[None] for v in (item.inputs, item.coverage))
            alone = float(network(squares, share)[0])
        assert (abs(score - alone) < 1e-4) is not mirrored


def few_cells(prepared, network):
    """The photographs with the coverage of a network that has other cells."""
    cells = network.config.map_size
    return [replace(one, coverage={128: one.frame.coverage(cells, 0.02)}) for one in prepared]


def test_no_retina_is_a_number(tiny_bundle):
    network = tiny_bundle.networks[128]
    square = {128: np.zeros((3, 128, 128), np.float32)}
    nothing = {128: np.zeros((network.config.map_size,) * 2, np.float32)}
    for runner in (OpenVinoRunner({128: network}), TorchRunner({128: network}, "cpu")):
        score, _ = runner.run([square], [nothing])[0][128]
        assert score == pytest.approx(float(network.linear.bias))


def test_threads_side_by_side_get_their_own_answers(grader, prepared):
    assert isinstance(grader.runner, OpenVinoRunner)
    alone = [answers(grader.runner, [item])[0] for item in prepared]
    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(lambda item: answers(grader.runner, [item])[0], prepared * 8))
    for index, found in enumerate(together):
        for size, (score, ram) in alone[index % len(prepared)].items():
            assert found[size][0] == pytest.approx(score, abs=1e-6)
            assert np.allclose(found[size][1], ram, rtol=0, atol=1e-5)


def test_many_are_as_each_alone(grader, prepared):
    for runner in (grader.runner, TorchRunner(grader.bundle.networks, "cpu")):
        together = answers(runner, prepared)
        for item, found in zip(prepared, together, strict=True):
            for size, (score, _) in answers(runner, [item])[0].items():
                assert found[size][0] == pytest.approx(score, abs=1e-5)
        assert runner.run([], []) == []


def test_on_an_accelerator_files_go_together_from_pinned_memory(tiny_bundle, prepared, monkeypatch):
    """PyTorch takes "cpu:0" for the processor, the runner takes it for an accelerator."""
    groups, pinned = [], []

    look = RamNetwork.features

    def watched(network, squares):
        groups.append(len(squares))
        assert squares.is_contiguous(memory_format=torch.channels_last)
        return look(network, squares)

    def pin(tensor):
        pinned.append(tuple(tensor.shape))
        return tensor

    monkeypatch.setattr(torch.Tensor, "pin_memory", pin)
    monkeypatch.setattr(RamNetwork, "features", watched)
    found = answers(TorchRunner(tiny_bundle.networks, "cpu:0"), prepared)
    assert groups == [3] * 6  # three sizes, each with its mirror image
    assert pinned == [(3, 3, size, size) for size in (128, 256, 512)]
    for one, plain in zip(found, answers(TorchRunner(tiny_bundle.networks, "cpu"), prepared),
                          strict=True):  # fmt: skip
        for size, (score, ram) in plain.items():
            assert one[size][0] == pytest.approx(score, abs=1e-5)
            assert np.allclose(one[size][1], ram, rtol=0, atol=1e-4)
    assert isinstance(open_runner({}, "cuda"), TorchRunner)


def test_without_compiler_the_networks_run_as_they_are(tiny_bundle, monkeypatch, phantom, grader):
    monkeypatch.setattr("importlib.util.find_spec", lambda *_: None)
    plain = Grader(tiny_bundle)
    assert isinstance(plain.runner, TorchRunner)
    assert isinstance(open_runner(tiny_bundle.networks, "cpu"), TorchRunner)
    rgb = phantom(seed=1).rgb
    assert plain.grade(rgb).score == pytest.approx(grader.grade(rgb).score, abs=1e-3)


def test_nothing_that_reports_over_the_network_is_loaded():
    code = (
        "import sys; from drcore import Grader; Grader.bundled('cpu')\n"
        "assert 'openvino' in sys.modules\n"
        "print([m for m in sys.modules if 'openvino_telemetry' in m and sys.modules[m]])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=240, check=True
    )
    assert done.stdout.strip() == "[]"
