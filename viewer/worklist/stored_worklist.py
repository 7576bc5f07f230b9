"""One worklist on disk: photographs, their rows in the index, reports, position and settings."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from drcore.errors import DrcoreError, PhotographError
from drcore.files import replacing
from viewer.worklist.entry import Entry, PhotographFacts
from viewer.worklist.storage import WorklistStore, list_id

if TYPE_CHECKING:
    from drcore.grading.grader import Grader
    from drcore.grading.report import GradeReport
    from drcore.photographs.dicom_frames import DicomFrame
    from drcore.photographs.identity import Identity


@dataclass(frozen=True, slots=True)
class StoredPhotograph:
    """A row of the index; the fields are its columns, in order.

    Attributes:
        key: of the entry; unique in the list.
        place: in the order added.
        name: of the file; untrusted text.
        origin: our own words.
        file: SHA-256 of the stored file; empty if only a path is stored.
        path: of a file that stays where it is; else empty.
        frame: number of a DICOM file's frame, 0 if the file is one photograph.
        sha256: of the photograph, hex; empty until it is known.
        laterality, patient: empty if unknown.
        patient_from: where the patient was read, see `identity_source`; of lists of 0.6 "header"
            stands for DICOM.
        burned_in: whether the header says that identity is burned into the pixels.
        thumbnail: data URI; empty until it was made.
        exam_date: `YYYY-MM-DD`; empty if unknown.
        identity_source: where eye, patient and date were read, as in a table.
        listed: path below the folder or archive that was added; untrusted text, empty if unknown.
    """

    key: str
    place: int
    name: str
    origin: str
    file: str
    path: str
    frame: int
    sha256: str
    laterality: str
    patient: str
    patient_from: str
    burned_in: int
    thumbnail: str
    exam_date: str = ""
    identity_source: str = ""
    listed: str = ""


_COLUMNS = ", ".join(field.name for field in fields(StoredPhotograph))


class StoredWorklist:
    """One list of a store. Its methods raise `SourceError` if the disk or index cannot be used.

    Args:
        store: that holds it.
        token: of a list that is there, see `begin` and `open`.
        roots: folders whose files stay where they are; files elsewhere are copied.
    """

    def __init__(self, store: WorklistStore, token: str, roots: Iterable[Path] = ()) -> None:
        self.store = store
        self.token = token
        self.id = list_id(token)
        self.folder = store.root / self.id
        self._roots = [Path(os.path.abspath(root)) for root in roots]  # noqa: PTH100 - keep links

    @classmethod
    def begin(cls, store: WorklistStore, roots: Iterable[Path] = ()) -> StoredWorklist:
        """Add an empty list to a store."""
        return cls(store, store.add_list(), roots)

    @classmethod
    def open(
        cls, store: WorklistStore, token: str | None, roots: Iterable[Path] = ()
    ) -> StoredWorklist | None:
        """Return the list of an untrusted token; None if there is none, or no longer."""
        return cls(store, token, roots) if token and store.touch(token) else None

    # --- rows ---------------------------------------------------------------------------------

    def photographs(self) -> list[StoredPhotograph]:
        """Return all rows, in the order added."""
        with self.store.index() as index:
            wanted = f"SELECT {_COLUMNS} FROM photograph WHERE list = ? ORDER BY place"  # noqa: S608 # nosec B608
            rows = index.execute(wanted, (self.id,)).fetchall()
        return [StoredPhotograph(*row) for row in rows]

    def put(self, photographs: Iterable[StoredPhotograph]) -> None:
        """Add rows, or replace those with the same keys."""
        marks = ", ".join("?" * (len(fields(StoredPhotograph)) + 1))
        with self.store.index() as index:
            index.executemany(
                f"INSERT OR REPLACE INTO photograph (list, {_COLUMNS}) VALUES ({marks})",  # noqa: S608 # nosec B608
                [(self.id, *astuple(one)) for one in photographs],
            )
            index.execute("UPDATE list SET used = ? WHERE id = ?", (time.time(), self.id))

    def last_place(self) -> int:
        """Return the place of the last photograph, or 0; another page may have added it."""
        with self.store.index() as index:
            row = index.execute("SELECT max(place) FROM photograph WHERE list = ?", (self.id,))
            return int(row.fetchone()[0] or 0)

    def drop(self, key: str) -> None:
        """Delete a photograph, and its file unless another frame of it is listed."""
        with self.store.index() as index:
            row = index.execute(
                "DELETE FROM photograph WHERE list = ? AND key = ? RETURNING file", (self.id, key)
            ).fetchone()
            left = row and row[0] and index.execute(
                "SELECT 1 FROM photograph WHERE list = ? AND file = ?", (self.id, row[0])
            ).fetchone()  # fmt: skip
            if row and row[0] and not left:
                index.execute("DELETE FROM file WHERE list = ? AND sha256 = ?", (self.id, row[0]))
                with suppress(OSError):
                    (self.folder / row[0]).unlink(missing_ok=True)
        with suppress(OSError):
            self._report_file(key).unlink(missing_ok=True)

    def save_position(self, *, selected: str | None = None, settings: str | None = None) -> None:
        """Store the key of the photograph on screen and the settings of the list."""
        with self.store.index() as index:
            index.execute(
                "UPDATE list SET used = ?, selected = coalesce(?, selected), "
                "settings = coalesce(?, settings) WHERE id = ?",
                (time.time(), selected, settings, self.id),
            )

    def position(self) -> tuple[str, str]:
        """Return key and settings that `save_position` stored."""
        with self.store.index() as index:
            row = index.execute(
                "SELECT selected, settings FROM list WHERE id = ?", (self.id,)
            ).fetchone()
        return (row[0], row[1]) if row else ("", "")

    # --- files --------------------------------------------------------------------------------

    def store_file(self, data: bytes) -> Path:
        """Store a file, whole or not at all, and return where it lies."""
        sha256 = hashlib.sha256(data).hexdigest()
        file = self.folder / sha256
        if file.is_file():
            return file
        self.store.make_room_for(len(data))
        with self.store.writing():
            _write(file, data)
        with self.store.index() as index:
            index.execute(
                "INSERT OR REPLACE INTO file VALUES (?, ?, ?)", (self.id, sha256, len(data))
            )
        return file

    def store_report(self, key: str, data: bytes) -> None:
        """Store the report of a photograph."""
        with self.store.writing():
            _write(self._report_file(key), data)

    def report(self, key: str) -> bytes | None:
        """Return the stored report of a photograph, None if there is none."""
        try:
            return self._report_file(key).read_bytes()
        except OSError:
            return None

    def delete(self) -> None:
        """Delete all of the list."""
        self.store.delete(self.id)

    def _has(self, key: str) -> bool:
        with self.store.index() as index:
            query = "SELECT 1 FROM photograph WHERE list = ? AND key = ?"
            return index.execute(query, (self.id, key)).fetchone() is not None

    def _report_file(self, key: str) -> Path:
        return self.folder / f"{key}.report"

    # --- entries ------------------------------------------------------------------------------

    def entries(self) -> Iterator[tuple[Entry, str]]:
        """Yield the entries of the list, each with its `source_identity`."""
        for row in self.photographs():
            path = self.folder / row.file if row.file else Path(row.path)
            content = f"sha256 {row.file}" if row.file else f"path {path}"
            entry = self.store.shared.get((self.id, row.key)) or self._entry(row, path)
            yield entry, f"{content} {row.frame} {row.listed or row.name}"

    def share(self, entry: Entry) -> None:
        """Let other pages of this list have the same entry: what one grades, all have."""
        self.store.shared[self.id, entry.key] = entry

    def write(self, entry: Entry) -> None:
        """Store what is known of an entry; nothing for one that is held in memory."""
        file, number = _file_and_frame(entry.source)
        if isinstance(file, bytes):
            return
        inside, known = file.parent == self.folder, entry.facts.identity
        self.put([
            StoredPhotograph(
                key=entry.key, place=int(entry.key[1:]), name=entry.file_name,
                origin=entry.origin, file=file.name if inside else "",
                path="" if inside else str(file), frame=number, sha256=entry.sha256,
                laterality=known.laterality or "", patient=known.patient or "",
                patient_from=known.patient_from, burned_in=int(entry.facts.burned_in),
                thumbnail=entry.thumbnail, exam_date=known.exam_date or "",
                identity_source=known.source, listed=entry.place,
            )
        ])  # fmt: skip

    def stored(self, source: bytes | Path | DicomFrame) -> bytes | Path | DicomFrame:
        """Store a source that is held in memory; return what to read it from."""
        file, number = _file_and_frame(source)
        return _source(self.store_file(file), number) if isinstance(file, bytes) else source

    def copy_file(self, entry: Entry) -> None:
        """Copy the file of an entry that lies outside the roots, such as in a temporary folder."""
        from drcore.photographs.formats import encoded_bytes

        file, number = _file_and_frame(entry.source)
        if isinstance(file, bytes) or file.parent == self.folder or self._stays(file):
            return
        with suppress(PhotographError):  # grading it gives the reason
            data, _ = encoded_bytes(file, entry.file_name)
            entry.source = _source(self.store_file(data), number)

    def save_report(self, entry: Entry, report: GradeReport) -> None:
        """Store entry and report, so that it need not be graded again; failed ones are retried."""
        from drcore.grading.report_file import report_to_bytes

        self.write(entry)
        if report.status != "failed" and self._has(entry.key):  # else it was deleted meanwhile
            data = f"{file_stamp(entry.source)}\n".encode() + report_to_bytes(report)
            self.store_report(entry.key, data)

    def saved_report(self, entry: Entry, grader: Grader) -> GradeReport | None:
        """Return the stored report if it is of these weights and this very file."""
        from drcore.grading.report_file import report_from_bytes

        data = self.report(entry.key)
        if data is None or not entry.thumbnail:
            return None
        then, _, body = data.partition(b"\n")
        now = file_stamp(entry.source)
        try:
            report = report_from_bytes(body)
        except DrcoreError:
            return None
        same = now and now == then.decode(errors="replace")
        return report if same and report.model_version == grader.version else None

    def _entry(self, row: StoredPhotograph, path: Path) -> Entry:
        if not row.file and not self._stays(path):
            # Never opened: what lies there now may be none of this reader's business.
            path = self.folder / "outside the photograph folder"
        facts = PhotographFacts(_identity(row), bool(row.burned_in), row.sha256)
        entry = Entry(row.key, row.name, _source(path, row.frame), row.origin, facts)
        entry.thumbnail, entry.place = row.thumbnail, row.listed
        return entry

    def _stays(self, path: Path) -> bool:
        try:
            real = path.resolve()
            return any(real.is_relative_to(root.resolve()) for root in self._roots)
        except (OSError, RuntimeError, ValueError):
            return False


def _identity(row: StoredPhotograph) -> Identity:
    from drcore.photographs.identity import Identity

    origin = {"header": "dicom"}.get(row.patient_from, row.patient_from)  # lists of 0.6
    source = row.identity_source or (f"patient={origin}" if origin else "")
    side = row.laterality if row.laterality in {"OD", "OS"} else None
    return Identity.read_back(side, row.patient or None, row.exam_date or None, source)  # type: ignore[arg-type]


def source_identity(source: bytes | Path | DicomFrame, place: str) -> str:
    """Return a text that is the same for the same photograph: hash or path, frame and place.

    A file under two names, or in two folders, may be meant as two patients: each has its row, as
    in a table.
    """
    file, number = _file_and_frame(source)
    is_data = isinstance(file, bytes)
    content = f"sha256 {hashlib.sha256(file).hexdigest()}" if is_data else f"path {file}"
    return f"{content} {number} {place}"


def file_stamp(source: bytes | Path | DicomFrame) -> str:
    """Return size and time of a file, which show a change; empty if it is gone."""
    file, _ = _file_and_frame(source)
    if isinstance(file, bytes):
        return "in memory"
    try:
        status = file.stat()
    except (OSError, ValueError):
        return ""
    return f"{status.st_size} {status.st_mtime_ns}"


def _file_and_frame(source: bytes | Path | DicomFrame) -> tuple[bytes | Path, int]:
    if isinstance(source, bytes | Path):
        return source, 0
    return source.file if isinstance(source.file, bytes) else Path(source.file), source.number


def _source(file: bytes | Path, number: int) -> bytes | Path | DicomFrame:
    if not number:
        return file
    from drcore.photographs.dicom_frames import DicomFrame

    return DicomFrame(file, number)


def _write(file: Path, data: bytes) -> None:
    """Write all of a file or nothing of it; only this user can read it."""
    with replacing(file) as part:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        with os.fdopen(os.open(part, flags, 0o600), "wb") as opened:
            opened.write(data)
