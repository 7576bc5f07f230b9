"""One retina a picture: composites of phantoms are refused, single photographs are not."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from drcore.preprocessing.field_of_view import find_field_of_view
from drcore.preprocessing.gradability import assess
from drcore.preprocessing.retina_count import PART_OF_A_PICTURE, SEVERAL_RETINAS, why_not_single

WHITE, GREY, BLACK = (255, 255, 255), (128, 128, 128), (0, 0, 0)
GROUNDS = pytest.mark.parametrize("ground", [WHITE, GREY, BLACK], ids=["white", "grey", "black"])


def page_of(height: int, width: int, ground: tuple[int, ...], *pictures) -> np.ndarray:
    """A page with pictures at places: (rgb, left, top)."""
    page = np.full((height, width, 3), ground, np.uint8)
    for rgb, left, top in pictures:
        page[top : top + rgb.shape[0], left : left + rgb.shape[1]] = rgb
    return page


def text(page: np.ndarray, line: str, left: int, top: int) -> None:
    ink = (0, 0, 0) if page[0, 0].mean() > 90 else (230, 230, 230)
    cv2.putText(page, line, (left, top), cv2.FONT_HERSHEY_SIMPLEX, 0.8, ink, 2, cv2.LINE_AA)


def smaller(rgb: np.ndarray, factor: float) -> np.ndarray:
    return cv2.resize(rgb, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)


@pytest.fixture
def eyes(phantom) -> tuple[np.ndarray, np.ndarray]:
    return phantom(seed=1).rgb, phantom(seed=2, cut_above=0.1, cut_below=0.1).rgb


# --- several retinas ----------------------------------------------------------------------------


@GROUNDS
@pytest.mark.parametrize("gap", [0, 3, 40])
@pytest.mark.parametrize("written", [False, True])
def test_two_side_by_side(eyes, ground, gap, written):
    (one, two), side = eyes, eyes[0].shape[1]
    height = max(one.shape[0], two.shape[0])
    page = page_of(
        height + 120, 2 * side + gap + 60, ground, (one, 30, 80), (two, 30 + side + gap, 90)
    )
    if written:
        text(page, "Invented Eye Clinic   OD", 30, 50)
    assert why_not_single(page) == SEVERAL_RETINAS


def test_a_small_one_beside_a_large_one_on_black(eyes):
    one, two = eyes[0], smaller(eyes[1], 0.68)
    page = page_of(400, 640, BLACK, (one, 10, 30), (two, 370, 100))
    assert why_not_single(page) == SEVERAL_RETINAS


def test_one_above_the_other_mirrored_and_without_a_gap(phantom):
    one = phantom(seed=1, cut_above=0.15, cut_below=0.15).rgb
    assert why_not_single(np.vstack([one, one[:, ::-1]])) == SEVERAL_RETINAS


@pytest.mark.parametrize("overlap", [0.0, 0.08, 0.16])
@GROUNDS
def test_circles_that_touch_or_overlap(phantom, ground, overlap):
    truth = phantom(seed=1)
    retina = truth.masks["field_of_view"]
    step = int(2 * truth.radius * (1 - overlap))
    page = page_of(truth.rgb.shape[0], truth.rgb.shape[1] + step, ground)
    for left in (0, step):
        part = page[:, left : left + truth.rgb.shape[1]]
        np.copyto(part, truth.rgb, where=retina[..., None])
    assert why_not_single(page) == SEVERAL_RETINAS


@pytest.mark.parametrize("count", [4, 9, 20])
@GROUNDS
def test_a_contact_sheet(phantom, count, ground):
    columns = int(np.ceil(np.sqrt(count)))
    tiles = [smaller(phantom(seed=seed % 3 + 1).rgb, 0.5) for seed in range(count)]
    cell = max(tile.shape[0] for tile in tiles) + 6
    page = page_of(
        -(-count // columns) * cell, columns * cell, ground,
        *((tile, cell * (i % columns), cell * (i // columns)) for i, tile in enumerate(tiles)),
    )  # fmt: skip
    assert why_not_single(page) == SEVERAL_RETINAS


def test_a_montage_of_overlapping_fields(phantom):
    truth = phantom(seed=1)
    page = page_of(800, 800, BLACK)
    for angle in range(0, 360, 72):
        left = int(240 + 190 * np.cos(np.radians(angle)))
        top = int(240 + 190 * np.sin(np.radians(angle)))
        part = page[top : top + truth.rgb.shape[0], left : left + truth.rgb.shape[1]]
        np.copyto(part, truth.rgb, where=truth.masks["field_of_view"][..., None])
    assert why_not_single(page) == SEVERAL_RETINAS


def test_an_inset_in_the_corner(phantom):
    page = phantom(seed=1, size=640).rgb.copy()
    inset = smaller(phantom(seed=2).rgb, 0.6)
    page[-inset.shape[0] :, : inset.shape[1]] = inset
    assert why_not_single(page) == SEVERAL_RETINAS


@pytest.mark.parametrize("left", [10, 40])
def test_a_square_inset_beside_a_disc_and_touching_it(phantom, left):
    eye = phantom(seed=1, size=640).rgb
    page = page_of(660, 760, BLACK, (eye, 100, 10))
    inset = smaller(phantom(seed=2).rgb, 0.5)
    inset = inset[len(inset) // 6 : -(len(inset) // 6), len(inset) // 6 : -(len(inset) // 6)]
    page[10 : 10 + inset.shape[0], left : left + inset.shape[1]] = inset
    assert why_not_single(page) == SEVERAL_RETINAS


def test_a_disc_in_the_corner_of_a_photograph_without_a_rim(phantom):
    eye = phantom(seed=1, size=900).rgb
    close = eye[180:-180, 180:-180]
    page = page_of(close.shape[0] + 30, close.shape[1] + 30, BLACK, (close, 0, 30))
    truth = phantom(seed=2)
    small, shown = smaller(truth.rgb, 0.6), smaller(np.uint8(truth.masks["field_of_view"]), 0.6)
    part = page[: small.shape[0], -small.shape[1] :]
    np.copyto(part, small, where=shown[..., None] > 0)
    assert why_not_single(page) == SEVERAL_RETINAS


# --- a retina in another picture ----------------------------------------------------------------


def test_a_fundus_photograph_beside_a_cross_section(phantom):
    rng = np.random.default_rng(0)
    scan = np.clip(rng.gamma(2, 12, (300, 560, 1)), 0, 255).astype(np.uint8).repeat(3, axis=2)
    scan[120:150] = 190
    inset = smaller(phantom(seed=1).rgb, 0.8)
    page = page_of(700, 960, WHITE, (inset, 30, 120), (scan, 340, 120))
    text(page, "Macular thickness", 30, 60)
    assert why_not_single(page) == PART_OF_A_PICTURE


def test_a_photograph_of_a_screen(phantom):
    rgb = phantom(seed=1).rgb
    screen = page_of(420, 640, BLACK, (rgb, 150, 50))
    screen = cv2.copyMakeBorder(screen, *[20] * 4, cv2.BORDER_CONSTANT, value=(40, 40, 42))
    soft = np.random.default_rng(1).normal(150, 40, (4, 5, 3)).clip(0, 255).astype(np.uint8)
    room = cv2.resize(soft, (900, 640), interpolation=cv2.INTER_CUBIC)
    room[90 : 90 + screen.shape[0], 110 : 110 + screen.shape[1]] = screen
    assert why_not_single(room) == PART_OF_A_PICTURE


@pytest.mark.parametrize("wall", [(120, 140, 190), (60, 90, 80)])
def test_a_bright_screen_in_a_coloured_room(phantom, wall):
    """The screen is lit, too: only colour tells the photograph from it."""
    rgb = phantom(seed=1).rgb
    screen = page_of(520, 760, (90, 90, 92), (rgb, 200, 80))
    screen = cv2.copyMakeBorder(screen, *[24] * 4, cv2.BORDER_CONSTANT, value=(12, 12, 12))
    room = page_of(760, 1000, wall, (screen, 90, 90))
    assert why_not_single(room) == PART_OF_A_PICTURE


def test_a_report_with_a_thumbnail_of_the_fundus(phantom):
    scan = np.full((300, 600, 3), 40, np.uint8)
    scan[120:150] = 190
    page = page_of(
        1400, 1000, WHITE, (smaller(phantom(seed=1).rgb, 0.3), 40, 320), (scan, 300, 250)
    )
    text(page, "Macular thickness", 30, 60)
    assert why_not_single(page) == PART_OF_A_PICTURE


# --- single photographs -------------------------------------------------------------------------

SINGLE = {
    "whole": {},
    "off-centre": {"offset": (-0.3, 0.2)},
    "cut to a strip": {"cut_above": 0.2, "cut_below": 0.2},
    "notch": {"notch": True},
    "dim": {"exposure": 0.3},
    "dark fundus": {"pigment": 1.0, "vignetting": 0.6},
}


@pytest.mark.parametrize("recipe", SINGLE.values(), ids=SINGLE.keys())
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_single_photograph_is_not_refused(phantom, recipe, seed):
    assert why_not_single(phantom(seed=seed, **recipe).rgb) == ""


@GROUNDS
@pytest.mark.parametrize("recipe", [{}, {"cut_below": 0.15}, {"notch": True}])
def test_nor_is_it_on_a_page_with_writing(phantom, ground, recipe):
    rgb = phantom(seed=1, **recipe).rgb
    page = page_of(900, 700, ground, (rgb, 200, 180))
    for row, line in enumerate(("Invented Eye Clinic", "Right eye, 12 March", "Acuity 0.8")):
        text(page, line, 60, 660 + 60 * row)
    text(page, "Fundus photography", 60, 80)
    assert why_not_single(page) == ""


@GROUNDS
def test_nor_with_another_ground_instead_of_black(phantom, ground):
    truth = phantom(seed=1)
    rgb = truth.rgb.copy()
    rgb[~truth.masks["field_of_view"]] = ground
    assert why_not_single(rgb) == ""


def test_nor_with_a_rim_in_the_colour_of_the_page(phantom):
    truth = phantom(seed=1)
    rgb = truth.rgb.copy()
    rgb[~truth.masks["field_of_view"]] = (60, 60, 62)
    side = rgb.shape[0]
    cv2.circle(rgb, (int(0.2 * side), int(0.85 * side)), side // 10, (60, 60, 62), -1)
    assert why_not_single(rgb) == ""


def test_nor_with_a_blue_rim_that_fills_the_frame(phantom):
    truth = phantom(seed=1, size=640)
    rgb = truth.rgb[60:-60, 20:-20].copy()
    rows, columns = np.mgrid[: rgb.shape[0], : rgb.shape[1]]
    far = np.hypot(rows - rgb.shape[0] / 2, columns - rgb.shape[1] / 2) > 190
    rgb[far & (rgb.max(axis=2) > 20)] = (40, 110, 120)
    assert why_not_single(rgb) == ""


def test_nor_when_it_is_small_in_a_large_frame(phantom):
    page = page_of(2400, 3000, BLACK, (phantom(seed=1).rgb, 1900, 300))
    assert why_not_single(page) == ""


@pytest.mark.parametrize("side", [1, 8, 33])
def test_never_raises_on_tiny_or_empty_pictures(side):
    rng = np.random.default_rng(side)
    assert why_not_single(np.zeros((side, side, 3), np.uint8)) == ""
    why_not_single(rng.integers(0, 256, (side, 3 * side, 3)).astype(np.uint8))
    why_not_single(np.full((side, 40 * side, 3), 255, np.uint8))


# --- where it is used ---------------------------------------------------------------------------


def test_the_reason_stands_in_the_quality_and_in_the_report(eyes, grader):
    page = page_of(420, 760, WHITE, (eyes[0], 20, 40), (eyes[1], 390, 40))
    assert assess(page, find_field_of_view(page)).reason == SEVERAL_RETINAS
    report = grader.grade(page)
    assert (report.status, report.grade) == ("ungradable", None)
    assert report.reason == SEVERAL_RETINAS


def test_of_many_only_the_composite_is_refused(eyes, grader):
    page = np.hstack([eyes[0], eyes[0][:, ::-1]])
    one, two = grader.grade_many([eyes[0], page])
    assert one.reason != SEVERAL_RETINAS
    assert two.reason == SEVERAL_RETINAS


@pytest.mark.data
def test_real_photographs_and_composites_of_them(data_root):
    from training.evaluation.composites import composites, singles

    paths = sorted((data_root / "images").iterdir())[::60]
    reasons = [why_not_single(rgb) for _, rgb in composites(paths, 80, seed=5)]
    assert np.mean([bool(reason) for reason in reasons]) >= 0.95
    kept = [why_not_single(rgb) for _, rgb in singles(paths, 60, seed=5)]
    assert kept == [""] * 60
