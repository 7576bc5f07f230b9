"""The photographs that one reader works through: sources, reports, the selected one."""

from __future__ import annotations

import json
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drcore import logs
from drcore.errors import DrcoreError, SourceError
from viewer.server.limits import BACKGROUND
from viewer.worklist.entry import Entry, covered, facts_of
from viewer.worklist.ordering import PatientStudy, ViewOptions, arranged, studies
from viewer.worklist.stored_worklist import StoredWorklist, identified, stamp

if TYPE_CHECKING:
    from drcore.eye import Laterality
    from drcore.grading.grader import Grader
    from drcore.grading.report import GradeReport
    from drcore.photographs.dicom_frames import DicomFrame
    from drcore.reviews.correction import IdentityCorrection
    from drcore.reviews.decision import Decision
    from viewer.worklist.renditions import Pictures
    from viewer.worklist.storage import WorklistStore

__all__ = ["MAX_PICTURES", "MOST", "Entry", "Worklist"]

MAX_PICTURES = 6
"""Photographs whose views are kept: about 1 MB each. Going back and forth must not wait."""

MOST = 1000
"""Photographs of a list at most: more than a day's work, and reports of all fit into memory."""

Lookup = Callable[[str], "Decision | None"]
"""From the SHA-256 of a file to the latest decision on it."""


class Worklist:
    """Entries as the reader wants them; safe to share between the page and its thread.

    `entries`, their number, `position` and `step` are of what is shown, in the order shown;
    `everything` is all, in order of arrival. The photograph on screen is always shown. It is
    graded first, then those that follow it.

    Args:
        shelf: where the list is kept, from the first photograph on; in memory alone where left out.
        roots: folders whose files stay where they are; files elsewhere are copied to the shelf.

    Attributes:
        hidden: keys of entries whose grades and decisions a blinded reader must not know.
        correction_of: finds what a reader corrected by hand, by the SHA-256 of a photograph.
    """

    def __init__(self, shelf: WorklistStore | None = None, roots: Iterable[Path] = ()) -> None:
        self.hidden: frozenset[str] = frozenset()
        self.correction_of: Callable[[str], IdentityCorrection | None] | None = None
        self._keeper = StoredWorklist(shelf, roots)
        self._entries: list[Entry] = []
        self._identity: dict[str, Entry] = {}
        self._arrangement = ViewOptions()
        self._selected = ""
        self._before: Decision | None = None  # on the one on screen, when it came there
        self._deidentified = False
        self._show_identity = False
        self._count = 0
        self._pictures: OrderedDict[str, Pictures] = OrderedDict()
        self._reading = threading.Lock()
        self._lock = threading.RLock()
        self._thread: threading.Thread | None = None

    @classmethod
    def reopened(
        cls, shelf: WorklistStore, token: str | None, roots: Iterable[Path] = ()
    ) -> Worklist:
        """Open the list of a token again, as it was left.

        Args:
            shelf: where it is kept.
            token: from the page's address; untrusted.
            roots: as for the class; a path that is no longer below them is not opened.

        Returns:
            The list; an empty one where there is none of this token.

        Raises:
            SourceError: the shelf cannot be read.
        """
        worklist = cls(shelf, roots)
        kept = shelf.open(token)
        if kept is None:
            return worklist
        selected, settings = kept.settled()
        worklist._take_settings(settings)
        worklist._keeper = StoredWorklist(shelf, roots, kept)
        for entry, identity in worklist._keeper.entries():
            worklist._list(entry, identity)
            worklist._count = max(worklist._count, int(entry.key[1:]))
        worklist._show(worklist._find(selected) or next(iter(worklist._entries), None))
        return worklist

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def token(self) -> str:
        """Opens the list again; empty while nothing is kept."""
        return self._keeper.kept.token if self._keeper.kept else ""

    @property
    def trouble(self) -> str:
        """A sentence where the list cannot be kept; empty where all is well."""
        return self._keeper.trouble

    @property
    def everything(self) -> list[Entry]:
        """All entries, in order of arrival."""
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
            return arranged(
                self._entries,
                self._arrangement,
                selected=self._selected,
                before=self._before,
                hidden=self.hidden,
            )

    @property
    def studies(self) -> list[PatientStudy]:
        """All entries, those of a patient together."""
        return studies(self.everything, self.hidden)

    @property
    def arrangement(self) -> ViewOptions:
        """How the list is sorted and filtered; the photograph on screen stays when it changes."""
        return self._arrangement

    @arrangement.setter
    def arrangement(self, wanted: ViewOptions) -> None:
        with self._lock:
            if wanted != self._arrangement:
                self._arrangement = wanted
                selected = self.selected
                self._before = selected.decision if selected else None
                self._settle(settings=True)

    @property
    def deidentified(self) -> bool:
        """Whether photographs are named by their hash, wherever they are shown or recorded."""
        return self._deidentified

    @deidentified.setter
    def deidentified(self, wanted: bool) -> None:
        with self._lock:
            self._deidentified = wanted
            for entry in self._entries:
                entry.deidentified = wanted
            self._settle(settings=True)

    @property
    def show_identity(self) -> bool:
        """Whether identity from headers, and burnt into pixels, is shown; never kept."""
        return self._show_identity

    @show_identity.setter
    def show_identity(self, wanted: bool) -> None:
        with self._lock:
            self._show_identity = wanted
            for entry in self._entries:
                entry.show_identity = wanted
                if entry.facts.burned_in:
                    self._pictures.pop(entry.key, None)

    @property
    def selected(self) -> Entry | None:
        """The entry on screen; None where the list is empty."""
        with self._lock:
            return self._find(self._selected)

    @property
    def position(self) -> int:
        """Index of the selected entry among those shown; 0 where the list is empty."""
        with self._lock:
            selected = self.selected
            return self.entries.index(selected) if selected else 0

    @property
    def pending(self) -> int:
        """Entries that are not graded yet."""
        with self._lock:
            return sum(entry.report is None for entry in self._entries)

    @property
    def decided(self) -> int:
        """Entries with a decision; to a blinded reader, with one of their own."""
        with self._lock:
            return sum(
                entry.decision is not None and entry.key not in self.hidden
                for entry in self._entries
            )

    @property
    def unreadable(self) -> int:
        """Entries that could not be read, on which nobody can decide."""
        with self._lock:
            return sum(
                entry.report is not None and entry.report.status == "failed"
                for entry in self._entries
            )

    @property
    def finished(self) -> bool:
        """Whether there is a decision on every photograph that could be read."""
        with self._lock:
            return 0 < self.decided >= self.total - self.unreadable and not self.pending

    def add(
        self, name: str, source: bytes | Path | DicomFrame, *, origin: str = "", folder: str = ""
    ) -> Entry:
        """Add a photograph; the same file again is the entry that is there already.

        Args:
            name: untrusted name of the file.
            source: its bytes, its path, or a frame of a DICOM file.
            origin: where it comes from; our own words.
            folder: name of the folder that it came in; untrusted.

        Returns:
            The entry, new or old.

        Raises:
            SourceError: the list is full, or there is no room to keep the file.
        """
        from drcore.text import clean_name  # brings OpenCV, which the first page can spare

        identity = identified(source)
        with self._lock:
            if identity in self._identity:
                return self._identity[identity]
            if len(self._entries) >= MOST:
                raise SourceError(
                    f"The list is full: it holds {MOST} photographs. Clear it when they are done, "
                    "then add the rest."
                )
            label = clean_name(name)
            facts = facts_of(label, source, folder=clean_name(folder) if folder else "")
            if self._keeper.kept is None and self._keeper.begin():
                self._settle(settings=True)
            if isinstance(source, bytes):
                source = self._keeper.store(source)
            elif not isinstance(source, Path) and isinstance(source.file, bytes):
                source = self._keeper.store(source.file, source.number)
            self._count = max(self._count, self._keeper.last_place()) + 1
            entry = Entry(f"p{self._count}", label, source, origin, facts)
            self._list(entry, identity)
            self._keeper.write(entry)
            if self._selected == "":
                self._show(entry)
            return entry

    def remove(self, key: str) -> None:
        """Take an entry off the list and delete what is kept of it; the next comes on screen."""
        with self._lock:
            entry = self._find(key)
            if entry is None:
                return
            shown = self.entries
            self._entries.remove(entry)
            self._identity = {k: e for k, e in self._identity.items() if e is not entry}
            self._pictures.pop(key, None)
            self._keeper.drop(key)
            if self._selected == key:
                index = shown.index(entry)
                after = shown[index + 1 : index + 2] or shown[:index][-1:] or self._entries[:1]
                self._show(after[0] if after else None)

    def clear(self) -> None:
        """Take all entries off the list, and delete all that is kept of them."""
        with self._lock:
            self._entries.clear()
            self._identity.clear()
            self._pictures.clear()
            self._keeper.delete()
            self._arrangement = ViewOptions()
            self._show(None)

    def select(self, key: str) -> None:
        """Put an entry on screen; a key that is not in the list changes nothing."""
        with self._lock:
            entry = self._find(key)
            if entry is not None:
                self._show(entry)

    def step(self, by: int) -> None:
        """Go forward or back among those shown, stopping at the ends.

        Args:
            by: entries, negative for back.
        """
        with self._lock:
            shown, selected = self.entries, self.selected
            if selected is not None:
                index = min(max(shown.index(selected) + by, 0), len(shown) - 1)
                self._show(shown[index])

    def correct(self, key: str, laterality: Laterality | None, patient: str | None) -> None:
        """Say by hand which eye of which patient a photograph shows.

        Args:
            key: of the entry; one that is not in the list changes nothing.
            laterality: "OD", "OS", or None: not known.
            patient: untrusted text; None: not known.
        """
        with self._lock:
            entry = self._find(key)
            if entry is not None:
                entry.correct(laterality, patient)
                self._keeper.write(entry)

    def pictures(self, entry: Entry) -> Pictures:
        """Return the views of an entry, from the cache where they are there.

        Args:
            entry: any of the list.

        Returns:
            Its views.

        Raises:
            PhotographError: it cannot be read.
        """
        from viewer.worklist.renditions import pictures_of

        # One at a time: page and threads ask for the same one at once, and each takes the memory
        # of a whole photograph while it is made.
        with self._reading:
            with self._lock:
                if entry.key in self._pictures:
                    self._pictures.move_to_end(entry.key)
                    return self._pictures[entry.key]
            made = pictures_of(_as_shown(entry), name=entry.file_name)
            with self._lock:
                self._pictures[entry.key] = made
                while len(self._pictures) > MAX_PICTURES:
                    self._pictures.popitem(last=False)
            return made

    def grade(self, entry: Entry, grader: Grader, latest: Lookup | None = None) -> None:
        """Grade an entry now, unless that was done; never raises for a bad photograph.

        Args:
            entry: any of the list.
            grader: shared.
            latest: finds the decision that was made on the same file before.
        """
        with entry.lock:
            if entry.report is not None:
                return
            report = self._keeper.recalled(entry, grader)
            fresh = report is None
            if report is None:
                report = self._graded(entry, grader)
            correction = None
            if report.sha256:
                try:
                    entry.decision = latest(report.sha256) if latest else None
                    correction = self.correction_of(report.sha256) if self.correction_of else None
                except DrcoreError:  # the page says so when it saves; grading goes on
                    entry.decision = None
            if correction is not None:
                entry.correct(correction.laterality, correction.patient)
            if report.status != "failed":
                report = replace(report, laterality=entry.laterality, patient=entry.patient)
            with self._lock:
                if self._selected == entry.key:
                    self._before = entry.decision
                entry.report = report
                listed = self._find(entry.key) is entry
            if listed and (fresh or correction is not None):
                self._keeper.keep_report(entry, report)

    def work_ahead(self, grader: Grader, latest: Lookup | None = None) -> None:
        """Grade what is pending and make the next views, in a thread that ends when all is done.

        Args:
            grader: shared.
            latest: as for `grade`.
        """
        with self._lock:
            busy = self._thread is not None and self._thread.is_alive()
            if busy or (self._next() is None and self._following() is None):
                return
            # The thread must not keep the list alive: it ends with the session.
            self._thread = threading.Thread(
                target=_work, args=(weakref.ref(self), grader, latest), daemon=True,
                name="drcore-worklist",
            )  # fmt: skip
            self._thread.start()

    def do_next(self, grader: Grader, latest: Lookup | None = None) -> bool:
        """Do one piece of the work ahead.

        Args:
            grader: shared.
            latest: as for `grade`.

        Returns:
            False where there was nothing left to do.
        """
        entry = self._next()
        if entry is not None:
            self.grade(entry, grader, latest)
            return True
        entry = self._following()
        if entry is not None:
            self.pictures(entry)
        return entry is not None

    def _next(self) -> Entry | None:
        """The entry to grade next: the one on screen, then those after it, then those not shown."""
        with self._lock:
            if not self.pending:
                return None
            shown, start = self.entries, self.position
            order = [*shown[start:], *shown[:start], *self._entries]
            return next((entry for entry in order if entry.report is None), None)

    def _following(self) -> Entry | None:
        """The entry after the one on screen, if it can be shown but has no views yet."""
        with self._lock:
            for entry in self.entries[self.position + 1 : self.position + 2]:
                if entry.report and entry.report.status != "failed":
                    return None if entry.key in self._pictures else entry
            return None

    def _graded(self, entry: Entry, grader: Grader) -> GradeReport:
        from viewer.worklist.renditions import thumbnail

        self._keeper.take_in(entry)
        before = stamp(entry.source)
        if not before:
            return grader.failed(
                entry.file_name,
                f"{entry.file_name}: the file is no longer there. Remove it from the list and add "
                "it again.",
            )
        report = next(grader.grade_many([(entry.file_name, entry.source)]))
        if report.status != "failed":
            try:
                entry.thumbnail = thumbnail(_as_shown(entry), name=entry.file_name)
                if stamp(entry.source) != before:
                    raise SourceError(f"{entry.file_name}: the file changed while it was graded.")
            except DrcoreError as error:  # the file was changed or taken away meanwhile
                report = grader.failed(entry.file_name, str(error))
        return report

    def _find(self, key: str) -> Entry | None:
        return next((entry for entry in self._entries if entry.key == key), None)

    def _show(self, entry: Entry | None) -> None:
        self._selected = entry.key if entry else ""
        self._before = entry.decision if entry else None
        self._settle()

    def _list(self, entry: Entry, identity: str) -> None:
        entry.deidentified, entry.show_identity = self._deidentified, self._show_identity
        self._entries.append(entry)
        self._identity[identity] = entry
        self._keeper.hold(entry)

    def _settle(self, *, settings: bool = False) -> None:
        values = {"arrangement": self._arrangement.to_json(), "deidentified": self._deidentified}
        self._keeper.settle(self._selected, json.dumps(values) if settings else None)

    def _take_settings(self, settings: str) -> None:
        try:
            values: dict[str, Any] = json.loads(settings)
            self._arrangement = ViewOptions.from_json(str(values["arrangement"]))
            self._deidentified = values["deidentified"] is True
        except (ValueError, KeyError, TypeError):
            self._arrangement = ViewOptions()


def _work(ref: weakref.ref[Worklist], grader: Grader, latest: Lookup | None) -> None:
    more = True
    while more:
        with BACKGROUND:
            worklist = ref()
            if worklist is None:
                return
            try:
                more = worklist.do_next(grader, latest)
            except Exception as error:  # noqa: BLE001 - the page meets it again and tells it
                logs.accident("grading ahead", error)
                return
            del worklist


def _as_shown(entry: Entry) -> Any:
    """What the views are made of: without burnt-in identity, unless that was asked for."""
    if entry.facts.burned_in and not entry.show_identity:
        return covered(entry.source, entry.file_name)
    return entry.source
