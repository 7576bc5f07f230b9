"""`drcore evaluate`: figures of known outcomes, and the command from photographs to a report."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from drcore.agreement.statistics import bootstrap_interval, quadratic_weighted_kappa
from drcore.cli import main
from drcore.evaluation.intervals import patient_intervals
from drcore.evaluation.labels import Label
from drcore.evaluation.metrics import outcome_figures, reliability_of
from drcore.evaluation.outcomes import outcomes_of
from drcore.evaluation.report import evaluate_outcomes, page, to_json
from drcore.grading.grader import Grader
from drcore.model.bundle import save_bundle
from drcore.model.calibration import GradeCalibration
from drcore.results.columns import COLUMNS

CERTAINTY = GradeCalibration(
    cuts=(0.5, 1.5, 2.5, 3.5), width=0.3, widening=0.1,
    coverage=0.9, level=0.8, sensitive=1.2, decision="median",
)  # fmt: skip


def row(image: str, score: float | None, patient: str = "") -> dict[str, str]:
    """A row of results; ungradable where there is no score."""
    cells = dict.fromkeys(COLUMNS, "") | {"image": image, "status": "ungradable", "score": "1.0"}
    if score is None:
        return cells
    p = CERTAINTY.probabilities(score, 0.2)
    grade = int(CERTAINTY.grade(score))
    low, *_, high = (grade, *CERTAINTY.grade_set(p, grade))
    return cells | {
        "status": "graded", "score": f"{score}", "grade": f"{grade}", "patient": patient,
        "score_128": f"{score - 0.1}", "score_512": f"{score + 0.1}",
        "grade_set": f"{min(low, grade)} to {high}",
        **{f"p{k}": f"{value:.4f}" for k, value in enumerate(p)},
    }  # fmt: skip


def outcomes(scores: list[float | None], labels: list[Label]):
    rows = [row(f"{i}.jpg", score, f"p{i // 2}") for i, score in enumerate(scores)]
    return outcomes_of(rows, {f"{i}.jpg": label for i, label in enumerate(labels)}, CERTAINTY)


def exact(*grades: int) -> list[Label]:
    return [Label(f"{i}.jpg", grade, grade) for i, grade in enumerate(grades)]


def test_figures_of_a_known_case():
    found = outcomes([0.1, 0.7, 1.3, 2.0, 3.9, None], exact(0, 0, 2, 2, 4, 3))
    figures = {f.name: f for f in outcome_figures(found, draws=50)}
    assert figures["gradable"].value == 5 / 6
    assert figures["accuracy"].value == 3 / 5
    assert figures["kappa"].value == quadratic_weighted_kappa([0, 0, 2, 2, 4], [0, 1, 1, 2, 4])
    assert figures["sensitivity"].value == 2 / 3
    assert figures["specificity"].value == 1.0
    assert figures["sensitivity_sensitive"].value == 1.0
    assert figures["sensitivity_with_ungradable"].value == 3 / 4
    assert figures["auc"].value == 1.0
    assert 0 < figures["coverage"].value <= 1
    assert found.spread[0] == pytest.approx(0.2)
    assert all(math.isnan(f.low) and math.isnan(f.high) for f in figures.values())
    evaluation = evaluate_outcomes(found, "m 1")  # of six patients: an interval would be a joke
    assert any("fewer than 10 patients: no intervals" in note for note in evaluation.notes)
    assert json.loads(to_json(evaluation))["figures"][0]["low"] is None


def test_labels_that_say_only_referable_count_where_they_can():
    labels = [Label("", 0, 1), Label("", 0, 1), Label("", 2, 4), Label("", 2, 4)]
    found = outcomes([0.1, 1.8, 2.0, 3.0], labels)
    figures = {f.name: f for f in outcome_figures(found, draws=20)}
    assert math.isnan(figures["kappa"].value)
    assert figures["kappa"].photographs == 0
    assert (figures["sensitivity"].value, figures["specificity"].value) == (1.0, 0.5)
    evaluation = evaluate_outcomes(found, "m 1")
    assert any("only whether the eye is referable" in note for note in evaluation.notes)
    assert [(one.image, one.label) for one in evaluation.worst] == [("1.jpg", "0 to 1")]
    assert json.loads(to_json(evaluation))["figures"][1]["value"] is None


def test_intervals_are_those_of_the_patient_bootstrap():
    rng = np.random.default_rng(0)
    values, groups = rng.random(60), np.arange(60) // 3

    def mean(i):
        return float(values[i].mean())

    ours = patient_intervals({"mean": mean}, groups, draws=200)["mean"]
    assert ours == pytest.approx(bootstrap_interval(mean, 60, groups=groups, draws=200))


def test_reliability_holds_every_photograph_once():
    scores = np.linspace(0, 4, 40).tolist()
    found = reliability_of(outcomes(scores, exact(*[min(4, round(s)) for s in scores])))
    assert sum(point.photographs for point in found) == 40
    predicted = [point.predicted for point in found]
    assert predicted == sorted(predicted)
    assert all(point.low <= point.observed <= point.high for point in found)


def test_the_page_needs_no_network_and_trusts_no_name():
    found = outcomes([0.1, 3.0], exact(4, 3))
    hostile = replace(found, image=np.array(["<script>alert(1)</script>.jpg", "1.jpg"]))
    text = page(evaluate_outcomes(hostile, "m 1"))
    assert "<script>alert(1)" not in text
    assert "&lt;script&gt;alert(1)" in text
    assert '<script src="http' not in text
    assert "plotly" in text.lower()


@pytest.fixture
def weights(tiny_grader: Grader, tmp_path: Path) -> Path:
    save_bundle(
        replace(tiny_grader.bundle, certainty=CERTAINTY, thresholds=CERTAINTY.cuts),
        tmp_path / "weights",
    )
    return tmp_path / "weights"


def test_the_command_grades_reports_and_goes_on(folder, weights, tmp_path, capsys):
    labels, out = tmp_path / "labels.csv", tmp_path / "report"
    labels.write_text("image,grade\n00_left.jpg,4\n01_left.jpg,0\n02_left.jpg,2\n05_left.jpg,1\n")
    command = [
        "evaluate", str(folder), "--labels", str(labels), "--weights", str(weights),
        "--out", str(out), "--quiet", "--workers", "1",
    ]  # fmt: skip
    assert main(command) == 0
    told = capsys.readouterr().out
    assert "4 labelled images of 4 patients; 2 graded, 1 ungradable, 1 failed." in told
    assert "6 photographs have no label" in told
    stored = json.loads((out / "evaluation.json").read_text(encoding="utf-8"))
    assert stored["photographs"] == {"graded": 2, "ungradable": 1, "failed": 1}
    text = (out / "report.html").read_text(encoding="utf-8")
    assert text.count("data:image/jpeg;base64,") == 2 * len(stored["worst"]) > 0
    before = (out / "results.csv").read_bytes()
    assert before.count(b"\n") == 5  # those with a label, and the head
    assert main(command) == 0
    assert (out / "results.csv").read_bytes() == before
    # What was graded is measured again without a photograph.
    again = [
        "evaluate", "--labels", str(labels), "--results", str(out / "results.csv"),
        "--weights", str(weights),
    ]  # fmt: skip
    assert main(again) == 0


def test_bad_labels_end_the_command_before_grading(folder, weights, tmp_path, capsys):
    labels, out = tmp_path / "labels.csv", tmp_path / "report"
    labels.write_text("image,grade\n00_left.jpg,4\nnone.jpg,0\n00_left.jpg,4\n")
    command = [
        "evaluate", str(folder), "--labels", str(labels), "--out", str(out),
        "--weights", str(weights), "--quiet", "--workers", "1",
    ]  # fmt: skip
    assert main(command) == 1
    told = capsys.readouterr().err
    assert "line 3: there is no photograph none.jpg" in told
    assert "line 4: 00_left.jpg is on line 2 already" in told
    assert not out.exists()
    assert main([*command, "--skip-invalid"]) == 0
    assert "2 rows of the labels could not be used" in capsys.readouterr().out


def test_results_of_another_model_are_refused(weights, tmp_path, capsys):
    labels, results = tmp_path / "labels.csv", tmp_path / "results.csv"
    labels.write_text("image,grade\n0.jpg,4\n")
    head = ",".join(COLUMNS)
    cells = row("0.jpg", 1.0) | {"model_version": "other 2"}
    results.write_text(f"{head}\n" + ",".join(cells[c] for c in COLUMNS) + "\n")
    command = [
        "evaluate", "--labels", str(labels), "--results", str(results), "--weights", str(weights),
    ]  # fmt: skip
    assert main(command) == 1
    assert "was made with other 2, and the weights are tiny 1" in capsys.readouterr().err
