"""Where the record and the stored worklists lie, for the viewer and for `drcore record` alike."""

from __future__ import annotations

import os
from pathlib import Path

from drcore.errors import MissingInputError
from drcore.text import clean_name

__all__ = ["existing_record", "record_file", "record_location", "worklists_folder"]


def record_location() -> str:
    """Return where grades are kept: DRCORE_REVIEWS_URL, or a file below the working folder."""
    return os.environ.get("DRCORE_REVIEWS_URL") or str(Path(".drcore", "reviews.sqlite3").resolve())


def worklists_folder() -> Path:
    """Return where worklists are kept: DRCORE_WORKLISTS, or a folder below the working folder."""
    return Path(os.environ.get("DRCORE_WORKLISTS") or Path(".drcore", "worklists")).resolve()


def record_file(location: str) -> Path | None:
    """Return the SQLite file of a record; None for PostgreSQL.

    Raises:
        ReviewError: the location is not understood.
    """
    from drcore.reviews.database_url import parse_url  # the first page of the viewer needs none

    url = parse_url(location)
    return Path(url.database or "") if url.get_backend_name() == "sqlite" else None


def existing_record(location: str) -> Path | None:
    """Return the SQLite file of a record that is there; None for PostgreSQL.

    Raises:
        MissingInputError: there is no such file.
        ReviewError: the location is not understood.
    """
    file = record_file(location)
    if file is not None and not file.is_file():
        raise MissingInputError(
            f"There is no record of decisions at {clean_name(file.name)}. Name the record with "
            "--record, set DRCORE_REVIEWS_URL, or go to the folder in which the viewer was started."
        )
    return file
