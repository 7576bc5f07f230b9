"""Results that must not move by accident: fields of view, and scores of the shipped weights.

When they move on purpose, by new weights or a better fit, look at the differences and accept them:
`python -m pytest tests/golden --accept-golden`, then commit the JSON files.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data

from drcore.grading.grader import Grader
from drcore.grading.report import GradeReport
from drcore.photographs.reader import read_photograph
from drcore.preprocessing.field_of_view import find_field_of_view

HERE = Path(__file__).resolve().parent
SAMPLES = HERE.parents[1] / "sample_images"
NAMES = (*sorted(file.name for file in SAMPLES.glob("*.jpg")), "skimage.data.retina")

CIRCLE = 0.01
"""How far centre and radius may move, share of the radius: decoders differ in the last bit."""

SCORE = 0.02
"""How far a score may move, in grades."""

PEAK = 0.05
"""How far the largest value of a map may move, as a share of it."""


def source(name: str) -> Any:
    return skimage.data.retina() if name == "skimage.data.retina" else SAMPLES / name


@pytest.fixture(scope="module")
def golden(request: pytest.FixtureRequest) -> Callable[[str, str, dict[str, Any]], dict[str, Any]]:
    """What is pinned for a photograph; with --accept-golden, pins what was measured."""

    def pinned(kind: str, name: str, measured: dict[str, Any]) -> dict[str, Any]:
        file = HERE / f"{kind}.json"
        entries = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
        if request.config.getoption("--accept-golden", default=False):
            entries = {k: v for k, v in entries.items() if k in NAMES} | {name: measured}
            text = json.dumps(entries, indent=1, sort_keys=True)
            file.write_text(text + "\n", encoding="utf-8")
        assert name in entries, f"{name} has no golden result: accept one with --accept-golden"
        return entries[name]

    return pinned


@pytest.mark.parametrize("name", NAMES)
def test_field_of_view(golden: Callable[..., dict[str, Any]], name: str) -> None:
    photograph = read_photograph(source(name), name=name)
    fov = find_field_of_view(photograph.rgb)
    measured = {
        "circle": [round(fov.x, 1), round(fov.y, 1), round(fov.radius, 1)],
        "rectangle": [round(v, 1) for v in (fov.left, fov.top, fov.right, fov.bottom)],
        "found": fov.found,
        "cut": list(fov.cut),
    }
    pinned = golden("fields_of_view", name, measured)
    assert (measured["found"], measured["cut"]) == (pinned["found"], pinned["cut"])
    for part in ("circle", "rectangle"):
        assert measured[part] == pytest.approx(pinned[part], abs=CIRCLE * fov.radius), part


@pytest.fixture(scope="module")
def reports() -> dict[str, GradeReport]:
    grader = Grader.bundled("cpu")
    graded = grader.grade_many((name, source(name)) for name in NAMES)
    return dict(zip(NAMES, graded, strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_scores(
    golden: Callable[..., dict[str, Any]], reports: dict[str, GradeReport], name: str
) -> None:
    report = reports[name]
    measured = {
        "model": report.model_version,
        "status": report.status,
        "score": round(report.score, 4),
        "scores": {str(size): round(value, 4) for size, value in report.scores.items()},
        "map_peak": round(float(np.nanmax(report.cells().values)), 3),
    }
    pinned = golden("scores", name, measured)
    assert measured["model"] == pinned["model"], "new weights: accept with --accept-golden"
    assert measured["status"] == pinned["status"]
    assert measured["score"] == pytest.approx(pinned["score"], abs=SCORE)
    assert measured["scores"] == pytest.approx(pinned["scores"], abs=2 * SCORE)
    assert measured["map_peak"] == pytest.approx(pinned["map_peak"], rel=PEAK, abs=PEAK)
