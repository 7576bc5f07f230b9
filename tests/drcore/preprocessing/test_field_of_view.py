"""Finding the circle: on phantoms whose truth is known, on discs, and on what is no retina."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from drcore.preprocessing.field_of_view import FieldOfView, find_field_of_view


def disc(
    height: int, width: int, x: float, y: float, radius: float, level: int = 130, ground: int = 0
) -> np.ndarray:
    """A reddish disc with an antialiased rim on a black (or lifted) ground."""
    columns, rows = np.arange(width) + 0.5, np.arange(height) + 0.5
    share = np.clip(radius - np.hypot(columns[None] - x, rows[:, None] - y) + 0.5, 0, 1)
    rgb = (
        share[..., None] * np.array([level, level * 0.55, level * 0.3])
        + (1 - share[..., None]) * ground
    )
    return (rgb + 0.5).astype(np.uint8)


def assert_circle(
    fov: FieldOfView, centre: tuple[float, float], radius: float, tolerance: float = 0.01
) -> None:
    assert fov.found
    assert np.hypot(fov.x - centre[0], fov.y - centre[1]) < tolerance * radius
    assert abs(fov.radius - radius) < tolerance * radius


# --- phantoms -----------------------------------------------------------------------------------

WHOLE_OR_CUT = {
    "whole": ({}, ()),
    "off-centre": ({"offset": (0.12, -0.08)}, ("top", "right")),
    "far off-centre": ({"offset": (-0.3, 0.2)}, ("left", "bottom")),
    "cut above": ({"cut_above": 0.12}, ("top",)),
    "cut below": ({"cut_below": 0.15}, ("bottom",)),
    "cut above and below": ({"cut_above": 0.12, "cut_below": 0.1}, ("top", "bottom")),
    "cut to a strip": ({"cut_above": 0.2, "cut_below": 0.2}, ("top", "bottom")),
    "notch": ({"notch": True}, ()),
    "dim": ({"exposure": 0.3}, ()),
    "dark fundus": ({"pigment": 1.0, "vignetting": 0.6}, ()),
}


@pytest.mark.parametrize(("recipe", "cut"), WHOLE_OR_CUT.values(), ids=WHOLE_OR_CUT.keys())
def test_circle_of_a_phantom(phantom, recipe, cut):
    truth = phantom(seed=1, **recipe)
    fov = find_field_of_view(truth.rgb)
    assert_circle(fov, truth.centre, truth.radius)
    assert fov.cut == cut
    assert all(side in fov.note for side in cut)
    assert bool(fov.note) == bool(cut)


@pytest.mark.parametrize("seed", [1, 2])
def test_very_dark_photograph(phantom, seed):
    truth = phantom(seed=seed)
    assert_circle(
        find_field_of_view((truth.rgb * 0.15).astype(np.uint8)), truth.centre, truth.radius
    )


def test_cut_inside_a_larger_black_frame(phantom):
    truth = phantom(seed=1, cut_above=0.12, cut_below=0.1)
    height, width = truth.rgb.shape[:2]
    frame = np.zeros((height + 150, width + 120, 3), np.uint8)
    frame[90 : 90 + height, 70 : 70 + width] = truth.rgb
    fov = find_field_of_view(frame)
    assert_circle(fov, (truth.centre[0] + 70, truth.centre[1] + 90), truth.radius)
    assert fov.cut == ("top", "bottom")
    # The black bars are not retina: the visible rectangle ends where the picture did.
    assert abs(fov.top - 90) < 3
    assert abs(fov.bottom - (90 + height)) < 3
    assert (fov.left, fov.right) == (0, frame.shape[1])


def test_cut_close_on_all_sides_and_put_on_a_larger_black_frame(phantom):
    truth = phantom(seed=1)
    half = int(truth.radius * 0.85)
    x, y = map(int, truth.centre)
    frame = np.zeros((2 * half + 160, 2 * half + 100, 3), np.uint8)
    frame[90 : 90 + 2 * half, 40 : 40 + 2 * half] = truth.rgb[
        y - half : y + half, x - half : x + half
    ]
    fov = find_field_of_view(frame)
    assert_circle(fov, (half + 40, half + 90), truth.radius, tolerance=0.03)
    assert fov.cut == ("left", "top", "right", "bottom")
    assert (fov.left, fov.top) == pytest.approx((40, 90), abs=3)
    assert (fov.right, fov.bottom) == pytest.approx((40 + 2 * half, 90 + 2 * half), abs=3)


@pytest.mark.parametrize("ground", [(255, 255, 255), (60, 60, 60), (34, 32, 33)])
@pytest.mark.parametrize("recipe", [{}, {"offset": (0.12, -0.08)}, {"cut_above": 0.12}])
def test_a_white_or_grey_ground_is_not_retina(phantom, ground, recipe):
    truth = phantom(seed=1, **recipe)
    rgb = truth.rgb.copy()
    rgb[~truth.masks["field_of_view"]] = ground
    fov = find_field_of_view(rgb)
    assert_circle(fov, truth.centre, truth.radius, tolerance=0.015)
    assert fov.cut == find_field_of_view(truth.rgb).cut


@pytest.mark.parametrize("seed", [1, 2])
def test_a_photograph_on_a_page_is_found_without_the_page(phantom, seed):
    truth = phantom(seed=seed, cut_below=0.1)
    height, width = truth.rgb.shape[:2]
    page = np.full((height + 200, width + 110, 3), 250, np.uint8)
    page[60 : 60 + height, 40 : 40 + width] = truth.rgb
    cv2.putText(page, "OD, 12 March", (50, height + 120), cv2.FONT_HERSHEY_SIMPLEX, 1, (0, 0, 0), 2)
    fov = find_field_of_view(page)
    assert_circle(fov, (truth.centre[0] + 40, truth.centre[1] + 60), truth.radius)
    assert fov.cut == ("bottom",)
    assert fov.bottom == pytest.approx(find_field_of_view(truth.rgb).bottom + 60, abs=4)
    assert page[fov.mask(*page.shape[:2], margin=0.02)].min(axis=1).max() < 240  # none of the page


def test_a_small_photograph_on_a_large_page_is_measured_as_well(phantom):
    truth = phantom(seed=1, size=512)
    page = np.full((1900, 1500, 3), 255, np.uint8)
    page[300 : 300 + truth.rgb.shape[0], 500 : 500 + truth.rgb.shape[1]] = truth.rgb
    page[1200:1240, 100:900] = 0  # a line of text
    fov = find_field_of_view(page)
    assert_circle(fov, (truth.centre[0] + 500, truth.centre[1] + 300), truth.radius)
    assert fov.cut == ()


def test_an_even_tinted_crop_is_no_ground(phantom):
    """Retina that fills the frame stays retina: four like corners, but they have a colour."""
    truth = phantom(seed=1)
    x, y = map(int, truth.centre)
    crop = truth.rgb[y - 60 : y + 60, x - 60 : x + 60].copy()
    for rows in (slice(12), slice(-12, None)):
        for columns in (slice(12), slice(-12, None)):
            crop[rows, columns] = (120, 70, 40)
    fov = find_field_of_view(crop)
    assert not fov.found
    assert (fov.left, fov.top, fov.right, fov.bottom) == (0, 0, 120, 120)


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_without_a_rim_the_full_frame_stands_in_and_says_so(phantom, seed):
    truth = phantom(seed=seed)
    half = int(truth.radius * 0.68)
    x, y = map(int, truth.centre)
    crop = truth.rgb[y - half : y + half, x - half : x + half]
    fov = find_field_of_view(crop)
    assert not fov.found
    assert "rim" in fov.note
    assert (fov.x, fov.y) == (half, half)
    assert fov.mask(*crop.shape[:2]).all()
    assert fov.cut == ("left", "top", "right", "bottom")


def test_light_that_falls_off_towards_the_corners_is_no_rim():
    rows, columns = np.mgrid[:340, :340] + 0.5
    light = 1 - 0.25 * ((rows - 170) ** 2 + (columns - 170) ** 2) / 170**2
    rgb = (light[..., None] * np.array([180, 90, 50])).astype(np.uint8)
    fov = find_field_of_view(rgb)
    assert not fov.found
    assert fov.note == "No rim is seen: the retina fills the frame."


def test_mask_is_the_retina_of_the_phantom(phantom):
    for recipe in ({}, {"cut_above": 0.12}, {"offset": (0.12, -0.08)}):
        truth = phantom(seed=1, **recipe)
        mask = find_field_of_view(truth.rgb).mask(*truth.rgb.shape[:2])
        retina = truth.masks["field_of_view"]
        assert (mask & retina).sum() / (mask | retina).sum() > 0.98


def test_larger_copies_give_the_same_circle(phantom):
    truth = phantom(seed=1, offset=(0.12, -0.08))
    small = find_field_of_view(truth.rgb)
    large = find_field_of_view(cv2.resize(truth.rgb, None, fx=4, fy=4))
    for name in ("x", "y", "radius"):
        assert getattr(large, name) == pytest.approx(4 * getattr(small, name), rel=0.01)


@pytest.mark.parametrize("share", [0.15, 0.3, 0.42])
def test_a_small_photograph_in_a_large_black_frame(phantom, share):
    truth = phantom(seed=1)
    height, width = truth.rgb.shape[:2]
    side = round(2 * truth.radius / share)
    left, top = (side - width) // 2, (side - height) // 3
    frame = np.random.default_rng(0).integers(0, 5, (side, side, 3)).astype(np.uint8)
    frame[top : top + height, left : left + width] = truth.rgb
    fov = find_field_of_view(frame)
    assert_circle(fov, (truth.centre[0] + left, truth.centre[1] + top), truth.radius)
    assert fov.cut == ()


def test_a_lit_spot_in_a_dark_retina_is_not_the_retina(phantom):
    truth = phantom(seed=1)
    dark = (truth.rgb * 0.15).astype(np.uint8)
    x, y = map(int, truth.centre)
    cv2.circle(dark, (x, y), 20, (200, 180, 150), cv2.FILLED)
    fov = find_field_of_view(dark)
    assert not fov.found or fov.radius > 0.9 * truth.radius


@pytest.mark.parametrize("framed", [False, True])
@pytest.mark.parametrize("ground", [(255, 255, 255), (128, 128, 128)])
def test_writing_that_touches_a_photograph_on_a_page_is_not_retina(phantom, ground, framed):
    truth = phantom(seed=1)
    height, width = truth.rgb.shape[:2]
    page = np.full((900, 1100, 3), ground, np.uint8)
    part = page[300 : 300 + height, 420 : 420 + width]
    shown = np.ones((height, width), bool) if framed else truth.masks["field_of_view"]
    np.copyto(part, truth.rgb, where=shown[..., None])
    for row in (330, 470):
        cv2.putText(page, "A. Example, 1962-04-13", (40, row), 0, 1.0, (0, 0, 0), 2)
    fov = find_field_of_view(page)
    assert_circle(fov, (truth.centre[0] + 420, truth.centre[1] + 300), truth.radius, 0.02)


# --- discs --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("height", "width", "x", "y", "radius"),
    [
        (300, 300, 150, 150, 140),
        (300, 500, 210.4, 151.2, 130.6),  # off-centre in a wide frame
        (240, 400, 200, 120, 170),  # cut above and below
        (300, 300, 60, 150, 140),  # cut on the left
        (1100, 1700, 830, 560, 500),
        (128, 128, 64, 64, 60),
    ],
)
@pytest.mark.parametrize("ground", [0, 14], ids=["black", "lifted black"])
def test_circle_of_a_disc(height, width, x, y, radius, ground):
    fov = find_field_of_view(disc(height, width, x, y, radius, ground=ground))
    assert_circle(fov, (x, y), radius)


def test_quarter_of_a_circle_in_the_corner():
    assert_circle(find_field_of_view(disc(300, 400, 390, 290, 200)), (390, 290), 200, 0.02)


def test_dark_crescent_and_bright_notch_do_not_move_the_circle():
    rgb = disc(400, 420, 205, 200, 180)
    rgb[190:230, 380:395] = 130  # the tab that cameras add
    columns, rows = np.meshgrid(np.arange(420) + 0.5, np.arange(400) + 0.5)
    rgb[np.hypot(columns - 205, rows - 480) < 170] = 0  # an eyelid from below
    assert_circle(find_field_of_view(rgb), (205, 200), 180)


def test_circle_that_leaves_retina_out_is_not_believed():
    # A disc with a broad block on its side: most of the outline is round, the shape is not.
    rgb = disc(300, 460, 130, 150, 110)
    rgb[50:250, 130:440] = (130, 71, 39)
    fov = find_field_of_view(rgb)
    assert not fov.found
    assert fov.mask(300, 460).all()


def test_bright_rectangle_is_no_circle():
    rgb = np.zeros((300, 400, 3), np.uint8)
    rgb[60:240, 80:330] = (130, 71, 39)
    fov = find_field_of_view(rgb)
    assert not fov.found
    assert fov.note


# --- hard pictures ------------------------------------------------------------------------------


def hard_pictures() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    spot = np.zeros((200, 200, 3), np.uint8)
    spot[90:96, 90:96] = 255
    stripes = np.zeros((200, 300, 3), np.uint8)
    stripes[:, ::7] = 255
    ramp = np.repeat(np.linspace(0, 255, 300).astype(np.uint8)[None, :, None], 200, axis=0)
    line = np.zeros((200, 200, 3), np.uint8)
    line[100:102] = 200
    return {
        "noise": rng.integers(0, 256, (200, 300, 3)).astype(np.uint8),
        "sparse noise": (rng.random((200, 300, 3)) > 0.99).astype(np.uint8) * 255,
        "black": np.zeros((200, 300, 3), np.uint8),
        "white": np.full((200, 300, 3), 255, np.uint8),
        "flat": np.full((200, 300, 3), 90, np.uint8),
        "tiny": rng.integers(0, 256, (32, 32, 3)).astype(np.uint8),
        "tiny disc": disc(32, 32, 16, 16, 15),
        "wide": rng.integers(0, 256, (40, 2000, 3)).astype(np.uint8),
        "tall": rng.integers(0, 256, (2000, 40, 3)).astype(np.uint8),
        "wide disc": disc(32, 3000, 500, 16, 900),
        "spot": spot,
        "stripes": stripes,
        "line": line,
        "ramp": np.repeat(ramp, 3, axis=2),
        "one pixel": np.zeros((1, 1, 3), np.uint8),
    }


@pytest.mark.parametrize(("name", "rgb"), hard_pictures().items())
def test_never_raises_and_always_answers(name, rgb):
    height, width = rgb.shape[:2]
    fov = find_field_of_view(rgb)
    assert np.isfinite([fov.x, fov.y, fov.radius]).all()
    assert fov.radius > 0
    assert 0 <= fov.left < fov.right <= width + 1
    assert 0 <= fov.top < fov.bottom <= height + 1
    assert fov.mask(height, width).any()
    if not fov.found:
        assert fov.note
        assert (fov.left, fov.top, fov.right, fov.bottom) == (0, 0, width, height)


@pytest.mark.parametrize("name", ["black", "white", "flat", "noise", "wide"])
def test_falls_back_to_the_full_frame_and_says_so(name):
    rgb = hard_pictures()[name]
    fov = find_field_of_view(rgb)
    assert not fov.found
    assert fov.note.endswith(".")
    assert fov.radius == pytest.approx(np.hypot(*rgb.shape[:2]) / 2)


def test_same_pixels_give_the_same_circle(phantom):
    rgb = phantom(seed=1).rgb
    assert find_field_of_view(rgb) == find_field_of_view(rgb.copy())


# --- the object ---------------------------------------------------------------------------------


def test_scaled_and_visible_fraction():
    whole = FieldOfView(50, 50, 40, 0, 0, 100, 100, found=True, note="")
    assert whole.visible_fraction == 1
    assert whole.cut == ()
    half = FieldOfView(50, 50, 40, 50, 0, 100, 100, found=True, note="")
    assert half.visible_fraction == pytest.approx(0.5, abs=0.01)
    assert half.cut == ("left",)
    double = half.scaled(2)
    assert (double.x, double.radius, double.left, double.bottom) == (100, 80, 100, 200)
    assert double.visible_fraction == pytest.approx(half.visible_fraction)


def test_mask_counts_pixel_centres_and_leaves_the_margin_out():
    fov = FieldOfView(10, 10, 5, 0, 8, 20, 20, found=True, note="")
    mask = fov.mask(20, 20)
    rows, columns = np.mgrid[:20, :20] + 0.5
    wanted = (np.hypot(columns - 10, rows - 10) <= 5) & (rows >= 8)
    assert np.array_equal(mask, wanted)
    margin = fov.mask(20, 20, margin=0.2)
    assert np.array_equal(margin, (np.hypot(columns - 10, rows - 10) <= 4) & (rows >= 9))
