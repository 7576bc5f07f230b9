"""From square to network input."""

from __future__ import annotations

import numpy as np
import pytest

from drcore.preprocessing.contrast import local_contrast
from drcore.preprocessing.field_of_view import find_field_of_view
from drcore.preprocessing.network_input import Preprocessing
from drcore.preprocessing.retina_square import RetinaSquare


@pytest.fixture(scope="module")
def square(phantom):
    rgb = phantom(seed=1).rgb
    frame = RetinaSquare(find_field_of_view(rgb), rgb.shape[1], rgb.shape[0], 512)
    return np.asarray(frame.warp(rgb), np.uint8), frame.mask(0.02)


@pytest.mark.parametrize("size", [128, 256, 512])
def test_contrast_has_the_size_asked_for_and_is_neutral_outside(square, size):
    pixels, mask = square
    contrast = Preprocessing().contrast(pixels, mask, size)
    assert contrast.shape == (size, size, 3)
    assert contrast.dtype == np.uint8
    assert (contrast[0, 0] == 128).all()
    middle = contrast[size // 4 : -size // 4, size // 4 : -size // 4].astype(int)
    assert middle.std() > 4
    assert abs(middle.mean() - 128) < 4


def test_full_size_is_the_local_contrast_itself(square):
    pixels, mask = square
    preparation = Preprocessing(gain=3.0, sigma=1 / 20)
    wanted = local_contrast(pixels, mask, gain=3.0, sigma=1 / 20)
    assert np.array_equal(preparation.contrast(pixels, mask, 512), wanted)


def test_input_is_left_alone(square):
    pixels, mask = square
    before = pixels.copy(), mask.copy()
    Preprocessing().contrast(pixels, mask, 256)
    assert np.array_equal(pixels, before[0])
    assert np.array_equal(mask, before[1])


def test_normalise_is_planes_first_shifted_and_scaled():
    contrast = np.random.default_rng(0).integers(0, 256, (16, 16, 3)).astype(np.uint8)
    planes = Preprocessing(mean=100.0, std=50.0).normalise(contrast)
    assert planes.shape == (3, 16, 16)
    assert planes.dtype == np.float32
    assert planes.flags.c_contiguous
    assert np.allclose(planes, (contrast.transpose(2, 0, 1).astype(float) - 100) / 50, atol=1e-6)


def test_neutral_grey_is_zero_to_the_network():
    assert (Preprocessing().normalise(np.full((8, 8, 3), 128, np.uint8)) == 0).all()
