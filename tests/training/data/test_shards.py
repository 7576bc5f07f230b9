"""Shards hold what was packed, in files of the size asked for."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from training.data.labels import Labelled, LabelsError
from training.data.shards import Packed, pack, unpack


def packed(count: int = 6) -> Packed:
    rng = np.random.default_rng(0)
    noise = rng.random((count, 64, 64, 3), np.float32)
    smooth = [cv2.GaussianBlur(one, (0, 0), 4) for one in noise]
    pixels = np.stack([np.uint8(40 + 160 * (s - s.min()) / np.ptp(s)) for s in smooth])
    rows = [
        Labelled(
            Path(f"/somewhere/{i}_left.jpg"), i % 5, "d", "val" if i == 5 else "train", f"p{i}"
        )
        for i in range(count)
    ]
    mask = rng.integers(0, 256, (count, 16, 16), dtype=np.uint8)
    flags = rng.integers(0, 16, (count, 64, 64), dtype=np.uint8)
    return Packed(rows, pixels, mask, flags, rng.random((count, 4)) < 0.5)


def test_what_was_packed_comes_back(tmp_path: Path) -> None:
    before = packed()
    pack(before, tmp_path, "squares")
    after = unpack(tmp_path, "squares")
    assert [row.path.name for row in after.rows] == [row.path.name for row in before.rows]
    assert [(r.grade, r.dataset, r.split, r.patient) for r in after.rows] == [
        (r.grade, r.dataset, r.split, r.patient) for r in before.rows
    ]
    assert np.abs(after.pixels.astype(int) - before.pixels).mean() < 2  # WebP loses a little
    assert after.mask is not None
    assert np.array_equal(after.mask, before.mask)
    assert np.array_equal(after.flags, before.flags)
    assert np.array_equal(after.known, before.known)


def test_shards_keep_to_their_size_and_order(tmp_path: Path) -> None:
    before = packed()
    (tmp_path / "crops-007.zip").write_bytes(b"of an earlier call")
    limit = 2 * 2**20 + 12_000  # room for the table, and two or three photographs
    files = pack(Packed(before.rows, before.pixels, before.mask, before.flags), tmp_path, "crops",
                 limit=limit)  # fmt: skip
    assert len(files) > 1
    assert files == sorted(tmp_path.glob("crops-*.zip"))
    assert all(file.stat().st_size <= limit for file in files)
    after = unpack(tmp_path, "crops")
    assert [row.path.name for row in after.rows] == [row.path.name for row in before.rows]
    assert after.known is None


def test_shards_that_are_not_there_or_damaged_are_refused(tmp_path: Path) -> None:
    with pytest.raises(LabelsError, match="python -m training"):
        unpack(tmp_path, "squares")
    (file,) = pack(packed(), tmp_path, "squares")
    file.write_bytes(file.read_bytes()[:-50])
    with pytest.raises(LabelsError, match=r"squares-000\.zip is damaged"):
        unpack(tmp_path, "squares")
