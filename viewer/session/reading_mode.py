"""The reading mode of this session, what it hides, and which photographs await its reader."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypedDict

import streamlit as st

from drcore.agreement.adjudication import ReadingStatus, StudyRules, reading_statuses
from drcore.errors import DrcoreError
from drcore.reviews.decision import MASKED_MODES, ROLES, Login, ReadingMode, Role
from drcore.text import fold
from viewer.server.settings import allowed_modes, reviews_location
from viewer.session import reader as signed_in
from viewer.session import state

if TYPE_CHECKING:
    from drcore.reviews.store import ReviewStore
    from viewer.server.identity import Permission
    from viewer.worklist.worklist import Entry, Worklist

MODE_NAMES: dict[ReadingMode, str] = {
    "open": "Unmasked (model visible)",
    "blinded first read": "Masked first read",
    "second reader": "Second reader",
    "arbitration": "Arbitration",
}
"""What pages call the modes; the keys are stored."""

_FIRST_READS: frozenset[ReadingMode] = frozenset({"open", "blinded first read"})
"""Modes in which everything that the reader has not decided waits."""

_FRESH = 5.0
"""Seconds after which decisions made through other servers are looked up again."""


_Statuses = dict[str, ReadingStatus]


class Circumstances(TypedDict):
    """Fields of `drcore.reviews.decision.Decision` that say how it was made."""

    mode: ReadingMode
    role: Role | None
    machine_visible: bool
    revises: int | None
    login: Login


@dataclass(frozen=True, slots=True)
class _Read:
    """Photographs that this session's reader has decided in its mode, and when that was asked."""

    asked: tuple[str, str, ReadingMode, int]
    at: float
    photographs: frozenset[str]


def chosen() -> bool:
    """Whether the list of this session has a reading mode; until then it shows nothing."""
    return st.session_state.get("study-mode") in open_modes()


def take_over(worklist: Worklist) -> None:
    """Read in the mode, and under the name, that are kept with a list."""
    reading = worklist.reading
    if signed_in.known() and reading.reader != signed_in.name():
        return  # another reader's list: this one chooses a mode, and the drafts are left behind
    if reading.mode is not None:
        st.session_state["study-mode"] = reading.mode
    if reading.reader:
        st.session_state["reader"] = reading.reader


def start(worklist: Worklist, wanted: ReadingMode, name: str) -> None:
    """Choose mode and reader of a list, and keep them with it."""
    st.session_state["study-mode"], st.session_state["reader"] = wanted, name
    worklist.reading.mode = wanted
    rename(worklist)


def choose_again(worklist: Worklist) -> None:
    """Hide the list until mode and reader are chosen again."""
    st.session_state.pop("study-mode", None)
    worklist.reading.mode = None
    worklist.save_reading()


def rename(worklist: Worklist) -> None:
    """Keep with the list the reader's name that was just entered."""
    worklist.reading.rename(reader())
    worklist.save_reading()


def open_modes() -> tuple[ReadingMode, ...]:
    """Return the modes of this server that are open to this session's reader; never none."""
    return tuple(one for one in allowed_modes() if signed_in.permits(_permission(one))) or (
        "blinded first read",
    )


def require_reader() -> None:
    """Raise `DrcoreError` unless this session's reader may store something in its mode."""
    signed_in.require(_permission(mode()))


def _permission(wanted: ReadingMode) -> Permission:
    return "arbitrate" if wanted == "arbitration" else "read"


def mode() -> ReadingMode:
    """Return the reading mode of this session; the first one allowed until one is chosen."""
    allowed = open_modes()
    wanted: ReadingMode | None = st.session_state.get("study-mode")
    return wanted if wanted in allowed else allowed[0]


def reader() -> str:
    """Return the name of this session's reader, as it is stored; empty if not entered.

    With a login it is that of the login, and empty where it has expired.
    """
    if signed_in.known():
        return signed_in.name()
    # Invisible characters would let one reader look like another.
    return "".join(filter(str.isprintable, st.session_state.get("reader") or "")).strip()


def hides_machine(entry: Entry) -> bool:
    """Whether the model's result and other readers' decisions and marks must stay hidden.

    In a masked mode they are, until this reader's own decision in this mode is stored; in any
    mode until it is chosen.
    """
    if not chosen():
        return True
    if mode() not in MASKED_MODES:
        return False
    if entry.report is None or not reader():
        return True
    try:
        return entry.report.sha256 not in _read()
    except DrcoreError:  # without the database nobody knows whether the reader has decided
        return True


def note_machine_seen(worklist: Worklist) -> None:
    """Note that this session's reader was shown the model's grades that are not hidden."""
    shown = (
        entry.report.sha256
        for entry in worklist.everything
        if entry.report is not None and entry.key not in worklist.hidden
    )
    if worklist.reading.note_seen(reader(), shown):
        worklist.save_reading()


def hides_record() -> bool:
    """Whether this server allows only masked modes, so that no page may show others' decisions."""
    return MASKED_MODES.issuperset(allowed_modes())


def hides_names() -> bool:
    """Whether readers' names must not be shown: an arbiter judges grades, not colleagues."""
    return mode() == "arbitration"


def circumstances(worklist: Worklist, entry: Entry) -> Circumstances:
    """Return how a decision on an entry is being made; call it before the decision is stored.

    `machine_visible` is True if this reader was shown the model's grade before, in any mode: in
    this list, or for a decision that is stored. Raises `DrcoreError` if the reader may not decide.
    """
    require_reader()
    sha256 = entry.report.sha256 if entry.report else ""
    visible = not hides_machine(entry) or worklist.reading.saw(reader(), sha256)
    return {
        "mode": mode(),
        "role": ROLES[mode()],
        "machine_visible": visible or state.store().saw_machine(sha256, reader()),
        "revises": state.store().latest_number(sha256, reader(), mode()),
        "login": signed_in.login(),
    }


def waiting(worklist: Worklist, found: dict[str, ReadingStatus]) -> list[Entry]:
    """Return the entries that await this session's reader in its mode, in the order added.

    As second reader: those that need a second read and were read by somebody else; as arbiter:
    those whose readers disagree; else: those not read in this mode.
    """
    shas = {entry.key: entry.report.sha256 if entry.report else "" for entry in readable(worklist)}
    if mode() in _FIRST_READS:
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
    if not signed_in.permits("study_rules"):
        return StudyRules(second_read="every photograph", tolerance=0, referable=True)
    return StudyRules(
        second_read=st.session_state.get("study-second") or "every photograph",
        tolerance=st.session_state.get("study-tolerance") or 0,
        referable=st.session_state.get("study-referable", True),
    )


def readable(worklist: Worklist) -> list[Entry]:
    """Return the entries that can be read, graded by the model or not yet."""
    return [one for one in worklist.everything if not one.report or one.report.status != "failed"]


def statuses(worklist: Worklist, store: ReviewStore) -> dict[str, ReadingStatus]:
    """Return the reading status of the list's photographs under the study's rules, by SHA-256."""
    return _statuses(worklist, store)[0]


def note_final_grades(worklist: Worklist) -> None:
    """Tell the entries what is final of them; nothing of what must stay hidden."""
    try:
        found = _statuses(worklist, state.store())[1]
    except DrcoreError:  # the page says so beside the decision
        found = {}
    for entry in worklist.everything:
        hidden = entry.report is None or entry.key in worklist.hidden
        entry.reading = None if hidden or not entry.report else found.get(entry.report.sha256)


def _statuses(worklist: Worklist, store: ReviewStore) -> tuple[_Statuses, _Statuses]:
    """By SHA-256, under the study's rules, and where one reader's grade is final as in exports."""
    photographs = frozenset(entry.report.sha256 for entry in worklist.everything if entry.report)
    rules = study_rules()
    asked, now = (reviews_location(), store.writes, rules, photographs), time.monotonic()
    kept = st.session_state.get("study-standings")
    if kept is None or kept[0] != asked or now - kept[1] > _FRESH:
        made = store.decisions_on(photographs)
        alone = replace(rules, second_read="none")
        kept = (asked, now, (reading_statuses(made, rules), reading_statuses(made, alone)))
        st.session_state["study-standings"] = kept
    found: tuple[_Statuses, _Statuses] = kept[2]
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
