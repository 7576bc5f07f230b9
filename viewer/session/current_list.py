"""The worklist of this session, found by the token in the page's address."""

from __future__ import annotations

import threading
from pathlib import Path

import streamlit as st

from drcore.errors import DrcoreError, SourceError
from viewer.server.settings import batch_root, worklists_folder
from viewer.server.shipped import shipped
from viewer.session import reading_mode, state
from viewer.worklist.storage import WorklistStore
from viewer.worklist.worklist import Worklist

PARAMETER = "list"
"""Of the page's address. Whoever knows its value can open the list; it cannot be guessed."""

_SAMPLES = shipped("sample_images")

# Not in Streamlit's caches: any browser may ask the server to clear those.
_STORES: dict[Path, WorklistStore] = {}
_LOCK = threading.Lock()


def current_worklist() -> Worklist:
    """Return the list of this session: that of the page's address after a reload or restart."""
    if "worklist" not in st.session_state:
        st.session_state["worklist"] = _opened(st.query_params.get(PARAMETER))
        reading_mode.take_over(st.session_state["worklist"])
    worklist: Worklist = st.session_state["worklist"]
    if worklist.token:  # a change of page takes it out of the address
        st.query_params[PARAMETER] = worklist.token
    else:
        st.query_params.pop(PARAMETER, None)
    if worklist.total:
        _update(worklist)
    return worklist


def clear_worklist() -> None:
    """Clear the list of this session and delete what is stored of it."""
    worklist: Worklist = st.session_state["worklist"]
    session = state.session()
    session.cleared_token, session.missing_list = worklist.token, ""
    worklist.clear()
    reading_mode.choose_again(worklist)


def _opened(token: str | None) -> Worklist:
    root, session = batch_root(), state.session()
    roots = [_SAMPLES] if root is None else [_SAMPLES, root]
    try:
        store = _store(worklists_folder())
        worklist = Worklist.reopened(store, token, roots)
    except SourceError as error:
        session.missing_list = str(error)
        return Worklist()
    if token is not None and not worklist.token:
        session.cleared_token = token
        session.missing_list = (
            "This list has expired or was cleared. Saved grades are still available."
        )
    return worklist


def _store(root: Path) -> WorklistStore:
    with _LOCK:
        if root not in _STORES:
            _STORES[root] = WorklistStore(root)
        return _STORES[root]


def _update(worklist: Worklist) -> None:
    """Tell the list what the reader must not see, and where corrections are found."""
    worklist.hidden = frozenset(
        entry.key for entry in worklist.everything if reading_mode.hides_machine(entry)
    )
    reading_mode.note_machine_seen(worklist)
    reading_mode.note_final_grades(worklist)
    try:
        worklist.correction_of = state.store().identity
    except DrcoreError:  # the page says so beside the decision
        worklist.correction_of = None
