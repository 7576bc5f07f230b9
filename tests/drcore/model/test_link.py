"""The link from the mean of a map to the score, and maps brought into grade units by it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from drcore.errors import DrcoreError
from drcore.maps.fusion import covered_mean
from drcore.model.link import Link, OnsetLink, in_grades
from drcore.model.network import PRESETS, RamNetwork

ONSET = OnsetLink(onset=1.0, width=0.8, slope=1.25)
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


def test_a_score_counts_from_its_onset_on() -> None:
    plain = np.linspace(-2, 5, 50)
    steps = np.diff(ONSET.score(plain)) / np.diff(plain)
    assert (np.diff(steps) > 0).all()
    assert 0 < steps[0] < 0.05
    assert steps[-1] == pytest.approx(1.25, abs=0.02)
    assert [ONSET.plain(score) for score in ONSET.score(plain)] == pytest.approx(plain)
    assert ONSET.score(torch.from_numpy(plain), torch).numpy() == pytest.approx(ONSET.score(plain))


@pytest.mark.parametrize("mean", [-3.0, -0.02, -9e-4, 0.0, 1e-6, 5e-4, 0.3, 4.0])
def test_a_linear_map_is_multiplied_so_that_its_mean_gives_the_score(mean: float) -> None:
    factor = ONSET.factor(mean, 0.4)
    assert 0 < factor <= 1.25
    assert factor * mean + ONSET.score(0.4) == pytest.approx(ONSET.score(0.4 + mean), abs=1e-6)
    tensor = ONSET.factor(torch.tensor([mean]), 0.4, torch)
    assert float(tensor) == pytest.approx(factor, abs=1e-4)


def test_a_network_with_an_onset_has_an_exact_map() -> None:
    torch.manual_seed(0)
    plain, bent = (RamNetwork(PRESETS["tiny-128"], link).eval() for link in (None, ONSET))
    bent.load_state_dict(plain.state_dict())
    bent.set_level(0.3)
    squares, coverage = torch.randn(4, 3, 128, 128), torch.rand(4, 32, 32)
    with torch.no_grad():
        before, _ = plain(squares, coverage)
        scores, maps = bent(squares, coverage)
    torch.testing.assert_close(scores, ONSET.score(before, torch))
    mean = (maps * coverage).sum((1, 2)) / coverage.sum((1, 2))
    torch.testing.assert_close(mean + bent.bias, scores, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "change", [{"onset": float("nan")}, {"width": 0.0}, {"slope": float("inf")}], ids=str
)
def test_constants_that_make_no_onset_are_refused(change: dict[str, float]) -> None:
    with pytest.raises(DrcoreError, match="The link of a network"):
        OnsetLink(**{"onset": 1.0, "width": 1.0, "slope": 1.0, **change})


@pytest.mark.parametrize(
    "change",
    [{"bias": float("nan")}, {"slope": 0.0}, {"knee": -1.0}, {"ceiling": float("inf")}],
    ids=str,
)
def test_constants_that_make_no_link_are_refused(change: dict[str, float]) -> None:
    with pytest.raises(DrcoreError, match="The link of a network"):
        Link(**{"bias": 0.0, "slope": 1.0, "knee": 1.0, "ceiling": 1.0, **change})
