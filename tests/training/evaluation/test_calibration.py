"""Thresholds, probabilities, sets and operating points recover what made the scores."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from drcore.agreement.statistics import quadratic_weighted_kappa
from drcore.errors import DrcoreError
from drcore.evaluation.calibration_fit import (
    Fitted,
    calibrate,
    cross_validated,
    fit_certainty,
    fit_fusion,
    fit_placement,
    judge,
)
from drcore.evaluation.calibration_report import calibration_errors, report
from drcore.evaluation.metrics import expected_calibration_error
from drcore.evaluation.scored import Scored, folds
from drcore.grading.grader import Grader
from drcore.model.bundle import load_bundle
from drcore.model.calibration import GradeCalibration
from drcore.model.manifest import MANIFEST
from training.calibrate import main
from training.data.labels import read_labels
from training.evaluation.bundle import set_levels
from training.evaluation.decision_rules import decision_rules
from training.evaluation.scoring import score_photographs
from training.evaluation.thresholds import fit_thresholds, grade_with
from training.phantom import write_dataset

MADE_BY = GradeCalibration(
    cuts=(0.6, 1.3, 2.4, 3.4), width=0.25, widening=0.4,
    coverage=0.9, level=0.9, sensitive=1.0,
)  # fmt: skip


def drawn(count: int, seed: int, names: tuple[str, ...] = ("large", "small")) -> Scored:
    """Photographs whose grades are drawn from a known certainty, a tenth of them in `small`."""
    rng = np.random.default_rng(seed)
    score, spread = rng.uniform(-0.5, 4.3, count), rng.gamma(2.0, 0.15, count)
    shares = MADE_BY.probabilities(score, spread)
    truth = (np.cumsum(shares, axis=1) < rng.random(count)[:, None]).sum(axis=1)
    dataset = np.where(np.arange(count) % 10 == 0, names[1], names[0])
    return Scored(
        score=score, spread=spread, truth=np.minimum(truth, 4).astype(np.int64), dataset=dataset,
        split=np.full(count, "val"), patient=np.array([f"p{i // 2}" for i in range(count)]),
        gradable=np.full(count, True), scales=np.repeat(score[:, None], 3, axis=1),
    )  # fmt: skip


@pytest.fixture(scope="module")
def seen() -> Scored:
    return drawn(1500, seed=0)


@pytest.fixture(scope="module")
def fitted(seen: Scored) -> Fitted:
    return calibrate(seen)


@pytest.fixture(scope="module")
def unseen() -> Scored:
    return drawn(6000, seed=9)


# --- thresholds ---------------------------------------------------------------------------------


def test_thresholds_recover_a_shifted_scale() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 5, 800)
    score = truth * 0.8 + 0.1 + rng.normal(0, 0.05, 800)
    thresholds = fit_thresholds(score, truth, np.repeat("d", 800))
    assert (grade_with(thresholds, score) == truth).mean() > 0.98
    assert (grade_with((0.5, 1.5, 2.5, 3.5), score) == truth).mean() < 0.9


def test_bagged_thresholds_vary_less_than_single_optima() -> None:
    def thresholds(seed: int, resamples: int) -> tuple[float, ...]:
        part = drawn(120, seed)
        return fit_thresholds(part.score, part.truth, part.dataset, price=0.01, resamples=resamples)

    single = np.std([thresholds(seed, 0) for seed in range(10)], axis=0).mean()
    bagged = np.std([thresholds(seed, 10) for seed in range(10)], axis=0).mean()
    assert bagged < 0.9 * single


def test_a_small_dataset_counts_like_a_large_one() -> None:
    rng = np.random.default_rng(1)
    truth = rng.integers(0, 5, 1100)
    dataset = np.where(np.arange(1100) < 1000, "large", "small")
    score = truth + rng.normal(0, 0.25, 1100) + np.where(dataset == "small", 0.5, 0.0)
    both = np.array(fit_thresholds(score, truth, dataset, resamples=10))
    alone = np.array(fit_thresholds(score[:1000], truth[:1000], dataset[:1000], resamples=10))
    assert (both - alone).mean() > 0.1


def test_a_price_holds_thresholds_near_plain_rounding(seen: Scored) -> None:
    def distance(price: float) -> float:
        found = fit_thresholds(seen.score, seen.truth, seen.dataset, price=price, resamples=5)
        return float(np.abs(np.array(found) - (0.5, 1.5, 2.5, 3.5)).sum())

    assert distance(10.0) < 0.1 < distance(0.0)


# --- certainty ----------------------------------------------------------------------------------


def test_probabilities_of_the_maker_are_recovered(fitted: Fitted, unseen: Scored) -> None:
    wanted = MADE_BY.probabilities(unseen.score, unseen.spread)
    found = fitted.certainty.probabilities(unseen.score, unseen.spread)
    assert np.abs(found - wanted).mean() < 0.025
    assert fitted.certainty.widening > 0.1
    assert expected_calibration_error(found, unseen.truth) < 0.04


def test_sets_cover_unseen_photographs_as_often_as_stated(fitted: Fitted, unseen: Scored) -> None:
    judged = judge(fitted.certainty, unseen)
    covered = judged.sets[np.arange(len(unseen)), unseen.truth].mean()
    assert covered == pytest.approx(0.9, abs=0.03)
    assert judged.sets[np.arange(len(unseen)), judged.grade].all()


def test_sensitive_point_finds_what_it_promises_and_more_than_the_default(
    fitted: Fitted, unseen: Scored
) -> None:
    judged, referable = judge(fitted.certainty, unseen), unseen.truth >= 2
    # A twentieth of 940 referable photographs is known to about a hundredth.
    assert judged.sensitive[referable].mean() == pytest.approx(0.95, abs=0.03)
    assert judged.sensitive[judged.grade >= 2].all()


def test_few_photographs_make_the_sets_careful() -> None:
    """The finite-sample correction: on few photographs the quantile goes up, not to its mean."""
    levels = []
    for count in (30, 3000):
        part = drawn(count, seed=4)
        part = replace(part, dataset=np.full(count, "one"))
        levels.append(fit_certainty(part).level)
    assert levels[0] > levels[1]


def test_the_grade_is_the_median_of_the_probabilities(fitted: Fitted, unseen: Scored) -> None:
    judged = judge(fitted.certainty, unseen)
    reached = np.cumsum(judged.probabilities[:, ::-1], axis=1)[:, ::-1]  # P(grade >= g)
    assert np.array_equal(judged.grade, (reached >= 0.5).sum(axis=1) - 1)
    assert np.array_equal(judged.grade >= 2, reached[:, 2] >= 0.5)


def test_both_decision_rules_are_measured(seen: Scored) -> None:
    rows = [line.split() for line in decision_rules(seen, seen, partitions=1).splitlines()[2:]]
    assert [row[0] for row in rows] == ["large/val", "small/val", "large/test", "small/test"]
    large = seen.where(seen.dataset == "large")
    given = grade_with(fit_certainty(seen).cuts, large.score)
    kappa, exact = float(rows[2][1]), float(rows[2][2])
    assert kappa == pytest.approx(quadratic_weighted_kappa(large.truth, given), abs=1e-3)
    assert exact == pytest.approx((large.truth == given).mean(), abs=1e-3)
    thresholds = [float(value) for value in rows[2][5:]]
    assert thresholds != [float(value) for value in rows[2][1:5]]


def test_scores_and_maps_can_be_kept(seen: Scored, grader: Grader) -> None:
    fitted = calibrate(seen, grader.bundle)
    assert fitted.fusion == tuple(grader.bundle.fusion.values())
    assert fitted.placement == grader.bundle.placement
    assert fitted.certainty == fit_certainty(seen)


def test_the_finest_scale_shows_its_map_by_its_own_score(seen: Scored) -> None:
    healthy = seen.where(seen.truth == 0)
    one = fit_placement(seen)
    two = fit_placement(seen, finest_alone=True)
    assert one.finest is None
    assert two.finest is not None
    by_fused = healthy.score > two.flat_below
    by_finest = healthy.scales[:, -1] > two.finest.flat_below
    assert by_fused.mean() <= 0.01
    assert 0 < (by_fused | by_finest).mean() <= 0.04
    assert two.flat_below >= one.flat_below


def test_sensitive_point_is_never_above_the_default(seen: Scored) -> None:
    perfect = replace(seen, score=seen.truth + 0.0, spread=0.0 * seen.spread)
    fitted = calibrate(perfect)
    assert fitted.certainty.sensitive <= fitted.thresholds[1]


def test_calibration_error_of_known_cases() -> None:
    sure = np.tile([0.0, 0.1, 0.8, 0.1, 0.0], (10, 1))
    truth = np.array([2] * 8 + [1, 3])
    assert expected_calibration_error(sure, truth) == pytest.approx(0.0)
    assert expected_calibration_error(sure, np.full(10, 2)) == pytest.approx(0.2)
    assert expected_calibration_error(sure, np.full(10, 1)) == pytest.approx(0.8)
    # Too sure in one bin and not sure enough in another do not cancel.
    mixed = np.concatenate([sure[:5], np.tile([0.4, 0.3, 0.3, 0.0, 0.0], (5, 1))])
    assert expected_calibration_error(mixed, np.array([1] * 5 + [0] * 5)) == pytest.approx(0.7)


def test_calibration_errors_differ_by_partition_and_are_kept_apart_by_dataset(
    seen: Scored,
) -> None:
    found = calibration_errors(seen, partitions=2)
    assert sorted(found) == ["large", "small"]
    assert found["large"].shape == (2,)
    assert found["large"][0] != found["large"][1]
    # A tenth of the photographs leaves more to chance.
    assert found["large"].mean() < found["small"].mean() < 0.3


def test_folds_keep_patients_together_and_use_every_photograph_once(seen: Scored) -> None:
    outside = []
    for inside, out in folds(seen):
        keys = {f"{d}/{p}" for d, p in zip(seen.dataset[out], seen.patient[out], strict=True)}
        assert not keys & {
            f"{d}/{p}" for d, p in zip(seen.dataset[inside], seen.patient[inside], strict=True)
        }
        assert set(seen.dataset[out]) == {"large", "small"}
        outside.extend(out.tolist())
    assert sorted(outside) == list(range(len(seen)))


def test_scales_count_by_their_error_and_evenly_where_that_says_nothing(seen: Scored) -> None:
    rng = np.random.default_rng(8)
    noise = rng.normal(0, 1, (len(seen), 3))

    def weights(*spread: float) -> tuple[float, ...]:
        return fit_fusion(replace(seen, scales=seen.truth[:, None] + noise * spread))

    assert sorted(weights(0.5, 0.5, 0.5)) == [0.3, 0.35, 0.35]
    assert weights(1.5, 1.5, 0.1) == (0.1, 0.1, 0.8)
    first, second, third = weights(1.0, 0.5, 0.45)
    assert first == 0.1
    # The third alone would get more than the second by least squares; not so much that it shows.
    assert abs(second - third) <= 0.1


def test_photographs_that_are_turned_away_do_not_count(seen: Scored, fitted: Fitted) -> None:
    spoiled = replace(
        seen,
        score=np.where(np.arange(len(seen)) % 5 == 0, 4.0, seen.score),
        truth=np.where(np.arange(len(seen)) % 5 == 0, 0, seen.truth),
        gradable=np.arange(len(seen)) % 5 != 0,
    )
    assert calibrate(spoiled) == calibrate(seen.where(spoiled.gradable))


def test_too_few_of_a_grade_are_refused(seen: Scored) -> None:
    with pytest.raises(DrcoreError, match=r"thresholds need some of each\. Label more\.$"):
        calibrate(seen.where(seen.truth < 4))


def test_cross_validation_judges_the_scores_that_it_was_fitted_to() -> None:
    """Weights of the scales that were given are not fitted again in the folds."""
    part = drawn(400, seed=3)
    other = replace(part, scales=2.0 * part.scales + 1.0)  # fused with weights of sum 1: far off
    assert (cross_validated(other).grade == cross_validated(part).grade).all()


def test_report_has_every_set_and_its_figures() -> None:
    part = drawn(200, seed=2)
    text = report(part, cross_validated(part))
    for line in ("large/val (180 photographs)", "small/val (20 photographs)", "all (200 photo"):
        assert line in text
    assert text.count("expected calibration error") == 3
    assert text.count("coverage of the set") == 3
    assert "if every probability were right" in text


# --- one scoring path ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve pictures for validation, labelled 0-4 in turn, whatever they show."""
    folder = tmp_path_factory.mktemp("phantoms")
    write_dataset(folder, 12, size=256, seed=0)
    lines = [f"phantom_{i:05d}.jpg,{i % 5},phantom,val,{i}" for i in range(12)]
    (folder / "labels.csv").write_text("\n".join(["image,grade,dataset,split,patient", *lines]))
    return folder


def test_calibration_sees_what_the_grader_reports(phantoms: Path, grader: Grader) -> None:
    rows = read_labels(phantoms / "labels.csv")[:3]
    scored = score_photographs(grader, rows, quiet=True)
    for i, row in enumerate(rows):
        found = grader.grade(row.path)
        assert scored.score[i] == pytest.approx(found.score, abs=1e-4)
        assert scored.scales[i] == pytest.approx(list(found.scores.values()), abs=1e-4)
        spread = max(found.scores.values()) - min(found.scores.values())
        assert scored.spread[i] == pytest.approx(spread, abs=2e-4)


def test_levels_make_healthy_maps_mean_zero(phantoms: Path, bundle_folder: Path) -> None:
    grader = Grader.from_folder(bundle_folder, "cpu")
    rows = [row for row in read_labels(phantoms / "labels.csv") if row.grade == 0][:3]
    scored = score_photographs(grader, rows, quiet=True)
    set_levels(grader.bundle, scored)
    for size in grader.scales:
        means = []
        for row in rows:
            found = grader.grade(row.path)
            means.append(found.scores[size] - found.biases[size])  # mean of the map
        assert np.mean(means) == pytest.approx(0.0, abs=1e-3)


def test_command_calibrates_in_place_and_changes_no_weights(
    phantoms: Path, bundle_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "weights"
    shutil.copytree(bundle_folder, folder)
    before = {file.name: file.read_bytes() for file in folder.glob("*.safetensors")}
    main(["--weights", str(folder), "--labels", str(phantoms / "labels.csv"), "--quiet"])
    assert "decision='median'" in capsys.readouterr().out
    assert {f.name: f.read_bytes() for f in folder.glob("*.safetensors")} == before
    assert json.loads((folder / MANIFEST).read_text())["format_version"] == 5
    found = Grader.from_folder(folder, "cpu").grade(phantoms / "images" / "phantom_00000.jpg")
    assert sum(found.probabilities) == pytest.approx(1)
    assert found.grade in found.grade_set
    assert load_bundle(folder).certainty is not None
