"""The gradability check: phantoms pass, and each defect is called by its name."""

from __future__ import annotations

import csv

import cv2
import numpy as np
import pytest
import skimage.data

from drcore.errors import CheckpointError
from drcore.photographs.reader import read_photograph
from drcore.preprocessing import gate, shipped_network
from drcore.preprocessing.field_of_view import find_field_of_view
from drcore.preprocessing.gradability import Limits, Quality, assess

NOT_A_RETINA = "This does not look like a colour photograph of a retina."
TOO_DARK = "The photograph is too dark."
OVER_EXPOSED = "The photograph is over-exposed."
BLURRED = "The photograph is blurred."


def judged(rgb: np.ndarray, **options) -> Quality:
    rgb = np.ascontiguousarray(rgb, dtype=np.uint8)
    return assess(rgb, find_field_of_view(rgb), **options)


@pytest.mark.parametrize(
    "recipe",
    [
        {},
        {"seed": 2, "laterality": "OS", "microaneurysms": 0, "haemorrhages": 0,
         "hard_exudates": 0, "soft_exudates": 0},
        {"seed": 3, "haemorrhages": 40},
        {"seed": 4, "pigment": 0.1},
        {"seed": 5, "pigment": 1.0},
        {"cut_above": 0.12, "cut_below": 0.1},
        {"offset": (0.12, -0.08)},
        {"notch": True},
        {"tint": (1.1, 0.9, 0.8)},
        {"exposure": 0.6},
    ],
    ids=str,
)  # fmt: skip
def test_phantoms_are_gradable(phantom, recipe):
    quality = judged(phantom(**{"seed": 1, **recipe}).rgb)
    assert quality.gradable, quality
    assert quality.reason == ""


def test_sample_images_are_gradable_but_the_one_that_shows_what_is_not(sample_images):
    reasons = {}
    for file in sorted(sample_images.glob("*.jpg")):
        photograph = read_photograph(file, for_grading=True)
        fov = find_field_of_view(photograph.rgb)
        reasons[file.name] = assess(photograph.rgb, fov, photograph.reduction).reason
    assert reasons.pop("phantom_dark_OD.jpg") == BLURRED
    assert len(reasons) >= 6
    assert set(reasons.values()) == {""}


def test_public_domain_retina_is_gradable(sample_images):
    quality = judged(read_photograph(sample_images / "retina_public_domain.jpg").rgb)
    assert quality.gradable, quality


@pytest.mark.parametrize("seed", [1, 2])
def test_red_at_its_limit_is_no_defect_and_green_is(phantom, seed):
    """Red often runs full, and lesions are still seen in green."""
    rgb = phantom(seed=seed).rgb.astype(np.float32)
    inside = rgb[..., 0] > 60
    median = np.median(rgb[inside], axis=0)[0]
    red = judged(np.clip(rgb * [1.05 * 255 / median, 1, 1], 0, 255))
    assert red.red_clipped > 0.7
    assert red.clipped == 0
    assert red.reason == "", red
    green = 253 / np.quantile(rgb[inside], 0.75, axis=0)[1]
    full = judged(np.clip(rgb * [1.5, green, 1], 0, 255))
    assert full.reason == OVER_EXPOSED
    assert full.clipped == pytest.approx(0.25, abs=0.08)


@pytest.mark.parametrize("seed", [1, 2])
def test_defects_are_called_by_their_name(phantom, seed):
    rgb = phantom(seed=seed).rgb.astype(np.float32)
    assert judged(rgb * 0.12).reason == TOO_DARK
    assert judged(np.clip(rgb * 6 + 60 * (rgb > 20), 0, 255)).reason == OVER_EXPOSED
    assert judged(cv2.GaussianBlur(rgb, (0, 0), 8)).reason == BLURRED
    small = cv2.resize(rgb, (90, 90), interpolation=cv2.INTER_AREA)
    assert judged(small).reason == (
        f"The field of view is only {judged(small).diameter:.0f} pixels wide; "
        "at least 120 are needed."
    )
    grey = np.repeat(rgb.mean(axis=2, keepdims=True), 3, axis=2)
    assert judged(grey).reason == NOT_A_RETINA
    assert judged(rgb[..., ::-1]).reason == NOT_A_RETINA  # red and blue exchanged


def test_sliver_of_a_field_of_view(phantom):
    rgb = phantom(seed=1).rgb
    sliver = np.array(rgb)
    sliver[:, : int(rgb.shape[1] * 0.78)] = 0
    quality = judged(sliver)
    assert not quality.gradable
    assert quality.reason


def not_retinas() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    page = np.full((500, 400, 3), 250, np.uint8)
    for line in range(30, 480, 18):
        cv2.putText(page, "Visual acuity 0.8 OD", (20, line), 0, 0.6, (20, 20, 20), 1)
    noise = rng.integers(0, 256, (400, 400, 3))
    blocks = cv2.resize(
        rng.integers(0, 256, (8, 8, 3)).astype(np.uint8), (400, 400), interpolation=0
    )
    return {
        "astronaut": skimage.data.astronaut(),
        "coffee": skimage.data.coffee(),
        "chelsea": skimage.data.chelsea(),
        "flat orange": np.full((400, 400, 3), (180, 90, 40)),
        "flat grey": np.full((400, 400, 3), 128),
        "noise": noise,
        "noise on dark": noise // 4,
        "page of text": page,
        "white on black text": 255 - page,
        "colour blocks": blocks,
        "blue sky": np.full((400, 500, 3), (90, 140, 220)),
    }


@pytest.mark.parametrize(("name", "rgb"), not_retinas().items())
def test_what_is_no_retina_is_not_graded(name, rgb):
    quality = judged(rgb)
    assert not quality.gradable
    if name in ("astronaut", "coffee", "chelsea", "noise", "colour blocks", "flat orange"):
        assert quality.reason == NOT_A_RETINA


def test_a_picture_tinted_with_one_colour_is_no_retina(phantom):
    rgb = phantom(seed=1).rgb
    quality = judged(rgb)
    assert quality.colour_agreement < 0.95
    tinted = rgb[..., 1:2] * np.array([1.3, 0.8, 0.4])
    tinted = np.clip(tinted, 0, 255)
    assert judged(tinted).colour_agreement > 0.995
    assert judged(tinted).reason == NOT_A_RETINA


def test_noise_is_told_from_vessels_by_how_sparse_they_are(phantom):
    rgb = phantom(seed=1).rgb
    disc = find_field_of_view(rgb).mask(*rgb.shape[:2])
    noise = np.random.default_rng(0).normal(0, 30, rgb.shape)
    spoilt = np.clip(disc[..., None] * (np.array([150, 80, 40]) + noise), 0, 255)
    assert judged(spoilt).sparseness < judged(rgb).sparseness
    assert judged(spoilt).reason == NOT_A_RETINA


@pytest.mark.parametrize(("level", "reason"), [(0, TOO_DARK), (255, OVER_EXPOSED)])
def test_all_black_and_all_white(level, reason):
    assert judged(np.full((300, 400, 3), level)).reason == reason


@pytest.mark.parametrize("shape", [(32, 32), (32, 2000), (2000, 32)])
def test_never_raises_on_odd_sizes(shape):
    quality = judged(np.random.default_rng(0).integers(0, 256, (*shape, 3)))
    assert not quality.gradable
    assert quality.reason.endswith(".")


def test_diameter_is_of_the_original_where_it_was_reduced(phantom):
    rgb = phantom(seed=1).rgb
    assert judged(rgb, reduction=4).diameter == pytest.approx(4 * judged(rgb).diameter)
    small = cv2.resize(rgb, (90, 90), interpolation=cv2.INTER_AREA)
    assert "only" in judged(small).reason
    assert "only" not in judged(small, reduction=2).reason


def test_plain_limits_can_be_set(phantom):
    rgb = phantom(seed=1, cut_above=0.12, cut_below=0.1).rgb
    usual = judged(rgb)
    assert usual.gradable
    assert "pixels wide" in judged(rgb, limits=Limits(diameter=usual.diameter + 1)).reason
    assert "third" in judged(rgb, limits=Limits(visible=usual.visible + 0.01)).reason
    assert judged(rgb, limits=Limits(visible=usual.visible + 0.01)).score == 0


def test_the_score_falls_with_blur_and_is_always_the_same(phantom):
    rgb = np.array(phantom(seed=1).rgb)
    sharp, again, soft, none = (
        judged(cv2.GaussianBlur(rgb, (0, 0), sigma)).score for sigma in (0.3, 0.3, 8, 16)
    )
    assert 0.9 < sharp <= 1
    assert 0 <= max(soft, none) < 0.1
    assert sharp == again


def test_photographs_of_few_pixels_and_of_other_colours_are_graded(phantom):
    rgb = phantom(seed=1).rgb
    small = cv2.resize(rgb, (224, 224), interpolation=cv2.INTER_AREA)
    assert judged(small).gradable
    for gains in ((0.85, 1.1, 0.5), (1.2, 0.7, 0.6), (1.0, 0.9, 1.1)):
        assert judged(np.clip(rgb * np.array(gains), 0, 255)).gradable, gains


def test_damaged_weights_are_refused(phantom, monkeypatch: pytest.MonkeyPatch, tmp_path):
    monkeypatch.setattr(shipped_network.resources, "files", lambda _: tmp_path)
    gate._loaded.cache_clear()
    try:
        with pytest.raises(CheckpointError, match="gradability check are missing"):
            judged(phantom(seed=1).rgb)
    finally:
        gate._loaded.cache_clear()


def test_sharpness_falls_with_blur(phantom):
    rgb = np.array(phantom(seed=1).rgb)
    values = [judged(cv2.GaussianBlur(rgb, (0, 0), s)).sharpness for s in (0.5, 1.5, 3, 6)]
    assert values == sorted(values, reverse=True)


@pytest.mark.data
def test_real_photographs_are_seldom_called_ungradable(data_root):
    with (data_root / "labels.csv").open(newline="") as file:
        names = [row["image"] for row in csv.DictReader(file) if row["dataset"] == "idrid"]
    refused = []
    for name in np.random.default_rng(0).choice(sorted(names), 60, replace=False):
        photograph = read_photograph(data_root / "images" / name, for_grading=True)
        fov = find_field_of_view(photograph.rgb)
        quality = assess(photograph.rgb, fov, photograph.reduction)
        assert fov.found
        if not quality.gradable:
            refused.append((name, quality.reason))
    assert len(refused) <= 0.03 * 60, refused


def test_the_colour_of_the_light_and_where_it_comes_from_are_measured(phantom) -> None:
    rgb = phantom(seed=3, size=512).rgb
    usual = judged(rgb)
    cooler = judged(np.clip(rgb * [0.9, 1.0, 1.2], 0, 255).round().astype(np.uint8))
    assert cooler.red_blue - usual.red_blue == pytest.approx(np.log2(0.9 / 1.2), abs=0.05)
    assert cooler.red_green_spread == pytest.approx(usual.red_green_spread, rel=0.05)
    assert cooler.green_blue_spread == pytest.approx(usual.green_blue_spread, rel=0.05)
    assert cooler.light_right == pytest.approx(usual.light_right, abs=0.03)
    across = np.linspace(1.0, 0.5, 512)
    for light, name, other in (
        (across[None, :], "light_right", "light_down"),
        (across[:, None], "light_down", "light_right"),
    ):
        lit = judged((rgb * light[..., None]).astype(np.uint8))
        assert getattr(lit, name) - getattr(usual, name) == pytest.approx(-1, abs=0.25)
        assert getattr(lit, other) == pytest.approx(getattr(usual, other), abs=0.05)
    turned = judged(np.ascontiguousarray(rgb[::-1, ::-1]))
    assert turned.light_down == pytest.approx(-usual.light_down, abs=0.03)
    assert turned.red_blue == pytest.approx(usual.red_blue, abs=0.01)
