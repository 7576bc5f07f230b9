"""What the pages of one browser session share: model, worklist, reviews, messages."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import streamlit as st

from viewer.server.model_loader import Engine
from viewer.server.settings import reviews_location

if TYPE_CHECKING:
    from drcore.reviews.decision import Decision
    from drcore.reviews.store import ReviewStore
    from viewer.worklist.worklist import Worklist


class SavedDecision(NamedTuple):
    """The decision that was saved last: when, of what (untrusted text), number, key of entry."""

    time: str
    text: str
    number: int
    key: str
    decision: Decision


@dataclass
class SessionState:
    """Values that several modules of one session share; those of widgets have keys of their own.

    Attributes:
        notices: sentences about files that were skipped; they hold untrusted names.
        missing_list: why the list of the page's address cannot be shown; empty if it can.
        cleared_token: of a list that was cleared or has expired.
        clearing: the reader was asked whether to clear the list.
        uploads: number of uploads so far; a new number makes a new, empty uploader.
        saved: the last decision that was saved.
        saved_shown: number of the last one that the whole page shows.
        save_error: why a decision could not be saved.
        obeyed: number of choices and saves that were asked for so far.
        drawn, drawn_choice: what the page shows, see `viewer.session.redraw`.
    """

    notices: list[str] = field(default_factory=list)
    missing_list: str = ""
    cleared_token: str = ""
    clearing: bool = False
    uploads: int = 0
    saved: SavedDecision | None = None
    saved_shown: int | None = None
    save_error: str = ""
    obeyed: int = 0
    drawn: tuple[object, object] = (None, None)
    drawn_choice: object = None


# Not in Streamlit's caches: any browser may ask the server to clear those.
_ENGINE = Engine()
_STORES: dict[str, ReviewStore] = {}
_STORES_LOCK = threading.Lock()


def session() -> SessionState:
    """Return the values that the modules of this session share."""
    found: SessionState = st.session_state.setdefault("drcore", SessionState())
    return found


def engine() -> Engine:
    """Return the model of this server, the same for all sessions."""
    return _ENGINE


def worklist() -> Worklist:
    """Return the worklist of this session, as it was before a reload or a restart."""
    from viewer.session import current_list

    return current_list.current_worklist()


def store() -> ReviewStore:
    """Return the grades and marks that this server stores."""
    location = reviews_location()
    with _STORES_LOCK:
        if location not in _STORES:
            from drcore.reviews.store import ReviewStore

            _STORES[location] = ReviewStore(location)
        return _STORES[location]
