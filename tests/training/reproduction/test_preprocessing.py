"""The eye is found wherever it stands in the frame, and a run never trains on half a cache."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from drcore.errors import SourceError
from drcore.photographs.reader import read_photograph
from training.data import cache as disk_cache
from training.data.labels import Labelled, LabelsError, read_labels
from training.reproduction import preprocessing
from training.reproduction.preprocessing import Photographs, crop_to_eye, square

RETINA = (180, 90, 40)


def disc(
    width: int = 300,
    height: int = 200,
    x: int = 150,
    y: int = 100,
    radius: int = 80,
    colour: tuple[int, int, int] = RETINA,
    noise: float = 1.5,
) -> np.ndarray:
    """A plain eye on the nearly black, slightly noisy ground of a camera, uint8 RGB."""
    rng = np.random.default_rng(0)
    rgb = np.zeros((height, width, 3), np.uint8)
    cv2.circle(rgb, (x, y), radius, colour, -1)
    return np.clip(rgb + rng.normal(4, noise, rgb.shape), 0, 255).astype(np.uint8)


def box(rgb: np.ndarray) -> tuple[int, int, int, int]:
    """Where the crop lies in the photograph: left, top, right, bottom."""
    cut = crop_to_eye(rgb)
    assert np.shares_memory(cut, rgb)
    start = (cut.__array_interface__["data"][0] - rgb.__array_interface__["data"][0]) // 3
    top, left = divmod(start, rgb.shape[1])
    return left, top, left + cut.shape[1], top + cut.shape[0]


def centre_square(width: int, height: int) -> tuple[int, int, int, int]:
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    return left, top, left + side, top + side


@pytest.mark.parametrize(
    ("eye", "expected"),
    [
        ({}, (70, 20, 231, 181)),
        ({"x": 100, "y": 90}, (20, 10, 181, 171)),
        ({"x": 205, "y": 110}, (125, 30, 286, 191)),
        ({"radius": 120}, (30, 0, 271, 200)),  # cut above and below
        ({"y": 60}, (70, 0, 231, 141)),  # cut above alone
        ({"width": 200, "height": 300, "x": 100, "y": 150}, (20, 70, 181, 231)),
        ({"colour": (24, 20, 16)}, (70, 20, 231, 181)),  # low contrast: hardly above the ground
        ({"colour": (0, 0, 40)}, (70, 20, 231, 181)),  # seen in one colour alone
        ({"noise": 4.0}, (70, 20, 231, 181)),
    ],
)
def test_the_box_lies_on_the_eye(eye: dict[str, int], expected: tuple[int, int, int, int]) -> None:
    assert box(disc(**eye)) == pytest.approx(expected, abs=3)


@pytest.mark.parametrize(
    ("width", "height", "radius"),
    [(200, 200, 100), (240, 200, 120), (260, 200, 128), (204, 204, 100)],
)
def test_a_photograph_cropped_to_the_eye_already_stays_whole(
    width: int, height: int, radius: int
) -> None:
    # The strips at the edges hold retina. Brighter in the middle, as eyes are: the rim of the disc
    # must not be taken for the background of its centre.
    rgb = disc(width, height, width // 2, height // 2, radius)
    yy, xx = np.mgrid[:height, :width]
    fall = 1 - 0.6 * np.hypot(xx - width // 2, yy - height // 2) / radius
    rgb = (rgb * fall.clip(0.05)[..., None]).astype(np.uint8)
    left, top, right, bottom = box(rgb)
    assert max(left, width - right) <= 0.04 * width
    assert max(top, height - bottom) <= 0.04 * height


@pytest.mark.parametrize("level", [0, 255])
@pytest.mark.parametrize(("width", "height"), [(300, 200), (200, 300), (201, 200), (32, 32)])
def test_without_an_eye_the_centre_square_is_cut(level: int, width: int, height: int) -> None:
    rgb = np.full((height, width, 3), level, np.uint8)
    assert box(rgb) == centre_square(width, height)


def test_a_reflex_is_not_taken_for_an_eye() -> None:
    assert box(disc(radius=25)) == centre_square(300, 200)


def test_dust_and_a_burnt_in_label_do_not_widen_the_box() -> None:
    rgb = disc()
    rgb[90:94, 40:44] = 255
    rgb[2:8, :14] = 255  # in the corner, through the strip at the edge
    assert box(rgb) == pytest.approx((70, 20, 231, 181), abs=3)


@pytest.mark.parametrize("size", [64, 256])
def test_the_square_loses_the_aspect(size: int) -> None:
    # An eye cut above and below is 241 x 200 px: both are stretched to the same side.
    rgb = disc(radius=120)
    cv2.circle(rgb, (150, 100), 30, (255, 255, 255), -1)
    result = square(rgb, size)
    assert result.shape == (size, size, 3)
    assert result.dtype == np.uint8
    white = result.min(axis=2) > 127
    assert white.any(axis=0).sum() / size == pytest.approx(61 / 241, abs=0.03)
    assert white.any(axis=1).sum() / size == pytest.approx(61 / 200, abs=0.03)


def test_the_square_keeps_colours_and_does_not_alias() -> None:
    rgb = disc()
    rgb[::2, 70:231] = 0  # every second line black: the mean is grey, not a moire
    middle = square(rgb, 32)[14:18, 14:18].astype(float)
    assert middle.mean(axis=(0, 1)) == pytest.approx(np.array(RETINA) / 2 + 2, abs=6)
    assert middle.std(axis=(0, 1)).max() < 15


# The cache.


@pytest.fixture
def rows(tmp_path: Path) -> list[Labelled]:
    """Three photographs, told apart by their green."""
    found = []
    for k, green in enumerate((60, 120, 180)):
        path = tmp_path / f"{k}_left.png"
        rgb = disc(colour=(200, green, 40), noise=0)
        cv2.imwrite(str(path), cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))
        found.append(Labelled(path, 0, "d", "train", str(k)))
    return found


def build(rows: list[Labelled], cache: Path, size: int = 32) -> np.ndarray:
    photographs = Photographs.build(rows, cache, size, quiet=True)
    assert photographs.rows == rows
    return np.asarray(photographs.pixels)


def test_pixels_are_in_the_order_of_the_rows(rows: list[Labelled], tmp_path: Path) -> None:
    pixels = build(rows, tmp_path / "cache")
    assert pixels.shape == (3, 32, 32, 3)
    assert pixels.dtype == np.uint8
    assert pixels[:, 16, 16, 1].tolist() == pytest.approx([64, 124, 184], abs=2)
    backwards = build(rows[::-1], tmp_path / "cache")
    assert np.array_equal(backwards, pixels[::-1])
    direct = square(read_photograph(rows[1].path).rgb, 32)
    assert np.abs(pixels[1].astype(int) - direct).mean() < 2  # by way of 512 px
    largest = build(rows, tmp_path / "cache", 512)
    expected = square(read_photograph(rows[1].path).rgb, 512)
    assert np.array_equal(largest[1], expected)


@pytest.mark.parametrize("size", [48, 128])
def test_a_smaller_size_is_the_same_from_the_cache_and_from_the_photographs(
    rows: list[Labelled], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    read = build(rows, tmp_path / "a", size)
    build(rows, tmp_path / "b", 512)
    monkeypatch.setattr(preprocessing, "read_photograph", None)  # would be called in vain
    assert np.array_equal(build(rows, tmp_path / "b", size), read)


def test_threads_change_nothing(rows: list[Labelled], tmp_path: Path) -> None:
    rows = rows * 5
    many = Photographs.build(rows, tmp_path / "many", 32, workers=4, quiet=True).pixels
    assert np.array_equal(many, build(rows, tmp_path / "one"))


@pytest.mark.parametrize("radius", [640, 500])
def test_a_large_photograph_keeps_512_px_of_the_eye(tmp_path: Path, radius: int) -> None:
    # Decoded at half its size, the smaller eye would have 500 px. Stripes of 4 px tell.
    rgb = disc(2100, 1300, 1050, 650, radius)
    rgb[rgb[..., 0] > 90] = (200, 100, 50)
    path = tmp_path / "1_left.jpeg"
    cv2.imwrite(str(path), cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 95])
    assert read_photograph(path, for_grading=True).reduction == 2
    got = build([Labelled(path, 0, "d", "train", "1")], tmp_path / "cache", 512)[0]
    full = square(read_photograph(path).rgb, 512)
    assert np.abs(got.astype(int) - full).mean() < 1
    assert np.array_equal(got, full) == (radius == 500)


def test_photographs_are_cropped_once(
    rows: list[Labelled], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = []

    def counted(path: Path, **how: bool):
        read.append(path.name)
        return read_photograph(path, **how)

    monkeypatch.setattr(preprocessing, "read_photograph", counted)
    first = build(rows, tmp_path / "cache")
    assert len(read) == 3
    assert np.array_equal(build(rows, tmp_path / "cache"), first)
    assert len(read) == 3
    assert build(rows, tmp_path / "cache", size=48).shape == (3, 48, 48, 3)
    assert len(read) == 6
    rows[0].path.write_bytes(rows[1].path.read_bytes() + b"\0")  # replaced under its name
    changed = build(rows, tmp_path / "cache")
    assert np.array_equal(changed[0], first[1])


def test_cached_photographs_cannot_be_written_to(rows: list[Labelled], tmp_path: Path) -> None:
    pixels = Photographs.build(rows, tmp_path / "cache", 32, quiet=True).pixels
    with pytest.raises(ValueError, match="read-only"):
        pixels[0] = 0


def test_a_killed_build_is_done_anew(
    rows: list[Labelled], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(path: Path, **how: bool):
        if path == rows[1].path:
            raise KeyboardInterrupt
        return read_photograph(path, **how)

    with monkeypatch.context() as patch:
        patch.setattr(preprocessing, "read_photograph", killed)
        with pytest.raises(KeyboardInterrupt):
            build(rows, tmp_path / "cache")
    assert [file.suffix for file in (tmp_path / "cache").iterdir()] == [".part"]
    pixels = build(rows, tmp_path / "cache")
    assert np.array_equal(pixels, build(rows, tmp_path / "elsewhere"))
    assert [file.suffix for file in (tmp_path / "cache").iterdir()] == [".npy"]


@pytest.mark.parametrize("content", [b"", b"no picture", b"\xff\xd8\xff\xe0 cut short"])
def test_an_unreadable_photograph_is_named(
    rows: list[Labelled], tmp_path: Path, content: bytes
) -> None:
    whole = rows[1].path.read_bytes()
    rows[1].path.write_bytes(content)
    with pytest.raises(LabelsError, match=r"^1_left\.png cannot be trained on: "):
        build(rows, tmp_path / "cache")
    rows[1].path.write_bytes(whole)
    assert build(rows, tmp_path / "cache")[1, 16, 16, 1] == pytest.approx(124, abs=2)


def test_all_unreadable_photographs_are_named_at_once(rows: list[Labelled], tmp_path: Path) -> None:
    for row in rows[::2]:
        row.path.write_bytes(b"no picture")
    with pytest.raises(LabelsError, match=r"0_left\.png.*2_left\.png") as caught:
        build(rows, tmp_path / "cache")
    assert "1_left" not in str(caught.value)
    assert not list((tmp_path / "cache").iterdir())


def test_a_folder_of_something_else_is_given_up_soon(
    rows: list[Labelled], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = []

    def refuse(path: Path, size: int) -> None:
        read.append(path)
        time.sleep(0.002)  # as long as a photograph takes at least
        raise LabelsError(f"{path.name}: no picture.")

    monkeypatch.setattr(preprocessing, "_read_square", refuse)
    with pytest.raises(LabelsError, match="right folder"):
        build(rows * 500, tmp_path / "cache")
    assert len(read) < 1000


def test_no_rows_and_a_cache_that_cannot_be(rows: list[Labelled], tmp_path: Path) -> None:
    with pytest.raises(LabelsError, match="empty"):
        build([], tmp_path / "cache")
    (tmp_path / "file").write_text("")
    with pytest.raises(SourceError, match="cache folder file cannot be used"):
        build(rows, tmp_path / "file")


def test_a_disk_too_full_is_said_before_anything_is_written(
    rows: list[Labelled], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk_cache.shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(SourceError, match=r"needs 0\.0 GiB and its disk has"):
        build(rows, tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())


def test_a_photograph_that_is_gone_is_named(rows: list[Labelled], tmp_path: Path) -> None:
    rows[2].path.unlink()
    with pytest.raises(LabelsError, match=r"^2_left\.png cannot be trained on: No such file"):
        build(rows, tmp_path / "cache")


# Real photographs.


@pytest.mark.data
@pytest.mark.parametrize("dataset", ["idrid", "aptos2019", "eyepacs"])
def test_real_eyes_are_not_cut(data_root: Path, dataset: str) -> None:
    rows = [row for row in read_labels(data_root / "labels.csv") if row.dataset == dataset]
    kept = []
    for row in rows[:: len(rows) // 12]:
        rgb = read_photograph(row.path).rgb
        retina = rgb.max(axis=2) > 25
        left, top, right, bottom = box(rgb)
        kept.append(retina[top:bottom, left:right].sum() / max(1, retina.sum()))
    assert np.mean(np.array(kept) > 0.95) >= 0.8
    assert np.mean(kept) > 0.97
