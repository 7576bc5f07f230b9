"""Red-free, CLAHE and local contrast."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from drcore.preprocessing.contrast import clahe, green_channel, local_contrast

SIDE = 240
COLUMNS, ROWS = np.meshgrid(np.arange(SIDE) + 0.5, np.arange(SIDE) + 0.5)
RADIUS = np.hypot(COLUMNS - SIDE / 2, ROWS - SIDE / 2)
MASK = SIDE / 2 - 4 >= RADIUS


def retina(level: float = 140.0) -> np.ndarray:
    """Evenly lit disc on black."""
    return (MASK[..., None] * np.array([level, level * 0.6, level * 0.3])).astype(np.uint8)


def test_green_channel_is_grey_and_green():
    rgb = np.random.default_rng(0).integers(0, 256, (20, 30, 3)).astype(np.uint8)
    red_free = green_channel(rgb)
    assert red_free.dtype == np.uint8
    for channel in range(3):
        assert np.array_equal(red_free[..., channel], rgb[..., 1])


def test_clahe_raises_local_contrast_and_keeps_hue(phantom):
    rgb = phantom(seed=1).rgb
    out = clahe(rgb)
    assert out.shape == rgb.shape
    assert out.dtype == np.uint8
    inside = phantom(seed=1).masks["field_of_view"]

    def fine(image: np.ndarray) -> float:
        grey = image[..., 1].astype(np.float32)
        return float((grey - cv2.GaussianBlur(grey, (0, 0), 6))[inside].std())

    assert fine(out) > 1.2 * fine(rgb)
    lab = [cv2.cvtColor(image, cv2.COLOR_RGB2LAB).astype(int) for image in (rgb, out)]
    assert np.abs(lab[0] - lab[1])[inside][:, 1:].mean() < 3
    assert np.abs(lab[0] - lab[1])[inside][:, 0].mean() > 3


def test_clahe_leaves_its_input_alone():
    rgb = np.random.default_rng(0).integers(0, 256, (40, 50, 3)).astype(np.uint8)
    before = rgb.copy()
    clahe(rgb)
    assert np.array_equal(rgb, before)


@pytest.mark.parametrize("shape", [(32, 32), (33, 400), (1, 1)])
def test_clahe_takes_any_size(shape):
    rgb = np.full((*shape, 3), 90, np.uint8)
    assert clahe(rgb).shape == rgb.shape


def test_even_retina_is_flat_up_to_the_rim():
    contrast = local_contrast(retina(), MASK)
    assert contrast.dtype == np.uint8
    # A blur that took in the black surround would leave a bright ring along the rim.
    assert np.abs(contrast[MASK].astype(int) - 128).max() <= 3


def test_outside_the_mask_is_neutral():
    rgb = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3)).astype(np.uint8)
    contrast = local_contrast(rgb, MASK)
    assert (contrast[~MASK] == 128).all()
    # What lies outside has no say inside either.
    inked = rgb.copy()
    inked[~MASK] = 255
    assert np.array_equal(local_contrast(inked, MASK), contrast)


def test_uneven_light_is_removed_and_lesions_stay():
    light = (0.5 + 0.5 * COLUMNS / SIDE)[..., None]
    rgb = retina(200) * light
    dark, bright = np.hypot(COLUMNS - 80, ROWS - 120) < 4, np.hypot(COLUMNS - 170, ROWS - 90) < 4
    rgb[dark] *= 0.8
    rgb[bright] *= 1.15
    contrast = local_contrast(rgb.astype(np.uint8), MASK)[..., 1].astype(int)
    assert contrast[dark].mean() < 105
    assert contrast[bright].mean() > 150
    plain = MASK & ~cv2.dilate((dark | bright).astype(np.uint8), np.ones((41, 41))).astype(bool)
    assert np.abs(contrast[plain] - 128).mean() < 4


def test_gain_scales_contrast_and_sigma_what_counts_as_local():
    rgb = retina()
    spot = np.hypot(COLUMNS - 120, ROWS - 120) < 5
    rgb[spot] -= 10
    weak = 128 - local_contrast(rgb, MASK, gain=2)[spot][:, 1].mean()
    strong = 128 - local_contrast(rgb, MASK, gain=4)[spot][:, 1].mean()
    assert strong == pytest.approx(2 * weak, rel=0.1)
    narrow = 128 - local_contrast(rgb, MASK, gain=4, sigma=1 / 100)[spot][:, 1].mean()
    assert narrow < 0.7 * strong


def test_no_mask_at_all_is_neutral_not_an_error():
    empty = local_contrast(retina(), np.zeros((SIDE, SIDE), bool))
    assert (empty == 128).all()
