"""`drcore calibrate`: what may count, what is refused, what is gained, and what the bundle says."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from drcore.cli import main
from drcore.errors import DrcoreError
from drcore.evaluation.labels import Label
from drcore.evaluation.outcomes import read_results
from drcore.evaluation.references import (
    References,
    references_from_decisions,
    references_from_labels,
)
from drcore.evaluation.scored import Scored
from drcore.evaluation.site_calibration import changes_of, compare, fit_site, require_enough
from drcore.grading.grader import Grader
from drcore.model.bundle import load_bundle, save_bundle
from drcore.model.calibration import GradeCalibration
from drcore.model.manifest import MANIFEST
from drcore.results.columns import COLUMNS
from drcore.reviews.store import ReviewStore
from tests.support.reviews import decision

PARENT = GradeCalibration(
    cuts=(0.8, 1.4, 2.4, 3.3), width=0.3, widening=0.1,
    coverage=0.9, level=0.85, sensitive=1.0, decision="median",
)  # fmt: skip
SHIFT = 0.6


def site(count: int, seed: int = 0, shift: float = SHIFT) -> Scored:
    """Photographs of a site whose cuts lie lower than the parent's, two a patient."""
    rng = np.random.default_rng(seed)
    score, spread = rng.uniform(-0.5, 4.3, count), rng.gamma(2.0, 0.1, count)
    there = replace(PARENT, cuts=tuple(cut - shift for cut in PARENT.cuts))
    shares = there.probabilities(score, spread)
    truth = (np.cumsum(shares, axis=1) < rng.random(count)[:, None]).sum(axis=1)
    return Scored(
        score=score, spread=spread, truth=np.minimum(truth, 4).astype(np.int64),
        dataset=np.full(count, "site"), split=np.full(count, "site"),
        patient=np.array([f"patient {i // 2}" for i in range(count)]),
        gradable=np.full(count, True), scales=score[:, None],
    )  # fmt: skip


def references(scored: Scored) -> References:
    return References(scored, "labels", {"label is not one grade": 3}, "0" * 64)


def test_a_shifted_site_is_found_and_gains():
    scored = site(300)
    fitted = fit_site(scored, PARENT, resamples=4)
    moved = np.array(PARENT.cuts) - np.array(fitted.cuts)
    assert moved == pytest.approx(np.full(4, SHIFT), abs=0.25)
    gained = {c.title: c for c in compare(scored, PARENT, resamples=2, draws=100)}
    for title in ("Quadratic weighted kappa", "Exact agreement", "Sensitivity, default"):
        assert gained[title].after > gained[title].before
        assert gained[title].gain[0] > 0
    changes = changes_of(scored, PARENT.cuts, fitted)
    assert changes.photographs == 300
    assert changes.other_grade > changes.newly_referred > changes.no_longer == 0


def test_few_photographs_stay_near_the_parent():
    def away(count: int) -> float:
        fitted = fit_site(site(count, seed=3), PARENT, resamples=3)
        return float(np.abs(np.array(fitted.cuts) - PARENT.cuts).sum())

    assert away(12) < away(400)


def test_too_few_patients_and_missing_grades_are_refused_with_the_number_needed():
    with pytest.raises(DrcoreError, match=r"on: 40\. At least 50 .* label 10 more\. Left out: 3"):
        require_enough(references(site(80)))
    scored = site(300)
    with pytest.raises(DrcoreError, match=r"at least 2 photographs; .* grade 3: 0"):
        require_enough(references(scored.where(scored.truth != 3)))
    require_enough(references(scored))


# --- what counts --------------------------------------------------------------------------------


def seen(sha: int, **changes):
    values = {"sha256": f"{sha:064x}", "machine_visible": False, "action": "change", "grade": 3}
    return decision(**(values | changes))


def test_only_decisions_blind_to_the_model_count_unless_the_user_insists():
    made = [
        seen(1), seen(2, machine_visible=True), seen(3, machine_visible=None),
        seen(4, model_version="other 9"), seen(5, grade=None, action="ungradable"),
        seen(6, grade=1), seen(6, grade=3, reader="Dr. Brown"),
        seen(7, grade=1), seen(7, grade=4, reader="Dr. Brown"),
        seen(7, grade=0, reader="Dr. Chief", role="arbiter", mode="arbitration"),
    ]  # fmt: skip
    found = references_from_decisions(made, [], frozenset({"tiny 1"}))
    assert found.scored.truth.tolist() == [3, 0]
    assert found.scored.patient.tolist() == ["patient 10", "patient 10"]
    assert found.left_out == {
        "decisions of another model": 1,
        "decisions with the model's result on screen, or unknown": 2,
        "readers disagree and no arbiter has decided": 1,
        "ungradable, or not in the results": 1,
    }
    more = references_from_decisions(made, [], frozenset({"tiny 1"}), masked_only=False)
    assert more.scored.truth.tolist() == [3, 3, 3, 0]
    assert more.digest != found.digest


def test_a_changed_mind_after_the_model_was_seen_does_not_count():
    made = [seen(1, grade=1), seen(1, grade=3, machine_visible=True)]
    found = references_from_decisions(made, [], frozenset({"tiny 1"}))
    assert found.scored.truth.tolist() == [1]


def row(image: str, score: float) -> dict[str, str]:
    p = PARENT.probabilities(score, 0.2)
    return dict.fromkeys(COLUMNS, "") | {
        "image": image, "status": "graded", "score": f"{score:.4f}", "grade": "1",
        "score_128": f"{score - 0.1:.4f}", "score_512": f"{score + 0.1:.4f}", "grade_set": "1",
        "sha256": f"{int(image.partition('.')[0]):064x}", "model_version": "tiny 1",
        **{f"p{k}": f"{value:.4f}" for k, value in enumerate(p)},
    }  # fmt: skip


def test_results_add_the_spread_to_decisions():
    rows = [row("1.jpg", 2.5)]
    found = references_from_decisions([seen(1), seen(2)], rows, frozenset({"tiny 1"}))
    assert found.scored.score.tolist() == [2.5]
    assert found.scored.spread[0] == pytest.approx(0.2)
    alone = references_from_decisions([seen(1)], [], frozenset({"tiny 1"}))
    assert (alone.scored.score[0], alone.scored.spread[0]) == (1.87654321, 0.0)
    # No spread, no widening: it could not be known.
    assert fit_site(replace(site(120), spread=np.zeros(120)), PARENT, resamples=1).widening == 0


# --- the command --------------------------------------------------------------------------------


@pytest.fixture
def weights(tiny_grader: Grader, tmp_path: Path) -> Path:
    save_bundle(
        replace(tiny_grader.bundle, certainty=PARENT, thresholds=PARENT.cuts), tmp_path / "weights"
    )
    return tmp_path / "weights"


@pytest.fixture
def results(tmp_path: Path) -> tuple[Path, Scored]:
    """A table of results of a site, and its photographs."""
    scored = site(160)
    table = tmp_path / "results.csv"
    lines = [",".join(COLUMNS)]
    for i, score in enumerate(scored.score.tolist()):
        cells = row(f"{i}.jpg", score)
        lines.append(",".join(cells[column] for column in COLUMNS))
    table.write_text("\n".join(lines) + "\n")
    return table, scored


def test_labels_make_a_bundle_that_names_its_parent_and_no_patient(
    weights, results, tmp_path, capsys
):
    table, scored = results
    labels, out = tmp_path / "labels.csv", tmp_path / "site"
    lines = [
        f"{i}.jpg,{grade},Mrs. Secret {i // 2}" for i, grade in enumerate(scored.truth.tolist())
    ]
    labels.write_text("image,grade,patient\n" + "\n".join(lines) + "\n")
    command = [
        "calibrate", "--labels", str(labels), "--results", str(table), "--weights", str(weights),
        "--out", str(out),
    ]  # fmt: skip
    assert main(command) == 0
    told = capsys.readouterr().out
    assert "calibrated on 160 photographs of 80 patients (labels)" in told
    assert "Quadratic weighted kappa" in told
    assert "are newly referred" in told
    bundle = load_bundle(out)
    made = bundle.training["site"]
    assert made["parent"] == "tiny 1"
    assert made["grades"] == np.bincount(scored.truth).tolist()
    assert bundle.version.startswith("1+site.")
    assert bundle.certainty is not None
    assert bundle.certainty.cuts == bundle.thresholds != PARENT.cuts
    text = (out / MANIFEST).read_text(encoding="utf-8")
    assert "Secret" not in text
    assert ".jpg" not in text
    first = json.loads((weights / MANIFEST).read_text())["networks"]
    assert json.loads(text)["networks"] == first  # scores and maps stay
    assert main(["model", "--weights", str(out)]) == 0
    assert "parent: tiny 1" in capsys.readouterr().out
    assert main(command) == 1
    assert "holds a bundle already" in capsys.readouterr().err


def test_decisions_of_a_record_make_the_same_bundle(weights, results, tmp_path, capsys):
    table, scored = results
    record = tmp_path / "reviews.sqlite3"
    with ReviewStore(record) as store:
        for i, grade in enumerate(scored.truth.tolist()):
            store.add(seen(i, grade=grade, patient=f"{i // 2}"))
    out = tmp_path / "site"
    command = [
        "calibrate", "--decisions", str(record), "--results", str(table), "--weights", str(weights),
        "--out", str(out),
    ]  # fmt: skip
    assert main(command) == 0
    assert "160 photographs of 80 patients (decisions)" in capsys.readouterr().out
    certainty = load_bundle(out).certainty
    assert certainty is not None
    by_image = {
        f"{i}.jpg": Label(f"{i}.jpg", grade, grade, str(i // 2))
        for i, grade in enumerate(scored.truth.tolist())
    }
    same = references_from_labels(read_results(table), by_image, PARENT)
    assert certainty == fit_site(same.scored, PARENT)


def test_a_record_that_is_not_there_is_not_made(weights, tmp_path, capsys):
    missing = tmp_path / "none.sqlite3"
    command = [
        "calibrate", "--decisions", str(missing), "--weights", str(weights),
        "--out", str(tmp_path / "site"),
    ]  # fmt: skip
    assert main(command) == 1
    assert "there is no such record" in capsys.readouterr().err
    assert main([*command, str(tmp_path)]) == 1
    assert "give the results of the photographs" in capsys.readouterr().err
    assert not missing.exists()
