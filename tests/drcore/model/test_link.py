"""The link from the mean of a map to the score, and maps brought into grade units by it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from drcore.errors import DrcoreError
from drcore.maps.fusion import covered_mean
from drcore.model.link import Link, in_grades

LINK = Link(bias=-0.028, slope=0.714, knee=0.002, ceiling=2.5)


@pytest.mark.parametrize("link", [LINK, Link(0.1, 0.5, 0.01)], ids=["ceiling", "no ceiling"])
def test_more_evidence_is_a_higher_score_by_ever_less(link: Link) -> None:
    means = np.linspace(0, 0.2, 50)
    steps = np.diff(link.score(means))
    assert (steps > 0).all()
    assert (np.diff(steps) < 0).all()
    assert link.score(0.0) == link.least
    assert link.ceiling is None or link.score(1e30) <= link.ceiling


def test_both_libraries_say_the_same() -> None:
    means = np.array([0.0, 1e-6, 0.003, 0.5, 40.0])
    assert LINK.score(torch.from_numpy(means), torch).numpy() == pytest.approx(LINK.score(means))


@pytest.mark.parametrize("largest", [0.0, 1e-9, 0.004, 3.0, 1e4])
def test_mean_of_the_map_plus_bias_is_the_score(largest: float) -> None:
    rng = np.random.default_rng(0)
    ram, coverage = rng.uniform(0, largest, (64, 64)) ** 2, rng.uniform(0, 1, (64, 64))
    score, scaled = in_grades(ram, coverage.astype(np.float32), LINK)
    assert covered_mean(scaled, coverage.astype(np.float32)) + LINK.least == pytest.approx(
        score, abs=1e-4
    )
    assert scaled.dtype == np.float32
    assert scaled.min() >= 0


def test_a_map_of_nothing_stays_nothing() -> None:
    nothing, retina = np.zeros((8, 8)), np.ones((8, 8), np.float32)
    for coverage in (retina, 0 * retina):
        score, scaled = in_grades(nothing, coverage, LINK)
        assert score == LINK.least
        assert (scaled == 0).all()


@pytest.mark.parametrize(
    "change",
    [{"bias": float("nan")}, {"slope": 0.0}, {"knee": -1.0}, {"ceiling": float("inf")}],
    ids=str,
)
def test_constants_that_make_no_link_are_refused(change: dict[str, float]) -> None:
    with pytest.raises(DrcoreError, match="The link of a network"):
        Link(**{"bias": 0.0, "slope": 1.0, "knee": 1.0, "ceiling": 1.0, **change})
