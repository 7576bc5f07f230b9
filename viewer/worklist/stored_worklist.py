"""Between a worklist and the shelf: what of each entry is kept, and how it comes back."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from drcore.errors import DrcoreError, PhotographError, SourceError
from viewer.worklist.entry import Entry, PhotographFacts
from viewer.worklist.storage import Kept, KeptPhotograph, WorklistStore

if TYPE_CHECKING:
    from drcore.grading.grader import Grader
    from drcore.grading.report import GradeReport
    from drcore.photographs.dicom_frames import DicomFrame

__all__ = ["StoredWorklist", "identified", "stamp"]


class StoredWorklist:
    """Keeps one list. What cannot be kept is told in `trouble`, and the work goes on.

    Args:
        shelf: where; nothing is kept where left out.
        roots: folders whose files stay where they are; files elsewhere are copied to the shelf.
        kept: the list on the shelf; begun with its first photograph where left out.

    Attributes:
        trouble: a sentence where something cannot be kept; empty where all is well.
    """

    def __init__(
        self, shelf: WorklistStore | None, roots: Iterable[Path] = (), kept: Kept | None = None
    ) -> None:
        self.trouble = ""
        self.kept = kept
        self._shelf = shelf
        self._roots = [Path(os.path.abspath(root)) for root in roots]  # noqa: PTH100 - keep links

    def begin(self) -> bool:
        """Begin the list on the shelf, unless that was done.

        Returns:
            True where it is there.
        """
        if self.kept is None and self._shelf is not None and not self.trouble:
            with self._trying():
                self.kept = self._shelf.begin()
        return self.kept is not None

    def store(self, data: bytes, number: int = 0) -> bytes | Path | DicomFrame:
        """Keep a file.

        Args:
            data: all of it.
            number: of the frame that is wanted, 0 where the file is one photograph.

        Returns:
            What to read it from: in memory still, where there is no shelf.

        Raises:
            SourceError: there is no room.
        """
        if self.kept is None:
            return _frame_of(data, number)
        return _frame_of(self.kept.store(data, hashlib.sha256(data).hexdigest()), number)

    def last_place(self) -> int:
        """Return the place of the last photograph that is kept; another page may have added it."""
        with self._trying():
            return self.kept.last_place() if self.kept is not None else 0
        return 0

    def settle(self, selected: str, settings: str | None) -> None:
        """Keep which entry is on screen, and the settings where there are any."""
        with self._trying():
            if self.kept is not None:
                self.kept.settle(selected=selected, settings=settings)

    def hold(self, entry: Entry) -> None:
        """Let other pages of the same list have the same entry: what one grades, all have."""
        if self.kept is not None:
            self.kept.shelf.living[self.kept.id, entry.key] = entry

    def write(self, *entries: Entry) -> None:
        """Keep what is known of entries."""
        with self._trying():
            if self.kept is not None:
                rows = [_row(entry, self.kept.folder) for entry in entries]
                self.kept.put(row for row in rows if row is not None)

    def drop(self, key: str) -> None:
        """Delete what is kept of an entry."""
        with self._trying():
            if self.kept is not None:
                self.kept.drop(key)

    def delete(self) -> None:
        """Delete all that is kept."""
        kept, self.kept, self.trouble = self.kept, None, ""
        with self._trying():
            if kept is not None:
                kept.delete()

    def entries(self) -> Iterator[tuple[Entry, str]]:
        """Give back the entries of the list, each with what identifies its file.

        Raises:
            SourceError: the shelf cannot be read.
        """
        kept = self.kept
        for row in kept.photographs() if kept is not None else ():
            path = kept.file_of(row.file) if row.file else Path(row.path)
            identity = f"sha256 {row.file}" if row.file else f"path {path}"
            entry: Entry | None = kept.shelf.living.get((kept.id, row.key))
            if entry is None:
                if not row.file and not self._stays(path):
                    # Never opened: what lies there now may be none of this reader's business.
                    path = kept.folder / "outside the photograph folder"
                facts = PhotographFacts(
                    row.laterality if row.laterality in {"OD", "OS"} else None,  # type: ignore[arg-type]
                    row.patient or None,
                    row.patient_from,  # type: ignore[arg-type]
                    bool(row.burned_in),
                    row.sha256,
                )
                source = _frame_of(path, row.frame)
                entry = Entry(row.key, row.name, source, row.origin, facts)
                entry.thumbnail = row.thumbnail
            yield entry, f"{identity} {row.frame}" if row.frame else identity

    def take_in(self, entry: Entry) -> None:
        """Copy the file of an entry that lies where it may not stay, such as a temporary folder."""
        from drcore.photographs.formats import encoded_bytes

        file, number = _parts(entry.source)
        if self.kept is None or not isinstance(file, Path):
            return
        if file.parent == self.kept.folder or self._stays(file):
            return
        try:
            data, _ = encoded_bytes(file, entry.file_name)
            with self._trying():
                path = self.kept.store(data, hashlib.sha256(data).hexdigest())
                entry.source = _frame_of(path, number)
        except PhotographError:  # grading it says why
            return

    def keep_report(self, entry: Entry, report: GradeReport) -> None:
        """Keep a report, so that the photograph need not be graded again on return."""
        self.write(entry)
        if self.kept is None or report.status == "failed":  # those are tried again
            return
        from drcore.grading.report_file import report_to_bytes

        with self._trying():
            if self.kept.folder.is_dir():  # else it was deleted meanwhile
                data = f"{stamp(entry.source)}\n".encode() + report_to_bytes(report)
                self.kept.store_report(entry.key, data)

    def recalled(self, entry: Entry, grader: Grader) -> GradeReport | None:
        """Return the kept report, where it is of these weights and this very file."""
        data = self.kept.report(entry.key) if self.kept else None
        if data is None or not entry.thumbnail:
            return None
        from drcore.grading.report_file import report_from_bytes

        then, _, body = data.partition(b"\n")
        now = stamp(entry.source)
        try:
            report = report_from_bytes(body)
        except DrcoreError:
            return None
        same = now and now == then.decode(errors="replace")
        return report if same and report.model_version == grader.version else None

    def _stays(self, path: Path) -> bool:
        try:
            real = path.resolve()
            return any(real.is_relative_to(root.resolve()) for root in self._roots)
        except (OSError, RuntimeError, ValueError):
            return False

    @contextmanager
    def _trying(self) -> Iterator[None]:
        try:
            yield
        except SourceError as error:
            self.trouble = str(error)


def identified(source: bytes | Path | DicomFrame) -> str:
    """Return what is the same for the same photograph: hash or path, and number of the frame."""
    file, number = _parts(source)
    what = f"sha256 {hashlib.sha256(file).hexdigest()}" if isinstance(file, bytes) else ""
    what = what or f"path {file}"
    return f"{what} {number}" if number else what


def stamp(source: bytes | Path | DicomFrame) -> str:
    """Return size and time of a file, by which a change is noticed; empty where it is gone."""
    file, _ = _parts(source)
    if isinstance(file, bytes):
        return "in memory"
    try:
        status = file.stat()
    except (OSError, ValueError):
        return ""
    return f"{status.st_size} {status.st_mtime_ns}"


def _row(entry: Entry, folder: Path) -> KeptPhotograph | None:
    """The row of an entry; None for one that is held in memory."""
    file, number = _parts(entry.source)
    if isinstance(file, bytes):
        return None
    inside, facts = file.parent == folder, entry.facts
    return KeptPhotograph(
        key=entry.key,
        place=int(entry.key[1:]),
        name=entry.file_name,
        origin=entry.origin,
        file=file.name if inside else "",
        path="" if inside else str(file),
        frame=number,
        sha256=entry.sha256,
        laterality=facts.laterality or "",
        patient=facts.patient or "",
        patient_from=facts.patient_from,
        burned_in=int(facts.burned_in),
        thumbnail=entry.thumbnail,
    )


def _parts(source: bytes | Path | DicomFrame) -> tuple[bytes | Path, int]:
    if isinstance(source, bytes | Path):
        return source, 0
    return source.file if isinstance(source.file, bytes) else Path(source.file), source.number


def _frame_of(file: bytes | Path, number: int) -> bytes | Path | DicomFrame:
    if not number:
        return file
    from drcore.photographs.dicom_frames import DicomFrame

    return DicomFrame(file, number)
