"""Figures, and torchvision beside a CPU-only torch."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from drcore.evaluation.metrics import agreement_figures
from training.data.duplicates import Repeat, write_repeats
from training.evaluate import main
from training.evaluation.grading import table


def test_figures_of_a_known_case() -> None:
    truth = np.array([0, 0, 1, 2, 2, 3, 4, 4])
    given = np.array([0, 1, 1, 2, 1, 3, 4, 3])
    score = np.array([0.1, 0.6, 1.0, 2.0, 1.4, 3.0, 4.0, 3.2])
    f = agreement_figures(truth, score, given, draws=50)
    assert f["accuracy"] == 5 / 8
    assert f["referable_sensitivity"] == 4 / 5  # one grade 2 was called 1
    assert f["referable_specificity"] == 1.0
    assert f["referable_auc"] == 1.0
    assert f["confusion"][2] == [0, 1, 1, 0, 0]
    low, high = f["kappa_interval"]
    assert low <= f["kappa"] <= high


def test_table_has_a_line_for_each_set_and_scale() -> None:
    truth, score = np.array([0, 1, 2, 3, 4]), np.array([0.1, 1.2, 2.0, 2.9, 3.8])
    entry = agreement_figures(truth, score, truth, draws=20)
    result = {
        "model": "m 1",
        "sets": {"d/val": {"photographs": 5, "called_ungradable": 1, "128": entry, "fused": entry}},
    }
    text = table(result)
    assert sum(line.startswith("d/val ") for line in text.splitlines()) == 2
    assert "1 of 5 would be called ungradable" in text
    json.dumps(result)


def test_photographs_whose_eye_is_in_training_can_be_left_out(
    phantom, encoded, bundle_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "images").mkdir()
    with (tmp_path / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "grade", "dataset", "split", "patient"])
        for i, split in enumerate(["train", "train", "val", "val", "val", "val"]):
            name = f"{i}.jpg"
            (tmp_path / "images" / name).write_bytes(encoded(phantom(seed=i).rgb, "JPEG"))
            writer.writerow([name, i % 3 + 1, "d", split, i])
    # One eye of validation is in training, and so is another by way of it; two of validation that
    # are one eye teach nothing.
    pairs = [("0.jpg", "2.jpg"), ("2.jpg", "3.jpg"), ("4.jpg", "5.jpg")]
    write_repeats([Repeat(*pair, 40, same_picture=False) for pair in pairs], tmp_path / "eyes.csv")
    for more, left in ([], 4), (["--without", str(tmp_path / "eyes.csv")], 2):
        table, weights = str(tmp_path / "labels.csv"), str(bundle_folder)
        main(["--labels", table, "--weights", weights, "--json", "-", *more])
        assert json.loads(capsys.readouterr().out)["sets"]["d/val"]["photographs"] == left


def test_torchvision_imports_beside_this_torch() -> None:
    code = (
        "from training.torchvision_cpu import torchvision as t; print(t.utils.make_grid.__name__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "make_grid", done.stderr


@pytest.mark.data
def test_the_bundled_model_grades_idrid(data_root: Path) -> None:
    """A small, seeded part of IDRiD's test set: far above chance, whatever the weights are."""
    from drcore.agreement.statistics import quadratic_weighted_kappa
    from drcore.grading.grader import Grader
    from training.data.labels import read_labels

    rows = [r for r in read_labels(data_root / "labels.csv") if r.split == "test"][::3]
    grader = Grader.bundled()
    reports = list(grader.grade_many(r.path for r in rows))
    given = [grader.grade_of(report.score) for report in reports]
    assert quadratic_weighted_kappa([r.grade for r in rows], given) > 0.5
