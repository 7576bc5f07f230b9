"""Another camera, light or archive: the changes are what they say, and are measured as such."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from drcore.agreement.statistics import quadratic_weighted_kappa
from drcore.grading.grader import Grader
from drcore.preprocessing.field_of_view import find_field_of_view
from training.evaluation.degradations import CAMERA_CHANGES
from training.evaluation.robustness import UNTOUCHED
from training.robustness import main


@pytest.mark.parametrize("name", CAMERA_CHANGES)
def test_a_change_leaves_the_original_and_the_field_of_view(phantom, name: str) -> None:
    rgb = phantom(seed=1, size=512).rgb
    before, fov = rgb.copy(), find_field_of_view(rgb)
    changed = CAMERA_CHANGES[name](rgb, fov)
    assert np.array_equal(rgb, before)
    assert changed.dtype == np.uint8
    assert changed.shape != rgb.shape or not np.array_equal(changed, rgb)
    assert np.array_equal(changed, CAMERA_CHANGES[name](rgb, fov))  # the same for everybody
    found = find_field_of_view(changed)
    share = {"narrower": 0.8}.get(name, 1.0)
    assert found.found
    assert found.radius / changed.shape[0] == pytest.approx(
        share * fov.radius / rgb.shape[0], rel=0.03
    )


def test_changes_have_the_size_that_they_say(phantom) -> None:
    rgb = phantom(seed=2, size=512).rgb
    fov = find_field_of_view(rgb)
    inside = fov.mask(*rgb.shape[:2], margin=0.05)
    usual = rgb[inside].astype(float)

    def levels(name: str) -> np.ndarray:
        return CAMERA_CHANGES[name](rgb, fov)[inside].astype(float)

    assert levels("darker") == pytest.approx(0.6 * usual, abs=0.51)
    assert levels("warmer")[:, 2] == pytest.approx(0.8 * usual[:, 2], abs=0.51)
    assert (levels("noise") - usual).std() == pytest.approx(6, abs=0.5)
    assert (levels("flat tones") >= usual).all()
    assert (levels("steep tones") <= usual).all()
    assert 2 * find_field_of_view(CAMERA_CHANGES["small"](rgb, fov)).radius == pytest.approx(
        400, abs=8
    )
    upside_down = CAMERA_CHANGES["upside down"]
    assert np.array_equal(upside_down(upside_down(rgb, fov), fov), rgb)
    side = CAMERA_CHANGES["lit from a side"](rgb, fov).astype(float).mean(axis=2)
    ratio = side[fov.mask(*rgb.shape[:2])] / rgb.mean(axis=2)[fov.mask(*rgb.shape[:2])]
    assert 0.48 < ratio.min() < 0.6
    assert 1.1 < ratio.max() < 1.23


@pytest.fixture
def labels(phantom, encoded, tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    lines = ["image,grade,dataset,split,patient"]
    for i, split in enumerate(["val", "val", "val", "train"]):
        (tmp_path / "images" / f"{i}.png").write_bytes(encoded(phantom(seed=i).rgb, "PNG"))
        lines.append(f"{i}.png,{(0, 2, 4, 1)[i]},d,{split},{i}")
    table = tmp_path / "labels.csv"
    table.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return table


def test_the_command_measures_every_change(
    labels: Path, bundle_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = labels.parent / "out.json"
    common = ["--labels", str(labels), "--weights", str(bundle_folder), "--quiet"]
    main([*common, "--json", str(out)])
    result = json.loads(out.read_text())
    assert result["photographs"] == 3  # what is trained on is not asked
    assert list(result["changes"]) == [UNTOUCHED, *CAMERA_CHANGES, "mean"]
    shown = capsys.readouterr().out.splitlines()
    assert [line[:18].strip() for line in shown[2:]] == list(result["changes"])

    grader = Grader.from_folder(bundle_folder)
    truth = np.array([0, 2, 4])
    pictures = [
        cv2.imread(str(labels.parent / "images" / f"{i}.png"))[..., ::-1].copy() for i in range(3)
    ]
    usual = np.array([report.score for report in grader.grade_many(pictures)])
    dark = np.array(
        [
            report.score
            for report in grader.grade_many(
                CAMERA_CHANGES["darker"](rgb, find_field_of_view(rgb)) for rgb in pictures
            )
        ]
    )
    untouched, darker = result["changes"][UNTOUCHED], result["changes"]["darker"]
    rounded = 1e-3  # scores in tables have four decimals
    assert untouched["squared_error"] == pytest.approx(np.mean((usual - truth) ** 2), abs=rounded)
    assert untouched["moved"] == untouched["grown"] == untouched["other_grade"] == 0
    assert darker["moved"] == pytest.approx(np.abs(dark - usual).mean(), abs=rounded)
    assert darker["moved"] > 0
    assert darker["grown"] == pytest.approx(
        np.mean((dark - truth) ** 2) - np.mean((usual - truth) ** 2), abs=rounded
    )
    assert darker["kappa"] == quadratic_weighted_kappa(truth, [grader.grade_of(s) for s in dark])
    low, high = darker["grown_interval"]
    assert low <= darker["grown"] <= high


def test_nothing_to_measure_is_said_in_one_line(
    labels: Path, bundle_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels.write_text(labels.read_text().replace(",val,", ",test,"), encoding="utf-8")
    with pytest.raises(SystemExit) as stopped:
        main(["--labels", str(labels), "--weights", str(bundle_folder), "--quiet"])
    assert stopped.value.code == 1
    assert "nothing to measure" in capsys.readouterr().err
