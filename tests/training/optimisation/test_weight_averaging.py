"""Averages of weights lie where they are said to lie, and what cannot be averaged is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from drcore.model.bundle import bundled_folder, load_bundle
from drcore.model.network import PRESETS, RamNetwork
from training.halfway import main
from training.optimisation.checkpoints import RunError, load_average, save_average
from training.optimisation.weight_averaging import halfway


def networks() -> tuple[RamNetwork, RamNetwork]:
    torch.manual_seed(0)
    return RamNetwork(PRESETS["tiny-128"]).eval(), RamNetwork(PRESETS["tiny-128"]).eval()


def test_a_share_of_each() -> None:
    start, end = networks()
    whole = halfway(start, end, 1.0)
    assert all(torch.equal(whole[name], value) for name, value in end.state_dict().items())
    quarter = halfway(start, end, 0.25)["linear.weight"]
    expected = 0.75 * start.linear.weight + 0.25 * end.linear.weight
    torch.testing.assert_close(quarter, expected.detach())


def test_norms_that_moved_are_refused() -> None:
    start, end = networks()
    end.stem[1].running_mean += 1.0
    with pytest.raises(RunError, match="keep_norms"):
        halfway(start, end, 0.5)


def test_another_network_is_refused() -> None:
    start, _ = networks()
    with pytest.raises(RunError, match="not the same network"):
        halfway(start, RamNetwork(PRESETS["ram-128"]), 0.5)


def test_a_run_is_averaged_with_what_ships(tmp_path: Path) -> None:
    shipped = load_bundle(bundled_folder()).networks[128].float()
    weights = {k: v.clone() for k, v in shipped.state_dict().items()}
    weights["linear.bias"] += 1.0
    run, out = tmp_path / "run", tmp_path / "out"
    run.mkdir()
    save_average(weights, "ram-128", run)
    meta = {"recipe": json.dumps({"preset": "ram-128"}), "progress": json.dumps({"epoch": 2})}
    save_file({"x": torch.zeros(1)}, run / "ram-128.state.safetensors", metadata=meta)

    main(["ram-128", "--run", str(run), "--out", str(out), "--share", "0.25"])

    made = load_average("ram-128", out)
    assert float((made.linear.bias - shipped.linear.bias).detach()) == pytest.approx(0.25, abs=1e-5)
    with safe_open(out / "ram-128.state.safetensors", framework="pt") as file:
        done = json.loads(file.metadata()["progress"])
    assert done["epoch"] == 2
    assert done["share"] == 0.25
    assert done["averaged_with"].startswith("ram-lite")


def test_a_missing_run_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["ram-128", "--run", str(tmp_path), "--out", str(tmp_path / "out")])
    assert "train it first" in capsys.readouterr().err
