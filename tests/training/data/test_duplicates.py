"""Photographs of one eye among many: found, written down, kept apart."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import cv2
import numpy as np
import pytest

from training.data.duplicates import (
    Picture,
    Repeat,
    RepeatsError,
    eyes_of,
    find_repeats,
    grades_of_repeats,
    keep_apart,
    read_repeats,
    with_eyes_in,
    write_repeats,
)
from training.data.labels import Labelled
from training.data.squares import SQUARE
from training.repeats import main


def square(rgb: np.ndarray, *, turn: float = 0.0, shift: tuple[int, int] = (0, 0)) -> np.ndarray:
    """A phantom as a square, as if the camera had been held otherwise."""
    pixels = cv2.resize(rgb, (SQUARE, SQUARE), interpolation=cv2.INTER_AREA)
    moved = cv2.getRotationMatrix2D((SQUARE / 2, SQUARE / 2), turn, 1.0)
    moved[:, 2] += shift
    return cv2.warpAffine(pixels, moved, (SQUARE, SQUARE))


@pytest.fixture(scope="module")
def pictures(phantom) -> list[Picture]:
    """Five eyes; the first three times: as it is, compressed and darker, and photographed anew."""
    place = np.arange(128) - 63.5
    mask = ((place[:, None] ** 2 + place**2) < 60**2).astype(np.uint8) * 255
    eyes = [phantom(seed=seed, size=512).rgb for seed in range(1, 6)]
    _, written = cv2.imencode(".jpg", square(eyes[0]), [cv2.IMWRITE_JPEG_QUALITY, 60])
    copy = (cv2.imdecode(written, cv2.IMREAD_COLOR) * 0.8).astype(np.uint8)
    shown = {f"eye{i}.jpg": square(eye) for i, eye in enumerate(eyes)}
    shown |= {"copy.jpg": copy, "again.jpg": square(eyes[0], turn=6, shift=(25, -12))}
    return [Picture(name, pixels, mask) for name, pixels in shown.items()]


def test_one_eye_is_found_and_others_are_not(pictures: list[Picture]) -> None:
    found = {(one.image, one.other): one for one in find_repeats(pictures)}
    assert set(found) == {
        ("eye0.jpg", "copy.jpg"),
        ("eye0.jpg", "again.jpg"),
        ("copy.jpg", "again.jpg"),
    }
    assert found["eye0.jpg", "copy.jpg"].same_picture
    assert not found["eye0.jpg", "again.jpg"].same_picture
    assert min(one.matches for one in found.values()) >= 20


def test_photographs_without_vessels_are_no_eye(pictures: list[Picture]) -> None:
    grey = np.full((SQUARE, SQUARE, 3), 90, np.uint8)
    mask = pictures[0].mask
    assert find_repeats([Picture("a", grey, mask), Picture("b", grey, mask)]) == []
    assert find_repeats([]) == []


PAIRS = [Repeat("a", "b", 50, False), Repeat("b", "c", 300, True), Repeat("d", "e", 40, False)]


def test_eyes_are_one_by_way_of_a_third() -> None:
    eyes = eyes_of(PAIRS)
    assert eyes["a"] == eyes["b"] == eyes["c"] != eyes["d"] == eyes["e"]
    assert with_eyes_in(["a", "d", "f"], {"c", "f"}, PAIRS) == {"a"}
    assert with_eyes_in(["a"], {"c"}, []) == set()


def test_what_is_measured_leaves_training() -> None:
    def row(name: str, split: str) -> Labelled:
        return Labelled(Path(name), 2, "d", split, name)

    rows = [row("a", "train"), row("c", "test"), row("d", "train"), row("f", "train")]
    sides = [one.split for one in keep_apart(rows, ["e"], PAIRS)]
    assert sides == ["left out", "test", "left out", "train"]
    assert [one.split for one in keep_apart(rows, [], [])] == ["train", "test", "train", "train"]


def test_grades_of_one_eye_say_what_they_allow() -> None:
    grades = {"a": 1, "b": 3, "c": 3, "d": 2}  # e is not graded
    found = grades_of_repeats(PAIRS, grades, spread=4.0, draws=50)
    assert found["pairs"] == 2
    assert found["alike"]["value"] == 0.5
    # mean(d^2) = 2, so the error of one grade has variance 1 of 4.
    assert found["largest_correlation"]["value"] == pytest.approx(math.sqrt(0.75))
    low, high = found["largest_correlation"]["interval"]
    assert low <= math.sqrt(0.75) <= high
    alike = grades_of_repeats(PAIRS, dict.fromkeys("abcde", 2) | {"d": 0, "e": 0}, 4.0, draws=50)
    assert alike["alike"]["value"] == alike["largest_correlation"]["value"] == 1.0
    assert math.isnan(grades_of_repeats([], grades, 4.0)["alike"]["value"])
    constant = grades_of_repeats(PAIRS, dict.fromkeys("abcde", 0), spread=0.0, draws=50)
    assert constant["alike"]["value"] == 1.0
    assert math.isnan(constant["largest_correlation"]["value"])


def test_the_table_comes_back_and_a_wrong_one_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "repeats.csv"
    write_repeats(PAIRS, file)
    assert read_repeats(file) == PAIRS
    file.write_text("image,grade\na,2\n", encoding="utf-8")
    with pytest.raises(RepeatsError, match="not a table of repeats"):
        read_repeats(file)
    with pytest.raises(RepeatsError, match="cannot be read"):
        read_repeats(tmp_path / "nowhere.csv")


def test_from_the_command_line(
    phantom, encoded, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = tmp_path / "images"
    images.mkdir()
    first, second = phantom(seed=1, size=512).rgb, phantom(seed=2, size=512).rgb
    shown = {"a.jpg": first, "b.jpg": second, "c.jpg": first}
    for name, rgb in shown.items():
        (images / name).write_bytes(encoded(rgb, "JPEG", quality=80 if name == "a.jpg" else 60))
    with (tmp_path / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "grade", "dataset", "split", "patient"])
        writer.writerow(["a.jpg", 1, "d", "train", "1"])
        writer.writerow(["b.jpg", 2, "d", "train", "2"])
        writer.writerow(["c.jpg", 3, "d", "test", "3"])
    table, cache, out = (str(tmp_path / name) for name in ("labels.csv", "cache", "repeats.csv"))
    main(["--labels", table, "--cache", cache, "--out", out, "--quiet"])
    said = capsys.readouterr().out
    assert "test photographs whose eye is in training: 1 of 1" in said
    assert "one eye photographed twice: 0 pairs" in said
    assert "one photograph twice: 1 pairs, same grade 0.00" in said
    (pair,) = read_repeats(tmp_path / "repeats.csv")
    assert (pair.image, pair.other, pair.same_picture) == ("a.jpg", "c.jpg", True)
