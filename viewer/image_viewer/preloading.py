"""Photographs prepared for the image viewer: renditions and maps, made ahead of time."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from drcore import logs
from drcore.errors import DrcoreError
from drcore.grading.statements import regions_of
from viewer.image_viewer.encoding import Maps, maps_of
from viewer.server.limits import BACKGROUND

if TYPE_CHECKING:
    from drcore.grading.report import GradeReport
    from viewer.worklist.renditions import Picture, Renditions
    from viewer.worklist.worklist import Entry

MAX_SLIDES = 5
"""Photographs that are ready to be shown: the one on screen, and those beside it."""


@dataclass(eq=False)
class Slide:
    """One photograph as the browser gets it.

    Attributes:
        renditions: original and reduced views.
        maps: of every scale.
        large: views at full size, made on demand.
    """

    renditions: Renditions
    maps: Maps
    large: dict[str, Picture] = field(default_factory=dict)


class SlideCache:
    """The slides of one session; safe to share between the page and its threads."""

    def __init__(self) -> None:
        self._slides: OrderedDict[str, Slide] = OrderedDict()
        self._lock = threading.Lock()
        self._making = threading.Lock()
        self._thread: threading.Thread | None = None

    def ready(self, entry: Entry) -> Slide | None:
        """Return the slide of an entry if it is in the cache."""
        with self._lock:
            return self._slides.get(_identity(entry))

    def slide(self, entry: Entry, report: GradeReport) -> Slide | None:
        """Return the slide of an entry, made if needed; None if the file has changed since."""
        made = self.ready(entry)
        if made is None:
            # One at a time: page and thread ask for the same one at once, and each would take the
            # memory of a whole photograph.
            with self._making:
                made = self.ready(entry) or _slide_of(entry, report)
        if made is not None:
            with self._lock:
                self._slides[_identity(entry)] = made
                self._slides.move_to_end(_identity(entry))
                while len(self._slides) > MAX_SLIDES:
                    self._slides.popitem(last=False)
        return made

    def prepare(self, entries: list[Entry]) -> bool:
        """Make slides in the background, in order; return whether some are still missing."""
        soon = [
            e for e in entries[: MAX_SLIDES - 1] if e.report is None or e.report.status != "failed"
        ]
        waiting = [entry for entry in soon if self.ready(entry) is None]
        missing = [entry for entry in waiting if entry.report is not None]
        with self._lock:
            busy = self._thread is not None and self._thread.is_alive()
            if missing and not busy:
                self._thread = threading.Thread(
                    target=self._make, args=(missing,), daemon=True, name="drcore-slides"
                )
                self._thread.start()
        return bool(waiting)

    def drop_others(self, present: list[Entry]) -> None:
        """Drop the slides of all entries but these."""
        keys = {_identity(entry) for entry in present}
        with self._lock:
            for key in [key for key in self._slides if key not in keys]:
                del self._slides[key]

    def _make(self, entries: list[Entry]) -> None:
        for entry in entries:
            try:
                if entry.report is not None:
                    with BACKGROUND:
                        self.slide(entry, entry.report)
            except Exception as error:  # noqa: BLE001 - it is made again when it is shown
                logs.accident("preparing a photograph", error)
                return


def _slide_of(entry: Entry, report: GradeReport) -> Slide | None:
    try:
        renditions = entry.renditions()
    except DrcoreError:
        return None
    if renditions.sha256 != report.sha256:
        return None
    regions_of(report)  # kept: the card speaks of them and must not wait
    return Slide(renditions, maps_of(report))


def _identity(entry: Entry) -> str:
    # With burned-in identity shown or masked, the same photograph is another picture.
    return f"{entry.key} {entry.image_id} {entry.show_identity}"
