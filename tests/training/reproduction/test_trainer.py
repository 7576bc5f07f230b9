"""Runs of published networks: they learn, a kill changes nothing, two processes agree with one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from training.data.labels import Labelled
from training.data.resident import ResidentSquares
from training.optimisation.checkpoints import RunError, read_tensors
from training.reproduction.networks import LAYOUTS, Convolution, Layout, Pool
from training.reproduction.recipe import PublishedRecipe, published
from training.reproduction.scoring import predict
from training.reproduction.trainer import fit
from training.reproduction.weights import KEPT, load_kept

CPU = torch.device("cpu")
SMALL = Layout("small", 32, 28, (Convolution(8, 5, 2, 2), Pool(), Convolution(16, 3)))
LARGER = Layout(
    "larger", 64, 56,
    (Convolution(8, 5, 2, 2), Pool(), Convolution(16, 3), Pool(), Convolution(24, 3)),
)  # fmt: skip


@pytest.fixture(autouse=True)
def small_layouts(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    monkeypatch.setitem(LAYOUTS, "small", SMALL)
    monkeypatch.setitem(LAYOUTS, "larger", LARGER)
    yield
    torch.set_num_threads(threads)


def photographs(side: int, count: int = 60) -> tuple[list[Labelled], ResidentSquares]:
    """Grey squares with as many bright dots as the grade says."""
    rng = np.random.default_rng(5)
    pixels = np.full((count, side, side, 3), 90, np.uint8)
    rows = []
    for i in range(count):
        grade = i % 5
        for _ in range(3 * grade):
            y, x = rng.integers(6, side - 8, 2)
            pixels[i, y : y + 3, x : x + 3] = 255
        split = "train" if i < count * 3 // 4 else "val"
        rows.append(Labelled(Path(f"{i}.jpg"), grade, "dots", split, str(i)))
    return rows, ResidentSquares(pixels, CPU)


def quick(**changes: Any) -> PublishedRecipe:
    fields = {"epochs": 4, "batch": 8, "rate": 0.01, "colour": 0.1, "clip": 5.0, "untied": True}
    return PublishedRecipe("small", **(fields | changes))


def test_a_run_learns_and_keeps_three_weights(tmp_path: Path) -> None:
    rows, resident = photographs(32)
    history = fit(quick(epochs=30), rows, resident, tmp_path)
    assert history[-1]["loss"] < 0.6 * history[0]["loss"]
    assert max(line["kappa"] for line in history) > 0.5
    val = np.array([i for i, row in enumerate(rows) if row.split == "val"])
    truth = np.array([rows[i].grade for i in val])
    for kept, key, best in zip(KEPT, ("kappa", "mse", ""), (max, min, None), strict=True):
        network = load_kept(quick(), tmp_path, kept)
        scores = predict(network, resident, val)
        mse = float(np.mean((scores - truth) ** 2))
        if kept == "best-mse":
            assert mse == pytest.approx(min(line["mse"] for line in history), rel=1e-4)
        elif kept == "last":
            assert mse == pytest.approx(history[-1]["mse"], rel=1e-4)
        else:
            at = [line["mse"] for line in history if line[key] == best(h[key] for h in history)]  # type: ignore[misc]
            assert mse == pytest.approx(at[0], rel=1e-4)


@pytest.mark.parametrize("head", ["gap", "fc"])
def test_a_killed_run_goes_on_to_the_same_curve(
    tmp_path: Path, head: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The FC head needs a map of at least 3 cells; its dropout is the chance that must be resumed.
    rows, resident = photographs(32)
    recipe = quick(head=head)
    whole = fit(recipe, rows, resident, tmp_path / "whole")

    class Killed(BaseException):
        pass

    def kill(line: dict[str, Any]) -> None:
        torch.rand(7)  # the rest of the program uses chance too
        if line["epoch"] == 2:
            raise Killed

    with pytest.raises(Killed):
        fit(recipe, rows, resident, tmp_path / "killed", report=kill)
    resumed = fit(recipe, rows, resident, tmp_path / "killed")
    assert [line["epoch"] for line in resumed] == [1, 2, 3, 4]
    for a, b in zip(whole, resumed, strict=True):
        for key in ("loss", "mse", "kappa"):
            assert a[key] == pytest.approx(b[key], abs=1e-6)
    for kept in KEPT:
        one, other = (read_tensors(tmp_path / f / kept) for f in ("whole", "killed"))
        for name in one:
            torch.testing.assert_close(one[name], other[name], rtol=0, atol=1e-6)


def test_bfloat16_on_a_processor_learns_alike_and_is_another_protocol(tmp_path: Path) -> None:
    rows, resident = photographs(32)
    plain = fit(quick(epochs=2), rows, resident, tmp_path / "plain")
    mixed = fit(quick(epochs=2, bfloat16=True), rows, resident, tmp_path / "mixed")
    assert mixed[-1]["loss"] == pytest.approx(plain[-1]["loss"], rel=0.05)
    assert mixed[-1]["loss"] != plain[-1]["loss"]
    with pytest.raises(RunError, match="bfloat16"):
        fit(quick(epochs=2), rows, resident, tmp_path / "mixed")


def test_another_protocol_does_not_go_on_silently(tmp_path: Path) -> None:
    rows, resident = photographs(32)
    fit(quick(epochs=1), rows, resident, tmp_path / "run")
    with pytest.raises(RunError, match="rate"):
        fit(quick(epochs=1, rate=0.02), rows, resident, tmp_path / "run")


def test_a_larger_network_starts_from_the_smaller_one(tmp_path: Path) -> None:
    rows, resident = photographs(32)
    fit(quick(epochs=1), rows, resident, tmp_path / "first")
    first = read_tensors(tmp_path / "first" / "last")
    larger = replace(quick(epochs=1, rate=0.0), layout="larger")
    rows, resident = photographs(64)
    fit(larger, rows, resident, tmp_path / "next", start=tmp_path / "first" / "last")
    then = read_tensors(tmp_path / "next" / "last")
    for index in (0, 2):
        name = f"blocks.{index}.convolution.weight"
        torch.testing.assert_close(then[name], first[name])
        bias = f"blocks.{index}.bias"
        assert then[bias].shape[1] > first[bias].shape[1]  # one a pixel, of more pixels
        assert float((then[bias].mean() - first[bias].mean()).abs()) < 0.01
    with pytest.raises(RunError, match="to start from"):
        fit(larger, rows, resident, tmp_path / "none", start=tmp_path / "no" / "x")


def test_a_run_without_a_kappa_keeps_its_weights(tmp_path: Path) -> None:
    rows, resident = photographs(32)
    alike = [replace(row, grade=0) if row.split == "val" else row for row in rows]
    history = fit(quick(epochs=2), alike, resident, tmp_path)
    assert not max(line["kappa"] for line in history) > 0
    assert load_kept(quick(), tmp_path, "best-kappa") is not None


def test_nothing_to_train_on_is_said(tmp_path: Path) -> None:
    rows, resident = photographs(32)
    with pytest.raises(RunError, match="nothing to train on"):
        fit(quick(), [replace(row, split="val") for row in rows], resident, tmp_path)


_TWO = """
import json, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
sys.path.insert(0, sys.argv[2])
from test_trainer import LARGER, SMALL, photographs, quick
from training.reproduction.processes import join_processes
from training.reproduction.trainer import fit
from training.reproduction.networks import LAYOUTS
LAYOUTS["small"] = SMALL
join_processes("cpu")
rows, resident = photographs(32)
fit(quick(epochs=2), rows, resident, Path(sys.argv[1]))
torch.distributed.destroy_process_group()
"""


@pytest.mark.slow
def test_two_processes_train_what_one_trains(tmp_path: Path) -> None:
    rows, resident = photographs(32)
    alone = fit(quick(epochs=2), rows, resident, tmp_path / "one")
    script = tmp_path / "two.py"
    script.write_text(_TWO)
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2",
         str(script), str(tmp_path / "two"), str(Path(__file__).parent)],
        env=environment, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    text = (tmp_path / "two" / "history.json").read_text(encoding="utf-8")
    together = json.loads(text)["history"]
    assert len(together) == 2
    for a, b in zip(alone, together, strict=True):
        assert a["mse"] == pytest.approx(b["mse"], rel=1e-4)
        assert a["kappa"] == pytest.approx(b["kappa"], abs=1e-6)


def test_a_batch_that_cannot_be_shared_is_refused() -> None:
    assert published("net-5-512").batch % 8 == 0
