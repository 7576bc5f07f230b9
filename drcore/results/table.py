"""Where the rows of a run go: a CSV or a Parquet file, here or behind a URL."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Protocol, Self

from drcore.errors import SourceError
from drcore.results.columns import Row
from drcore.results.csv_file import CsvFile
from drcore.sources.remote import Remote, is_url, redacted, remote_of
from drcore.text import clean_name

__all__ = ["Table", "open_table"]

BETWEEN = 60.0
"""Seconds between two uploads of a remote table, at least."""

SHARE = 20
"""The time between two uploads is at least this many times what the last one took."""

UNFINISHED = ".unfinished.csv"


class Table(Protocol):
    """What a run writes its rows into; see `CsvFile`."""

    model_versions: set[str]

    def __enter__(self) -> Self: ...
    def __exit__(self, *_: object) -> None: ...
    def status(self, image: str) -> str | None:
        """Return what the row of a photograph says, None where it has none."""

    def start(self) -> None:
        """Begin to write; what was there before is untouched until then."""

    def append(self, row: Row) -> None:
        """Add a row."""


def open_table(where: str, *, resume: bool = False, overwrite: bool = False) -> Table:
    """Open the table of a run.

    Args:
        where: a path, or an address with s3:// or gs://; Parquet where it ends in `.parquet`,
            else CSV.
        resume: continue a table that has rows.
        overwrite: replace a table that has rows.

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
        return _WholeTable(_Uploaded(place), resume=resume, overwrite=overwrite)
    path = Path(where)
    if path.suffix.lower() == ".parquet":
        return _WholeTable(_Beside(path), resume=resume, overwrite=overwrite)
    return CsvFile(path, resume=resume, overwrite=overwrite)


class _Place(Protocol):
    """Where a table is kept that can only be written whole."""

    label: str
    rows: Path
    """The CSV that grows meanwhile."""
    kept: str
    """Where the rows are if the table cannot be written."""
    every: float
    """Seconds between two writings; infinite where only the end counts."""

    def fetch(self) -> bool:
        """Write the rows that are there as a CSV; False where there is no table."""

    def publish(self) -> None:
        """Write the table from the CSV."""

    def discard(self) -> None:
        """Delete the CSV."""

    def abandon(self, *, held: bool) -> None:
        """Delete the CSV where it is ours alone and holds nothing that is not in the table.

        Args:
            held: whether this run has the CSV to itself; else another one may write it.
        """


class _WholeTable:
    """A table that is written whole, at the end and now and then, from a CSV that grows."""

    def __init__(self, place: _Place, *, resume: bool, overwrite: bool) -> None:
        self._place = place
        self._published = self._pause = 0.0
        self._started = False
        try:
            there = not overwrite and place.fetch()
            self._rows = CsvFile(place.rows, resume=resume or there, overwrite=overwrite)
        except OSError as error:
            place.abandon(held=False)
            raise _unwritable(place, error) from error
        except SourceError:
            place.abandon(held=False)
            raise
        self.model_versions = self._rows.model_versions
        if there and not resume and self.model_versions:
            place.abandon(held=True)
            self._rows.close()
            raise SourceError(
                f"{place.label} exists. Continue it with --resume, replace it with --overwrite, or "
                "give another name."
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def status(self, image: str) -> str | None:
        """Return what the row of a photograph says."""
        return self._rows.status(image)

    def start(self) -> None:
        """Begin to write."""
        if not self._started:
            self._started = True
            self._rows.start()
            if self._place.every < float("inf"):
                self._publish()  # what cannot be written is told before an hour's work

    def append(self, row: Row) -> None:
        """Add a row."""
        self.start()
        self._rows.append(row)
        if time.monotonic() - self._published > max(self._place.every, self._pause):
            with suppress(SourceError):  # the next one, or the last, may get through
                self._publish()

    def close(self) -> None:
        """Write the table; the CSV goes when that is done."""
        # Closed last: until then no other run gets at the rows, which it would write for nothing.
        try:
            if self._started:
                self._publish()
                self._place.discard()
            else:
                self._place.abandon(held=True)
        finally:
            self._rows.close()

    def _publish(self) -> None:
        began = time.monotonic()
        try:
            self._place.publish()
        except OSError as error:
            raise _unwritable(self._place, error) from error
        except SourceError as error:
            raise SourceError(f"{error} The rows are kept in {self._place.kept}.") from None
        finally:
            self._published = time.monotonic()
            self._pause = SHARE * (self._published - began)


def _unwritable(place: _Place, error: OSError) -> SourceError:
    return SourceError(
        f"{place.label}: the table cannot be written ({error.strerror or 'unknown error'}). Check "
        f"the folder and the free space. The rows are kept in {place.kept}."
    )


class _Beside:
    """A Parquet file; its rows grow in a CSV beside it, so that a kill loses none."""

    every = float("inf")

    def __init__(self, path: Path) -> None:
        self.label = clean_name(path.name)
        self.rows = path.with_name(path.name + UNFINISHED)
        self.kept = f"{clean_name(self.rows.name)}: go on with --resume"
        self._path = path
        self._fetched = False

    def fetch(self) -> bool:
        if self.rows.exists():  # of a run that was killed: it has all that the table has
            return True
        if not self._path.exists():
            return False
        from drcore.results.parquet import parquet_to_csv

        part = self.rows.with_name(f".{self.rows.name}.{os.getpid()}.part")
        try:
            parquet_to_csv(self._path, part)
            try:
                os.link(part, self.rows)  # never over the rows of a run that was a moment faster
            except FileExistsError:
                return True
            except OSError:  # a file system without links
                part.replace(self.rows)
        finally:
            part.unlink(missing_ok=True)
        self._fetched = True
        return True

    def publish(self) -> None:
        from drcore.results.parquet import csv_to_parquet

        part = self._path.with_name(f".{self._path.name}.{os.getpid()}.part")
        try:
            csv_to_parquet(self.rows, part)
            part.replace(self._path)
        finally:
            with suppress(OSError):
                part.unlink(missing_ok=True)

    def discard(self) -> None:
        self.rows.unlink(missing_ok=True)

    def abandon(self, *, held: bool) -> None:
        with suppress(OSError):
            if held and (self._fetched or self.rows.stat().st_size == 0):
                self.discard()


class _Uploaded:
    """A CSV or Parquet object behind a URL; its rows grow in a temporary file."""

    every = BETWEEN

    def __init__(self, place: Remote) -> None:
        self.label = clean_name(place.name)
        self._place = place
        self._folder = Path(tempfile.mkdtemp(prefix="drcore-"))
        self.rows = self._folder / "rows.csv"
        self.kept = f"{self.rows} on this computer"
        self._parquet = place.name.lower().endswith(".parquet")
        self._copy = self._folder / self.label

    def fetch(self) -> bool:
        data = self._place.get()
        if data is None:
            return False
        if self._parquet:
            from drcore.results.parquet import parquet_to_csv

            self._copy.write_bytes(data)
            parquet_to_csv(self._copy, self.rows)
        else:
            self.rows.write_bytes(data)
        return True

    def publish(self) -> None:
        if self._parquet:
            from drcore.results.parquet import csv_to_parquet

            csv_to_parquet(self.rows, self._copy)
            self._place.put(self._copy)
        else:
            self._place.put(self.rows)

    def discard(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    def abandon(self, *, held: bool) -> None:  # noqa: ARG002 - a folder of this run alone
        self.discard()
