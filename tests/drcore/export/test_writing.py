"""Writing on the retina: found in many scripts, colours and sizes, and only where there is some.

Recall and false alarms on real photographs are measured by `python -m tests.benchmarks.writing`.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

import drcore
from drcore.errors import CheckpointError
from drcore.export import writing
from drcore.export.writing import find_writing, probabilities
from drcore.preprocessing import shipped_network

FONTS = Path(drcore.__file__).parent / "fonts"
NAMES = {
    "DejaVuSans": "Müller 1961-04-23", "DroidSansFallbackFull": "山田太郎",
    "NotoSansDevanagari": "अनिल कुमार", "NotoSansThai": "สมชาย ใจดี", "NotoSansTamil": "முருகன்",
    "NotoSansEthiopic": "አበበ ቢቂላ",
}  # fmt: skip


@pytest.fixture
def retina(phantom):
    return np.array(phantom(seed=3, size=512).rgb)


def written(rgb, text="23.04.1961", *, font="DejaVuSans", size=16, colour=(255, 255, 255), at=None):
    """A copy with a line of text in the middle, or somewhere else."""
    image = Image.fromarray(rgb.copy())
    letters = ImageFont.truetype(str(FONTS / f"{font}.ttf"), size)
    place = at or (rgb.shape[1] // 2, rgb.shape[0] // 2)
    anchor = "mm" if at is None else "lt"
    ImageDraw.Draw(image).text(place, text, fill=colour, font=letters, anchor=anchor)
    return np.array(image)


@pytest.mark.parametrize("size", [256, 320, 512, 1024])
def test_nothing_is_found_on_a_retina_without_writing(phantom, size):
    for seed in range(3):
        assert not find_writing(np.array(phantom(seed=seed, size=size).rgb)).found


@pytest.mark.parametrize(("font", "text"), NAMES.items())
def test_names_of_any_script_are_found(retina, font, text):
    told = find_writing(written(retina, text, font=font, size=18))
    assert told.found
    left, top, right, bottom = told.box
    assert left < right
    assert abs((left + right) / 2 - 256) < 110
    assert abs((top + bottom) / 2 - 256) < 16


@pytest.mark.parametrize("colour", [(255, 255, 255), (255, 255, 0), (0, 255, 0), (0, 0, 0)])
@pytest.mark.parametrize("size", [14, 24, 60, 110])
def test_sizes_and_colours(retina, colour, size):
    assert find_writing(written(retina, size=size, colour=colour, text="12.3.61")).found


def test_turned_and_compressed_writing_is_found(retina):
    for turns in range(4):
        turned = np.ascontiguousarray(np.rot90(written(retina), turns))
        data = cv2.imencode(".jpg", turned, [cv2.IMWRITE_JPEG_QUALITY, 60])[1]
        assert find_writing(np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)).found


def test_writing_in_a_corner_of_a_large_photograph_is_found(retina):
    large = cv2.resize(retina, (2000, 2000), interpolation=cv2.INTER_CUBIC)
    assert not find_writing(large).found
    for place in ((890, 890), (1300, 1400), (900, 300)):  # across the seams of its parts, too
        told = find_writing(written(large, at=place))
        assert told.found
        assert abs(told.box[0] - place[0]) < 120
        assert abs(told.box[1] - place[1]) < 20


def test_parts_of_a_photograph_join_without_a_seam(retina, monkeypatch):
    large = written(cv2.resize(retina, (1100, 1000)), at=(880, 500))
    parts = probabilities(large)
    monkeypatch.setattr(writing, "_TILE", 4096)
    whole = probabilities(large)
    assert parts.shape == whole.shape == (250, 275)
    assert np.abs(parts - whole).max() < 1e-3


@pytest.mark.parametrize("shape", [(1, 1), (3, 500), (63, 64), (65, 129), (200, 90)])
def test_pictures_of_any_shape_are_looked_at(shape):
    black = np.zeros((*shape, 3), np.uint8)
    assert not find_writing(black).found
    assert probabilities(black).shape == (-(-shape[0] // 4), -(-shape[1] // 4))


def test_damaged_weights_are_a_sentence(monkeypatch, tmp_path):
    source = Path(drcore.__file__).parent / "weights"
    (tmp_path / "weights").mkdir()
    for name in ("writing.json", "writing.safetensors"):
        (tmp_path / "weights" / name).write_bytes((source / name).read_bytes())
    damaged = bytearray((source / "writing.safetensors").read_bytes())
    damaged[-1] ^= 1
    (tmp_path / "weights" / "writing.safetensors").write_bytes(damaged)
    monkeypatch.setattr(shipped_network.resources, "files", lambda _: tmp_path)
    writing._loaded.cache_clear()
    try:
        with pytest.raises(CheckpointError, match="Install drcore again"):
            find_writing(np.zeros((64, 64, 3), np.uint8))
    finally:
        writing._loaded.cache_clear()
