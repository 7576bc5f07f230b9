"""The CSV file of a batch: it grows by whole lines and survives any interruption."""

from __future__ import annotations

import csv
import io
import os
import stat
import sys
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Self

from drcore.errors import SourceError
from drcore.files import hold, replacing
from drcore.results.columns import COLUMNS, Row
from drcore.results.known import Known, digest
from drcore.text import cell, clean_name

__all__ = ["CsvFile"]

_BOM = b"\xef\xbb\xbf"
_FEWEST = COLUMNS.index("exam_date")
"""Columns of tables that 0.6 wrote; those of any release since are continued with all of them."""


class CsvFile:
    """A CSV that grows by whole lines and can be continued after any interruption.

    What is in the file stays untouched before `start`. Each row is one line and one write; a line
    that a killed process left unfinished is dropped when the file is continued.

    Args:
        path: the file.
        resume: continue a file that has rows.
        overwrite: replace a file that has rows.
        spreadsheet: begin a new file with a byte order mark, and write numbers of patients as
            text (`="007"`), which spreadsheets would else take for 7. A file that is continued
            keeps the form that it has.

    Attributes:
        model_versions: that the rows in the file name.

    Raises:
        SourceError: the file cannot be written, has rows and neither was asked for, is in use by
            another run, or is not a table of drcore.
    """

    def __init__(
        self,
        path: Path,
        *,
        resume: bool = False,
        overwrite: bool = False,
        spreadsheet: bool = False,
    ) -> None:
        self.model_versions: set[str] = set()
        self._path = path
        self._known: dict[str, Known] = {}  # by image, of the rows in the file
        self._images: dict[bytes, str] = {}  # by content
        self._sizes: set[int] = set()
        self._label = clean_name(path.name)
        self._started = False
        self._spreadsheet = spreadsheet
        self._columns: tuple[str, ...] = COLUMNS  # of the file as it is
        self._size = 0  # bytes of whole lines
        try:
            self._file = os.open(path, _FLAGS, 0o666)
        except (OSError, ValueError) as error:
            raise self._unwritable(error) from error
        try:
            self._regular = stat.S_ISREG(os.fstat(self._file).st_mode)
            self._lock()
            if resume:
                self._read_back()
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
        """Return what the row of a photograph says."""
        known = self.known(image)
        return None if known is None else known.status

    def known(self, image: str) -> Known | None:
        """Return what is known of the photograph of a name, None where it has no row."""
        return self._known.get(cell(image))

    @property
    def images(self) -> Iterable[str]:
        """Names of the photographs that have a row, in the order of the rows."""
        return self._known.keys()

    def may_hold(self, size: int | None) -> bool:
        """Tell whether some row may be of a file of this size, in bytes; None where unknown."""
        return size in self._sizes or 0 in self._sizes  # tables of 0.6 have no sizes

    def image_of(self, sha256: str) -> str | None:
        """Return the name in the table of some content, None where it has no row."""
        return self._images.get(digest(sha256))

    def count(self, images: Iterable[str]) -> Counter[str]:
        """Count rows."""
        found: Counter[str] = Counter()
        for image in images:
            known = self.known(image)
            found["" if known is None else known.status] += 1
            found["referable"] += known is not None and known.referable
        return found

    def start(self) -> None:
        """Write the header, or drop the unfinished last line of the file that is continued."""
        if self._started:
            return
        self._started = True
        if self._regular:
            try:
                os.ftruncate(self._file, self._size)
            except OSError as error:
                raise self._unwritable(error) from error
        if self._size == 0:
            self._write(self._header())
        elif self._columns != COLUMNS:
            self.rename({})

    def append(self, row: Row) -> None:
        """Add a row."""
        self.start()
        cells = _cells(row)
        self._note(cells, earlier=False)
        self._write(self._line(cells))

    def rename(self, names: Mapping[str, str]) -> None:
        """Give rows other names, all at once; bring a table of 0.6 to the columns of today."""
        self.start()
        if not names and self._columns == COLUMNS:
            return

        def renamed() -> Iterator[bytes]:
            self._known, self._images, self._sizes = {}, {}, set()
            for row in self.rows():
                row["image"] = cell(names.get(row["image"], row["image"]))
                self._note(row)
                yield self._line(row)

        self._rewrite(renamed())

    def refresh(self, refreshed: Callable[[Row], Row | None]) -> None:
        """Replace rows in their places, all at once; those that stay the same cost nothing.

        Args:
            refreshed: gives the row that takes the place of another, or None to drop it. It is
                called twice for each row.
        """
        if not self._regular:
            return
        changed = False
        for row in self.rows():
            found = refreshed(row)
            if found is None:
                changed = True
                known = self._known.pop(row["image"], None)
                if known is not None and self._images.get(known.digest) == row["image"]:
                    del self._images[known.digest]
            elif (after := _cells(found)) != row:
                changed = True
                self._note(after, earlier=False)
        if changed:
            kept = (found for row in self.rows() if (found := refreshed(row)) is not None)
            self._rewrite(self._line(_cells(row)) for row in kept)

    def arrange(self, images: Iterable[str]) -> None:
        """Bring rows into the order of their images, all at once.

        Args:
            images: names in the order wanted; a row of none of these stays behind the row that it
                follows now.
        """
        if not self._regular:
            return
        wanted = {cell(image): place for place, image in enumerate(images)}
        ranks, last = [], -1
        for image in self._known:
            last = wanted.get(image, last)
            ranks.append(last)
        if all(first <= second for first, second in pairwise(ranks)):
            return
        lines = array("Q", [0])
        with self._path.open("rb") as file:
            for line in file:
                lines.append(lines[-1] + len(line))
            order = sorted(range(len(ranks)), key=ranks.__getitem__)

            def arranged() -> Iterator[bytes]:
                for row in order:
                    file.seek(lines[row + 1])
                    yield file.read(lines[row + 2] - lines[row + 1])

            if len(lines) == len(ranks) + 2:  # each row once
                self._rewrite(arranged())
                names = list(self._known)
                self._known = {names[row]: self._known[names[row]] for row in order}

    def close(self) -> None:
        """Close the file, safe on disk."""
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

    # --- writing --------------------------------------------------------------------------------

    def _header(self) -> bytes:
        return (_BOM if self._spreadsheet else b"") + _encoded(COLUMNS)

    def _line(self, row: Row) -> bytes:
        cells = [row[column] for column in COLUMNS]
        if self._spreadsheet:
            place = COLUMNS.index("patient")
            if cells[place].isascii() and cells[place].isdigit():
                cells[place] = f'="{cells[place]}"'
        return _encoded(cells)

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

    def _rewrite(self, lines: Iterable[bytes]) -> None:
        """Replace the file whole; at any moment there is the old or the new one under its name."""
        try:
            with replacing(self._path) as part:
                new = os.open(part, _FLAGS, stat.S_IMODE(os.fstat(self._file).st_mode))
                size = 0
                try:
                    hold(new)  # no other run gets in between
                    with open(os.dup(new), "wb") as file:  # noqa: PTH123
                        for data in (self._header(), *lines):
                            size += file.write(data)
                        file.flush()
                        os.fsync(new)
                except BaseException:
                    os.close(new)
                    raise
                os.close(self._file)
                self._file, self._size, self._columns = new, size, COLUMNS
        except OSError as error:
            raise self._unwritable(error) from error

    def _unwritable(self, error: Exception) -> SourceError:
        why = getattr(error, "strerror", None) or str(error)
        return SourceError(
            f"{self._label}: the CSV cannot be written ({why}). Check the folder and the free "
            "space; rows that are in it already are kept, go on with --resume."
        )

    def _lock(self) -> None:
        """Keep a second run off the file; where there are no locks, trust the user."""
        busy = SourceError(f"{self._label} is being written by another run. Wait for it to end.")
        try:
            if not hold(self._file):
                return
        except BlockingIOError as error:
            raise busy from error
        with suppress(OSError):
            if os.path.samestat(os.fstat(self._file), self._path.stat()):
                return
        if self._regular:  # it was taken away between opening and locking: rows would be lost
            raise busy

    # --- reading --------------------------------------------------------------------------------

    def _refuse_content(self) -> None:
        headers = [_encoded(COLUMNS), _BOM + _encoded(COLUMNS)]
        # A header alone is what a run leaves that never got to its first row: nothing to lose.
        start = os.read(self._file, len(headers[1]) + 1) if self._regular else b""
        if not any(header.startswith(start) for header in headers):
            raise SourceError(
                f"{self._label} already exists. Continue it with --resume, replace it with "
                "--overwrite, or give another name."
            )

    def _read_back(self) -> None:
        if not self._regular:
            return
        try:
            with self._path.open("rb") as file:
                self._read_header(file.readline())
                for number, line in enumerate(file, start=2):
                    if self._size and line.endswith(b"\n"):  # else cut off
                        self._note(self._parse(line, number))
                        self._size += len(line)
        except OSError as error:
            raise self._unwritable(error) from error

    def _read_header(self, first: bytes) -> None:
        """Accept what a run or a spreadsheet wrote, whole or killed while it was written."""
        if _BOM.startswith(first):
            return
        has_mark = first.startswith(_BOM)
        self._spreadsheet = has_mark
        line = first.removeprefix(_BOM)
        columns = COLUMNS[: max(_FEWEST, line.count(b",") + 1)]
        if line.endswith(b"\n") and line.rstrip(b"\r\n") == _encoded(columns).rstrip(b"\n"):
            self._columns, self._size = columns, len(first)
            return
        if not _encoded(COLUMNS).startswith(line):
            raise SourceError(
                f"{self._label} is not a table of this version of drcore, so it cannot be "
                "continued. Give another name."
            )

    def rows(self) -> Iterator[Row]:
        """Rows as they are in the file, with all of `COLUMNS`."""
        left = self._size
        with self._path.open("rb") as file:
            left -= len(file.readline())
            for number, line in enumerate(file, start=2):
                if left <= 0:
                    return
                left -= len(line)
                yield self._parse(line, number)

    def _parse(self, line: bytes, number: int) -> Row:
        try:
            cells = next(csv.reader([line.decode("utf-8").rstrip("\r\n")], strict=True), [])
        except (UnicodeDecodeError, csv.Error):
            cells = []
        if len(cells) != len(self._columns):
            raise SourceError(
                f"{self._label}: line {number} is not a row of drcore. Repair or delete it, or "
                "give another name."
            )
        row = {**dict.fromkeys(COLUMNS, ""), **dict(zip(self._columns, cells, strict=True))}
        if row["patient"].startswith('="') and row["patient"].endswith('"'):
            row["patient"] = row["patient"][2:-1]
        return row

    def _note(self, row: Row, *, earlier: bool = True) -> None:
        """Remember a row; of those of this run no more than the summary needs."""
        size = row["file_size"] if earlier else ""
        known = Known(
            sys.intern(row["status"]),
            row["referable"].lower() == "true",
            digest(row["sha256"]) if earlier else b"",
            int(size) if size.isascii() and size.isdigit() else 0,
        )
        self._known[row["image"]] = known
        if known.digest:
            self._images.setdefault(known.digest, row["image"])
            self._sizes.add(known.size)
        self.model_versions.add(row["model_version"])


_FLAGS = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)


def _cells(row: Row) -> Row:
    return {column: cell(row[column]) for column in COLUMNS}


def _encoded(cells: Iterable[str]) -> bytes:
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerow(cells)
    return file.getvalue().encode("utf-8")
