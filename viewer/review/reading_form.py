"""The structured reading beside grade and note; what is left alone is not recorded."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import streamlit as st

from drcore.errors import DrcoreError
from drcore.text import fold
from viewer.session import reading_mode
from viewer.ui import messages
from viewer.ui.assets import style_tag

if TYPE_CHECKING:
    from drcore.reviews.findings import Findings
    from drcore.reviews.form import Form, FormField
    from drcore.reviews.store import ReviewStore
    from viewer.worklist.worklist import Entry

CHECK, DASH = "\u2713 ", "\u2013"

_STATE = "reading-form"


@dataclass
class _Draft:
    """Answers of one reader for one photograph, not saved yet, by the id of the field."""

    reader: str
    values: dict[str, Any] = field(default_factory=dict)


def panel(entry: Entry, store: ReviewStore, *, ungradable: bool) -> None:
    """Show the form: a button for each choice, on which its key steps through the options."""
    form = _form()
    if isinstance(form, str):
        messages.problem(f"{form} Grades can be saved without it.")
    if form is None or isinstance(form, str):
        return
    values = _draft(entry, store).values
    fields = form.shown(values, ungradable=ungradable)
    st.html(style_tag("review/reading_form.css"))
    with st.container(key="reading-form", gap="xxsmall"):
        with st.container(horizontal=True, gap="xxsmall", key="reading-form-choices"):
            for one in fields:
                if one.options:
                    _choice(one, values)
        for one in fields:
            if not one.options:
                _typed(entry, one, values)


def findings(entry: Entry, store: ReviewStore, *, ungradable: bool) -> Findings | None:
    """Return what is stored with a decision; `ReviewError` if an answer does not fit."""
    form = _form()
    if form is None or isinstance(form, str):
        return None
    return form.findings(_draft(entry, store).values, ungradable=ungradable)


def _form() -> Form | str | None:
    """The form; None if there is to be none, a sentence if it cannot be read."""
    from drcore.reviews.form import load_form

    if "form" not in st.session_state:
        try:
            st.session_state["form"] = load_form()
        except DrcoreError as error:
            st.session_state["form"] = str(error)
    found: Form | str | None = st.session_state["form"]
    return found


def _draft(entry: Entry, store: ReviewStore) -> _Draft:
    """The answers on screen; at first those that this reader saved last for the photograph."""
    drafts: dict[str, _Draft] = st.session_state.setdefault(_STATE, {})
    reader = fold(reading_mode.reader())
    found = drafts.get(entry.key)
    if found is not None and found.reader in {"", reader}:  # a name entered late keeps the answers
        found.reader = reader
        return found
    draft = _Draft(reader)
    if reader:
        try:
            last = store.latest(entry.sha256, reading_mode.reader())
        except DrcoreError:
            last = None  # saving tells what is wrong with the record
        if last is not None and last.findings is not None:
            draft.values |= last.findings.values
    drafts[entry.key] = draft
    return draft


def _choice(one: FormField, values: dict[str, Any]) -> None:
    chosen = values.get(one.id)
    if one.kind == "several":
        for option, key in zip(one.options, one.keys or [None] * len(one.options), strict=True):
            on = option in (chosen or ())
            st.button(
                f"{CHECK if on else ''}{_plain(option.capitalize())}",
                key=f"form-{one.id}-{option}", shortcut=key,
                type="primary" if on else "secondary", on_click=_toggle,
                args=(one, option, values), help=_plain(one.label),
            )  # fmt: skip
        return
    st.button(
        f"{_plain(one.label)}: {_plain(chosen or DASH)}", key=f"form-{one.id}",
        shortcut=one.key or None, type="primary" if chosen else "secondary", on_click=_step,
        args=(one, values), help=f"{_plain(', '.join(one.options))}; then not recorded again",
    )  # fmt: skip


def _step(one: FormField, values: dict[str, Any]) -> None:
    """Step to the next option, and after the last to no answer."""
    current = values.get(one.id)
    place = one.options.index(current) + 1 if current in one.options else 0
    if place == len(one.options):
        values.pop(one.id)
    else:
        values[one.id] = one.options[place]


def _toggle(one: FormField, option: str, values: dict[str, Any]) -> None:
    before = values.get(one.id) or ()
    values[one.id] = tuple(o for o in one.options if (o in before) != (o == option))


def _typed(entry: Entry, one: FormField, values: dict[str, Any]) -> None:
    key = f"form-{one.id}-{entry.key}-{fold(reading_mode.reader())}"
    if one.kind == "number":
        value = st.number_input(
            _plain(one.label), min_value=one.least, max_value=one.most,
            value=int(values.get(one.id, one.value)), step=1, key=key,
        )  # fmt: skip
        values[one.id] = int(value)
        return
    text = st.text_input(
        _plain(one.label), value=str(values.get(one.id, "")), key=key, max_chars=1000,
        placeholder=one.label, label_visibility="collapsed",
    )  # fmt: skip
    values[one.id] = text


def _plain(text: str) -> str:
    """Text of a form, which Streamlit must not read as Markdown."""
    return "".join(f"\\{c}" if c in "\\`*_{}[]()<>#+-.!|~:$" else c for c in text)
