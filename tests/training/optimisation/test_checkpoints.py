"""Checkpoints in parts are read as they were written, and a kill leaves those before."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from training.optimisation import checkpoints
from training.optimisation.checkpoints import (
    PART_BYTES,
    read_record,
    read_tensors,
    write_tensors,
)
from training.reproduction.networks import LAYOUTS, PublishedNetwork


def tensors(value: float) -> dict[str, torch.Tensor]:
    return {f"layer.{i}": torch.full((3, 5), value + i) for i in range(7)}


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "PART_BYTES", 130)  # two tensors of 60 bytes


@pytest.mark.usefixtures("small_parts")
def test_parts_are_put_together_and_replaced(tmp_path: Path) -> None:
    for value in (1.0, 2.0, 3.0):
        write_tensors(tmp_path / "state", tensors(value), {"progress": {"epoch": value}})
        found = read_tensors(tmp_path / "state")
        assert all(torch.equal(found[name], one) for name, one in tensors(value).items())
        assert read_record(tmp_path / "state") == {"progress": {"epoch": value}}
        assert len(list(tmp_path.glob("*.safetensors"))) == 4  # none of the ones before


@pytest.mark.usefixtures("small_parts")
def test_a_kill_between_the_parts_leaves_those_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tensors(tmp_path / "state", tensors(1.0), {"epoch": 1})
    real, calls = checkpoints.save_file, 0

    def dies(*arguments: object) -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt
        real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(checkpoints, "save_file", dies)
    with pytest.raises(KeyboardInterrupt):
        write_tensors(tmp_path / "state", tensors(2.0), {"epoch": 2})
    assert read_record(tmp_path / "state") == {"epoch": 1}
    found = read_tensors(tmp_path / "state")
    assert all(torch.equal(found[name], one) for name, one in tensors(1.0).items())


def test_no_tensor_of_a_published_network_is_larger_than_a_part() -> None:
    for name, layout in LAYOUTS.items():
        for head in ("gap",) if name.startswith("fine") else ("gap", "fc"):
            with torch.device("meta"):
                network = PublishedNetwork(layout, head=head)  # type: ignore[arg-type]
            assert max(value.nbytes for value in network.state_dict().values()) <= PART_BYTES
