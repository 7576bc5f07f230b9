"""Redraws the page if it no longer shows what the reader asked for last.

Streamlit's page sends all that happens within one moment as one message, in the name of one part
of the page: if a key coincides with a question of the image viewer, only the image viewer would be
drawn again, and the key would seem lost. So every part checks whether the page is up to date.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from viewer.session import reading_mode, state

if TYPE_CHECKING:
    from viewer.worklist.worklist import Worklist


def note_page(worklist: Worklist) -> None:
    """Note what the whole page is about to show."""
    session = state.session()
    session.drawn = (_asked(worklist), _background(worklist))
    session.drawn_choice = None  # until its part is drawn, which comes later


def note_choice(worklist: Worklist) -> None:
    """Note which choice and which saved decision are about to be shown."""
    state.session().drawn_choice = _choice(worklist)


def rerun_if_changed(worklist: Worklist, *, with_choice: bool = True) -> None:
    """Draw the whole page again if something else was asked for since it was drawn.

    A grade that was chosen counts too (`with_choice`); not for the part that shows it.
    """
    session = state.session()
    drawn = session.drawn_choice if with_choice else None
    other = drawn is not None and (drawn != _choice(worklist) or bool(session.save_error))
    if other or session.drawn[0] != _asked(worklist):
        st.rerun()


def rerun_if_worked(worklist: Worklist) -> None:
    """As `rerun_if_changed`, and also if the work in the background has got further."""
    rerun_if_changed(worklist)
    if state.session().drawn[1] != _background(worklist):
        st.rerun()


def _asked(worklist: Worklist) -> tuple[object, ...]:
    """What readers decide about the page."""
    selected, session = worklist.selected, state.session()
    return (
        selected.key if selected else "",
        worklist.total,
        worklist.arrangement,
        worklist.deidentified,
        worklist.show_identity,
        reading_mode.chosen() and reading_mode.mode(),
        tuple(session.notices),
        session.clearing,
    )


def _background(worklist: Worklist) -> tuple[object, ...]:
    selected = worklist.selected
    return (
        selected is not None and selected.report is not None,
        state.engine().state,
        worklist.pending == 0,
    )


def _choice(worklist: Worklist) -> tuple[object, ...]:
    selected, session = worklist.selected, state.session()
    chosen = worklist.reading.draft(selected.key).choice if selected else None
    return (chosen, session.saved.number if session.saved else None)
