"""From maps of the finest scale to scores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from drcore.model.link import Link
from training.finest_scale.maps import evidence, figures, in_grades, shared_out
from training.finest_scale.squares import FineSquare, FineSquares
from training.finest_scale.start import fit_start


@pytest.mark.parametrize("ceiling", [None, 2.5])
def test_the_link_rises_and_bends_down(ceiling: float | None) -> None:
    link = Link(-0.05, 0.7, 0.002, ceiling)
    scores = link.score(np.linspace(0, 2, 400))
    steps = np.diff(scores)
    assert scores[0] == pytest.approx(-0.05, abs=1e-3)
    assert (steps > 0).all()
    assert (np.diff(steps) < 0).all()
    assert ceiling is None or scores[-1] < ceiling


def test_evidence_is_never_negative_and_survives_large_logits() -> None:
    ram = evidence(np.array([-60.0, -5.0, 0.0, 60.0]))
    assert (ram >= 0).all()
    assert ram == pytest.approx([0, np.log1p(np.exp(-5)), np.log(2), 60], abs=1e-6)


@pytest.mark.parametrize("ceiling", [None, 2.5])
def test_the_start_finds_the_sharpness_at_which_lesions_outweigh_the_background(
    ceiling: float | None,
) -> None:
    rng = np.random.default_rng(0)
    grades = np.repeat([0.0, 1.0, 2.0], 30)
    logits = rng.normal(-1.5, 0.15, (90, 16, 16)).astype(np.float32)
    for one, grade in zip(logits, grades, strict=True):
        one.ravel()[rng.choice(256, int(4 * grade), replace=False)] = 0.5
    share = np.ones((90, 16, 16), np.float32)
    start = fit_start(logits, share, grades, np.full(90, 1 / 90), 0.002, ceiling)
    means = np.logaddexp(0, start.factor * logits + start.offset).mean((1, 2))
    scores = start.link.score(means.astype(np.float64))
    assert start.factor > 1
    assert start.link.slope > 0
    assert np.corrcoef(scores, grades)[0, 1] > 0.9


def test_figures_know_a_map_that_points_and_one_that_grades() -> None:
    masks = np.zeros((3, 1024, 1024), np.uint8)
    masks[0, 300:308, 500:508] = 1
    contrast = np.full((3, 8, 8, 3), 128, np.uint8)
    rows = [
        FineSquare(Path("a.jpg"), "made", "val", "a", None, Path("a_mask.png"), 1),
        FineSquare(Path("b.jpg"), "graded", "val", "b", 0),
        FineSquare(Path("c.jpg"), "graded", "val", "c", 2),
    ]
    squares = FineSquares(rows, contrast, masks, np.array([1024] * 3))
    maps = np.full((3, 64, 64), -9.0)
    maps[0, 18:20, 31] = 4
    maps[2, 10, 40] = 4
    result = figures(squares, [0, 1, 2], list(maps))
    assert result["made/val"]["hit_MA"] == 1
    assert result["made/val"]["ap_MA"] > 0.05
    assert result["graded/val"]["referable"] == 1
    assert result["graded/val"]["above1"] == 0


@pytest.mark.parametrize("ceiling", [None, 2.5])
def test_map_in_grades_sums_to_the_score(ceiling: float | None) -> None:
    rng = np.random.default_rng(1)
    share = rng.random((64, 64)).astype(np.float32)
    link = Link(-0.028, 0.714, 0.002, ceiling)
    for ram in (rng.exponential(0.05, (64, 64)), np.zeros((64, 64))):
        grades, bias, score = in_grades(ram, share, link)
        mean = float((ram * share).sum() / share.sum())
        assert score == pytest.approx(float(link.score(np.array([mean]))[0]))
        assert float((grades * share).sum() / share.sum()) + bias == pytest.approx(score, abs=1e-9)
        assert (grades >= 0).all()


def test_evidence_goes_to_what_stands_out() -> None:
    ram = np.zeros((64, 64))
    ram[20, 30] = 1.0
    contrast = np.full((1024, 1024), 128, np.uint8)
    contrast[322:328, 490:496] = 60
    shown = shared_out(ram, contrast)
    row, column = np.unravel_index(int(shown.argmax()), shown.shape)
    assert 318 <= row <= 332
    assert 486 <= column <= 500
    assert (shown >= 0).all()
