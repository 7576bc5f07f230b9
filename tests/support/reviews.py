"""Decisions and marks for tests, complete but for what a test changes. Imports drcore alone."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from drcore.reviews.decision import Decision
from drcore.reviews.mark import Mark

NOON = datetime(2026, 3, 29, 12, 0, 0, 123456, tzinfo=UTC)


def decision(**changes: Any) -> Decision:
    values: dict[str, Any] = {
        "sha256": "ab" * 32,
        "image": "10_left.jpeg",
        "model_version": "tiny 1",
        "machine_status": "graded",
        "machine_grade": 2,
        "machine_score": 1.87654321,
        "action": "agree",
        "grade": 2,
        "note": "",
        "reader": "Dr. Adams",
        "decided_at": NOON,
        "laterality": "OS",
        "patient": "10",
    }
    return Decision(**(values | changes))


def mark(**changes: Any) -> Mark:
    values: dict[str, Any] = {
        "sha256": "ab" * 32, "kind": "point", "lesion": "microaneurysm", "x0": 10.0, "y0": 20.5,
        "x1": 10.0, "y1": 20.5, "reader": "Dr. Adams", "created_at": NOON,
    }  # fmt: skip
    return Mark(**(values | changes))
