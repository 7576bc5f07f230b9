"""A calibration, and what tests of bundles ask of one that is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from drcore.errors import CheckpointError
from drcore.model.bundle import load_bundle
from drcore.model.calibration import GradeCalibration

CERTAINTY = GradeCalibration(
    cuts=(0.5, 1.1, 2.0, 3.1), width=0.3, widening=0.1,
    coverage=0.9, level=0.8, sensitive=0.9,
)  # fmt: skip


def refused(folder: Path, sentence: str) -> None:
    with pytest.raises(CheckpointError, match=sentence) as caught:
        load_bundle(folder)
    assert str(caught.value).endswith(".")
