"""Files that are replaced whole or not at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from drcore.export.pictures import jpeg
from drcore.files import hold, replacing
from drcore.grading.grader import Grader
from drcore.results.map_files import map_files, save_map
from drcore.sources.find import find_inputs, find_photographs


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    with replacing(file) as part:
        part.write_text("one")
        assert not file.exists()
    assert file.read_text() == "one"

    def broken() -> None:
        with replacing(file) as part:
            part.write_text("half of")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        broken()
    with pytest.raises(FileNotFoundError), replacing(file):
        pass  # nothing was written
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert file.read_text() == "one"


def test_a_lock_is_of_one_descriptor(tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    with (tmp_path / "a").open("w") as first, (tmp_path / "a").open("w") as second:
        assert hold(first.fileno())
        with pytest.raises(BlockingIOError):
            hold(second.fileno())


def test_what_drcore_derives_is_never_graded(
    tiny_grader: Grader, folder: Path, tmp_path: Path
) -> None:
    (item, *_) = find_photographs([folder])
    report = tiny_grader.grade(item.path)  # type: ignore[arg-type]
    made = tmp_path / "made"
    made.mkdir()
    save_map(report, item, made)
    map_files(made, item.image)[0].rename(made / "renamed.jpg")
    (made / "exported.jpeg").write_bytes(jpeg(np.asarray(Image.open(item.path))))  # type: ignore[arg-type]
    found = find_inputs([made])
    assert found.photographs == []
    reasons = {left.path: left.reason for left in found.left_out}
    assert reasons["renamed.jpg"] == reasons["exported.jpeg"] == "drcore export"
