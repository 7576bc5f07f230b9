"""Messages on a page."""

from __future__ import annotations

from html import escape

import streamlit as st


def problem(sentence: str) -> None:
    """Show an error; the sentence may hold untrusted text, so it never becomes Markdown."""
    st.html(f'<div class="problem" role="alert">{escape(sentence)}</div>')
