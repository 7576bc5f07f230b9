"""Whether the page shows what the reader asked for last.

Streamlit's page sends all that happens within one moment as one message, in the name of one part
of the page: where a key falls together with the stage's own question, only the stage would be drawn
again, and the key would seem lost. So every part looks whether it still belongs to the page.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from viewer.session import reading_mode, state

if TYPE_CHECKING:
    from viewer.worklist.worklist import Worklist

__all__ = ["draw", "draw_choice", "renew", "renew_with_work"]

_DRAWN, _CHOICE, _ERROR = "on-screen", "on-screen-choice", "decision-error"


def draw(worklist: Worklist) -> None:
    """Note what the whole page is about to show.

    Args:
        worklist: of this session.
    """
    st.session_state[_DRAWN] = (_asked(worklist), _work(worklist))
    st.session_state[_CHOICE] = None  # until its part is drawn, which comes later


def draw_choice(worklist: Worklist) -> None:
    """Note which choice and which saved decision the decision's part is about to show.

    Args:
        worklist: of this session.
    """
    st.session_state[_CHOICE] = _choice(worklist)


def renew(worklist: Worklist, *, with_choice: bool = True) -> None:
    """Draw the whole page again where something else was asked for since it was drawn.

    Args:
        worklist: of this session.
        with_choice: a grade that was chosen counts too; not for the part that shows it.
    """
    drawn = st.session_state[_CHOICE] if with_choice else None
    other = drawn is not None and (drawn != _choice(worklist) or _ERROR in st.session_state)
    if other or st.session_state[_DRAWN][0] != _asked(worklist):
        st.rerun()


def renew_with_work(worklist: Worklist) -> None:
    """As `renew`, and also where the work in the background has come to something.

    Args:
        worklist: of this session.
    """
    renew(worklist)
    if st.session_state[_DRAWN][1] != _work(worklist):
        st.rerun()


def _asked(worklist: Worklist) -> tuple[object, ...]:
    """What readers decide about the page."""
    selected = worklist.selected
    return (
        selected.key if selected else "",
        worklist.total,
        worklist.arrangement,
        worklist.deidentified,
        worklist.show_identity,
        reading_mode.mode(),
        "arrivals" in st.session_state,
        "clearing" in st.session_state,
    )


def _work(worklist: Worklist) -> tuple[object, ...]:
    """What the background does."""
    selected = worklist.selected
    return (
        selected is not None and selected.report is not None,
        state.engine().state,
        worklist.pending == 0,
    )


def _choice(worklist: Worklist) -> tuple[object, ...]:
    selected = worklist.selected
    choices = st.session_state.get("choices", {})
    saved = st.session_state.get("saved")
    return (choices.get(selected.key) if selected else None, saved[2] if saved else None)
