"""The simulation of photographs released unread."""

from __future__ import annotations

import csv
import io

import numpy as np
import pytest

from drcore.agreement.reading_time import ReadingTimes
from drcore.cli import main
from drcore.errors import DrcoreError
from drcore.monitoring.release import needed, queue, release_plan, upper_limit
from drcore.results.columns import COLUMNS
from drcore.text import csv_text


def sample(count, seed=0):
    rng = np.random.default_rng(seed)
    referable = rng.random(count) < 0.3
    score = rng.normal(np.where(referable, 2.5, 0.6), 0.7)
    return score, referable, np.array([f"p{n}" for n in range(count)])


def test_limits_are_those_of_clopper_and_pearson():
    assert upper_limit(0, 59) == pytest.approx(1 - 0.05 ** (1 / 59))
    assert upper_limit(3, 100) == pytest.approx(0.0757, abs=1e-4)  # their table
    assert upper_limit(4, 4) == 1
    assert (needed(0.05), needed(0.01)) == (59, 299)
    assert upper_limit(0, 59) <= 0.05 < upper_limit(0, 58)


def test_the_limit_holds_although_the_threshold_was_chosen_on_the_same_photographs():
    score, referable, _ = sample(200_000, seed=1)
    worse = 0
    for seed in range(300):
        found = release_plan(*sample(700, seed=seed), miss=0.05)
        worse += (score[referable] < found.threshold).mean() > 0.05
    assert worse <= 25  # 15 expected, 25 in one of 100 such tests


def test_a_plan_counts_what_it_releases():
    score, referable, patient = sample(700)
    found = release_plan(score, referable, patient, 0.05)
    below = score < found.threshold
    assert found.released == (below & ~referable).sum()
    assert found.missed == (below & referable).sum()
    assert found.limit <= 0.05 < upper_limit(found.missed + 1, found.referable)
    assert found.interval[0] < found.released / found.healthy < found.interval[1]
    assert found.hours(ReadingTimes(9, 9, 36.0, (18.0, 72.0)), 100) == (1.0, 0.5, 2.0)
    assert found.hours(ReadingTimes(9, 0, float("nan"), (0.0, 0.0)), 100) is None


def test_a_patient_counts_once_with_the_photograph_missed_first():
    score, referable, patient = sample(700)
    twice = release_plan(
        np.r_[score, score + 0.5], np.r_[referable, referable], np.r_[patient, patient], 0.05
    )
    once = release_plan(score, referable, patient, 0.05)
    assert (twice.threshold, twice.referable) == (once.threshold, once.referable)


def test_too_few_are_refused_with_the_number_needed():
    score, referable, patient = sample(100)
    with pytest.raises(DrcoreError, match=r"At most 1 % missed .* at least 299 are needed"):
        release_plan(score, referable, patient, 0.01)
    with pytest.raises(DrcoreError, match="0 patients"):
        release_plan(score, np.zeros(100, bool), patient, 0.05)
    with pytest.raises(DrcoreError, match="is not a share"):
        release_plan(score, referable, patient, 1.5)


def row(image, status, score):
    return dict.fromkeys(COLUMNS, "") | {
        "image": image, "status": status, "score": score,
        "grade": str(int(float(score))) if status == "graded" else "",
    }  # fmt: skip


def test_the_queue_puts_what_has_no_grade_first_and_the_healthiest_last():
    rows = [row("a", "graded", "0.2"), row("b", "graded", "3.1"), row("c", "ungradable", "0.1"),
            row("d", "graded", "1.5"), row("e", "failed", "")]  # fmt: skip
    queued = queue(rows, 0.5)
    assert [one["image"] for one in queued] == ["c", "e", "b", "d", "a"]
    assert [one["simulated"] for one in queued] == [
        "read: no grade", "read: no grade", "read", "read", "would be released",
    ]  # fmt: skip


def test_the_command_plans_from_labels_and_orders_a_list(tmp_path, capsys):
    score, referable, _ = sample(700)
    results, labels = tmp_path / "results.csv", tmp_path / "labels.csv"
    score = np.clip(score, 0, 4)
    rows = [row(f"{n}.jpg", "graded", f"{value:.4f}") for n, value in enumerate(score)]
    results.write_text(csv_text(rows, COLUMNS))
    lines = [f"{n}.jpg,{str(bool(is_so)).lower()}" for n, is_so in enumerate(referable)]
    labels.write_text("\n".join(["image,referable", *lines]))
    given = ["plan", str(results), "--labels", str(labels), "--list", str(results)]
    assert main([*given, "--out", str(tmp_path / "queue.csv")]) == 0
    said = capsys.readouterr().out
    assert "simulation for the programme\u2019s board, not a setting" in said
    assert "the record has no reading times" in said
    queued = list(csv.DictReader(io.StringIO((tmp_path / "queue.csv").read_text())))
    assert len(queued) == 700
    assert queued[-1]["simulated"] == "would be released"
    assert main([*given, "--miss", "0.5"]) == 1
    assert "at least 598 are needed" in capsys.readouterr().err
    assert main(["plan", str(results)]) == 1
    assert "Give --labels" in capsys.readouterr().err
