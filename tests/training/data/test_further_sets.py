"""Healthy eyes and microaneurysms beside the table of grades."""

from __future__ import annotations

from pathlib import Path

import pytest

from training.data.further_sets import read_healthy, read_microaneurysms
from training.data.labels import LabelsError


def test_healthy_eyes_are_divided_by_patient(tmp_path: Path) -> None:
    names = [f"p{i}_{side}.jpg,0,p{i}" for i in range(60) for side in ("left", "right")]
    (tmp_path / "healthy.csv").write_text("image,grade,patient\n" + "\n".join(names) + "\n")
    rows = read_healthy(tmp_path / "healthy.csv")
    assert {row.dataset for row in rows} == {"healthy"}
    splits = {row.patient: set() for row in rows}
    for row in rows:
        splits[row.patient].add(row.split)
    assert all(len(found) == 1 for found in splits.values())
    measured = sum(found == {"val"} for found in splits.values())
    assert 10 <= measured <= 30
    assert rows[0].path == tmp_path / "healthy" / "p0_left.jpg"


def test_microaneurysms_of_the_training_split_alone(tmp_path: Path) -> None:
    table = tmp_path / "eophtha.csv"
    table.write_text("image,split,patient\na.jpg,train,a\nb.jpg,val,b\n")
    (one,) = read_microaneurysms(table)
    assert one.path == tmp_path / "eophtha" / "a.jpg"
    assert one.mask.name == "a_mask.png"
    assert one.annotated == {"MA"}
    assert not one.clean


@pytest.mark.parametrize(
    "text", ["image,split\n../a.jpg,train\n", "image,split\n,train\n", "image\na.jpg\n"]
)
def test_a_table_that_cannot_be_used_is_refused(tmp_path: Path, text: str) -> None:
    table = tmp_path / "eophtha.csv"
    table.write_text(text)
    with pytest.raises(LabelsError, match="line 2"):
        read_microaneurysms(table)
