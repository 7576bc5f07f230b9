"""The list of this session, found again by the token in the page's address."""

from __future__ import annotations

import threading
from pathlib import Path

import streamlit as st

from drcore.errors import DrcoreError, SourceError
from viewer.server.settings import root_from_environment
from viewer.worklist.storage import WorklistStore, location
from viewer.worklist.worklist import Worklist

__all__ = ["PARAMETER", "forget", "gone", "lost", "own_list"]

PARAMETER = "list"
"""Of the page's address. Whoever knows its value can open the list; it cannot be guessed."""

_SAMPLES = Path(__file__).parents[2] / "sample_images"

# Not in Streamlit's caches: any browser may ask the server to clear those.
_SHELVES: dict[Path, WorklistStore] = {}
_LOCK = threading.Lock()


def own_list() -> Worklist:
    """Return the list of this session: the one of the page's address after a reload or restart."""
    if "worklist" not in st.session_state:
        st.session_state["worklist"] = _opened(st.query_params.get(PARAMETER))
    worklist: Worklist = st.session_state["worklist"]
    if worklist.token:  # a change of page takes it out of the address
        st.query_params[PARAMETER] = worklist.token
    else:
        st.query_params.pop(PARAMETER, None)
    if worklist.total:
        _tell_what_to_hide(worklist)
    return worklist


def lost() -> str:
    """Return a sentence where the address named a list that is no longer there; else nothing."""
    return str(st.session_state.get("list-lost", ""))


def gone() -> str:
    """Return the token of a list that was cleared or is no longer kept; else nothing."""
    return str(st.session_state.get("list-gone", ""))


def forget() -> None:
    """Clear the list of this session and delete what is kept of it."""
    st.session_state["list-gone"] = st.session_state["worklist"].token
    st.session_state["worklist"].clear()
    st.session_state.pop("list-lost", None)


def _opened(token: str | None) -> Worklist:
    root = root_from_environment()
    roots = [_SAMPLES] if root is None else [_SAMPLES, root]
    try:
        shelf = _shelf(location())
        if token is None:
            return Worklist(shelf, roots)
        worklist = Worklist.reopened(shelf, token, roots)
    except SourceError as error:
        st.session_state["list-lost"] = str(error)
        return Worklist()
    if not worklist.token:
        st.session_state["list-gone"] = token
        st.session_state["list-lost"] = (
            "The list of this address is no longer kept: it was cleared, or nobody opened it for "
            f"{shelf.limits.days:.0f} days. Decisions are still in the record."
        )
    return worklist


def _shelf(root: Path) -> WorklistStore:
    with _LOCK:
        if root not in _SHELVES:
            _SHELVES[root] = WorklistStore(root)
        return _SHELVES[root]


def _tell_what_to_hide(worklist: Worklist) -> None:
    from viewer.session import reading_mode, state

    # Asked of other readers' decisions, because what is asked of the machine's counts as seen.
    worklist.hidden = frozenset(
        entry.key for entry in worklist.everything if reading_mode.hides_other_readers(entry)
    )
    try:
        worklist.correction_of = state.store().identity
    except DrcoreError:  # the page says so beside the decision
        worklist.correction_of = None
