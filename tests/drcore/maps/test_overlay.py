"""Colours: one fixed scale, told from retina and lesions with any colour vision, never opaque."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from drcore.maps.evidence import find_evidence
from drcore.maps.overlay import (
    DENSITY_RANGE,
    HALO,
    LIGHT_FILL,
    TICKS,
    colour_stops,
    colourise,
    outline_colours,
    overlay,
    position_of,
)

LOW, HIGH = DENSITY_RANGE

# Machado, Oliveira & Fernandes 2009, severity 1.0; they act on linear RGB.
VISION = {
    "normal": np.eye(3),
    "protan": np.array([[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
                        [-0.003882, -0.048116, 1.051998]]),
    "deutan": np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
                        [-0.011820, 0.042940, 0.968881]]),
    "tritan": np.array([[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
                        [0.004733, 0.691367, 0.303900]]),
}  # fmt: skip
FOUND_IN_A_RETINA = {
    "hard exudate": (240, 220, 120), "cotton-wool spot": (235, 225, 205),
    "haemorrhage": (110, 20, 15), "microaneurysm": (140, 30, 20), "retina": (190, 90, 40),
    "dark retina": (90, 35, 15), "disc": (245, 200, 130), "vessel": (130, 40, 25),
    "white": (255, 255, 255), "laser scar": (220, 200, 150), "pigment": (40, 30, 25),
}  # fmt: skip


def seen(colours, vision: str) -> np.ndarray:
    """Colours in CIE Lab, as somebody with a colour vision sees them."""
    srgb = np.asarray(colours, np.float64).reshape(-1, 3) / 255
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    linear = np.clip(linear @ VISION[vision].T, 0, 1)
    back = np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
    return cv2.cvtColor(back.astype(np.float32)[None], cv2.COLOR_RGB2LAB)[0]


RAMP = [rgb for _, rgb, _ in colour_stops(20)]


@pytest.mark.parametrize("vision", VISION)
def test_no_lesion_has_a_colour_of_the_scale(vision):
    scale = seen(RAMP, vision)
    for name, colour in FOUND_IN_A_RETINA.items():
        away = np.linalg.norm(scale - seen(colour, vision), axis=1).min()
        assert away > 25, name


@pytest.mark.parametrize("vision", VISION)
def test_the_scale_is_read_by_lightness_with_any_colour_vision(vision):
    lightness = seen(RAMP, vision)[:, 0]
    assert (np.diff(lightness) > 0).all()
    assert lightness[-1] - lightness[0] > 30


@pytest.mark.parametrize("vision", VISION)
def test_one_of_the_two_tones_of_an_outline_is_seen_on_everything(vision):
    for name, colour in FOUND_IN_A_RETINA.items():
        ground = seen(colour, vision)
        for light in outline_colours():
            tones = np.linalg.norm(seen([light, HALO], vision) - ground, axis=1)
            assert tones.max() > 40, name
    weak, strong = seen(outline_colours(), vision)
    assert np.linalg.norm(weak - strong) > 15


def test_stops_rise_and_are_what_maps_are_coloured_with():
    stops = colour_stops(8)
    assert [stop[0] for stop in stops] == sorted(stop[0] for stop in stops)
    alphas = [stop[2] for stop in stops]
    assert alphas == sorted(alphas)
    assert (alphas[0], alphas[-1]) == (0, 1)
    for position, rgb, alpha in stops:
        pixel = colourise(np.full((1, 1), position, np.float32))[0, 0]
        assert np.abs(pixel[:3].astype(int) - rgb).max() <= 2
        assert pixel[3] / 255 == pytest.approx(alpha, abs=0.02)


def test_the_scale_is_logarithmic_and_fixed():
    at = position_of(np.array([LOW, (LOW * HIGH) ** 0.5, HIGH], np.float32))
    np.testing.assert_allclose(at, [0, 0.5, 1], atol=1e-6)
    beyond = np.array([np.nan, -3, 0, HIGH * 100, np.inf, -np.inf], np.float32)
    np.testing.assert_array_equal(position_of(beyond), [0, 0, 0, 1, 1, 0])
    assert (TICKS[0], TICKS[-1]) == DENSITY_RANGE


def evidence_of(height: float, size: int = 256, **more):
    at = (np.arange(size) + 0.5) / size * 2 - 1
    u, v = np.meshgrid(at, at)
    ram = np.where(np.hypot(u - 0.4, v) < 0.2, np.float32(height), np.float32(0))
    return find_evidence(ram, (np.hypot(u, v) <= 1).astype(np.float32), **more)


def test_fill_is_light_and_outlines_have_two_tones():
    rgb = np.full((400, 400, 3), (190, 90, 40), np.uint8)
    evidence = evidence_of(400, square=(0, 0, 400))
    made = overlay(rgb, evidence, 400)
    filled = made[200, 280].astype(int)
    expected = (1 - LIGHT_FILL) * rgb[0, 0] + LIGHT_FILL * np.array(RAMP[-1])
    np.testing.assert_allclose(filled, expected, atol=2)
    plain = overlay(rgb, evidence, 400, outlines=False)
    for tone in (HALO, *outline_colours()):
        near, without = (
            np.linalg.norm(picture.reshape(-1, 3) - np.array(tone, float), axis=1).min()
            for picture in (made, plain)
        )
        assert near < 30 < without, tone
    assert (overlay(rgb, evidence, 400, fill=0, outlines=False) == rgb).all()
    assert (rgb == (190, 90, 40)).all()


def test_where_nothing_stands_out_the_photograph_is_unchanged():
    rgb = np.random.default_rng(0).integers(0, 255, (300, 300, 3), np.uint8)
    assert (overlay(rgb, evidence_of(0.5, square=(0, 0, 300)), 300) == rgb).all()


def test_evidence_lies_where_it_belongs_on_a_picture_of_any_size():
    """The square goes beyond a photograph that is cut above and below."""
    evidence = evidence_of(400, square=(100, -50, 400))
    for shrunk in (1, 2):
        rgb = np.zeros((300 // shrunk, 600 // shrunk, 3), np.uint8)
        made = overlay(rgb, evidence, 600, outlines=False)
        assert made.shape == rgb.shape
        rows, columns = np.nonzero(made.sum(axis=2) > 30)
        x, y = (columns.mean() + 0.5) * shrunk, (rows.mean() + 0.5) * shrunk
        assert (x, y) == pytest.approx((100 + 200 * 1.4, 150), abs=1.5)
