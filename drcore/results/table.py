"""Where the rows of a run go: a CSV or a Parquet file, here or behind a URL."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from drcore.errors import SourceError
from drcore.files import replacing
from drcore.results.columns import Row
from drcore.results.csv_file import CsvFile
from drcore.sources.remote import Remote, is_url, redacted, remote_of
from drcore.text import clean_name

__all__ = ["ResultTable", "open_table"]

BETWEEN_UPLOADS = 60.0
"""Seconds between two uploads of a remote table, at least."""

UPLOAD_SHARE = 20
"""The time between two uploads is at least this many times what the last one took."""

UNFINISHED = ".unfinished.csv"


def open_table(
    where: str, *, resume: bool = False, overwrite: bool = False, spreadsheet: bool = False
) -> ResultTable:
    """Open the table of a run.

    Args:
        where: a path, or an address with s3:// or gs://; Parquet where it ends in `.parquet`,
            else CSV.
        resume: continue a table that has rows.
        overwrite: replace a table that has rows.
        spreadsheet: write a new CSV for spreadsheets, see `CsvFile`.

    Returns:
        The table.

    Raises:
        SourceError: it cannot be written, has rows and neither was asked for, is in use by another
            run, or is not a table of drcore.
    """
    if is_url(where):
        place = remote_of(where)
        if not place.seekable:
            raise SourceError(f"{redacted(where)}: no table can be written there. Give a file.")
        target: _Target | None = _uploaded(place)
    elif Path(where).suffix.lower() == ".parquet":
        target = _beside(Path(where))
    else:
        target = None
    if target is None:
        rows = CsvFile(Path(where), resume=resume, overwrite=overwrite, spreadsheet=spreadsheet)
        return ResultTable(rows, None)
    return _open_target(target, resume=resume, overwrite=overwrite, spreadsheet=spreadsheet)


@dataclass(frozen=True, slots=True)
class _Target:
    """A table that can only be written whole, from a CSV that grows.

    Attributes:
        label: display name.
        rows: the CSV.
        kept: where the rows are if the table cannot be written.
        live: whether it is written now and then; else at the end alone.
        fetch: writes the rows that are there as a CSV; False where there is no table.
        publish: writes the table from the CSV.
        discard: deletes the CSV after the table is written.
        abandon: deletes the CSV of a run that wrote nothing, where it holds nothing that is not in
            the table. `held` says whether this run has it to itself; else another may write it.
    """

    label: str
    rows: Path
    kept: str
    live: bool
    fetch: Callable[[], bool]
    publish: Callable[[], None]
    discard: Callable[[], None]
    abandon: Callable[..., None]

    def unwritable(self, error: OSError) -> SourceError:
        """Say that the table cannot be written."""
        why = error.strerror or "unknown error"
        return SourceError(
            f"{self.label}: the table cannot be written ({why}). Check the folder and the free "
            f"space. The rows are kept in {self.kept}."
        )


class ResultTable:
    """The table of a run: a CSV that grows and, where that is not the table, what it becomes.

    Args:
        csv_file: takes the rows.
        target: written whole from the CSV, at the end and now and then; None where the CSV is the
            table.
    """

    def __init__(self, csv_file: CsvFile, target: _Target | None) -> None:
        self.csv_file = csv_file
        self._target = target
        self._started = False
        self._published = self._pause = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def model_versions(self) -> set[str]:
        """Models that the rows in the table name."""
        return self.csv_file.model_versions

    def status(self, image: str) -> str | None:
        """Return the status in the row of a photograph, None where it has none."""
        return self.csv_file.status(image)

    def start(self) -> None:
        """Begin to write; what was there before is untouched until then."""
        if self._started:
            return
        self._started = True
        self.csv_file.start()
        if self._target is not None and self._target.live:
            self._publish(self._target)  # what cannot be written is told before an hour's work

    def append(self, row: Row) -> None:
        """Add a row."""
        self.start()
        self.csv_file.append(row)
        target = self._target
        due = self._published + max(BETWEEN_UPLOADS, self._pause)
        if target is not None and target.live and time.monotonic() > due:
            with suppress(SourceError):  # the next one, or the last, may get through
                self._publish(target)

    def close(self) -> None:
        """Write the table; the CSV goes when that is done."""
        # Closed last: until then no other run gets at the rows, which it would write for nothing.
        try:
            if self._target is None:
                return
            if self._started:
                self._publish(self._target)
                self._target.discard()
            else:
                self._target.abandon(held=True)
        finally:
            self.csv_file.close()

    def _publish(self, target: _Target) -> None:
        began = time.monotonic()
        try:
            target.publish()
        except OSError as error:
            raise target.unwritable(error) from error
        except SourceError as error:
            raise SourceError(f"{error} The rows are kept in {target.kept}.") from None
        finally:
            self._published = time.monotonic()
            self._pause = UPLOAD_SHARE * (self._published - began)


def _open_target(
    target: _Target, *, resume: bool, overwrite: bool, spreadsheet: bool
) -> ResultTable:
    try:
        there = not overwrite and target.fetch()
        rows = CsvFile(
            target.rows, resume=resume or there, overwrite=overwrite, spreadsheet=spreadsheet
        )
    except OSError as error:
        target.abandon(held=False)
        raise target.unwritable(error) from error
    except SourceError:
        target.abandon(held=False)
        raise
    if there and not resume and rows.model_versions:
        target.abandon(held=True)
        rows.close()
        raise SourceError(
            f"{target.label} already exists. Continue it with --resume, replace it with "
            "--overwrite, or give another name."
        )
    return ResultTable(rows, target)


def _beside(path: Path) -> _Target:
    """A Parquet file; its rows grow in a CSV beside it, so that a kill loses none."""
    rows = path.with_name(path.name + UNFINISHED)
    fetched = False

    def fetch() -> bool:
        nonlocal fetched
        there = rows.exists()  # of a run that was killed: it has all that the table has
        if not there and path.exists():
            fetched = _fetch_rows(path, rows)
            there = True
        return there

    def publish() -> None:
        from drcore.results.parquet import csv_to_parquet

        with replacing(path) as part:
            csv_to_parquet(rows, part)

    def discard() -> None:
        rows.unlink(missing_ok=True)

    def abandon(*, held: bool) -> None:
        with suppress(OSError):
            if held and (fetched or rows.stat().st_size == 0):
                discard()

    kept = f"{clean_name(rows.name)}: go on with --resume"
    return _Target(
        clean_name(path.name), rows, kept, live=False, fetch=fetch, publish=publish,
        discard=discard, abandon=abandon,
    )  # fmt: skip


def _fetch_rows(path: Path, rows: Path) -> bool:
    """Write the rows of a Parquet file as CSV; False where another run was a moment faster."""
    from drcore.results.parquet import parquet_to_csv

    part = rows.with_name(f".{rows.name}.{os.getpid()}.part")
    try:
        parquet_to_csv(path, part)
        try:
            os.link(part, rows)  # never over the rows of another run
        except FileExistsError:
            return False
        except OSError:  # a file system without links
            part.replace(rows)
    finally:
        part.unlink(missing_ok=True)
    return True


def _uploaded(place: Remote) -> _Target:
    """A CSV or Parquet object behind a URL; its rows grow in a temporary file."""
    label = clean_name(place.name)
    folder = Path(tempfile.mkdtemp(prefix="drcore-"))
    rows, copy = folder / "rows.csv", folder / label
    is_parquet = place.name.lower().endswith(".parquet")

    def fetch() -> bool:
        data = place.get()
        if data is None:
            return False
        if is_parquet:
            from drcore.results.parquet import parquet_to_csv

            copy.write_bytes(data)
            parquet_to_csv(copy, rows)
        else:
            rows.write_bytes(data)
        return True

    def publish() -> None:
        if is_parquet:
            from drcore.results.parquet import csv_to_parquet

            csv_to_parquet(rows, copy)
        place.put(copy if is_parquet else rows)

    def discard() -> None:
        shutil.rmtree(folder, ignore_errors=True)

    return _Target(
        label, rows, f"{rows} on this computer", live=True, fetch=fetch, publish=publish,
        discard=discard, abandon=lambda **_: discard(),
    )  # fmt: skip
