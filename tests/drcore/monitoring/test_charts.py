"""Control charts: what raises an alarm and what does not."""

from __future__ import annotations

import csv
import io
import json
import shutil
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest

from drcore.cli import main
from drcore.errors import CheckpointError, DrcoreError
from drcore.model.bundle import bundled_folder
from drcore.model.manifest import read_manifest
from drcore.monitoring.charts import charts_csv, charts_of, told
from drcore.monitoring.observations import NOT_KNOWN, observations_of
from drcore.monitoring.reference import add_reference, reference_of, reference_of_bundle
from drcore.results.columns import COLUMNS
from drcore.reviews.decision import Decision
from drcore.text import csv_text

START = date(2026, 1, 5)
MODEL = "ram-lite 0.0"


def rows_of(count, seed=0, *, start=0, a_day=10, score=1.0, **cells):
    """Rows of simulated photographs, ten a day."""
    rng = np.random.default_rng(seed)
    found = []
    for place in range(start, start + count):
        value = max(rng.gamma(1.0) * score, 0.01)
        gradable = rng.random() < 0.95
        found.append(
            dict.fromkeys(COLUMNS, "")
            | {
                "image": f"{seed}-{place}.jpg", "sha256": f"{seed}-{place}", "camera": "A",
                "status": "graded" if gradable else "ungradable", "model_version": MODEL,
                "gradable": "true" if gradable else "false", "score": f"{value:.4f}",
                "grade": str(min(int(value), 4)) if gradable else "",
                "sharpness": f"{rng.normal(0.85, 0.1):.4f}",
                "brightness": f"{rng.normal(140, 20):.4f}",
                "saturation": f"{rng.normal(0.7, 0.1):.4f}",
                "red_blue": f"{rng.normal(2.0, 0.4):.4f}",
                "red_green_spread": f"{rng.gamma(9) / 30:.4f}",
                "green_blue_spread": f"{rng.gamma(9) / 30:.4f}",
                "light_right": f"{rng.normal(0.0, 0.5):.4f}",
                "light_down": f"{rng.normal(-0.15, 0.4):.4f}",
                "width": "3000", "height": "2000", "fov_radius": f"{rng.normal(950, 20):.1f}",
                "exam_date": (START + timedelta(days=place // a_day)).isoformat(),
            }
            | cells
        )  # fmt: skip
    return found


def alarms(charts):
    return sum(point.alarms for chart in charts for point in chart.points)


@pytest.fixture(scope="module")
def reference():
    return reference_of(rows_of(900, seed=99))


def test_an_unchanged_stream_raises_no_alarm(reference):
    for used in (reference, None):
        charts = charts_of(observations_of(rows_of(3000)), used)
        assert alarms(charts) == 0
        assert told(charts) == ["No limit was crossed."]
        assert all(chart.own == (used is None) for chart in charts)


@pytest.mark.parametrize(
    ("cells", "measure"),
    [
        ({"sharpness": "0.7200"}, "Sharpness"),
        ({"brightness": "180.0000"}, "Brightness"),
        ({"fov_radius": "760.0"}, "Field of view"),
        ({"gradable": "false", "grade": "", "status": "ungradable"}, "Gradable share"),
        ({"score": "2.6000"}, "Score"),
        ({"saturation": "0.5000"}, "Saturation"),
        ({"red_blue": "1.5000"}, "Red over blue given the spread of colours"),
        ({"light_right": "-1.0000"}, "Light, right over left"),
        ({"light_down": "0.3000"}, "Light, below over above"),
    ],
)
def test_a_change_raises_an_alarm_within_two_hundred_photographs(reference, cells, measure):
    changed = [row | cells for row in rows_of(200, seed=1, start=1000)]
    charts = charts_of(observations_of([*rows_of(1000), *changed]), reference)
    crossed = [chart for chart in charts if chart.measure.title == measure]
    assert crossed[0].alarms
    assert min(one.day for one in crossed[0].alarms) >= START + timedelta(days=100)
    sentence = next(s for s in told(charts) if s.startswith(f"{measure}, camera A: "))
    assert "than the reference since 2026-W" in sentence


def test_tables_and_references_of_0_7_are_watched_as_before(reference):
    new = COLUMNS[COLUMNS.index("saturation") :]
    rows = [{name: row[name] for name in COLUMNS if name not in new} for row in rows_of(700)]
    of_0_7 = reference_of([*rows, *({**row, "sha256": f"x{row['sha256']}"} for row in rows)])
    names = {chart.name for chart in charts_of(observations_of(rows), of_0_7)}
    assert {"score", "sharpness", "brightness"} <= names
    assert not names & {"colour", "colour_given", "saturation", "light_right", "light_down"}
    # Photographs with the measure, a reference without it: the site's own first 500.
    own = {chart.name for chart in charts_of(observations_of(rows_of(700)), of_0_7) if chart.own}
    assert own == {"colour", "colour_given", "saturation", "light_right", "light_down"}
    assert {"colour", "colour_given"} <= set(reference)


def test_missing_weeks_raise_none(reference):
    late = [
        row | {"exam_date": (date.fromisoformat(row["exam_date"]) + timedelta(90)).isoformat()}
        for row in rows_of(600, seed=2)
    ]
    charts = charts_of(observations_of([*rows_of(600), *late]), reference)
    assert alarms(charts) == 0
    weeks = [point.period for point in charts[0].points]
    assert "2026-W02" in weeks
    assert "2026-W13" not in weeks
    assert weeks == sorted(weeks)


def test_two_cameras_in_one_stream_raise_none():
    other = [
        row | {"camera": "B", "sharpness": f"{float(row['sharpness']) / 2:.4f}",
               "fov_radius": "400.0"}
        for row in rows_of(1200, seed=3)
    ]  # fmt: skip
    mixed = [row for pair in zip(rows_of(1200), other, strict=True) for row in pair]
    charts = charts_of(observations_of(mixed))
    assert alarms(charts) == 0
    assert {chart.camera for chart in charts} == {"A", "B"}
    # Where no header names them, the mixture is the reference.
    unnamed = charts_of(observations_of([row | {"camera": ""} for row in mixed]))
    assert alarms(unnamed) == 0
    assert {chart.camera for chart in unnamed} == {NOT_KNOWN}


def test_a_list_read_twice_counts_once(reference):
    once = rows_of(600)
    renamed = [row | {"image": f"copy/{row['image']}"} for row in once]
    charts = charts_of(observations_of([*once, *renamed]), reference)
    assert alarms(charts) == 0
    assert charts_csv(charts) == charts_csv(charts_of(observations_of(once), reference))


def test_photographs_of_one_patient_count_as_one(reference):
    eyes = [row | {"patient": "P", "exam_date": "2026-02-02", "score": "3.5000", "grade": "3"}
            for row in rows_of(40, seed=4)]  # fmt: skip
    assert alarms(charts_of(observations_of(eyes), reference)) == 0
    apart = [row | {"patient": ""} for row in eyes]
    assert alarms(charts_of(observations_of(apart), reference)) > 0


def test_days_that_are_not_known_and_since(reference):
    undated = [row | {"exam_date": ""} for row in rows_of(150)]
    charts = charts_of(observations_of(undated), reference)
    assert [p.period for p in charts[0].points] == [
        "photographs 1 to 100",
        "photographs 101 to 150",
    ]
    dated = rows_of(200, seed=5)
    since = START + timedelta(days=10)
    charts = charts_of(observations_of([*undated, *dated]), reference, since=since)
    assert sum(point.count for point in charts[0].points) == 100


def decision(number, **changes):
    values = {
        "sha256": f"{number:064x}", "image": "a.jpg", "model_version": MODEL,
        "machine_status": "graded", "machine_grade": 1, "machine_score": 1.0, "action": "agree",
        "grade": 1, "note": "", "reader": "AB", "seconds": 20.0 + number % 7,
        "decided_at": datetime(2026, 1, 5, tzinfo=UTC) + timedelta(hours=number),
    }  # fmt: skip
    return Decision(**(values | changes))


def test_overrides_and_reading_time_come_from_the_record():
    change = {"action": "change", "grade": 2}
    made = [decision(n, **(change if n % 10 == 0 else {})) for n in range(700)]
    made += [decision(n, **change, seconds=60.0) for n in range(700, 800)]
    made += [decision(5, **change)]  # a later answer of the same reader
    charts = {chart.name: chart for chart in charts_of(observations_of([], made))}
    assert charts["override"].histogram.mean == pytest.approx(0.1)
    assert charts["override"].alarms
    assert "Overrides, camera not known: higher" in charts["override"].sentences[0]
    assert charts["seconds"].alarms
    assert sum(p.count for p in charts["override"].points) == 300


def test_too_few_photographs_are_not_watched():
    charts = charts_of(observations_of(rows_of(120)))
    assert all(chart.histogram is None and not chart.points for chart in charts)
    assert told(charts) == ["Nothing is watched yet."]


def test_a_reference_goes_into_the_manifest_and_comes_back(tmp_path):
    shutil.copy(bundled_folder() / "manifest.json", tmp_path)
    manifest = read_manifest(tmp_path)
    model = f"{manifest.name} {manifest.version}"
    rows = [row | {"model_version": model} for row in rows_of(400)]
    with pytest.raises(DrcoreError, match="were not graded by"):
        add_reference(tmp_path, rows_of(400), "validation photographs")
    with pytest.raises(DrcoreError, match="at least 300 photographs; the tables have 50"):
        add_reference(tmp_path, rows[:50], "validation photographs")
    assert add_reference(tmp_path, rows, "validation photographs") == 400
    entry = read_manifest(tmp_path).reference_entry()
    assert reference_of_bundle(entry) == reference_of(rows)
    assert entry["source"] == "validation photographs"
    content = json.loads((tmp_path / "manifest.json").read_text())
    content["reference"]["histograms"]["score"]["counts"][0] = -1
    (tmp_path / "manifest.json").write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match="reference"):
        read_manifest(tmp_path)
    with pytest.raises(DrcoreError, match="damaged"):
        reference_of_bundle({"histograms": {"score": {"edges": [2.0, 1.0], "counts": [1]}}})


def test_the_command_prints_and_writes_the_points(tmp_path, capsys):
    table, points = tmp_path / "results.csv", tmp_path / "points.csv"
    changed = [row | {"sharpness": "0.6000"} for row in rows_of(200, seed=1, start=800)]
    table.write_text(csv_text([*rows_of(800), *changed], COLUMNS))
    arguments = ["watch", str(table), str(table), "--own-reference", "--out", str(points)]
    assert main([*arguments, "--since", "2026-02-01"]) == 0
    said = capsys.readouterr().out
    assert "Sharpness, camera A: lower than the reference" in said
    assert "0.2 false alarms are expected" in said
    found = list(csv.DictReader(io.StringIO(points.read_text())))
    assert {row["camera"] for row in found} == {"A"}
    assert any(int(row["alarms"]) for row in found if row["measure"] == "sharpness")
    assert main(["watch", str(tmp_path / "none.csv")]) == 2
    assert main(["watch"]) == 1
    assert "Give tables of results or --record" in capsys.readouterr().err
