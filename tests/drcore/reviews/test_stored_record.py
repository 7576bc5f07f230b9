"""A record that 0.6.1 wrote opens, and can be added to."""

from __future__ import annotations

import csv
import io
import shutil
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest

from drcore.agreement.adjudication import StudyRules, reading_statuses
from drcore.reviews.store import ReviewStore

STORED = Path(__file__).parents[2] / "stored" / "0.6.1"
NOON = datetime(2026, 3, 29, 12, 0, 0, 123456, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> ReviewStore:
    return ReviewStore(shutil.copy(STORED / "reviews.sqlite3", tmp_path))


def test_decisions_come_back(store: ReviewStore) -> None:
    numbered = store.numbered_decisions()
    assert [number for number, _ in numbered] == [1, 2, 3, 4, 5]
    agreed, blind, revised, arbiter, ungradable = store.decisions()
    assert (agreed.reader, agreed.action, agreed.grade, agreed.machine_grade) == (
        "AR",
        "agree",
        2,
        2,
    )
    assert (agreed.seconds, agreed.overlay_scales, agreed.overlay_seen) == (
        12.25, ("128", "fused"), True,
    )  # fmt: skip
    assert (agreed.image, agreed.laterality, agreed.patient) == ("7_right.jpg", "OD", "7")
    assert agreed.machine_score == pytest.approx(2.2216)
    assert agreed.model_version == "ram-lite 0.6.1"
    assert agreed.decided_at == NOON
    assert (blind.mode, blind.role, blind.machine_visible) == ("blinded first read", "first", False)
    assert blind.note == 'seen "twice",\nthen é'
    assert (blind.overlay_scales, blind.overlay_seen, blind.revises) == ((), False, None)
    assert (revised.machine_visible, revised.revises, revised.grade) == (True, 2, 3)
    assert (arbiter.mode, arbiter.role) == ("arbitration", "arbiter")
    assert (ungradable.action, ungradable.grade, ungradable.reader) == ("ungradable", None, "")
    assert (ungradable.mode, ungradable.seconds, ungradable.overlay_scales) == (None, None, None)
    assert reading_statuses(store.decisions(), StudyRules())[agreed.sha256].final == arbiter


def test_marks_and_corrections_come_back(store: ReviewStore) -> None:
    (first, point), (second, box) = store.marks()
    assert (first, point.kind, point.lesion, point.x0, point.y1) == (
        1, "point", "microaneurysm", 10.0, 20.5,
    )  # fmt: skip
    assert (second, box.kind, box.x1, box.y1, box.note) == (
        2, "box", 140.0, 60.125, "near the disc",
    )  # fmt: skip
    corrected = store.identity(point.sha256)
    assert corrected is not None
    assert (corrected.laterality, corrected.patient, corrected.reader) == (None, "7", "BS")
    assert store.identities() == {point.sha256: corrected}


def test_an_old_record_is_added_to(store: ReviewStore) -> None:
    before = store.decisions()
    assert store.add(before[0]) == 6
    assert store.decisions() == [*before, before[0]]
    rows = list(csv.DictReader(io.StringIO(store.csv_text(), newline="")))
    assert Counter(row["reader"] for row in rows) == {"AR": 2, "BS": 2, "CT": 1, "": 1}
