"""One photograph as the stage in the browser needs it: pictures, maps, and where they lie."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from drcore import logs
from drcore.errors import DrcoreError
from viewer.server.limits import BACKGROUND

if TYPE_CHECKING:
    from drcore.grading.report import GradeReport
    from viewer.worklist.renditions import Picture, Pictures
    from viewer.worklist.worklist import Entry, Worklist
from viewer.image_viewer.encoding import Maps, maps_of

__all__ = ["KEPT", "Slide", "SlideCache"]


KEPT = 5
"""Photographs that are ready to be shown: the one on screen, and those beside it."""


@dataclass(eq=False)
class Slide:
    """What of one photograph goes to the browser.

    Attributes:
        pictures: original and reduced views.
        maps: of every scale; None where they could not be made.
        large: views at full size, made when they are asked for.
    """

    pictures: Pictures
    maps: Maps
    large: dict[str, Picture] = field(default_factory=dict)


class SlideCache:
    """The slides of one session; safe to share between the page and its threads."""

    def __init__(self) -> None:
        self._slides: OrderedDict[str, Slide] = OrderedDict()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def ready(self, entry: Entry) -> Slide | None:
        """Return the slide of an entry if it is there."""
        with self._lock:
            return self._slides.get(_identity(entry))

    def slide(self, worklist: Worklist, entry: Entry, report: GradeReport) -> Slide | None:
        """Return the slide of an entry, made now if it is not there.

        Args:
            worklist: reads the photograph.
            entry: of the list.
            report: of the entry, not failed.

        Returns:
            The slide; None where the file was changed or taken away since it was graded.
        """
        key = _identity(entry)
        with self._lock:
            if key in self._slides:
                self._slides.move_to_end(key)
                return self._slides[key]
        try:
            pictures = worklist.pictures(entry)
        except DrcoreError:
            return None
        if pictures.sha256 != report.sha256:
            return None
        made = Slide(pictures, maps_of(report))
        with self._lock:
            made = self._slides.setdefault(key, made)
            while len(self._slides) > KEPT:
                self._slides.popitem(last=False)
        return made

    def prepare(self, worklist: Worklist, entries: list[Entry]) -> bool:
        """Make the slides of entries in the background.

        Args:
            worklist: of the entries.
            entries: to be shown soon, the likeliest first; what is not graded yet has to wait.

        Returns:
            Whether it is worth while to ask again.
        """
        soon = [e for e in entries[: KEPT - 1] if e.report is None or e.report.status != "failed"]
        waiting = [entry for entry in soon if self.ready(entry) is None]
        missing = [entry for entry in waiting if entry.report is not None]
        with self._lock:
            busy = self._thread is not None and self._thread.is_alive()
            if missing and not busy:
                self._thread = threading.Thread(
                    target=self._make, args=(worklist, missing), daemon=True, name="drcore-slides"
                )
                self._thread.start()
        return bool(waiting)

    def drop(self, present: list[Entry]) -> None:
        """Let go of what left the list."""
        keys = {_identity(entry) for entry in present}
        with self._lock:
            for key in [key for key in self._slides if key not in keys]:
                del self._slides[key]

    def _make(self, worklist: Worklist, entries: list[Entry]) -> None:
        for entry in entries:
            try:
                if entry.report is not None:
                    with BACKGROUND:
                        self.slide(worklist, entry, entry.report)
            except Exception as error:  # noqa: BLE001 - it is made again when it is shown
                logs.accident("preparing a photograph", error)
                return


def _identity(entry: Entry) -> str:
    # With identity shown or covered, the same photograph is another picture.
    return f"{entry.key} {entry.image_id} {entry.show_identity}"
