"""The reproduction command: parameters, a tiny competition end to end, refusals, report."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from training.reproduce import main
from training.reproduction import runs
from training.reproduction.networks import LAYOUTS, Convolution, Layout, Pool
from training.reproduction.plan import Budget, plan
from training.reproduction.recipe import published
from training.reproduction.report import verdict
from training.reproduction.speed import compare_heads, flops_of, limit_of

TINY = (Convolution(6, 5, 2, 2), Pool(), Convolution(8, 3, 2), Pool(), Convolution(8, 3))


@pytest.fixture
def tiny_nets(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Networks of the same names and inputs that train in a second."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    for side in (128, 256):
        for net in ("net-5", "net-4"):
            name = f"{net}-{side}"
            monkeypatch.setitem(LAYOUTS, name, Layout(name, side, side * 7 // 8, TINY))
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def competition(tmp_path: Path) -> Path:
    """A tiny synthetic copy of the competition's layout: 30 + 12 patients."""
    folder = tmp_path / "kaggle"
    (folder / "train").mkdir(parents=True)
    (folder / "test").mkdir()
    rng = np.random.default_rng(0)
    tables = {"trainLabels.csv": ["image,level"],
              "retinopathy_solution.csv": ["image,level,Usage"]}  # fmt: skip
    for patient in range(42):
        grade = patient % 5
        part = "train" if patient < 30 else "test"
        for eye in ("left", "right"):
            image = np.zeros((96, 120, 3), np.uint8)
            cv2.circle(image, (60, 48), 44, (30, 60, 140), -1)
            for _ in range(4 * grade):
                cv2.circle(image, tuple(map(int, rng.integers(30, 80, 2))), 2, (0, 0, 255), -1)
            cv2.imwrite(str(folder / part / f"{patient}_{eye}.jpeg"), image)
            if part == "train":
                tables["trainLabels.csv"].append(f"{patient}_{eye},{grade}")
            else:
                usage = "Public" if patient % 2 else "Private"
                tables["retinopathy_solution.csv"].append(f"{patient}_{eye},{grade},{usage}")
    for name, lines in tables.items():
        (folder / name).write_text("\n".join(lines) + "\n")
    return folder


def arguments(competition: Path, tmp_path: Path, *more: str) -> list[str]:
    return [
        "--data", str(competition), "--runs", str(tmp_path / "runs"),
        "--cache", str(tmp_path / "cache"), "--report", str(tmp_path / "REPORT.md"),
        "--nets", "net-5", "--sizes", "128", "256", "--head-size", "128", "--seeds", "0", "1",
        "--epochs", "128=3", "256=1", "--batch", "128=8", "256=8", "--rate", "0.01",
        "--clip", "5", "--views", "4", "--device", "cpu", *more,
    ]  # fmt: skip


def test_parameters_are_printed_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--parameters"])
    printed = json.loads(capsys.readouterr().out)
    assert printed["net-5-512"]["fc"]["untied"] == 12_402_657
    assert printed["net-5-pad1-512"]["gap"]["untied"] == 9_729_249
    assert printed["net-4-512"]["fc"] == {"untied": 12_465_121, "tied": 8_181_633}
    assert printed["net-4-512"]["gap"]["untied"] == 9_841_633
    assert [printed[f"fine-{s}"]["maps"][-1] for s in (128, 256, 512)] == [54, 56, 54]
    assert [printed[f"fine-{s}"]["receptive_field"] for s in (128, 256, 512)] == [41, 93, 181]


@pytest.mark.usefixtures("tiny_nets")
def test_a_competition_from_labels_to_public_and_private_kappa(
    competition: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    main(arguments(competition, tmp_path, "--cells", "heads", "sizes", "switches"))
    printed = capsys.readouterr().out
    assert "net-5-128-gap-s0: public kappa" in printed
    assert "private kappa" in printed
    text = (tmp_path / "REPORT.md").read_text(encoding="utf-8")
    stored = json.loads((tmp_path / "REPORT.json").read_text(encoding="utf-8"))
    assert set(stored["kaggle"]["net-5-128-gap-s0"]) == {"public", "private"}
    pair = stored["heads"]["net-5-128"]
    assert set(pair["fc"]) == set(pair["gap"]) == {"0", "1"}
    low, high = pair["gap_minus_fc"]["interval"]
    assert low <= pair["gap_minus_fc"]["difference"] <= high
    pieces = {name.split(",")[0] for name in stored["switches"]}
    assert pieces == {"resampling", "colour augmentation", "staging", "test-time augmentation",
                      "per-patient blend"}  # fmt: skip
    assert "54 training" in text or "training and" in text
    # Whatever was not run is an empty cell that says so, never a number.
    assert "| net-5-512 | not measured | not measured | |" in text
    gain = stored["size_gains"]["net-5-128 to net-5-256"]
    assert gain["difference"] == pytest.approx(
        stored["sizes"]["net-5-256"]["0"] - stored["sizes"]["net-5-128"]["0"]
    )
    assert "Claim, net-5-128 to net-5-256 px" in text
    empty = text.split("## Empty cells")[1]
    assert "kappa of FC and GAP, net-4-512" in empty
    assert "seconds an epoch on a GPU" in empty
    assert "switch" not in empty  # all of them were run
    assert "public" not in empty

    # A second call only reads: training again would call `fit`.
    monkeypatch.setattr(runs, "fit", None)
    main(arguments(competition, tmp_path, "--cells", "heads", "sizes", "switches"))
    assert (tmp_path / "REPORT.md").read_text(encoding="utf-8") == text


@pytest.mark.usefixtures("tiny_nets")
@pytest.mark.parametrize(
    ("file", "line", "expected"),
    [
        ("trainLabels.csv", "99_left,0", "line 62"),
        ("trainLabels.csv", "0_left,0", "0_left"),
        ("trainLabels.csv", "1_left,7", "7"),
        ("retinopathy_solution.csv", "3_left,0,Public", "3"),
    ],
)
def test_a_bad_table_is_refused_before_any_training(
    competition: Path, tmp_path: Path, file: str, line: str, expected: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    with (competition / file).open("a") as opened:
        opened.write(line + "\n")
    with pytest.raises(SystemExit) as stopped:
        main(arguments(competition, tmp_path, "--cells", "heads"))
    assert stopped.value.code == 1
    error = capsys.readouterr().err
    assert expected in error
    assert file in error
    assert not list((tmp_path).glob("runs/*"))


@pytest.mark.parametrize("wrong", ["128", "64=3", "128=0", "128=x"])
def test_a_wrong_epoch_option_is_said(
    competition: Path, tmp_path: Path, wrong: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main([*arguments(competition, tmp_path, "--cells", "heads"), "--epochs", wrong])
    assert "SIZE=N" in capsys.readouterr().err


def test_the_plan_starts_each_size_from_the_one_before() -> None:
    runs = {run.name: run.recipe for run in plan(Budget(seeds=(4,)), ["sizes", "switches"])}
    assert runs["net-5-128-gap-s4"].start == ""
    assert runs["net-5-256-gap-s4"].start == "net-5-128-gap-s4"
    assert runs["net-5-512-gap-s4"].start == "net-5-256-gap-s4"
    assert runs["net-5-256-gap-not-staged-s4"].start == ""
    assert not runs["net-5-128-gap-no-resampling-s4"].resampling
    assert runs["net-5-128-gap-no-colour-s4"].colour == 0
    names = list(runs)
    for run in plan(Budget(), ["heads", "sizes"]):
        if run.recipe.start:
            assert run.recipe.seed == int(run.recipe.start[-1])
    assert names.index("net-5-128-gap-s4") < names.index("net-5-256-gap-s4")


def test_the_published_effort_is_what_is_planned_by_default() -> None:
    runs = plan(Budget(), ["heads"])
    full = [run.recipe for run in runs if run.recipe.layout == "net-5-512"]
    assert {(p.head, p.seed) for p in full} == {(h, s) for h in ("fc", "gap") for s in (0, 1, 2)}
    assert all(p.epochs == 251 and p.untied and p.resampling for p in full)


def test_verdicts_follow_the_interval() -> None:
    def told(low: float, high: float, tolerance: float = 0.0) -> str:
        return verdict({"interval": [low, high]}, tolerance=tolerance)

    assert told(0.01, 0.05) == "better"
    assert told(-0.05, -0.01) == "worse"
    assert "undecided" in told(-0.01, 0.03)
    assert told(-0.01, 0.03, 0.02) == "holds"
    assert told(-0.09, -0.03, 0.02) == "does not hold"
    assert "undecided" in told(-0.05, 0.03, 0.02)


@pytest.mark.usefixtures("tiny_nets")
def test_speed_counts_what_it_says() -> None:
    speed = compare_heads("net-5-128", torch.device("cpu"), steps=2, repeats=2, batch=8, stored=8)
    assert speed["timed_photographs"] == 16
    for head in ("fc", "gap"):
        entry = speed[head]
        assert entry["seconds_per_epoch"] == pytest.approx(35126 / entry["images_per_second"])
        assert entry["tflops"] * 1e3 == pytest.approx(
            entry["gflop_per_image"] * entry["images_per_second"]
        )
        assert 0 < entry["share_of_limit"] < 1.5
    assert limit_of(torch.device("cpu"), 0.01) > 1e8


def test_operations_of_a_known_network(monkeypatch: pytest.MonkeyPatch) -> None:
    one = Layout("one", 16, 14, (Convolution(4, 3),))
    monkeypatch.setitem(LAYOUTS, "one", one)
    recipe = published("net-5-128", untied=False)
    from dataclasses import replace

    got = flops_of(replace(recipe, layout="one"), "gap")
    # 14 x 14 outputs of 4 channels from 3 x 3 x 3: forward once, backward once for the weights
    # (the photograph needs no gradient); the linear unit 4 -> 1 is 8 forward, 16 back.
    assert got == 2 * (2 * 14 * 14 * 4 * 27) + 8 + 16
