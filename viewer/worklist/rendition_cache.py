"""The renditions of the photographs that a reader looked at last."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from viewer.worklist.entry import Entry
    from viewer.worklist.renditions import Renditions

MAX_RENDITIONS = 6
"""Photographs, about 1 MB each: going back and forth must not wait."""


class RenditionCache:
    """Renditions by entry; safe to share between the page and its threads."""

    def __init__(self) -> None:
        self._made: OrderedDict[str, Renditions] = OrderedDict()
        self._lock = threading.Lock()
        self._making = threading.Lock()

    def __contains__(self, entry: Entry) -> bool:
        return entry.key in self._made

    def get(self, entry: Entry) -> Renditions:
        """Return the renditions of an entry; `PhotographError` if it cannot be read."""
        from viewer.worklist.renditions import renditions_of

        # One at a time: page and threads ask for the same one at once, and each takes the memory
        # of a whole photograph while it is made.
        with self._making:
            with self._lock:
                if entry.key in self._made:
                    self._made.move_to_end(entry.key)
                    return self._made[entry.key]
            made = renditions_of(entry.source_shown(), name=entry.file_name)
            with self._lock:
                self._made[entry.key] = made
                while len(self._made) > MAX_RENDITIONS:
                    self._made.popitem(last=False)
            return made

    def drop(self, key: str) -> None:
        """Forget the renditions of an entry."""
        with self._lock:
            self._made.pop(key, None)
