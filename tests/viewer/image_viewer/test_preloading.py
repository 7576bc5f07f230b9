"""What the stage gets: maps as the report has them, on one fixed scale, and no more than it may."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from drcore.maps.overlay import MAP_RANGE, colourise
from viewer.image_viewer import encoding, preloading
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


def grid(maps: encoding.Maps, part: dict) -> np.ndarray:
    raw = np.frombuffer(maps.data, "<i2", part["side"] ** 2, part["offset"])
    values = np.where(raw == encoding.OUTSIDE, np.nan, raw / 200)
    return values.reshape(part["side"], part["side"])


def test_maps_arrive_as_the_report_has_them(report):
    maps = encoding.maps_of(report)
    scales = encoding.scales_of(report)
    for parts, cells_of in ((maps.scales, report.focused), (maps.probes, report.cells)):
        assert [part["name"] for part in parts] == [str(scale) for scale in scales]
        for part, scale in zip(parts, scales, strict=True):
            cells = cells_of(scale)
            assert (part["x0"], part["y0"], part["step"]) == (cells.x0, cells.y0, cells.step)
            np.testing.assert_allclose(grid(maps, part), cells.values, atol=3e-3)
    assert len(maps.data) == 2 * sum(part["side"] ** 2 for part in (*maps.scales, *maps.probes))


def test_a_value_beyond_sixteen_bits_is_cut_and_does_not_turn_over(report):
    louder = replace(report, _maps={size: ram * 1e6 for size, ram in report._maps.items()})
    maps = encoding.maps_of(louder)
    values = grid(maps, maps.probes[0])
    expected = louder.cells(louder.scales[0]).values
    inside = np.isfinite(expected)
    assert np.array_equal(np.isfinite(values), inside)
    assert np.array_equal(np.sign(values[inside]), np.sign(expected[inside]))


def test_the_colours_are_those_of_the_overlay():
    told = encoding.colour_table()
    assert told["range"] == list(MAP_RANGE)
    grades = np.linspace(*MAP_RANGE, 256, dtype=np.float32)[None]
    table = np.array(told["table"], np.uint8).reshape(1, 256, 4)
    np.testing.assert_array_equal(table, colourise(grades))


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
