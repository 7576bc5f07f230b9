"""The finest scale learns sums of photographs; what is kept of them is renewed."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from drcore.model.network import PRESETS, RamNetwork
from drcore.preprocessing.network_input import Preprocessing
from training.finest_scale.grade_recipe import PHOTOGRAPHS
from training.finest_scale.grade_training import train_grades
from training.finest_scale.maps import logit_maps
from training.finest_scale.squares import FINE, UNKNOWN, FineSquare, FineSquares


def _squares() -> FineSquares:
    rng = np.random.default_rng(0)
    contrast = rng.integers(98, 158, (3, FINE, FINE, 3), dtype=np.uint8)
    masks = np.full((3, FINE, FINE), UNKNOWN, np.uint8)
    masks[2] = 0
    masks[2, 500:508, 500:508] = 1
    contrast[1:, 500:508, 500:508] = 40
    rows = [
        FineSquare(Path("a.jpg"), "messidor2", "train", "a", 0),
        FineSquare(Path("b.jpg"), "messidor2", "train", "b", 2),
        FineSquare(Path("c.jpg"), "eophtha", "train", "c", None, Path("c_mask.png"), 1),
    ]
    return FineSquares(rows, contrast, masks, np.array([1024, 1024, 1024]))


def test_a_run_on_whole_photographs_learns_and_goes_on(tmp_path: Path) -> None:
    torch.manual_seed(0)
    squares, preparation = _squares(), Preprocessing()
    save_file(RamNetwork(PRESETS["ram-1024"]).state_dict(), tmp_path / "start.safetensors")
    link = {"bias": 0.0, "slope": 0.5, "knee": 0.002, "ceiling": 2.5}
    begun = {"factor": 1.0, "offset": 0.0, "link": link}
    (tmp_path / "start.json").write_text(json.dumps(begun))  # two maps are too few to fit it
    few = replace(PHOTOGRAPHS.tiles, dots=1, others=0, anywhere=0, healthy=1)
    recipe = replace(
        PHOTOGRAPHS, tiles=few, steps=2, photographs=2, keep_every=0, rate=1e-3, plain_bank=False,
        datasets=(("messidor2", 1.0),),
    )  # fmt: skip
    network = train_grades(recipe, squares, tmp_path / "start.safetensors", tmp_path, preparation)
    with ThreadPoolExecutor(1) as pool:
        now = np.stack(list(logit_maps(network, squares, [0, 1], preparation, pool)))
    kept = np.load(tmp_path / "bank.npy")
    first = np.logaddexp(0, np.load(tmp_path / "first.npy").astype(np.float32))
    cells = np.logaddexp(0, now.astype(np.float32))
    assert np.abs(kept - cells).mean() < 0.9 * np.abs(first - cells).mean()
    state = load_file(tmp_path / "grades.state.safetensors")
    again = train_grades(recipe, squares, tmp_path / "start.safetensors", tmp_path, preparation)
    for name, value in network.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], value)
    assert load_file(tmp_path / "grades.state.safetensors").keys() == state.keys()
    lines = (tmp_path / "grades.metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [2]
