"""A finished run of the finest scale becomes weights and a card."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from drcore.model.network import PRESETS, RamNetwork
from training.finest import main
from training.finest_scale.averaged import write_mean
from training.finest_scale.finished import write_finished
from training.optimisation.checkpoints import RunError

LINK = {"bias": 0.03, "slope": 0.77, "knee": 0.002, "ceiling": 2.5}


def _run(folder: Path, stage: str, weight: float = 0.5) -> Path:
    folder.mkdir()
    (folder / f"{stage}.recipe.json").write_text(json.dumps({"steps": 20}))
    (folder / f"{stage}.metrics.jsonl").write_text('{"step": 5}\n{"step": 10}\n')
    (folder / "start.json").write_text(json.dumps({"factor": 1.0, "offset": 0.0, "link": LINK}))
    tensors = {"linear.weight": torch.full((1, 80), weight), "n.num_batches_tracked": torch.ones(1)}
    save_file(tensors, folder / f"{stage}.average.safetensors")
    return folder


def test_weights_link_and_recipes_of_all_stages(tmp_path: Path) -> None:
    tiles, grades = _run(tmp_path / "tiles", "tiles"), _run(tmp_path / "grades", "grades")
    out = tmp_path / "out"
    main(["finish", "--from", str(grades), "--before", str(tiles), "--out", str(out)])
    card = json.loads((out / "ram-1024.json").read_text())
    assert card["link"] == LINK
    assert [(s["stage"], s["done"]) for s in card["recipe"]["stages"]] == [
        ("tiles", 10),
        ("grades", 10),
    ]
    main(["finish", "--from", str(grades), "--out", str(out), "--ceiling", "1.6"])
    assert json.loads((out / "ram-1024.json").read_text())["link"] == {**LINK, "ceiling": 1.6}
    weights = load_file(out / "ram-1024.safetensors")
    assert set(weights) == {"linear.weight"}
    assert weights["linear.weight"].dtype == torch.float16


def test_what_is_no_run_or_too_large_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no finished run"):
        write_finished(tmp_path, tmp_path / "out")
    with pytest.raises(RunError, match="too large"):
        write_finished(_run(tmp_path / "loud", "grades", 1e6), tmp_path / "out")


def test_the_mean_of_a_run_is_a_run(tmp_path: Path) -> None:
    network = RamNetwork(PRESETS["ram-1024"])
    start, run, out = tmp_path / "start.safetensors", tmp_path / "run", tmp_path / "out"
    save_file(network.state_dict(), start)
    _run(run, "grades")
    (run / "grades.recipe.json").write_text(json.dumps({"tiles": {"preset": "ram-1024"}}))
    (run / "start.json").write_text(json.dumps({"factor": 3.0, "offset": 1.0, "link": LINK}))
    later = {k: v + 1 if v.is_floating_point() else v for k, v in network.state_dict().items()}
    save_file(later, run / "step100.safetensors")
    main(["mean", "--from", str(run), "--start", str(start), "--at", "0", "100", "--out", str(out)])
    mean, first = load_file(out / "grades.average.safetensors"), network.state_dict()
    for name, (factor, offset) in {
        "linear.weight": (3, 0), "linear.bias": (3, 1), "stem.0.weight": (1, 0),
    }.items():  # fmt: skip
        wanted = (first[name] * factor + offset + first[name] + 1) / 2
        torch.testing.assert_close(mean[name], wanted)
    main(["finish", "--from", str(out), "--out", str(out)])
    stage = json.loads((out / "ram-1024.json").read_text())["recipe"]["stages"][0]
    assert stage["mean_of_steps"] == [0, 100]
    with pytest.raises(RunError, match="mean cannot be taken"):
        write_mean(run, start, [200], out)
