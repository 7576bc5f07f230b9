"""Colours: one fixed scale in grade units, pale where a retina is healthy."""

from __future__ import annotations

import numpy as np
import pytest

from drcore.maps.overlay import MAP_RANGE, colour_stops, colourise, overlay

LOW, HIGH = MAP_RANGE


def lightness(rgb) -> float:
    return float(np.dot(rgb, (0.299, 0.587, 0.114)))


def test_scale_rises_in_position_lightness_and_opacity():
    stops = colour_stops()
    positions = [position for position, _, _ in stops]
    assert positions[0] == 0
    assert positions[-1] == 1
    assert positions == sorted(positions)
    lights = [lightness(rgb) for _, rgb, _ in stops]
    assert lights == sorted(lights)
    alphas = [alpha for _, _, alpha in stops]
    assert alphas == sorted(alphas)
    assert alphas[0] == 0
    assert alphas[-1] == 1
    assert len(colour_stops(5)) == 6


def test_map_colours_are_the_colours_of_the_stops():
    for position, rgb, alpha in colour_stops(8):
        ram = np.full((1, 1), LOW + position * (HIGH - LOW), np.float32)
        pixel = colourise(ram)[0, 0]
        assert np.abs(pixel[:3].astype(int) - rgb).max() <= 2
        assert pixel[3] / 255 == pytest.approx(alpha, abs=0.01)


def test_scale_is_fixed_not_stretched_to_the_image():
    ram = np.array([[0.0, 0.5, 1.0]], np.float32)
    with_peak = np.array([[0.0, 0.5, 1.0, 4.0]], np.float32)
    assert np.array_equal(colourise(ram)[0], colourise(with_peak)[0, :3])


def test_nothing_to_see_is_transparent_and_too_much_is_clipped():
    ram = np.array([[np.nan, LOW, LOW - 3, HIGH, HIGH + 100, np.inf, -np.inf]], np.float32)
    colours = colourise(ram)
    assert colours.dtype == np.uint8
    assert (colours[0, :3, 3] == 0).all()
    assert np.array_equal(colours[0, 3], colours[0, 4])
    assert np.array_equal(colours[0, 3], colours[0, 5])
    assert colours[0, 6, 3] == 0


def test_overlay_mixes_by_opacity():
    rgb = np.full((4, 4, 3), 100, np.uint8)
    ram = np.full((4, 4), np.nan, np.float32)
    ram[1, 2] = HIGH
    assert np.array_equal(overlay(rgb, ram, 0.0), rgb)
    out = overlay(rgb, ram, 1.0)
    assert out.dtype == np.uint8
    assert np.array_equal(out[1, 2], colourise(ram)[1, 2, :3])
    untouched = np.ones((4, 4), bool)
    untouched[1, 2] = False
    assert (out[untouched] == 100).all()
    half = overlay(rgb, ram, 0.5)[1, 2].astype(int)
    assert np.abs(half - (100 + out[1, 2].astype(int)) / 2).max() <= 1


def test_inputs_are_left_alone():
    rgb, ram = np.full((4, 4, 3), 100, np.uint8), np.full((4, 4), np.nan, np.float32)
    overlay(rgb, ram)
    assert (rgb == 100).all()
    assert np.isnan(ram).all()


def test_map_is_shrunk_to_a_smaller_photograph():
    rgb = np.zeros((50, 100, 3), np.uint8)
    ram = np.full((200, 400), np.nan, np.float32)
    ram[120:140, 240:280] = HIGH
    out = overlay(rgb, ram, 1.0)
    assert out.shape == rgb.shape
    rows, columns = np.nonzero(out.sum(axis=2))
    assert (rows.min(), rows.max()) == (30, 34)
    assert (columns.min(), columns.max()) == (60, 69)
