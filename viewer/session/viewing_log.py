"""For how long a reader views photographs, and at which scales the heat map is shown."""

from __future__ import annotations

import math
import secrets
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

import streamlit as st

from viewer.ui.assets import script

if TYPE_CHECKING:
    from viewer.worklist.worklist import Entry


@dataclass
class _Viewing:
    """One photograph: since the last decision on it, and before."""

    decisions: int = 0
    visits: float = 0.0
    away: float = 0.0
    scales: set[str] | None = None
    seen: dict[str, set[str]] = field(default_factory=dict)


class ViewingLog:
    """Viewing times and map scales of one session.

    The server knows since when a photograph is on screen; the browser reports for how long its page
    was hidden, and which maps were painted for at least a tenth of a second. What the browser has
    not reported is unknown, and is never inferred from the controls.

    Args:
        clock: seconds, rising.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        # A browser may outlive its session, with tallies of other photographs.
        self._token = secrets.token_hex(4)
        self._views: dict[str, _Viewing] = {}
        self._current: str | None = None
        self._since = 0.0

    def show(self, key: str | None) -> None:
        """Note which entry is on screen from now on; None if no photograph is."""
        if key == self._current:
            return
        now = self._clock()
        if self._current is not None:
            self._views[self._current].visits += now - self._since
        if key is not None:
            self._views.setdefault(key, _Viewing())
        self._current, self._since = key, now

    def view_id(self, key: str) -> str:
        """Return the id under which the browser reports on an entry; new after each decision."""
        return f"{self._token}/{key}/{self._views.setdefault(key, _Viewing()).decisions}"

    def record(self, reported: object, scales: Iterable[str]) -> None:
        """Record what the browser reports; anything invalid is ignored.

        It is untrusted: by view id, a dictionary with `scales`, a list, and `away`, seconds.
        """
        known = set(scales)
        for view_id, tally in reported.items() if isinstance(reported, dict) else ():
            key = str(view_id).partition("/")[2].rpartition("/")[0]
            viewing = self._views.get(key)
            if viewing is None or view_id != self.view_id(key) or not isinstance(tally, dict):
                continue
            names, away = tally.get("scales"), tally.get("away")
            if isinstance(names, list):
                viewing.scales = (viewing.scales or set()) | {
                    name for name in names if isinstance(name, str) and name in known
                }
            if isinstance(away, int | float) and math.isfinite(away):
                viewing.away = max(viewing.away, float(away))

    def seconds(self, key: str) -> float | None:
        """Return the seconds an entry was viewed since the last decision; None if never."""
        viewing = self._views.get(key)
        if viewing is None:
            return None
        visit = self._clock() - self._since if key == self._current else 0.0
        return max(0.0, viewing.visits + visit - viewing.away)

    def scales(self, key: str, reader: str) -> tuple[str, ...] | None:
        """Return at which scales a reader has seen the map of an entry; None if not reported.

        What was on screen since the last decision was seen by whoever decides next; what was on
        screen before, by those who decided then.
        """
        viewing = self._views.get(key)
        if viewing is None or viewing.scales is None:
            return None
        seen = viewing.scales | viewing.seen.get(reader, set())
        return tuple(sorted(seen, key=lambda name: (not name.isdecimal(), len(name), name)))

    def decided(self, key: str, reader: str) -> None:
        """Start a new viewing of an entry after a reader's decision on it was saved."""
        old = self._views.get(key, _Viewing())
        seen = {**old.seen, reader: old.seen.get(reader, set()) | (old.scales or set())}
        self._views[key] = _Viewing(decisions=old.decisions + 1, seen=seen)
        if key == self._current:
            self._since = self._clock()


def viewing_log() -> ViewingLog:
    """Return the log of this session, with the latest report of its browser."""
    log: ViewingLog = st.session_state.setdefault("viewing-log", ViewingLog())
    # Read here and not in a callback: of two callbacks of one message, either may come first.
    reported = st.session_state.get("viewing")
    if reported is not None:
        log.record(reported.get("views"), st.session_state.get("viewing-scales", ()))
    return log


def watch(entry: Entry, sizes: Sequence[int]) -> None:
    """Have the browser report which maps of these sizes (in pixels) it paints."""
    scales = [*map(str, sizes), "fused"] if sizes else []
    st.session_state["viewing-scales"] = scales
    _watch()(
        key="viewing",
        data={"view": viewing_log().view_id(entry.key), "image": entry.image_id, "scales": scales},
        height=1,
        on_views_change=_ignore,
    )


def _ignore() -> None:
    """`viewing_log` reads the report from the session state."""


@cache
def _watch() -> Any:
    return st.components.v2.component(
        "drcore_viewing_log", js=script("ui/links.js", "ui/single_run.js", "session/viewing_log.js")
    )
