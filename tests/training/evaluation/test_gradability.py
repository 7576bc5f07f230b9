"""The gradability measurement: degradations do what they say, and the check catches them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from drcore.grading.grader import Grader
from drcore.preprocessing.field_of_view import find_field_of_view
from training.data.labels import Labelled, read_labels
from training.evaluation.degradations import DEGRADATIONS
from training.evaluation.gradability import LOST, judged, measure, table
from training.evaluation.sampling import even_sample
from training.synthetic.non_fundus import FAMILIES, not_retinas

WORST = {"blur": 3.2, "dark": 45, "over-exposure": 8, "cut field": 24}


@pytest.mark.parametrize("name", DEGRADATIONS)
def test_the_worst_levels_are_caught_by_their_reason_and_the_pixels_stay_untouched(phantom, name):
    rgb = phantom(seed=1).rgb
    before = rgb.copy()
    degradation = DEGRADATIONS[name]
    spoilt = degradation.apply(rgb, find_field_of_view(rgb), WORST[name])
    assert np.array_equal(rgb, before)
    assert spoilt.dtype == np.uint8
    verdict = judged(spoilt)
    assert not verdict.gradable
    assert degradation.word in verdict.reason
    assert list(degradation.levels) == sorted(degradation.levels, reverse=name == "cut field")


@pytest.mark.parametrize("turns", range(4))
def test_cutting_leaves_the_share_that_it_says(phantom, turns):
    rgb = np.ascontiguousarray(np.rot90(phantom(seed=2).rgb, turns))
    fov = find_field_of_view(rgb)
    for level in (75, 45, 24):
        left = DEGRADATIONS["cut field"].apply(rgb, fov, level)
        area = np.pi * fov.radius**2
        assert (left.max(axis=2) > 20).sum() / area == pytest.approx(level / 100, abs=0.06)


def test_the_sample_is_even_and_seeded():
    rows = [
        Labelled(Path(f"{number}.jpg"), grade, dataset, "val", str(number))
        for number, (grade, dataset) in enumerate(
            (grade, dataset) for grade in (0, 0, 0, 0, 1, 2, 3, 4) for dataset in "abcdef"
        )
    ]
    chosen = even_sample(rows, 30, seed=1)
    assert len({(row.grade, row.dataset) for row in chosen}) == 30
    assert chosen == even_sample(rows, 30, seed=1)
    assert chosen != even_sample(rows, 30, seed=2)


def test_pictures_of_other_things_come_in_all_kinds_and_are_caught():
    seen, missed = set(), []
    for family, rgb in not_retinas(2 * len(FAMILIES), seed=3):
        assert rgb.dtype == np.uint8
        assert rgb.ndim == 3
        assert rgb.shape[2] == 3
        seen.add(family)
        if judged(rgb).gradable:
            missed.append(family)
    assert seen == set(FAMILIES)
    assert len(missed) <= 1, missed
    first = [rgb for _, rgb in not_retinas(3, seed=3)]
    again = [rgb for _, rgb in not_retinas(3, seed=3)]
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))


def test_figures_and_their_table(
    phantom, grader: Grader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    lines = ["image,grade,dataset,split,patient"]
    for number in range(6):
        rgb = phantom(seed=number).rgb
        cv2.imwrite(str(tmp_path / f"{number}.png"), rgb[..., ::-1])
        split = "test" if number == 5 else "val"
        lines.append(f"{number}.png,{number % 5},phantoms,{split},{number}")
    (tmp_path / "labels.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    rows = read_labels(tmp_path / "labels.csv", tmp_path)
    # Scores that fall with the contrast that is left, so that accuracy has something to lose.
    monkeypatch.setattr("training.evaluation.gradability._kappa", lambda _, pictures, __: (
        float(np.mean([picture.std() for picture in pictures])) / 40
    ))  # fmt: skip
    monkeypatch.setattr("training.evaluation.gradability.NOT_RETINA_COUNT", 4)
    result = measure(grader, rows, count=4, quiet=True)
    assert result["photographs"] == 4
    assert set(result["false_alarms"]) == {"phantoms/val", "phantoms/test"}
    assert result["false_alarms"]["phantoms/val"]["photographs"] == 5
    assert result["not_retinas"]["pictures"] == 4
    for entry in result["degradations"].values():
        measured = [level["kappa"] for level in entry["levels"] if "kappa" in level]
        if entry["two_thirds_lost_at"] is not None:
            assert measured[-1] <= (1 - LOST) * result["kappa"] < min(measured[:-1])
        assert entry["levels"][-1]["caught"] == 1.0
    assert result["degradations"]["dark"]["two_thirds_lost_at"] is not None
    text = table(result)
    assert "two thirds lost" in text
    assert "no retina: 1.000 of 4 caught" in text
