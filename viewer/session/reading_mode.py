"""How this session reads: open, blinded, as second reader or as arbiter, and what that hides."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict

import streamlit as st

from drcore.agreement.adjudication import (
    ReadingStatus,
    StudyRules,
    reading_statuses,
)
from drcore.errors import DrcoreError
from drcore.reviews.decision import MODES, ROLES, ReadingMode, Role
from drcore.text import fold
from viewer.session import state

if TYPE_CHECKING:
    from drcore.reviews.store import ReviewStore
    from viewer.worklist.worklist import Entry, Worklist

__all__ = [
    "Circumstances",
    "allowed_modes",
    "circumstances",
    "design",
    "hides_machine",
    "hides_other_readers",
    "hides_record",
    "mode",
    "reader",
    "waiting",
]


_BLIND: frozenset[ReadingMode] = frozenset({"blinded first read", "second reader"})
"""Modes that show neither the machine's grade and map nor other readers before the decision."""

_FRESH = 5.0
"""Seconds after which decisions made through other servers are looked up again."""


class Circumstances(TypedDict):
    """Fields of `drcore.reviews.decision.Decision` that tell how it was made."""

    mode: ReadingMode
    role: Role
    machine_visible: bool
    revises: int | None


@dataclass(frozen=True, slots=True)
class _Read:
    """What the reader of this session has decided in its mode, as the record had it."""

    asked: tuple[str, str, ReadingMode, int]
    at: float
    photographs: frozenset[str]


def allowed_modes(setting: str | None = None) -> tuple[ReadingMode, ...]:
    """Return the modes that readers of this server may choose, the first being the default.

    Args:
        setting: modes parted by commas; DRCORE_STUDY of the environment where left out. An empty
            one allows all. One word of it that is no mode allows the blinded first read alone: a
            slip of the pen must uncover nothing.

    Returns:
        At least one mode.
    """
    text = os.environ.get("DRCORE_STUDY", "") if setting is None else setting
    words = [" ".join(word.lower().split()) for word in text.split(",") if word.strip()]
    if not words:
        return MODES
    known = [mode for word in words for mode in MODES if mode == word]
    return tuple(dict.fromkeys(known)) if len(known) == len(words) else ("blinded first read",)


def mode() -> ReadingMode:
    """Return the mode of reading of this session."""
    allowed = allowed_modes()
    chosen: ReadingMode | None = st.session_state.get("study-mode")
    return chosen if chosen in allowed else allowed[0]


def reader() -> str:
    """Return who reads in this session, as the record will have it; empty where not entered."""
    # Invisible characters would let one reader look like another.
    return "".join(filter(str.isprintable, st.session_state.get("reader") or "")).strip()


def hides_machine(entry: Entry) -> bool:
    """Say whether the machine's grade, score and map must stay hidden.

    Args:
        entry: of this session's list.

    Returns:
        In a blinded mode True until this reader's own decision on the photograph, made in this
        mode, is in the record; else False.
    """
    hidden = _hides(entry)
    if not hidden and entry.report is not None:  # the list shows grades of all of its photographs
        seen: dict[str, set[str]] = st.session_state.setdefault("study-seen", {})
        seen.setdefault(reader(), set()).add(entry.report.sha256)
    return hidden


def hides_other_readers(entry: Entry) -> bool:
    """Say whether decisions and marks of other readers must stay hidden.

    Args:
        entry: of this session's list.

    Returns:
        As `hides_machine`.
    """
    return hides_machine(entry)


def hides_record() -> bool:
    """Say whether what others decided must stay hidden altogether, on every page.

    Returns:
        True where this server allows blinded modes alone.
    """
    return _BLIND.issuperset(allowed_modes())


def circumstances(entry: Entry) -> Circumstances:
    """Return how a decision on an entry is being made; ask before it is added to the record.

    Args:
        entry: graded.

    Returns:
        Keyword arguments of `Decision`. `machine_visible` is True where the machine's grade was on
        screen in this session before, in whatever mode.

    Raises:
        ReviewError: the record cannot be read.
    """
    sha256 = entry.report.sha256 if entry.report else ""
    seen: dict[str, set[str]] = st.session_state.get("study-seen", {})
    # A name entered later was somebody's who looked before.
    visible = any(sha256 in seen.get(name, ()) for name in (reader(), ""))
    return {
        "mode": mode(),
        "role": ROLES[mode()],
        "machine_visible": visible or not hides_machine(entry),
        "revises": state.store().latest_number(sha256, reader(), mode()),
    }


def waiting(worklist: Worklist, found: dict[str, ReadingStatus]) -> list[Entry]:
    """Return the entries that wait for this session's reader in its mode.

    Args:
        worklist: of this session.
        found: where the reading of its photographs stands.

    Returns:
        In order of arrival, whatever the list shows. As second reader: those that need a second
        read and were read by somebody else; as arbiter: those whose readers differ; else: those
        not read in this mode.
    """
    shas = {entry.key: entry.report.sha256 if entry.report else "" for entry in _readable(worklist)}
    if ROLES[mode()] == "first":
        done = _read() if reader() else frozenset()
        return [entry for entry in _readable(worklist) if shas[entry.key] not in done]
    wanted = "second read" if mode() == "second reader" else "arbitration"
    mine = fold(reader())
    return [
        entry
        for entry in _readable(worklist)
        if (stands := found.get(shas[entry.key])) is not None
        and stands.state == wanted
        and (wanted == "arbitration" or all(fold(one.reader) != mine for one in stands.readings))
    ]


def design() -> StudyRules:
    """Return the rules of this session for second reads and arbitration."""
    return StudyRules(
        second_read=st.session_state.get("study-second") or "every photograph",
        tolerance=st.session_state.get("study-tolerance") or 0,
        referable=st.session_state.get("study-referable", True),
    )


def _readable(worklist: Worklist) -> list[Entry]:
    """The photographs that can be read, graded by the model or not yet."""
    return [one for one in worklist.everything if not one.report or one.report.status != "failed"]


def _standings(worklist: Worklist, store: ReviewStore) -> dict[str, ReadingStatus]:
    """Where the photographs of the list stand; looked up again when that may have changed."""
    if ROLES[mode()] == "first":
        return {}
    photographs = frozenset(entry.report.sha256 for entry in worklist.everything if entry.report)
    asked, now = (state.reviews_location(), store.writes, design(), photographs), time.monotonic()
    kept = st.session_state.get("study-standings")
    if kept is None or kept[0] != asked or now - kept[1] > _FRESH:
        kept = (asked, now, reading_statuses(store.decisions_on(photographs), design()))
        st.session_state["study-standings"] = kept
    found: dict[str, ReadingStatus] = kept[2]
    return found


def _hides(entry: Entry) -> bool:
    if mode() not in _BLIND:
        return False
    if entry.report is None or not reader():
        return True
    try:
        return entry.report.sha256 not in _read()
    except DrcoreError:  # without the record nobody knows whether the reader has decided
        return True


def _read() -> frozenset[str]:
    """The photographs that this reader has decided in this mode; asked for once a page."""
    store, now = state.store(), time.monotonic()
    asked = (state.reviews_location(), reader(), mode(), store.writes)
    kept: _Read | None = st.session_state.get("study-read")
    if kept is None or kept.asked != asked or now - kept.at > _FRESH:
        kept = _Read(asked, now, store.read_by(reader(), mode()))
        st.session_state["study-read"] = kept
    return kept.photographs
