"""The finest scale on whole photographs: the same changes and labels, a bundle of all scales."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from drcore.model.bundle import load_bundle
from training.data.labels import Labelled
from training.data.shards import Packed, pack, unpack
from training.finest_scale.device_changes import (
    draw_fine_change,
    label_batch,
    move_squares,
    paste_batch,
    similarity,
    tone_batch,
)
from training.finest_scale.device_training import WHOLE, few_squares, train_whole
from training.finest_scale.packed import fine_packed, fine_unpacked
from training.finest_scale.squares import OUTSIDE, UNKNOWN, FineSquare, FineSquares
from training.finest_scale.tiles import TileChanges, cell_labels, change_tone, find_dots
from training.optimisation.bundle import shipped_fusion, shipped_link, shipped_onset
from training.optimisation.checkpoints import RunError
from training.optimisation.initial_weights import pack_initial

SIDE = 256


@pytest.fixture(scope="module")
def squares() -> FineSquares:
    """Five graded photographs and two with masks of dots, some of each healthy."""
    rng = np.random.default_rng(0)
    rows = [FineSquare(Path(f"{i}.jpg"), "idrid", "train", f"p{i}", i) for i in range(5)]
    rows += [
        FineSquare(Path(f"{i}.jpg"), "eophtha", "train", f"e{i}", None, Path(f"{i}.png"), 1)
        for i in range(2)
    ]
    contrast = rng.normal(128, 6, (len(rows), SIDE, SIDE, 3)).round().astype(np.uint8)
    masks = np.full((len(rows), SIDE, SIDE), UNKNOWN, np.uint8)
    masks[5:] = 0
    yy, xx = np.mgrid[:SIDE, :SIDE]
    for index in (3, 4, 5, 6):
        for x, y in rng.integers(60, 190, (6, 2)):
            spot = np.hypot(yy - y, xx - x) < 3.5
            contrast[index][spot] = 60
            if index >= 5:
                masks[index][spot] = 1
    masks[:, np.hypot(yy - 127.5, xx - 127.5) > 120] = OUTSIDE
    return FineSquares(rows, contrast, masks, np.array([1024, 300] * 3 + [900]))


def test_fine_squares_travel_as_shards(squares: FineSquares, tmp_path: Path) -> None:
    rows = [*squares.rows[:-1], replace(squares.rows[-1], split="val")]
    pack(fine_packed(replace(squares, rows=rows)), tmp_path, "fine", quality=95)
    back = fine_unpacked(unpack(tmp_path, "fine"))
    assert [r.grade for r in back.rows] == [0, 1, 2, 3, 4, None]
    assert [r.mask is not None for r in back.rows] == [False] * 5 + [True]
    assert back.rows[-1].annotated == 1
    assert np.array_equal(back.masks, squares.masks[:-1])
    assert np.array_equal(back.widths, squares.widths[:-1])


@pytest.mark.parametrize("seed", range(4))
def test_tone_changes_as_it_does_on_tiles(seed: int) -> None:
    rng = np.random.default_rng(5)
    smooth = cv2.GaussianBlur(rng.normal(128, 60, (96, 96, 3)).astype(np.float32), (0, 0), 2)
    tile = smooth.clip(0, 255).round().astype(np.uint8)
    # Noise is drawn on the device; JPEG differs by its own rounding.
    changes = TileChanges(noise=0, compression=0, mix=0.15, sharpen=0.5, coarse=0.5, blur=0.5)
    before = change_tone(tile, changes, np.random.default_rng(seed), sharp=True)
    drawn = draw_fine_change(96, changes, np.random.default_rng(seed), sharp=True)
    values = torch.from_numpy(tile).permute(2, 0, 1)[None].float() - 128
    after = tone_batch(values, [drawn], torch.Generator().manual_seed(0))[0].permute(1, 2, 0)
    inner = np.abs(after.numpy() - before.astype(float))[8:-8, 8:-8]
    assert inner.mean() < 0.6
    assert inner.max() <= 4


def test_turned_squares_keep_their_pixels_and_masks(squares: FineSquares) -> None:
    change = draw_fine_change(SIDE, TileChanges(), np.random.default_rng(0), sharp=True, plain=True)
    for seed in range(8):
        turn = similarity(1.3, np.random.default_rng(seed), quarters=True)
        contrast = torch.from_numpy(squares.contrast[5:6]).permute(0, 3, 1, 2)
        values, masks = move_squares(
            contrast, torch.from_numpy(squares.masks[5:6])[:, None],
            [replace(change.moved, similarity=turn)],
        )  # fmt: skip
        assert np.array_equal(
            np.bincount(masks.flatten().numpy(), minlength=256),
            np.bincount(squares.masks[5].ravel(), minlength=256),
        )
        assert values[0, 1][masks[0] == 1].mean() == pytest.approx(60 - 128, abs=1)
        assert float(values.mean()) == pytest.approx(float(contrast.float().mean()) - 128, abs=0.01)


@pytest.mark.parametrize("bright", [0.0, 0.3])
def test_cells_are_labelled_as_on_tiles(bright: float) -> None:
    rng = np.random.default_rng(1)
    masks = np.zeros((4, 128, 128), np.uint8)
    for mask in masks:
        for bit in (1, 2, 4, 8, OUTSIDE, UNKNOWN):
            for x, y in rng.integers(0, 120, (4, 2)):
                mask[y : y + int(rng.integers(2, 14)), x : x + int(rng.integers(2, 14))] |= bit
    masks[3][masks[3] < UNKNOWN] |= UNKNOWN
    healthy = [False, True, False, True]
    given = label_batch(torch.from_numpy(masks), torch.tensor(healthy), bright)
    wanted = [cell_labels(m, healthy=h, bright=bright) for m, h in zip(masks, healthy, strict=True)]
    for side, values in enumerate(given):
        assert np.allclose(values.numpy(), np.stack([one[side] for one in wanted]))


def test_pasted_dots_become_lesions(squares: FineSquares) -> None:
    spots = find_dots(squares, [5, 6]).spots
    values, mask = torch.zeros((3, SIDE, SIDE)), torch.from_numpy(squares.masks[0].copy())
    stacked = torch.from_numpy(np.stack(spots)).permute(0, 3, 1, 2)
    paste_batch(values, mask, stacked, 8, np.random.default_rng(0))
    assert (mask == 1).any()
    assert values[1][mask == 1].mean() < -15
    assert not values[:, mask == OUTSIDE].any() or values[:, mask == OUTSIDE].abs().mean() < 1


def test_a_run_learns_goes_on_and_refuses_another_recipe(
    squares: FineSquares, tmp_path: Path
) -> None:
    grades = replace(WHOLE.grades, steps=2)
    recipe = replace(WHOLE, grades=grades, graded=2, masked=1, healthy=1)
    link, out = shipped_link("ram-1024"), tmp_path / "finest"
    assert not train_whole(recipe, squares, link, out, device="cpu", until=0.0)
    few = few_squares(squares, 1)
    assert train_whole(recipe, few, link, out, device="cpu")
    lines = (out / "grades.metrics.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(lines[-1])["step"] == 2
    assert all(np.isfinite(value) for value in json.loads(lines[-1]).values())
    with pytest.raises(RunError, match="another recipe"):
        train_whole(replace(recipe, healthy=2), few, link, out, device="cpu")


def test_one_command_trains_all_scales(squares: FineSquares, tmp_path: Path) -> None:
    """Without what a machine for training may lack; ready for `training.calibrate`."""
    rng = np.random.default_rng(0)
    rows = [
        Labelled(Path(f"{i}.png"), i % 5, "idrid", "val" if i >= 4 else "train", f"p{i}")
        for i in range(5)
    ]
    pixels = np.repeat(rng.integers(40, 160, (5, 64, 64, 3), np.uint8), 8, 1).repeat(8, 2)
    shards, out = tmp_path / "shards", tmp_path / "run"
    pack(Packed(rows, pixels, np.full((5, 128, 128), 255, np.uint8)), shards, "squares", quality=60)
    flags = np.zeros((2, 512, 512), np.uint8)
    flags[:, 200:210, 200:210] = 1
    pack(
        Packed(rows[:2], pixels[:2], np.full((2, 128, 128), 255, np.uint8), flags,
               np.ones((2, 4), bool)), shards, "lesions", quality=60,
    )  # fmt: skip
    pack(fine_packed(squares), shards, "fine")
    pack_initial(shards)
    given = ["--shards", str(shards), "--out", str(out), "--device", "cpu", "--rehearse", "--quiet"]
    blocked = "import sys; sys.modules['pydantic'] = None; import torch; torch.set_num_threads(1);"
    code = f"{blocked} from training.train_bundle import main; main({given!r})"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert "training.calibrate" in ran.stdout
    bundle = load_bundle(out / "bundle")
    assert bundle.fusion == shipped_fusion()
    assert sorted(bundle.networks) == [128, 256, 512, 1024]
    assert bundle.networks[1024].link == shipped_link("ram-1024")
    onset = shipped_onset()
    assert onset is not None
    assert [bundle.networks[size].link for size in (128, 256, 512)] == [onset] * 3
    assert not any(network.mirrored for network in bundle.networks.values())
