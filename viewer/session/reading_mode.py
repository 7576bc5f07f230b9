"""The reading mode of this session, what it hides, and which photographs await its reader."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict

import streamlit as st

from drcore.agreement.adjudication import ReadingStatus, StudyRules, reading_statuses
from drcore.errors import DrcoreError
from drcore.reviews.decision import ROLES, ReadingMode, Role
from drcore.text import fold
from viewer.server.settings import allowed_modes, reviews_location
from viewer.session import state

if TYPE_CHECKING:
    from drcore.reviews.store import ReviewStore
    from viewer.worklist.worklist import Entry, Worklist

MODE_NAMES: dict[ReadingMode, str] = {
    "open": "Unmasked (model visible)",
    "blinded first read": "Masked first read",
    "second reader": "Second reader",
    "arbitration": "Arbitration",
}
"""What pages call the modes; the keys are stored."""

_MASKED: frozenset[ReadingMode] = frozenset({"blinded first read", "second reader"})
"""Modes that hide the model's result and other readers until the reader's own decision."""

_FRESH = 5.0
"""Seconds after which decisions made through other servers are looked up again."""


class Circumstances(TypedDict):
    """Fields of `drcore.reviews.decision.Decision` that say how it was made."""

    mode: ReadingMode
    role: Role
    machine_visible: bool
    revises: int | None


@dataclass(frozen=True, slots=True)
class _Read:
    """Photographs that this session's reader has decided in its mode, and when that was asked."""

    asked: tuple[str, str, ReadingMode, int]
    at: float
    photographs: frozenset[str]


def mode() -> ReadingMode:
    """Return the reading mode of this session."""
    allowed = allowed_modes()
    chosen: ReadingMode | None = st.session_state.get("study-mode")
    return chosen if chosen in allowed else allowed[0]


def reader() -> str:
    """Return the name of this session's reader, as it is stored; empty if not entered."""
    # Invisible characters would let one reader look like another.
    return "".join(filter(str.isprintable, st.session_state.get("reader") or "")).strip()


def hides_machine(entry: Entry) -> bool:
    """Whether the model's result and other readers' decisions and marks must stay hidden.

    In a masked mode they are, until this reader's own decision in this mode is stored.
    """
    if mode() not in _MASKED:
        return False
    if entry.report is None or not reader():
        return True
    try:
        return entry.report.sha256 not in _read()
    except DrcoreError:  # without the database nobody knows whether the reader has decided
        return True


def note_machine_seen(worklist: Worklist) -> None:
    """Note that this session's reader was shown the model's grades that are not hidden."""
    seen: dict[str, set[str]] = st.session_state.setdefault("study-seen", {})
    seen.setdefault(reader(), set()).update(
        entry.report.sha256
        for entry in worklist.everything
        if entry.report is not None and entry.key not in worklist.hidden
    )


def hides_record() -> bool:
    """Whether this server allows only masked modes, so that no page may show others' decisions."""
    return _MASKED.issuperset(allowed_modes())


def circumstances(entry: Entry) -> Circumstances:
    """Return how a decision on an entry is being made; call it before the decision is stored.

    `machine_visible` is True if the model's grade was on screen in this session before, in any
    mode.
    """
    sha256 = entry.report.sha256 if entry.report else ""
    seen: dict[str, set[str]] = st.session_state.get("study-seen", {})
    # Whoever enters a name later may have looked before.
    visible = any(sha256 in seen.get(name, ()) for name in (reader(), ""))
    return {
        "mode": mode(),
        "role": ROLES[mode()],
        "machine_visible": visible or not hides_machine(entry),
        "revises": state.store().latest_number(sha256, reader(), mode()),
    }


def waiting(worklist: Worklist, found: dict[str, ReadingStatus]) -> list[Entry]:
    """Return the entries that await this session's reader in its mode, in the order added.

    As second reader: those that need a second read and were read by somebody else; as arbiter:
    those whose readers disagree; else: those not read in this mode.
    """
    shas = {entry.key: entry.report.sha256 if entry.report else "" for entry in readable(worklist)}
    if ROLES[mode()] == "first":
        done = _read() if reader() else frozenset()
        return [entry for entry in readable(worklist) if shas[entry.key] not in done]
    wanted = "second read" if mode() == "second reader" else "arbitration"
    mine = fold(reader())
    return [
        entry
        for entry in readable(worklist)
        if (stands := found.get(shas[entry.key])) is not None
        and stands.state == wanted
        and (wanted == "arbitration" or all(fold(one.reader) != mine for one in stands.readings))
    ]


def study_rules() -> StudyRules:
    """Return the rules of this session for second reads and arbitration."""
    return StudyRules(
        second_read=st.session_state.get("study-second") or "every photograph",
        tolerance=st.session_state.get("study-tolerance") or 0,
        referable=st.session_state.get("study-referable", True),
    )


def readable(worklist: Worklist) -> list[Entry]:
    """Return the entries that can be read, graded by the model or not yet."""
    return [one for one in worklist.everything if not one.report or one.report.status != "failed"]


def statuses(worklist: Worklist, store: ReviewStore) -> dict[str, ReadingStatus]:
    """Return the reading status of the list's photographs, by SHA-256; none in a first read."""
    if ROLES[mode()] == "first":
        return {}
    photographs = frozenset(entry.report.sha256 for entry in worklist.everything if entry.report)
    asked, now = (reviews_location(), store.writes, study_rules(), photographs), time.monotonic()
    kept = st.session_state.get("study-standings")
    if kept is None or kept[0] != asked or now - kept[1] > _FRESH:
        kept = (asked, now, reading_statuses(store.decisions_on(photographs), study_rules()))
        st.session_state["study-standings"] = kept
    found: dict[str, ReadingStatus] = kept[2]
    return found


def _read() -> frozenset[str]:
    """The photographs that this reader has decided in this mode; cached for a few seconds."""
    store, now = state.store(), time.monotonic()
    asked = (reviews_location(), reader(), mode(), store.writes)
    kept: _Read | None = st.session_state.get("study-read")
    if kept is None or kept.asked != asked or now - kept.at > _FRESH:
        kept = _Read(asked, now, store.read_by(reader(), mode()))
        st.session_state["study-read"] = kept
    return kept.photographs
