"""A record with rows in every table, in SQLite and in PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from drcore.reviews.store import ReviewStore
from tests.support.postgresql import new_database, postgresql_server
from tests.support.reviews import decision, mark


@pytest.fixture(scope="session")
def socket_folder() -> Iterator[Path]:
    pytest.importorskip("pg8000.native", reason="pg8000 is not installed")
    with postgresql_server() as folder:
        yield folder


@pytest.fixture(params=["sqlite", "postgresql"])
def location(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a record can be made."""
    if request.param == "sqlite":
        return str(tmp_path / "reviews.sqlite3")
    return new_database(request.getfixturevalue("socket_folder"))


@pytest.fixture
def record(location: str) -> str:
    """Two patients: 10 with two decisions, two marks and a correction, 11 with two decisions."""
    fill(location)
    return location


def fill(location: str) -> None:
    with ReviewStore(location) as store:
        store.add(decision(note="neighbour of Mr. X", overlay_scales=("128", "fused"), seconds=2.0))
        store.add(decision(reader="BS", action="change", grade=3, machine_visible=False))
        other = {"sha256": "cd" * 32, "image": "11_right.jpeg"}
        store.add(decision(**other, patient="11"))
        store.add(decision(**other, action="ungradable", grade=None, patient=" 11"))
        store.add_mark(mark(note="by the disc"))
        store.add_mark(mark(kind="box", x1=70.5, y1=90.25, lesion="IRMA"))
        store.add_mark(mark(sha256="cd" * 32))
        store.remove_mark(1, "Dr. Adams")
        store.correct_identity("ab" * 32, "OD", "10", "AR")


@pytest.fixture
def sqlite_record(tmp_path: Path) -> Path:
    file = tmp_path / "reviews.sqlite3"
    fill(str(file))
    return file
