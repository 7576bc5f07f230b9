"""The photographs that one reader works through: sources, reports, the selected one."""

from __future__ import annotations

import hashlib
import threading
import traceback
import weakref
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from drcore.errors import DrcoreError

if TYPE_CHECKING:
    from drcore.grader import Grader, GradeReport
    from drcore.reviews import Decision
    from viewer.pictures import Pictures

__all__ = ["MAX_PICTURES", "Entry", "Worklist"]

MAX_PICTURES = 6
"""Photographs whose views are kept: about 1 MB each. Going back and forth must not wait."""

Lookup = Callable[[str], "Decision | None"]
"""From the SHA-256 of a file to the latest decision on it."""


@dataclass(eq=False)
class Entry:
    """One photograph of the list.

    Attributes:
        key: identifies it within the session; ours, safe in widget keys and CSS.
        name: display name; untrusted text.
        source: the encoded bytes, kept once, or the path of a file on this computer.
        origin: what the list says of where it comes from, such as "synthetic"; ours.
        thumbnail: JPEG as data URI; empty until it was made.
        report: None until graded.
        decision: the latest of any reader on the same file.
        lock: held while it is graded.
    """

    key: str
    name: str
    source: bytes | Path
    origin: str = ""
    thumbnail: str = ""
    report: GradeReport | None = None
    decision: Decision | None = None
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @property
    def image_id(self) -> str:
        """The file's SHA-256 where it is known, else the key."""
        return (self.report.sha256 if self.report else "") or self.key


class Worklist:
    """Entries in the order in which they came; safe to share between the page and its thread.

    The photograph on screen is graded first, then those that follow it.
    """

    def __init__(self) -> None:
        self._entries: list[Entry] = []
        self._identity: dict[str, Entry] = {}
        self._selected = ""
        self._count = 0
        self._pictures: OrderedDict[str, Pictures] = OrderedDict()
        self._lock = threading.RLock()
        self._thread: threading.Thread | None = None

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def entries(self) -> list[Entry]:
        """All entries, in order."""
        with self._lock:
            return list(self._entries)

    @property
    def selected(self) -> Entry | None:
        """The entry on screen; None where the list is empty."""
        with self._lock:
            found = [entry for entry in self._entries if entry.key == self._selected]
            return found[0] if found else (self._entries[0] if self._entries else None)

    @property
    def position(self) -> int:
        """Index of the selected entry; 0 where the list is empty."""
        with self._lock:
            selected = self.selected
            return self._entries.index(selected) if selected else 0

    @property
    def pending(self) -> int:
        """Entries that are not graded yet."""
        with self._lock:
            return sum(entry.report is None for entry in self._entries)

    @property
    def decided(self) -> int:
        """Entries with a decision."""
        with self._lock:
            return sum(entry.decision is not None for entry in self._entries)

    def add(self, name: str, source: bytes | Path, *, origin: str = "") -> Entry:
        """Add a photograph; the same file again is the entry that is there already.

        Args:
            name: untrusted name of the file.
            source: its bytes, or its path.
            origin: where it comes from; our own words.

        Returns:
            The entry, new or old.
        """
        from drcore.photograph import clean_name  # brings OpenCV, which the first page can spare

        identity = (
            hashlib.sha256(source).hexdigest() if isinstance(source, bytes) else f"path {source}"
        )
        with self._lock:
            if identity in self._identity:
                return self._identity[identity]
            self._count += 1
            entry = Entry(f"p{self._count}", clean_name(name), source, origin)
            self._entries.append(entry)
            self._identity[identity] = entry
            return entry

    def remove(self, key: str) -> None:
        """Take an entry off the list; the one after it comes on screen."""
        with self._lock:
            for index, entry in enumerate(self._entries):
                if entry.key == key:
                    if self._selected == key:
                        after = self._entries[index + 1 : index + 2] or self._entries[:index][-1:]
                        self._selected = after[0].key if after else ""
                    del self._entries[index]
                    self._identity = {k: e for k, e in self._identity.items() if e is not entry}
                    self._pictures.pop(key, None)
                    return

    def clear(self) -> None:
        """Take all entries off the list."""
        with self._lock:
            self._entries.clear()
            self._identity.clear()
            self._pictures.clear()
            self._selected = ""

    def select(self, key: str) -> None:
        """Put an entry on screen; a key that is not in the list changes nothing."""
        with self._lock:
            if any(entry.key == key for entry in self._entries):
                self._selected = key

    def step(self, by: int) -> None:
        """Go forward or back, stopping at the ends.

        Args:
            by: entries, negative for back.
        """
        with self._lock:
            if self._entries:
                index = min(max(self.position + by, 0), len(self._entries) - 1)
                self._selected = self._entries[index].key

    def pictures(self, entry: Entry) -> Pictures:
        """Return the views of an entry, from the cache where they are there.

        Args:
            entry: any of the list.

        Returns:
            Its views.

        Raises:
            PhotographError: it cannot be read.
        """
        from viewer.pictures import pictures_of

        with self._lock:
            if entry.key in self._pictures:
                self._pictures.move_to_end(entry.key)
                return self._pictures[entry.key]
        made = pictures_of(entry.source, name=entry.name)
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
        from viewer.pictures import thumbnail

        with entry.lock:
            if entry.report is not None:
                return
            report = next(grader.grade_many([(entry.name, entry.source)]))
            if report.status != "failed":
                try:
                    entry.thumbnail = thumbnail(entry.source, name=entry.name)
                except DrcoreError as error:  # the file was changed or taken away meanwhile
                    report = grader.failed(entry.name, str(error))
            if latest is not None and report.sha256:
                try:
                    entry.decision = latest(report.sha256)
                except DrcoreError:  # the page says so when it saves; grading goes on
                    entry.decision = None
            entry.report = report

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
        """The entry to grade next: the one on screen, then those after it."""
        with self._lock:
            start = self.position
            order = self._entries[start:] + self._entries[:start]
            return next((entry for entry in order if entry.report is None), None)

    def _following(self) -> Entry | None:
        """The entry after the one on screen, if it can be shown but has no views yet."""
        with self._lock:
            for entry in self._entries[self.position + 1 : self.position + 2]:
                if entry.report and entry.report.status != "failed":
                    return None if entry.key in self._pictures else entry
            return None


def _work(ref: weakref.ref[Worklist], grader: Grader, latest: Lookup | None) -> None:
    more = True
    while more:
        worklist = ref()
        if worklist is None:
            return
        try:
            more = worklist.do_next(grader, latest)
        except Exception:  # noqa: BLE001 - the page meets the error again and says what it is
            traceback.print_exc()
            return
        del worklist
