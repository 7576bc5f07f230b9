"""How a reader looks at photographs: for how long, and at which scales of the map."""

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

__all__ = ["ViewingLog", "looks", "watch"]


@dataclass
class _Look:
    """One photograph: since the last decision on it, and before."""

    decisions: int = 0
    visits: float = 0.0
    away: float = 0.0
    scales: set[str] | None = None
    seen: dict[str, set[str]] = field(default_factory=dict)


class ViewingLog:
    """The looks of one session at its photographs.

    The server knows since when a photograph is on screen; the browser tells for how long its page
    was hidden, and which maps were painted for at least a tenth of a second. What the browser has
    not told is unknown, and is never guessed from the switches.

    Args:
        clock: seconds, rising.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        # A browser may outlive its session, with tallies of other photographs.
        self._token = secrets.token_hex(4)
        self._looks: dict[str, _Look] = {}
        self._current: str | None = None
        self._since = 0.0

    def show(self, key: str | None) -> None:
        """Say what is on screen from now on.

        Args:
            key: of the entry; None where no photograph is.
        """
        if key == self._current:
            return
        now = self._clock()
        if self._current is not None:
            self._looks[self._current].visits += now - self._since
        if key is not None:
            self._looks.setdefault(key, _Look())
        self._current, self._since = key, now

    def turn(self, key: str) -> str:
        """Return what the browser calls the look at an entry; another one after each decision."""
        return f"{self._token}/{key}/{self._looks.setdefault(key, _Look()).decisions}"

    def hear(self, told: object, scales: Iterable[str]) -> None:
        """Take in what the browser tells; what is not understood is left out.

        Args:
            told: by turn, a dictionary with `scales`, a list, and `away`, seconds; untrusted.
            scales: that there are.
        """
        known = set(scales)
        for turn, tally in told.items() if isinstance(told, dict) else ():
            key = str(turn).partition("/")[2].rpartition("/")[0]
            look = self._looks.get(key)
            if look is None or turn != self.turn(key) or not isinstance(tally, dict):
                continue
            names, away = tally.get("scales"), tally.get("away")
            if isinstance(names, list):
                look.scales = (look.scales or set()) | {
                    name for name in names if isinstance(name, str) and name in known
                }
            if isinstance(away, int | float) and math.isfinite(away):
                look.away = max(look.away, float(away))

    def seconds(self, key: str) -> float | None:
        """Return for how long an entry was looked at since the last decision on it.

        Args:
            key: of the entry.

        Returns:
            Seconds; None where it was never on screen.
        """
        look = self._looks.get(key)
        if look is None:
            return None
        visit = self._clock() - self._since if key == self._current else 0.0
        return max(0.0, look.visits + visit - look.away)

    def scales(self, key: str, reader: str) -> tuple[str, ...] | None:
        """Return at which scales a reader has seen the map of an entry.

        What was on screen since the last decision was seen by whoever decides next; what was on
        screen before, by those who decided then.

        Args:
            key: of the entry.
            reader: who decides.

        Returns:
            Smallest first, "fused" last; empty where the map was hidden the whole time, None where
            the browser has told nothing.
        """
        look = self._looks.get(key)
        if look is None or look.scales is None:
            return None
        seen = look.scales | look.seen.get(reader, set())
        return tuple(sorted(seen, key=lambda name: (not name.isdecimal(), len(name), name)))

    def decided(self, key: str, reader: str) -> None:
        """Begin anew on an entry, because a decision on it was saved.

        Args:
            key: of the entry.
            reader: who decided.
        """
        old = self._looks.get(key, _Look())
        seen = {**old.seen, reader: old.seen.get(reader, set()) | (old.scales or set())}
        self._looks[key] = _Look(decisions=old.decisions + 1, seen=seen)
        if key == self._current:
            self._since = self._clock()


def looks() -> ViewingLog:
    """Return the looks of this session, with the latest that its browser has told."""
    kept: ViewingLog = st.session_state.setdefault("looks", ViewingLog())
    # Read here and not in a callback: of two callbacks of one message, either may come first.
    told = st.session_state.get("looking")
    if told is not None:
        kept.hear(told.get("look"), st.session_state.get("looking-scales", ()))
    return kept


def watch(entry: Entry, sizes: Sequence[int]) -> None:
    """Have the browser tell which maps it paints; only this part runs again when it does.

    Args:
        entry: on screen.
        sizes: of the maps that can be shown, in pixels; empty where the map is kept from the
            reader.
    """
    scales = [*map(str, sizes), "fused"] if sizes else []
    st.session_state["looking-scales"] = scales
    _watch()(
        key="looking",
        data={"turn": looks().turn(entry.key), "image": entry.image_id, "scales": scales},
        height=1,
        on_look_change=_nothing,
    )


def _nothing() -> None:
    """What the browser told lies in the session state."""


@cache
def _watch() -> Any:
    return st.components.v2.component(
        "drcore_looking",
        js=script("ui/links.js", "session/viewing_log.js"),
    )
