"""What the stage gets: maps as the report has them, on one fixed scale, and no more than it may."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from drcore.maps.overlay import colourise, position_of
from drcore.maps.region import LEVELS
from viewer.image_viewer import component, encoding, preloading
from viewer.worklist.worklist import Worklist


@pytest.fixture(scope="module")
def data(phantom, encoded):
    """A photograph that is wider than high and off centre."""
    rgb = np.pad(phantom(seed=3, cut_above=0.1).rgb, ((0, 0), (90, 30), (0, 0)))
    return encoded(rgb, "JPEG", quality=95)


@pytest.fixture(scope="module")
def report(data, grader):
    return grader.grade(data, name="1_left.jpg")


@pytest.fixture
def graded(data, report):
    """A list with one graded photograph, and its entry."""
    worklist = Worklist()
    entry = worklist.add("1_left.jpg", data)
    entry.report = report
    return worklist, entry


def grids(maps: encoding.Maps, part: dict) -> dict[str, np.ndarray]:
    kinds = {"averaged": "<i2", "labels": np.uint8, "colours": np.uint8}
    return {
        name: np.frombuffer(maps.data, kind, part[name]["side"] ** 2, part[name]["offset"]).reshape(
            part[name]["side"], -1
        )
        for name, kind in kinds.items()
    }


def test_maps_arrive_as_the_report_has_them(report):
    ill = replace(report, grade=2, placed=1.0, _maps={s: m * 40 for s, m in report._maps.items()})
    maps = encoding.maps_of(ill)
    scales = encoding.scales_of(ill)
    assert [part["name"] for part in maps.scales] == [str(scale) for scale in scales]
    for part, scale in zip(maps.scales, scales, strict=True):
        evidence, arrived = ill.evidence(scale), grids(maps, part)
        place = (part["left"], part["top"], part["size"])
        assert place == (evidence.left, evidence.top, evidence.side)
        known = np.isfinite(evidence.density)
        assert (arrived["colours"][~known] == encoding.OUTSIDE).all()
        position = arrived["colours"][known] / 254
        np.testing.assert_allclose(position, position_of(evidence.density)[known], atol=2.1e-3)
        largest = 32767 / 10_000
        np.testing.assert_allclose(
            arrived["averaged"] / 10_000,
            np.clip(evidence.averaged, -largest - 1e-4, largest),
            atol=1e-4,
        )
        np.testing.assert_array_equal(arrived["labels"], evidence.labels)
        told = [(r["adds"], r["share"], r["disc_areas"], r["place"]) for r in part["regions"]]
        assert told == [(r.adds, r.share, r.disc_areas, r.place) for r in evidence.regions]
        assert all(part[name]["offset"] % 2 == 0 for name in ("averaged", "labels", "colours"))
    assert maps.scales[-1]["score"] == ill.score
    assert maps.scales[0]["score"] == ill.scores[ill.scales[0]]


def test_of_grade_0_the_raw_map_is_sent_without_outlines(report):
    """A healthy eye gets no outline; what the networks gave is shown under a warning."""
    louder = {s: m * 40 for s, m in report._maps.items()}
    healthy = replace(report, status="graded", grade=0, placed=0.0, _maps=louder)
    maps = encoding.maps_of(healthy)
    assert encoding.is_raw(healthy)
    assert all(part["regions"] == [] for part in maps.scales)
    colours = grids(maps, maps.scales[-1])["colours"]
    assert len(np.unique(colours)) > 10  # not flat, as `ram` is
    assert component.starts_hidden(healthy)
    assert "healthy eyes" in component.warning(healthy).lower()
    ill = replace(healthy, grade=2, placed=1.0)
    assert not encoding.is_raw(ill)
    assert component.warning(ill) == component.caption(ill) == ""
    ungradable = replace(ill, status="ungradable", grade=None)
    assert "ungradable" in component.warning(ungradable)


def test_the_colours_are_those_of_the_overlay():
    told = encoding.colour_table()
    positions = np.linspace(0, 1, 255, dtype=np.float32)[None]
    table = np.array(told["table"], np.uint8).reshape(1, 255, 4)
    np.testing.assert_allclose(table.astype(int), colourise(positions).astype(int), atol=2)
    assert told["levels"] == list(LEVELS)
    assert [text for _, text in told["ticks"]][::3] == ["0.05", "5"]


def test_what_is_seen_at_first_is_the_retina(report):
    fov = report.field_of_view
    field = encoding.field_of(fov, report.width, report.height)
    assert field["top"] == pytest.approx(max(fov.top, 0))  # cut above
    assert field["left"] == pytest.approx(max(fov.x - fov.radius, 0))
    nothing = encoding.field_of(replace(fov, found=False), 300, 200)
    assert nothing == {"left": 0, "top": 0, "right": 300, "bottom": 200}
    assert encoding.field_of(None, 300, 200) == nothing


def test_a_slide_is_made_once_and_let_go_with_its_entry(graded):
    _, entry = graded
    kept = preloading.SlideCache()
    assert kept.ready(entry) is None
    slide = kept.slide(entry, entry.report)
    assert kept.slide(entry, entry.report) is slide is kept.ready(entry)
    kept.drop_others([])
    assert kept.ready(entry) is None


def test_a_file_that_was_changed_has_no_slide(graded):
    _, entry = graded
    other = replace(entry.report, sha256="00" * 32)
    assert preloading.SlideCache().slide(entry, other) is None


def test_a_file_that_is_gone_has_no_slide(report, tmp_path):
    worklist = Worklist()
    entry = worklist.add("1.jpg", Path(tmp_path / "gone.jpg"))
    entry.report = report
    assert preloading.SlideCache().slide(entry, report) is None


def test_pictures_with_and_without_burnt_in_names_are_told_apart(graded):
    _, entry = graded
    kept = preloading.SlideCache()
    kept.slide(entry, entry.report)
    entry.show_identity = True
    assert kept.ready(entry) is None


def test_memory_holds_a_few_slides(report, phantom, encoded, monkeypatch):
    monkeypatch.setattr(preloading, "MAX_SLIDES", 2)
    worklist, kept = Worklist(), preloading.SlideCache()
    entries = []
    for seed in range(4):
        entry = worklist.add(f"{seed}.jpg", encoded(phantom(seed=seed).rgb, "JPEG"))
        entry.report = replace(report, sha256=entry.renditions().sha256)
        entries.append(entry)
        kept.slide(entry, entry.report)
    assert [kept.ready(entry) is not None for entry in entries] == [False, False, True, True]


def test_what_is_to_come_is_made_in_the_background(graded):
    _, entry = graded
    kept = preloading.SlideCache()
    assert kept.prepare([entry])
    deadline = time.monotonic() + 60
    while kept.prepare([entry]):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert kept.ready(entry) is not None


def test_what_is_not_graded_has_to_wait_and_what_failed_does_not(graded, report):
    worklist, _ = graded
    entry = worklist.add("2.jpg", b"no photograph")
    kept = preloading.SlideCache()
    assert kept.prepare([entry])
    entry.report = replace(report, status="failed")
    assert not kept.prepare([entry])
