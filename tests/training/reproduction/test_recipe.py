"""The published recipe: schedules, warp, colour, quasi-random views, blend."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from training.data.labels import Labelled
from training.data.resident import ResidentSquares
from training.reproduction.augmentation import (
    PublishedInput,
    colour_noise,
    matrices,
    unchanged,
)
from training.reproduction.blend import blend_features, fit_blend
from training.reproduction.networks import LAYOUTS, Head, PublishedNetwork
from training.reproduction.recipe import EIGENVECTORS, MEAN, SPREAD, grade_weights, published
from training.reproduction.scoring import grade_scores
from training.reproduction.trainer import draw_epoch
from training.reproduction.tta import Views, halton_changes, view

CPU = torch.device("cpu")


def rows_of(grades: list[int]) -> list[Labelled]:
    return [Labelled(Path(f"{i}.jpg"), g, "d", "train", str(i)) for i, g in enumerate(grades)]


def test_rate_falls_at_the_published_epochs() -> None:
    recipe = published("net-5-512")
    assert recipe.epochs == 251
    rates = [recipe.rate_at(epoch) for epoch in (0, 149, 150, 219, 220, 250)]
    assert rates == pytest.approx([3e-3, 3e-3, 3e-4, 3e-4, 3e-5, 3e-5])
    # The smaller networks stop before the second fall.
    small = published("net-5-128")
    assert small.epochs == 201
    assert small.rate_at(200) == pytest.approx(3e-4)


def test_a_shorter_run_keeps_the_shares() -> None:
    short = published("net-5-128", epochs=20)
    assert short.rate_at(14) == pytest.approx(3e-3)
    assert short.rate_at(15) == pytest.approx(3e-4)


def test_colour_noise_differs_between_the_networks() -> None:
    assert published("net-5-128").colour == 0.5
    assert published("net-4-128").colour == 0.25


def test_grade_weights_go_from_balanced_to_nearly_natural() -> None:
    np.testing.assert_allclose(grade_weights(0), [1.361, 14.378, 6.638, 40.236, 49.613])
    np.testing.assert_allclose(grade_weights(2000), [1, 2, 2, 2, 2], atol=1e-6)
    at_ten = 0.975**10
    assert grade_weights(10)[4] == pytest.approx(at_ten * 49.613 + (1 - at_ten) * 2)


def test_resampling_draws_rare_grades_more_often_at_first() -> None:
    rows = rows_of([0] * 700 + [1] * 70 + [2] * 150 + [3] * 25 + [4] * 20)
    everything = np.arange(len(rows))
    recipe = published("net-5-128", batch=32)
    grades = np.array([row.grade for row in rows])
    early = np.bincount(grades[draw_epoch(rows, everything, recipe, 0).indices], minlength=5)
    late = np.bincount(grades[draw_epoch(rows, everything, recipe, 200).indices], minlength=5)
    assert early[4] > 4 * late[4]
    plain = draw_epoch(rows, everything, replace(recipe, resampling=False), 0).indices
    assert len(set(plain.tolist())) == len(plain) == 30 * 32  # whole batches, nobody twice


def test_draws_depend_on_seed_and_epoch_alone() -> None:
    rows = rows_of([0, 1, 2, 3, 4] * 8)
    recipe = published("net-5-128", batch=8)
    first, again = (draw_epoch(rows, np.arange(40), recipe, 3) for _ in range(2))
    other = draw_epoch(rows, np.arange(40), recipe, 4)
    np.testing.assert_array_equal(first.changes, again.changes)
    np.testing.assert_array_equal(first.indices, again.indices)
    assert not np.array_equal(first.changes, other.changes)


def test_an_unchanged_photograph_is_its_central_part_normalised() -> None:
    net = LAYOUTS["net-5-128"]
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (2, 3, 128, 128), dtype=np.uint8)
    changes = torch.from_numpy(unchanged(2, net))
    got = PublishedInput(net)(torch.from_numpy(pixels[[1, 0]]), changes)
    centre = pixels[[1, 0], :, 8:120, 8:120].astype(np.float32)
    wanted = (centre - np.array(MEAN)[:, None, None]) / np.array(SPREAD)[:, None, None]
    np.testing.assert_allclose(got.numpy(), wanted, atol=2e-3)


def test_geometry_stays_in_the_published_range() -> None:
    recipe = published("net-5-128")
    chances = np.random.default_rng(0).random((500, 6))
    found = matrices(chances, recipe)
    share = 112 / 128
    zooms = share / np.linalg.norm(found[:, :, :2], axis=2)
    assert zooms.min() >= 1 / 1.15 - 1e-5
    assert zooms.max() <= 1.15 + 1e-5
    # 40 of 512 px is 10 of 128 px; in half sides that is 10 / 64.
    assert np.abs(found[:, :, 2]).max() <= 10 / 64 + 1e-6
    flipped = np.linalg.det(found[:, :, :2]) < 0
    assert 0.4 < flipped.mean() < 0.6


def test_a_turned_photograph_is_turned() -> None:
    net = LAYOUTS["net-5-128"]
    pixels = np.zeros((1, 3, 128, 128), np.uint8)
    pixels[0, :, 60:68, 100:108] = 255  # right of the middle
    chances = np.array([[0.25, 0.5, 0.5, 0.5, 0.5, 0.9]])  # a quarter turn, nothing else
    changes = torch.from_numpy(matrices(chances, published("net-5-128")))
    seen = PublishedInput(net)(torch.from_numpy(pixels), changes)[0, 0]
    row, column = divmod(int(seen.argmax()), 112)
    assert abs(column - 56) < 6
    assert abs(row - 56) == pytest.approx(40, abs=6)


def test_colour_noise_lies_along_the_components() -> None:
    noise = colour_noise(np.random.default_rng(0), 20_000, 0.5)
    along = noise @ np.array(EIGENVECTORS)
    np.testing.assert_allclose(
        along.std(axis=0), [0.5 * 1.65513, 0.5 * 0.48450, 0.5 * 0.15651], rtol=0.03
    )


def test_grades_at_the_published_thresholds() -> None:
    scores = np.array([-3.0, 0.49, 0.51, 1.49, 1.51, 2.51, 3.51, 9.0])
    assert grade_scores(scores).tolist() == [0, 0, 1, 1, 2, 3, 4, 4]


def test_views_are_even_and_repeatable() -> None:
    recipe = published("net-5-128")
    first, again = halton_changes(50, recipe), halton_changes(50, recipe)
    np.testing.assert_array_equal(first, again)
    # Quasi-random: each fifth of the turns has its fifth of the views; chance leaves 10 +- 3.
    turn = np.arctan2(first[:, 0, 1], first[:, 1, 1]) % (2 * np.pi)
    assert np.ptp(np.histogram(turn, 5, (0, 2 * np.pi))[0]) <= 2


def test_views_give_mean_and_spread_of_the_pooled_features() -> None:
    torch.manual_seed(0)
    net = LAYOUTS["net-5-128"]
    pixels = np.random.default_rng(1).integers(0, 256, (3, 128, 128, 3), dtype=np.uint8)
    resident = ResidentSquares(pixels, CPU)
    network = PublishedNetwork(net, untied=False)
    changes = halton_changes(4, published("net-5-128"))
    views = view(network, resident, np.array([2, 0]), changes, batch=1)
    pooled = np.stack(
        [
            network.eval()
            .pooled(
                PublishedInput(net)(resident.pixels[[2, 0]], torch.from_numpy(np.stack([c, c])))
            )
            .detach()
            .numpy()
            for c in changes
        ]
    )
    np.testing.assert_allclose(views.mean, pooled.mean(axis=0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(views.spread, pooled.std(axis=0), rtol=1e-3, atol=1e-4)
    assert views.scores.shape == (2,)


@pytest.mark.slow
def test_the_blend_learns_from_the_other_eye() -> None:
    """Grades that only the other eye's features tell can be told by a blend, by nothing else."""
    rng = np.random.default_rng(0)
    patients = 300
    hidden = rng.integers(0, 5, patients)
    mean = rng.normal(size=(2 * patients, 6)).astype(np.float32)
    mean[1::2, 0] = hidden  # told in the right eye alone
    views = Views(mean, np.full_like(mean, 0.1), np.zeros(2 * patients))
    partner = np.arange(2 * patients) ^ 1
    right = np.arange(2 * patients) % 2 == 1
    grades = np.repeat(hidden, 2)
    features = blend_features(views, partner, right)
    assert features.shape == (600, 4 * 6 + 1)
    blend = fit_blend(features[:400], grades[:400], epochs=60)
    left = np.flatnonzero(~right[400:]) + 400
    error = np.mean((blend.scores(features[left]) - grades[left]) ** 2)
    alone = blend_features(views, np.arange(600), right)
    blind = fit_blend(alone[:400], grades[:400], epochs=60)
    blind_error = np.mean((blind.scores(alone[left]) - grades[left]) ** 2)
    assert error < 0.7 * blind_error


def test_the_blend_survives_features_that_never_vary() -> None:
    views = Views(np.ones((60, 2), np.float32), np.zeros((60, 2), np.float32), np.zeros(60))
    features = blend_features(views, np.arange(60), np.zeros(60, bool))
    scores = fit_blend(features, [2] * 60, epochs=5).scores(features)
    assert np.isfinite(scores).all()


def test_the_warp_is_compiled_as_a_whole_to_the_same_numbers() -> None:
    net, rng = LAYOUTS["net-5-128"], np.random.default_rng(0)
    raw = torch.from_numpy(rng.integers(0, 256, (4, 3, 128, 128), dtype=np.uint8))
    changes = torch.from_numpy(matrices(rng.random((4, 6)), published("net-5-128")))
    colours = torch.from_numpy(colour_noise(rng, 4, 0.5))
    plain = PublishedInput(net)
    # The compiler's last stage is left out: it needs a C++ compiler, and half a minute.
    compiled = torch.compile(plain, backend="aot_eager", fullgraph=True)
    with torch.no_grad():
        torch.testing.assert_close(
            compiled(raw, changes, colours), plain(raw, changes, colours), rtol=0, atol=1e-4
        )


@pytest.mark.slow
@pytest.mark.parametrize("head", ["gap", "fc"])
def test_a_network_is_compiled_as_a_whole_to_the_same_gradients(head: Head) -> None:
    torch.manual_seed(0)
    network = PublishedNetwork(LAYOUTS["net-5-128"], head=head).eval()  # no dropout
    squares = torch.randn(2, 3, 112, 112)
    compiled = torch.compile(network, backend="aot_eager", fullgraph=True)
    gradients = []
    for running in (network, compiled):
        network.zero_grad()
        running(squares).square().mean().backward()
        gradients.append([p.grad.clone() for p in network.parameters() if p.grad is not None])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
