"""The one geometry: points, photographs, masks and maps go to the square and come back."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from drcore.photographs.reader import read_photograph
from drcore.preprocessing.field_of_view import FieldOfView, find_field_of_view
from drcore.preprocessing.retina_square import RetinaSquare
from tests.support.geometry import to_photograph


def field(
    width: int, height: int, x: float, y: float, radius: float, top: float = 0.0
) -> FieldOfView:
    return FieldOfView(x, y, radius, 0.0, top, float(width), float(height), found=True, note="")


# width, height, x, y, radius: whole, off-centre, cut above and below, cut left, centre outside
GEOMETRIES = {
    "whole": (460, 440, 230.0, 220.0, 210.0),
    "off-centre": (540, 380, 231.3, 184.7, 171.9),
    "cut above and below": (480, 310, 242.6, 153.1, 230.4),
    "cut left": (320, 440, 100.2, 220.5, 210.7),
    "centre outside": (260, 440, -30.3, 225.2, 215.1),
    "small": (190, 180, 93.4, 91.7, 85.3),
}
geometries = pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES.keys())


def frame_of(geometry, size: int) -> RetinaSquare:
    width, height, x, y, radius = geometry
    return RetinaSquare(field(width, height, x, y, radius), width, height, size)


def dots_inside(frame: RetinaSquare, count: int = 3, margin: float = 24.0) -> np.ndarray:
    """Positions well inside both the circle and the photograph."""
    fov = frame.field_of_view
    points = np.random.default_rng(0).uniform((0, 0), (frame.width, frame.height), (4000, 2))
    inside = np.hypot(*(points - (fov.x, fov.y)).T) < fov.radius - margin
    far = np.array([frame.width, frame.height]) - points
    edge = np.minimum(points, far).min(axis=1) > margin
    kept = points[inside & edge][:count]
    assert len(kept) == count
    return kept


def draw(width: int, height: int, dots: np.ndarray, sigma: float) -> np.ndarray:
    """Black photograph with Gaussian dots; pixel (row i, column j) has its centre at j + 0.5."""
    columns, rows = np.arange(width) + 0.5, np.arange(height) + 0.5
    canvas = np.zeros((height, width), np.float32)
    for x, y in dots:
        dot = np.exp(-((rows[:, None] - y) ** 2 + (columns[None] - x) ** 2) / (2 * sigma**2))
        canvas = np.maximum(canvas, dot.astype(np.float32))
    return canvas


def centroid(image: np.ndarray, near: np.ndarray, reach: float) -> np.ndarray:
    """Centre of brightness around a position, continuous coordinates."""
    left, top = (int(max(0, v - reach)) for v in near)
    window = image[top : int(near[1] + reach) + 1, left : int(near[0] + reach) + 1]
    rows, columns = np.mgrid[: window.shape[0], : window.shape[1]] + 0.5
    total = window.sum()
    return np.array([(window * columns).sum() / total + left, (window * rows).sum() / total + top])


# --- points -------------------------------------------------------------------------------------


@geometries
@pytest.mark.parametrize("size", [64, 512])
def test_points_go_there_and_back_exactly(geometry, size):
    frame = frame_of(geometry, size)
    points = np.random.default_rng(0).uniform(-500, 1500, (50, 2))
    assert np.allclose(to_photograph(frame, frame.to_square(points)), points, atol=1e-9)
    assert np.allclose(frame.to_square(to_photograph(frame, points)), points, atol=1e-9)


@geometries
def test_circle_touches_the_four_sides_and_aspect_is_kept(geometry):
    frame = frame_of(geometry, 256)
    fov = frame.field_of_view
    centre, radius = np.array([fov.x, fov.y]), fov.radius
    assert np.allclose(frame.to_square(centre), 128)
    assert np.allclose(frame.to_square(centre + np.array([radius, 0])), (256, 128))
    assert np.allclose(frame.to_square(centre - np.array([0, radius])), (128, 0))
    turned = np.array([[np.cos(t), np.sin(t)] for t in np.linspace(0, 6, 20)]) * radius / 2
    lengths = np.hypot(*(frame.to_square(centre + turned) - 128).T)
    assert np.allclose(lengths, 64)


def test_at_changes_only_the_resolution():
    frame = frame_of(GEOMETRIES["off-centre"], 512)
    point = np.array([[222.2, 333.3]])
    assert np.allclose(frame.at(128).to_square(point), frame.to_square(point) / 4)
    assert frame.at(128).size == 128
    assert frame.at(512) == frame


# --- photographs --------------------------------------------------------------------------------


@geometries
@pytest.mark.parametrize("size", [96, 256, 512])
def test_dots_on_the_photograph_are_found_back_from_the_square(geometry, size):
    frame = frame_of(geometry, size)
    sigma = max(2.0, 1.5 / frame.scale)
    for pair in dots_inside(frame):
        square = frame.warp(draw(frame.width, frame.height, pair[None], sigma))
        assert square.shape == (size, size)
        assert square.dtype == np.float32
        found = to_photograph(frame, centroid(square, np.array([size / 2, size / 2]), size))
        # Half a pixel of the original, though a pixel of the square may be six of them.
        assert np.abs(found - pair).max() < 0.5, (pair, found)


@geometries
@pytest.mark.parametrize("size", [96, 256, 512])
def test_dots_on_the_square_are_found_back_on_the_photograph(geometry, size):
    frame = frame_of(geometry, size)
    sigma = max(2.0, 1.5 * frame.scale)
    whole = frame.warp(np.ones((frame.height, frame.width), np.float32))
    for place in dots_inside(frame, margin=40):
        at = frame.to_square(place)
        square = draw(size, size, at[None], sigma) * whole
        back = frame.warp_back(square)
        assert back.shape == (frame.height, frame.width)
        reach = 5 * sigma / frame.scale + 2
        found = centroid(back, place, min(reach, 38))
        assert np.abs(found - place).max() < 0.5, (place, found)


@geometries
@pytest.mark.parametrize("cells", [16, 28, 32])
def test_cell_of_a_map_comes_back_where_it_lies(geometry, cells):
    frame = frame_of(geometry, cells)
    fov = frame.field_of_view
    step = 2 * fov.radius / cells
    seen = 0
    for row, column in np.random.default_rng(1).integers(2, cells - 2, (10, 2)):
        centre = to_photograph(frame, np.array([column + 0.5, row + 0.5]))
        edge = np.min([centre, np.array([frame.width, frame.height]) - centre])
        if edge < step + 1:
            continue  # what is cut off has no centroid to check
        ram = np.zeros((cells, cells), np.float32)
        ram[row, column] = 1
        for nearest in (False, True):
            back = frame.warp_back(ram, nearest=nearest)
            total = back.sum()
            x, y = back.sum(axis=0) / total, back.sum(axis=1) / total
            found = x @ (np.arange(frame.width) + 0.5), y @ (np.arange(frame.height) + 0.5)
            assert np.abs(found - centre).max() < 0.5
            assert np.sqrt(total) == pytest.approx(step, abs=1)
        seen += 1
    assert seen > 1


def test_map_is_interpolated_exactly_between_cells():
    frame = frame_of(GEOMETRIES["off-centre"], 16)
    rows, columns = np.mgrid[:16, :16].astype(np.float32) + 0.5
    back = frame.warp_back(columns)
    x = np.arange(frame.width) + 0.5
    wanted = frame.to_square(np.column_stack([x, np.full_like(x, frame.height / 2)]))[:, 0]
    inner = (wanted > 0.5) & (wanted < 15.5)
    assert np.abs(back[frame.height // 2] - wanted)[inner].max() < 1e-3
    assert np.array_equal(frame.warp_back(rows).argmin(axis=0), np.zeros(frame.width))


@geometries
def test_smooth_picture_survives_the_round_trip(geometry):
    frame = frame_of(geometry, 512)
    rows, columns = np.mgrid[: frame.height, : frame.width].astype(np.float32)
    picture = np.dstack([120 + 80 * np.sin(columns / 40), 120 + 80 * np.cos(rows / 35), rows / 4])
    picture = picture.astype(np.uint8)
    square = frame.warp(picture)
    assert square.shape == (512, 512, 3)
    assert square.dtype == np.uint8
    back = frame.warp_back(square)
    assert back.shape == picture.shape
    inside = cv2.erode(
        frame.field_of_view.mask(frame.height, frame.width).astype(np.uint8), np.ones((9, 9))
    )
    inside[:5], inside[-5:], inside[:, :5], inside[:, -5:] = 0, 0, 0, 0
    assert np.abs(back.astype(int) - picture)[inside > 0].mean() < 1.0


@geometries
@pytest.mark.parametrize("size", [128, 512])
def test_mask_survives_the_round_trip(geometry, size):
    frame = frame_of(geometry, size)
    place = dots_inside(frame, 1, margin=30)[0]
    rows, columns = np.mgrid[: frame.height, : frame.width] + 0.5
    lesion = (np.hypot(columns - place[0], rows - place[1]) < 20).astype(np.uint8) * 3
    square = frame.warp(lesion, nearest=True)
    assert set(np.unique(square)) == {0, 3}
    assert (square > 0).sum() == pytest.approx(np.pi * (20 * frame.scale) ** 2, rel=0.15)
    back = frame.warp_back(square, nearest=True)
    assert set(np.unique(back)) == {0, 3}
    assert np.abs(centroid(back, place, 40) - place).max() < 0.5


def test_what_the_photograph_lacks_is_black():
    width, height, x, y, radius = GEOMETRIES["cut above and below"]
    frame = frame_of((width, height, x, y, radius), 256)
    square = frame.warp(np.full((height, width, 3), 200, np.uint8))
    (_, top), (_, bottom) = frame.to_square(np.array([[0, 0], [0, height]]))
    assert (square[: int(top) - 1] == 0).all()
    assert (square[int(bottom) + 2 :] == 0).all()
    assert (square[int(top) + 2 : int(bottom) - 1, 4:-4] == 200).all()


def test_brightness_is_averaged_not_sampled():
    # One-pixel stripes vanish into their mean: no pattern may appear that the retina does not have.
    stripes = np.zeros((900, 900), np.uint8)
    stripes[:, ::2] = 200
    for size in (128, 200, 300, 440, 512):
        square = frame_of((900, 900, 450, 450, 440), size).warp(stripes)
        inner = square[size // 8 : -size // 8, size // 8 : -size // 8].astype(float)
        assert inner.mean() == pytest.approx(100, abs=1.5)
        if size <= 440:
            assert inner.std() < 20


# --- real files: reduced decoding, EXIF ---------------------------------------------------------


@pytest.mark.parametrize(
    ("width", "height", "reduction"), [(1301, 1287, 2), (2603, 2577, 4), (5203, 5125, 8)]
)
def test_reduced_decoding_lands_on_the_same_square(encoded, width, height, reduction):
    fov = field(width, height, width * 0.47, height * 0.52, height * 0.45)
    frame = RetinaSquare(fov, width, height, 256)
    place = np.array([width * 0.31, height * 0.64])
    reach = 12 * reduction
    left, top = np.round(place - reach).astype(int)
    photograph = np.zeros((height, width), np.uint8)
    dot = draw(2 * reach, 2 * reach, (place - (left, top))[None], 4 * reduction)
    photograph[top : top + 2 * reach, left : left + 2 * reach] = 250 * dot
    read = read_photograph(encoded(photograph, "JPEG", quality=95), for_grading=True)
    assert read.reduction == reduction
    assert (read.width, read.height) == (width, height)
    square = frame.warp(read.rgb)[..., 1].astype(np.float32)
    square[square < 6] = 0  # ringing of the compression
    at = frame.to_square(place)
    found = to_photograph(frame, centroid(square, at, reach * frame.scale))
    assert np.abs(found - place).max() < 0.5  # of the original's pixels


@pytest.mark.parametrize("orientation", range(1, 9))
def test_dots_on_a_rotated_and_cut_photograph(phantom, encoded, turned, orientation):
    truth = phantom(seed=1, cut_above=0.12)
    height, width = truth.rgb.shape[:2]
    place = np.array([width * 0.62, height * 0.41])
    marked = draw(width, height, place[None], 3.0)
    data = encoded(turned(truth.rgb, orientation), "JPEG", orientation, quality=95)
    photograph = read_photograph(data, for_grading=True)
    fov = find_field_of_view(photograph.rgb).scaled(photograph.reduction)
    frame = RetinaSquare(fov, photograph.width, photograph.height, 224)
    assert (frame.width, frame.height) == (width, height)
    assert fov.cut == ("top",)
    # The dot alone, through the same tag and the same geometry, has a centre to measure.
    stored = turned((255 * marked).astype(np.uint8), orientation)
    dots = read_photograph(encoded(stored, "PNG", orientation))
    square = frame.warp(dots.rgb)[..., 0].astype(float)
    found = to_photograph(frame, centroid(square, np.array([112, 112]), 224))
    assert np.abs(found - place).max() < 0.5
    back = frame.warp_back(square.astype(np.float32))
    assert np.abs(centroid(back, place, 30) - place).max() < 0.5


def test_the_same_eye_at_two_sizes_gives_the_same_square(phantom):
    rgb = phantom(seed=1).rgb
    large = cv2.resize(rgb, None, fx=3, fy=3, interpolation=cv2.INTER_LINEAR)
    squares = []
    for pixels in (rgb, large):
        fov = find_field_of_view(pixels)
        squares.append(RetinaSquare(fov, pixels.shape[1], pixels.shape[0], 128).warp(pixels))
    assert np.abs(squares[0].astype(int) - squares[1].astype(int)).mean() < 2.5


# --- mask and coverage --------------------------------------------------------------------------


@geometries
@pytest.mark.parametrize("margin", [0.0, 0.05])
def test_mask_of_the_square_is_the_mask_of_the_photograph(geometry, margin):
    frame = frame_of(geometry, 300)
    square = frame.mask(margin)
    assert square.shape == (300, 300)
    original = frame.field_of_view.mask(frame.height, frame.width, margin).astype(np.float32)
    warped = frame.warp(original) > 0.5
    assert (square ^ warped).sum() < 0.012 * 300**2
    back = frame.warp_back(square.astype(np.float32)) > 0.5
    assert (back ^ (original > 0))[original > 0].mean() < 0.02


@geometries
@pytest.mark.parametrize("cells", [16, 28, 32])
def test_coverage_is_the_share_of_retina_in_each_cell(geometry, cells):
    frame = frame_of(geometry, 512)
    coverage = frame.coverage(cells, 0.02)
    assert coverage.shape == (cells, cells)
    assert coverage.dtype == np.float32
    assert coverage.min() >= 0
    assert coverage.max() <= 1
    fine = frame.at(cells * 40).mask(0.02).reshape(cells, 40, cells, 40).mean(axis=(1, 3))
    assert np.abs(coverage - fine).max() < 0.06
    assert coverage.mean() == pytest.approx(frame.at(2048).mask(0.02).mean(), abs=0.003)
    assert coverage[0, 0] == 0  # corners of the square lie outside the circle


def test_coverage_does_not_depend_on_the_size_of_the_square():
    frame = frame_of(GEOMETRIES["off-centre"], 512)
    assert np.array_equal(frame.coverage(16), frame.at(64).coverage(16))
