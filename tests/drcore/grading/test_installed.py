"""A package that brings its own network: it grades, and what it does wrong is told."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from drcore.cli import main
from drcore.errors import CheckpointError
from drcore.grading.installed import installed_models, open_grader, version_and_certainty

PACKAGE = '''
import numpy as np


class Redness:
    """Score and map from how much redder than green a photograph is."""

    name = "redness"
    scales = (64, 256)
    thresholds = (0.1, 0.2, 0.3, 0.4)

    def prepare(self, square, retina, scale):
        step = square.shape[0] // scale
        small = square[::step, ::step].astype(np.float32) / 255
        return small * retina[::step, ::step, None]

    def predict(self, inputs):
        answers = {}
        for scale, image in inputs.items():
            ram = (image[..., 0] - image[..., 1])[::4, ::4]
            answers[scale] = float(ram.mean()), ram
        return answers


class Broken(Redness):
    def predict(self, inputs):
        return {scale: (float("nan"), np.zeros((2, 3))) for scale in self.scales}


def load():
    return Redness()


def load_broken():
    return Broken()


def load_nothing():
    raise RuntimeError("no licence")
'''


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package as pip would have installed it."""
    site = tmp_path / "site"
    info = site / "redness-2.5.dist-info"
    info.mkdir(parents=True)
    (site / "redness.py").write_text(PACKAGE)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: redness\nVersion: 2.5\n")
    (info / "entry_points.txt").write_text(
        "[drcore.models]\nredness = redness:load\nbroken = redness:load_broken\n"
        "nothing = redness:load_nothing\n"
    )
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.delitem(sys.modules, "redness", raising=False)


def test_a_foreign_network_grades_with_maps(package, phantom):
    assert {"redness", "broken", "nothing"} <= set(installed_models())
    grader = open_grader("redness")
    assert (grader.version, grader.scales) == ("redness 2.5", (64, 256))
    report = grader.grade(phantom(seed=1).rgb)
    assert report.status == "graded"
    assert report.model_version == "redness 2.5"
    assert report.thresholds == (0.1, 0.2, 0.3, 0.4)
    assert report.score == pytest.approx(np.mean(list(report.scores.values())))
    assert report.grade == sum(report.score >= t for t in report.thresholds)
    assert report.probabilities is None
    assert report.cells(64).values.shape == (16, 16)
    assert report.ram().shape == (report.height, report.width)
    assert np.isfinite(report.evidence().density).any()


def test_the_command_line_takes_its_name(package, folder, tmp_path, capsys):
    table = tmp_path / "grades.csv"
    command = ["grade", str(folder / "00_left.jpg"), "--csv", str(table), "--quiet"]
    assert main([*command, "--weights", "redness"]) == 0
    assert "redness 2.5" in table.read_text(encoding="utf-8")
    labels = tmp_path / "labels.csv"
    labels.write_text("image,grade\n00_left.jpg,2\n")
    command = ["evaluate", "--labels", str(labels), "--results", str(table)]
    assert main([*command, "--weights", "redness"]) == 0
    assert "redness 2.5: 1 labelled images" in capsys.readouterr().out
    assert main(["model", "--weights", "redness"]) == 0
    assert capsys.readouterr().out.startswith("redness 2.5")
    assert version_and_certainty("redness") == ("redness 2.5", None)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("broken", "gives no score with a square map at 64"),
        ("nothing", r"cannot be used \(no licence\)"),
        ("unknown", "There is no readable manifest.json"),
    ],
)
def test_a_model_that_does_not_work_is_told(package, name, sentence):
    with pytest.raises(CheckpointError, match=sentence):
        open_grader(name)


def test_the_environment_names_weights(bundle_folder, monkeypatch, capsys):
    monkeypatch.setenv("DRCORE_WEIGHTS", str(bundle_folder))
    assert main(["model"]) == 0
    assert capsys.readouterr().out.startswith("random 1")
