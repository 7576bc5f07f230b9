"""The worklist of one reader: entries, the selected one, order and filters, what is stored."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from types import EllipsisType
from typing import TYPE_CHECKING, Any, TypeVar

from drcore.errors import SourceError
from viewer.worklist.entry import Entry, facts_of
from viewer.worklist.ordering import PatientStudy, ViewOptions, ordered_entries, patient_studies
from viewer.worklist.reading import Reading
from viewer.worklist.stored_worklist import StoredWorklist, source_identity

if TYPE_CHECKING:
    from drcore.eye import Laterality
    from drcore.grading.grader import Grader
    from drcore.grading.report import GradeReport
    from drcore.photographs.dicom_frames import DicomFrame
    from drcore.photographs.identity import Identity
    from drcore.reviews.correction import IdentityCorrection
    from drcore.reviews.decision import Decision
    from viewer.worklist.storage import WorklistStore

MAX_ENTRIES = 1000
"""Photographs of a list: more than a day's work, and all reports fit into memory."""

T = TypeVar("T")


class Worklist:
    """Entries with one of them selected; safe to share between the page and its thread.

    `entries`, their number, `position` and `step` refer to the entries that are shown, in the order
    shown; `everything` is all, in the order added. The selected entry is always shown.
    `background_grading` grades it first, then those that follow it.

    Args:
        store: keeps the list from its first photograph on; it stays in memory if left out.
        roots: folders whose files stay where they are; files elsewhere are copied to the store.

    Attributes:
        reading: mode, reader and drafts; `save_reading` keeps what was changed of it.
        hidden: keys of entries whose grades and decisions a masked reader must not know.
        correction_of: finds what a reader corrected by hand, by the SHA-256 of a photograph.
        trouble: a sentence if the list cannot be stored; empty if all is well.
        thread: grades in the background; None before the first time.
    """

    def __init__(self, store: WorklistStore | None = None, roots: Iterable[Path] = ()) -> None:
        self.reading = Reading()
        self.hidden: frozenset[str] = frozenset()
        self.correction_of: Callable[[str], IdentityCorrection | None] | None = None
        self.trouble = ""
        self.thread: threading.Thread | None = None
        self._store, self._roots = store, tuple(roots)
        self._stored: StoredWorklist | None = None
        self._entries: list[Entry] = []
        self._identity: dict[str, Entry] = {}
        self._arrangement = ViewOptions()
        self._selected = ""
        self._before: Decision | None = None  # on the selected one, when it came on screen
        self._deidentified = False
        self._show_identity = False
        self._count = 0
        self._lock = threading.RLock()

    @classmethod
    def reopened(
        cls, store: WorklistStore, token: str | None, roots: Iterable[Path] = ()
    ) -> Worklist:
        """Open the stored list of an untrusted token; an empty one if there is none."""
        worklist = cls(store, roots)
        worklist._stored = stored = StoredWorklist.open(store, token, worklist._roots)
        if stored is None:
            return worklist
        selected, settings = stored.position()
        worklist._load_settings(settings)
        for entry, identity in stored.entries():
            worklist._append(entry, identity)
            worklist._count = max(worklist._count, int(entry.key[1:]))
        worklist._show(worklist._find(selected) or next(iter(worklist._entries), None))
        return worklist

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def token(self) -> str:
        """Opens the list again; empty while nothing is stored."""
        return self._stored.token if self._stored else ""

    @property
    def everything(self) -> list[Entry]:
        """All entries, in the order added."""
        with self._lock:
            return list(self._entries)

    @property
    def total(self) -> int:
        """Number of all entries."""
        return len(self._entries)

    @property
    def entries(self) -> list[Entry]:
        """The entries that are shown, in order."""
        with self._lock:
            return ordered_entries(
                self._entries, self._arrangement, selected=self._selected, before=self._before,
                hidden=self.hidden,
            )  # fmt: skip

    @property
    def studies(self) -> list[PatientStudy]:
        """All entries, grouped by patient."""
        return patient_studies(self.everything, self.hidden)

    @property
    def arrangement(self) -> ViewOptions:
        """How the list is sorted and filtered; the selected entry stays when it changes."""
        return self._arrangement

    @arrangement.setter
    def arrangement(self, wanted: ViewOptions) -> None:
        with self._lock:
            if wanted != self._arrangement:
                self._arrangement = wanted
                selected = self.selected
                self._before = selected.decision if selected else None
                self._save_position(settings=True)

    @property
    def deidentified(self) -> bool:
        """Whether photographs are shown and recorded under a code instead of their names."""
        return self._deidentified

    @deidentified.setter
    def deidentified(self, wanted: bool) -> None:
        with self._lock:
            self._deidentified = wanted
            for entry in self._entries:
                entry.deidentified = wanted
            self._save_position(settings=True)

    @property
    def show_identity(self) -> bool:
        """Whether identity from headers, and burned into pixels, is shown; never stored."""
        return self._show_identity

    @show_identity.setter
    def show_identity(self, wanted: bool) -> None:
        with self._lock:
            self._show_identity = wanted
            for entry in self._entries:
                entry.show_identity = wanted

    @property
    def selected(self) -> Entry | None:
        """The entry on screen; None if the list is empty."""
        with self._lock:
            return self._find(self._selected)

    @property
    def position(self) -> int:
        """Index of the selected entry among those shown; 0 if the list is empty."""
        with self._lock:
            selected = self.selected
            return self.entries.index(selected) if selected else 0

    @property
    def upcoming(self) -> list[Entry]:
        """All entries, the selected one first, then those shown after it; some appear twice."""
        with self._lock:
            shown, start = self.entries, self.position
            return [*shown[start:], *shown[:start], *self._entries]

    @property
    def pending(self) -> int:
        """Entries that the model has not graded yet."""
        with self._lock:
            return sum(entry.report is None for entry in self._entries)

    @property
    def decided(self) -> int:
        """Entries with a decision; to a masked reader, with one of their own."""
        with self._lock:
            return sum(
                entry.decision is not None and entry.key not in self.hidden
                for entry in self._entries
            )

    @property
    def unreadable(self) -> int:
        """Entries that could not be read."""
        with self._lock:
            return sum(
                entry.report is not None and entry.report.status == "failed"
                for entry in self._entries
            )

    @property
    def finished(self) -> bool:
        """Whether there is a decision on every readable photograph."""
        with self._lock:
            return 0 < self.decided >= self.total - self.unreadable and not self.pending

    def add(
        self,
        name: str,
        source: bytes | Path | DicomFrame,
        *,
        origin: str = "",
        identity: Identity | None = None,
        place: str = "",
    ) -> Entry:
        """Add a photograph; the same file at the same place is the entry that is there already.

        Names are untrusted; `origin` is our own text; `identity` is what path and pattern say, the
        name alone if omitted; `place` is the path below what was added, the name if omitted.
        Raises `SourceError` if the list is full, or there is no space to store the file.
        """
        from drcore.text import clean_name

        label = clean_name(name)
        content = source_identity(source, place or label)
        with self._lock:
            if content in self._identity:
                return self._identity[content]
            if len(self._entries) >= MAX_ENTRIES:
                raise SourceError(
                    f"The list is full ({MAX_ENTRIES:,} images). Clear it, then add the rest."
                )
            facts = facts_of(label, source, identity)
            self._begin_storing()
            if self._stored is not None:
                source = self._stored.stored(source)
            last = self._in_store(StoredWorklist.last_place) or 0
            self._count = max(self._count, last) + 1
            entry = Entry(f"p{self._count}", label, source, origin, facts)
            entry.identity, entry.place = identity, place
            self._append(entry, content)
            self._in_store(StoredWorklist.write, entry)
            if self._selected == "":
                self._show(entry)
            return entry

    def remove(self, key: str) -> None:
        """Remove an entry and delete what is stored of it; the next is selected."""
        with self._lock:
            entry = self._find(key)
            if entry is None:
                return
            shown = self.entries
            self._entries.remove(entry)
            self._identity = {k: e for k, e in self._identity.items() if e is not entry}
            self._in_store(StoredWorklist.drop, key)
            if self._selected == key:
                index = shown.index(entry)
                after = shown[index + 1 : index + 2] or shown[:index][-1:] or self._entries[:1]
                self._show(after[0] if after else None)

    def clear(self) -> None:
        """Remove all entries, and delete all that is stored of them."""
        with self._lock:
            self._entries.clear()
            self._identity.clear()
            self.trouble = ""
            self._in_store(StoredWorklist.delete)
            self._stored = None
            self._arrangement = ViewOptions()
            self.reading = Reading(reader=self.reading.reader)
            self._show(None)

    def select(self, key: str) -> None:
        """Select an entry; a key that is not in the list changes nothing."""
        with self._lock:
            entry = self._find(key)
            if entry is not None:
                self._show(entry)

    def step(self, by: int) -> None:
        """Select the entry that is shown `by` places further, stopping at the ends."""
        with self._lock:
            shown, selected = self.entries, self.selected
            if selected is not None:
                index = min(max(shown.index(selected) + by, 0), len(shown) - 1)
                self._show(shown[index])

    def correct(
        self,
        key: str,
        laterality: Laterality | None,
        patient: str | None,
        exam_date: str | EllipsisType | None = ...,
    ) -> None:
        """Correct by hand which eye of which patient (untrusted text) is shown, and when.

        The date stays as it is if omitted.
        """
        with self._lock:
            entry = self._find(key)
            if entry is not None:
                day = entry.exam_date if isinstance(exam_date, EllipsisType) else exam_date
                entry.correct(laterality, patient, day)
                self._in_store(StoredWorklist.write, entry)

    def save_reading(self) -> None:
        """Keep mode, reader, drafts and what was seen with the list."""
        with self._lock:
            self._save_position(settings=True)

    def set_report(self, entry: Entry, report: GradeReport, *, save: bool) -> None:
        """Give an entry its report, and store it if the entry is still in the list."""
        with self._lock:
            if self._selected == entry.key:
                self._before = entry.decision
            entry.report = report
            listed = self._find(entry.key) is entry
        if listed and save:
            self._in_store(StoredWorklist.save_report, entry, report)

    def saved_report(self, entry: Entry, grader: Grader) -> GradeReport | None:
        """Return the stored report of an entry if it is of these weights and this very file."""
        return self._in_store(StoredWorklist.saved_report, entry, grader)

    def copy_file(self, entry: Entry) -> None:
        """Copy the file of an entry to the store unless it may stay where it is."""
        self._in_store(StoredWorklist.copy_file, entry)

    def _find(self, key: str) -> Entry | None:
        return next((entry for entry in self._entries if entry.key == key), None)

    def _show(self, entry: Entry | None) -> None:
        self._selected = entry.key if entry else ""
        self._before = entry.decision if entry else None
        self._save_position()

    def _append(self, entry: Entry, identity: str) -> None:
        entry.deidentified, entry.show_identity = self._deidentified, self._show_identity
        self._entries.append(entry)
        self._identity[identity] = entry
        if self._stored is not None:
            self._stored.share(entry)

    def _begin_storing(self) -> None:
        if self._stored is None and self._store is not None and not self.trouble:
            try:
                self._stored = StoredWorklist.begin(self._store, self._roots)
            except SourceError as error:
                self.trouble = str(error)
            else:
                self._save_position(settings=True)

    def _in_store(self, action: Callable[..., T], *args: Any) -> T | None:
        """Do something with the stored list, if there is one; a failure is noted in `trouble`."""
        try:
            return None if self._stored is None else action(self._stored, *args)
        except SourceError as error:
            self.trouble = str(error)
            return None

    def _save_position(self, *, settings: bool = False) -> None:
        values = {
            "arrangement": self._arrangement.to_json(), "deidentified": self._deidentified,
            "reading": self.reading.to_json(),
        }  # fmt: skip
        text = json.dumps(values) if settings else None
        self._in_store(lambda stored: stored.save_position(selected=self._selected, settings=text))

    def _load_settings(self, settings: str) -> None:
        try:
            values: dict[str, Any] = json.loads(settings)
            self.reading = Reading.from_json(values.get("reading"))
            self._arrangement = ViewOptions.from_json(str(values["arrangement"]))
            self._deidentified = values["deidentified"] is True
        except (ValueError, KeyError, TypeError):
            self._arrangement = ViewOptions()
