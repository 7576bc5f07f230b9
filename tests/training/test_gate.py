"""The gradability network: a rehearsal of its training, and the squares that it learns from."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.numpy import load

from drcore.model.network import PRESETS, RamNetwork
from drcore.preprocessing.gate import CLASSES, GRID, INPUT, QUANTILES, READ, graph
from training import gate
from training.data.gate_squares import GateSquares
from training.data.gate_variants import SPOILT, in_colours_of, mild, stored
from training.evaluation.gate import Judged, calibrated, judged_by_folds, partitions
from training.optimisation.gate import GateHead, odds_of, publish
from training.optimisation.gate_trunk import reader, trunk_weights
from training.optimisation.initial_weights import imagenet_weights
from training.synthetic.distractors import DRAWN, FROM_A_RETINA


@pytest.fixture
def square(phantom) -> np.ndarray:
    return cv2.resize(phantom(seed=1).rgb, (INPUT, INPUT), interpolation=cv2.INTER_AREA)


def test_variants_are_squares_that_differ_and_leave_the_original_alone(square):
    before = square.copy()
    rng = np.random.default_rng(0)
    for change in (mild, stored, *SPOILT.values(), *FROM_A_RETINA.values()):
        for _ in range(6):
            changed = change(square, rng)
            assert changed.dtype == np.uint8
            assert changed.shape == square.shape
    assert np.array_equal(square, before)
    lit = square.max(axis=2) > 20
    assert np.median(SPOILT["dark"](square, rng)[lit]) < 25
    assert (SPOILT["over-exposed"](square, rng)[lit][:, 1] >= 250).mean() > 0.05
    first, again = (mild(square, np.random.default_rng(4)) for _ in range(2))
    assert np.array_equal(first, again)


@pytest.mark.parametrize("family", DRAWN)
def test_pictures_of_other_things_are_pictures(family):
    picture = DRAWN[family](np.random.default_rng(0))
    assert picture.ndim == 3
    assert picture.shape[2] == 3
    assert np.isfinite(picture).all()
    assert picture.std() > 1


def test_colours_of_another_photograph_keep_what_is_seen(square):
    other = SPOILT["dark"](square, np.random.default_rng(1))
    recoloured = in_colours_of(square, other)
    lit = square.max(axis=2) > 20
    assert np.median(recoloured[lit]) == pytest.approx(np.median(other[lit]), abs=3)
    again = in_colours_of(recoloured, square)
    assert np.corrcoef(again[lit][:, 1], square[lit][:, 1])[0, 1] > 0.7


def test_the_trunk_is_that_of_the_network_it_is_taken_from(square):
    network = RamNetwork(PRESETS["ram-512"])
    network.load_state_dict(dict(imagenet_weights(network)), strict=False)
    x = torch.from_numpy(square).permute(2, 0, 1)[None].float()
    with torch.inference_mode():
        maps = network.eval().stem((x - 127) / 128)
        for block in network.blocks[: max(READ) + 1]:
            maps = block(maps)
    squares_of_cells = maps.reshape(80, GRID, INPUT // 16 // GRID, GRID, -1)
    cells = squares_of_cells.mean((2, 4)).reshape(80, -1).numpy()
    lit = (square.max(axis=2) > 6).reshape(GRID, INPUT // GRID, GRID, -1).mean((1, 3)) > 0.5
    inside = np.sort(cells[:, lit.ravel()], axis=1)
    assert 40 < inside.shape[1] < GRID * GRID  # the corners are black
    ranks = [round(share * (inside.shape[1] - 1)) for share in QUANTILES]
    expected = np.column_stack([inside.mean(axis=1), inside[:, ranks]])
    *found, share = reader()(square)
    assert share == pytest.approx(lit.mean())
    found = np.reshape(found, (-1, 4))[-160:-80]
    assert np.allclose(found, expected, atol=0.03 * np.abs(expected).max())


def test_the_published_network_says_what_the_trained_one_says(tmp_path: Path):
    import openvino

    torch.manual_seed(0)
    squares = np.random.default_rng(0).integers(0, 256, (2, INPUT, INPUT, 3)).astype(np.uint8)
    read = reader()
    figures = np.stack([read(square) for square in squares])
    head = GateHead(torch.from_numpy(figures[0]), torch.ones(figures.shape[1])).eval()
    publish(head, trunk_weights(), tmp_path, {"slope": 1.0, "offset": 0.0, "threshold": 0.5})
    weights = (tmp_path / "gate.safetensors").read_bytes()
    assert len(weights) < 500_000
    exact = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(graph(load(weights)), "CPU", exact)
    odds = odds_of(head, figures)
    for index in range(2):
        logits = compiled([squares[index : index + 1]])[0][0].astype(np.float64)
        assert logits[0] - np.log(np.exp(logits[1:]).sum()) == pytest.approx(odds[index], abs=0.1)


def _data(squares: np.ndarray) -> GateSquares:
    count = len(squares)
    kinds = np.array(["eyeq good", "eyeq reject", "drimdb good", "healthy", "drawn"])
    names = np.array([f"{number}" for number in range(count)])
    return GateSquares(
        squares, np.ones(count, np.uint8), np.resize(kinds, count), names, names,
        np.zeros(count, bool),
    )  # fmt: skip


def test_each_picture_is_left_out_once_and_some_cameras_as_a_whole():
    data = _data(np.zeros((300, 1, 1, 3), np.uint8))
    out = partitions(data)
    folds = [mask.astype(int) for name, mask in out.items() if name.startswith("fold")]
    assert (sum(folds) == 1).all()
    assert set(data.kinds[out["without drimdb"]]) == {"drimdb good"}
    assert (out["without healthy"] == (data.kinds == "healthy")).all()
    assert all(mask.any() for mask in out.values())
    judged = judged_by_folds({name: np.arange(300.0) for name in out}, data)
    assert len(judged.odds) == 300 + 60 + 60
    assert set(judged.odds[judged.kinds == "without healthy"]) == set(range(3, 300, 5))


def test_calibration_makes_probabilities_that_come_true():
    rng = np.random.default_rng(0)
    odds = rng.normal(2, 3, 4000)
    gradable = rng.random(4000) < 1 / (1 + np.exp(-(0.5 * odds - 0.4)))
    kinds = np.where(gradable, "eyeq good", "eyeq reject")
    fitted = calibrated(Judged(kinds, gradable, odds))
    assert fitted.slope == pytest.approx(0.5, abs=0.05)
    assert fitted.offset == pytest.approx(-0.4, abs=0.1)
    assert 0 < fitted.threshold < 1


def test_a_rehearsal_trains_measures_and_publishes(
    phantom, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr("training.data.gate_squares._PHANTOMS", 2)
    monkeypatch.setattr("training.data.gate_squares._DRAWN", 2)
    (tmp_path / "images").mkdir()
    lines, qualities = ["image,grade,dataset,split,patient"], ["image,quality,source"]
    for number in range(12):
        rgb = cv2.resize(phantom(seed=number % 3).rgb, (200, 200), interpolation=cv2.INTER_AREA)
        rgb = rgb // (1 if number % 2 else 20)
        cv2.imwrite(str(tmp_path / "images" / f"{number}.png"), rgb[..., ::-1])
        lines.append(f"{number}.png,0,eyepacs,{'val' if number > 9 else 'train'},p{number}")
        qualities.append(f"images/{number}.png,{'good' if number % 2 else 'reject'},eyeq")
    (tmp_path / "labels.csv").write_text("\n".join(lines) + "\n", "utf-8")
    (tmp_path / "quality.csv").write_text("\n".join(qualities) + "\n", "utf-8")
    arguments = [
        str(tmp_path / "out"), "--labels", str(tmp_path / "labels.csv"),
        "--cache", str(tmp_path / "cache"), "--steps", "3", "--quiet",
    ]  # fmt: skip
    gate.main(arguments)
    first = capsys.readouterr().out
    assert "eyeq reject" in first
    manifest = json.loads((tmp_path / "out" / "gate.json").read_text("utf-8"))
    assert manifest["classes"] == list(CLASSES)
    assert "Research use only" in manifest["licence"]
    weights = load((tmp_path / "out" / "gate.safetensors").read_bytes())
    assert weights["last.bias"].shape == (len(CLASSES),)
    gate.main(arguments)  # what is there is not made again
    assert capsys.readouterr().out == first
