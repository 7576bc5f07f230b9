"""The CSV file of a batch: it grows by whole lines and survives any interruption."""

from __future__ import annotations

import csv
import io
import os
import stat
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Self

from drcore.errors import SourceError
from drcore.results.columns import COLUMNS, Row
from drcore.text import cell, clean_name

__all__ = ["CsvFile"]


class CsvFile:
    """A CSV that grows by whole lines and can be continued after any interruption.

    What is in the file stays untouched before `start`. Each row is one line and one write; a line
    that a killed process left unfinished is dropped when the file is continued.

    Args:
        path: the file.
        resume: continue a file that has rows.
        overwrite: replace a file that has rows.

    Attributes:
        model_versions: that the rows in the file name.

    Raises:
        SourceError: the file cannot be written, has rows and neither was asked for, is in use by
            another run, or is not a table of drcore.
    """

    def __init__(self, path: Path, *, resume: bool = False, overwrite: bool = False) -> None:
        self.model_versions: set[str] = set()
        self._statuses: dict[str, str] = {}  # by image, of the rows in the file
        self._label = clean_name(path.name)
        self._started = False
        self._size = 0  # bytes of whole lines
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)
        try:
            self._file = os.open(path, flags, 0o666)
        except (OSError, ValueError) as error:
            raise self._unwritable(error) from error
        try:
            self._regular = stat.S_ISREG(os.fstat(self._file).st_mode)
            self._lock(path)
            if resume:
                self._read_back(path)
            elif not overwrite:
                self._refuse_content()
        except BaseException:
            os.close(self._file)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def status(self, image: str) -> str | None:
        """Return what the row of a photograph says.

        Args:
            image: the photograph's name in the table.

        Returns:
            Its status, None where it has no row.
        """
        return self._statuses.get(cell(image))

    def start(self) -> None:
        """Write the header, or drop the unfinished last line of the file that is continued.

        Raises:
            SourceError: the file cannot be written.
        """
        if self._started:
            return
        self._started = True
        if self._regular:
            try:
                os.ftruncate(self._file, self._size)
            except OSError as error:
                raise self._unwritable(error) from error
        if self._size == 0:
            self._write(_line(COLUMNS))

    def append(self, row: Row) -> None:
        """Add a row.

        Args:
            row: all of `COLUMNS`.

        Raises:
            SourceError: the file cannot be written; it still holds whole lines only.
        """
        self.start()
        cells = {column: cell(row[column]) for column in COLUMNS}
        self._write(_line(cells.values()))
        self._statuses[cells["image"]] = cells["status"]
        self.model_versions.add(cells["model_version"])

    def close(self) -> None:
        """Close the file, safe on disk.

        Raises:
            SourceError: the last rows did not fit on the disk.
        """
        if self._file < 0:
            return
        try:
            if self._regular:
                os.fsync(self._file)
        except OSError as error:
            raise self._unwritable(error) from error
        finally:
            file, self._file = self._file, -1
            os.close(file)

    def _write(self, data: bytes) -> None:
        left = memoryview(data)
        try:
            while left:
                left = left[os.write(self._file, left) :]
        except OSError as error:
            with suppress(OSError):  # no half line stays behind
                os.ftruncate(self._file, self._size)
            raise self._unwritable(error) from error
        self._size += len(data)

    def _unwritable(self, error: Exception) -> SourceError:
        why = getattr(error, "strerror", None) or str(error)
        return SourceError(
            f"{self._label}: the CSV cannot be written ({why}). Check the folder and the free "
            "space; rows that are in it already are kept, go on with --resume."
        )

    def _lock(self, path: Path) -> None:
        """Keep a second run off the file; where there are no locks, trust the user."""
        try:
            import fcntl
        except ImportError:
            return
        busy = SourceError(f"{self._label} is being written by another run. Wait for it to end.")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise busy from error
        except OSError:
            return
        with suppress(OSError):
            if os.path.samestat(os.fstat(self._file), path.stat()):
                return
        if self._regular:  # it was taken away between opening and locking: rows would be lost
            raise busy

    def _refuse_content(self) -> None:
        header = _line(COLUMNS)
        # A header alone is what a run leaves that never got to its first row: nothing to lose.
        if self._regular and not header.startswith(os.read(self._file, len(header) + 1)):
            raise SourceError(
                f"{self._label} exists. Continue it with --resume, replace it with --overwrite, "
                "or give another name."
            )

    def _read_back(self, path: Path) -> None:
        header = _line(COLUMNS)
        if not self._regular:
            return
        try:
            with path.open("rb") as file:
                first = file.readline()
                if header.startswith(first):  # empty, or killed while writing the header
                    self._size = len(first) if first == header else 0
                elif first.rstrip(b"\r\n") == header.rstrip(b"\n"):  # saved by a spreadsheet
                    self._size = len(first)
                else:
                    raise SourceError(
                        f"{self._label} is not a table of this version of drcore, so it cannot be "
                        "continued. Give another name."
                    )
                for number, line in enumerate(file, start=2):
                    if line.endswith(b"\n"):  # else cut off
                        self._note_row(line, number)
                        self._size += len(line)
        except OSError as error:
            raise self._unwritable(error) from error

    def _note_row(self, line: bytes, number: int) -> None:
        try:
            cells = next(csv.reader([line.decode("utf-8").rstrip("\r\n")], strict=True), [])
        except (UnicodeDecodeError, csv.Error):
            cells = []
        if len(cells) != len(COLUMNS):
            raise SourceError(
                f"{self._label}: line {number} is not a row of drcore. Repair or delete it, or "
                "give another name."
            )
        row = dict(zip(COLUMNS, cells, strict=True))
        self._statuses[row["image"]] = row["status"]
        self.model_versions.add(row["model_version"])


def _line(cells: Iterable[str]) -> bytes:
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerow(cells)
    return file.getvalue().encode("utf-8")
