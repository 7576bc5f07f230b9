"""The files that hold maps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from drcore.errors import PhotographError, SourceError
from drcore.grading.grader import Grader
from drcore.results.map_files import map_files, save_map
from drcore.sources.find import find_photographs


def test_maps_are_written_and_skipped_by_the_next_walk(tiny_grader: Grader, folder: Path) -> None:
    found = find_photographs([folder])
    report = tiny_grader.grade(found[0].path)
    save_map(report, found[0], folder)
    picture, numbers = map_files(folder, found[0].image)
    with Image.open(picture) as image:
        assert (image.format, image.width) == ("JPEG", 256)
        assert image.height > 256  # legend, operating point and notice stand below
    with np.load(numbers, allow_pickle=False) as saved:
        cells = report.cells()
        assert saved["ram"].dtype == np.float32
        np.testing.assert_array_equal(saved["ram"], cells.values)
        assert (float(saved["x0"]), float(saved["step"])) == (cells.x0, cells.step)
        assert (int(saved["width"]), float(saved["score"])) == (256, report.score)
    assert sorted(set(folder.iterdir()) - {item.path for item in found}) == sorted(
        [picture, numbers]
    )
    assert find_photographs([folder]) == found


def test_map_names_neither_escape_nor_collide(tmp_path: Path) -> None:
    hostile = [
        "../../etc/passwd", "/etc/passwd", "a/b.jpg", "a_b.jpg", "a_b.png", "A/b.jpg", "..", "",
        "CON", "x" * 300, "x" * 301, "\\\\host\\share", "<b>.jpg", ".hidden",
    ]  # fmt: skip
    files = [file for image in hostile for file in map_files(tmp_path, image)]
    assert {file.parent for file in files} == {tmp_path}
    assert len({file.name.lower() for file in files}) == len(files)
    assert all(len(file.name) < 200 and not file.name.startswith(".") for file in files)


def test_a_map_is_never_of_another_photograph(
    tiny_grader: Grader, folder: Path, jpegs: list[bytes], tmp_path: Path
) -> None:
    found = find_photographs([folder])[0]
    report = tiny_grader.grade(found.path)
    found.path.write_bytes(jpegs[1])
    with pytest.raises(PhotographError, match="changed"):
        save_map(report, found, tmp_path)
    found.path.unlink()
    with pytest.raises(PhotographError, match="no such file"):
        save_map(report, found, tmp_path)
    assert not list(tmp_path.glob("*drcore-map*"))


def test_maps_that_cannot_be_written_leave_nothing_behind(
    tiny_grader: Grader, folder: Path, tmp_path: Path
) -> None:
    found = find_photographs([folder])[0]
    with pytest.raises(SourceError, match="the map cannot be written"):
        save_map(tiny_grader.grade(found.path), found, tmp_path / "missing")
    picture, _ = map_files(tmp_path, found.image)
    picture.mkdir()
    with pytest.raises(SourceError, match="the map cannot be written"):
        save_map(tiny_grader.grade(found.path), found, tmp_path)
    assert not list(tmp_path.glob(".*part"))
