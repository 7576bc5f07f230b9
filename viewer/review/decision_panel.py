"""The reader's decision: agree, another grade, or ungradable."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import streamlit as st

from drcore.errors import DrcoreError, ReviewError
from viewer.review import reading_form
from viewer.session import reader as signed_in
from viewer.session import reading_mode, state
from viewer.session.state import SavedDecision
from viewer.session.viewing_log import viewing_log
from viewer.ui import messages

if TYPE_CHECKING:
    from drcore.grading.report import GradeReport
    from drcore.reviews.decision import Decision
    from drcore.reviews.findings import Findings
    from drcore.reviews.store import ReviewStore
    from viewer.session.reading_mode import Circumstances
    from viewer.worklist.reading import Choice
    from viewer.worklist.worklist import Entry, Worklist


_GRADE_NAMES = ("No DR", "Mild", "Moderate", "Severe", "PDR")


def decide(
    report: GradeReport,
    choice: Choice | None,
    *,
    note: str,
    reader: str,
    now: datetime,
    seconds: float | None = None,
    overlay_scales: tuple[str, ...] | None = None,
    circumstances: Circumstances | None = None,
    findings: Findings | None = None,
) -> Decision:
    """Return the decision to store; a grade that equals the model's is an agreement.

    Raises `ReviewError` if something is missing, or contradicts the report.
    """
    from drcore.reviews.decision import Decision

    if choice is None:
        raise ReviewError("Select a grade first.")
    if not reader.strip():
        raise ReviewError("Enter your name or initials to save.")
    if choice == "agree" and report.grade is None:
        raise ReviewError("The model gave no grade. Select a grade.")
    if choice in {"agree", report.grade}:
        action, grade = "agree", report.grade
    elif choice == "ungradable":
        action, grade = "ungradable", None
    else:
        action, grade = "change", int(choice)
    return Decision(
        sha256=report.sha256,
        image=report.name,
        model_version=report.model_version,
        machine_status=report.status,
        machine_grade=report.grade,
        machine_score=None if math.isnan(report.score) else report.score,
        action=action,  # type: ignore[arg-type]
        grade=grade,
        note=note.strip(),
        reader=reader.strip(),
        decided_at=now,
        laterality=report.laterality,
        patient=report.patient,
        seconds=seconds,
        overlay_scales=overlay_scales,
        findings=findings,
        **(circumstances or {}),
    )


def decision_text(decision: Decision) -> str:
    """Return "ungradable" or the grade."""
    return "ungradable" if decision.action == "ungradable" else f"grade {decision.grade}"


def latest_sentence(decision: Decision) -> str:
    """Describe a decision with reader and time; the reader's name is untrusted text."""
    when = decision.decided_at.astimezone()
    day = "" if when.date() == datetime.now(UTC).astimezone().date() else f"{when:%d %b %Y} "
    named = decision.reader and not reading_mode.hides_names()
    who = f"{decision.reader}, " if named else ""
    if decision.saw_machine:
        who = f"{who}after seeing the model, "
    agrees = " \u2013 agrees with model" if decision.action == "agree" else ""
    return f"{decision_text(decision).capitalize()}{agrees} ({who}{day}{when:%H:%M})"


def panel(worklist: Worklist, entry: Entry, store: ReviewStore, *, hidden: bool = False) -> None:
    """Show the controls of a decision; `hidden` if the model's grade must not be known yet."""
    report = entry.report
    if report is None or report.status == "failed":
        return
    draft = worklist.reading.draft(entry.key)
    if hidden and draft.choice == "agree":  # chosen before the grade was hidden
        _choose(worklist, entry.key, None)
    with st.container(gap="xsmall", key="decide"):
        if report.grade is not None and not hidden:
            _choice_button(worklist, entry, f"Agree (grade {report.grade})", "agree", "A")
        with st.container(horizontal=True, gap="xxsmall", key="grades"):
            for grade, name in enumerate(_GRADE_NAMES):
                _choice_button(worklist, entry, f"{grade} {name}", grade, str(grade))
            _choice_button(worklist, entry, "Ungradable", "ungradable", "U")
        reading_form.panel(entry, store, ungradable=draft.choice == "ungradable")
        _fields(worklist, entry)
        _save_buttons(worklist, entry, store)
    session = state.session()
    if session.save_error:
        messages.problem(session.save_error)
        session.save_error = ""


def _fields(worklist: Worklist, entry: Entry) -> None:
    note = f"note-{entry.key}"
    st.text_area(
        "Note", value=worklist.reading.draft(entry.key).note, key=note, height=68, max_chars=2000,
        placeholder="Note (optional)", label_visibility="collapsed", persist_state="session",
        on_change=_keep_note, args=(worklist, entry.key, note),
    )  # fmt: skip
    if signed_in.known():
        st.caption("Your grades are stored under the name with which you signed in.")
    else:
        _name(worklist)


def _name(worklist: Worklist) -> None:
    st.text_input(
        "Reader", key="reader", max_chars=100, placeholder="Your name or initials",
        persist_state="session", on_change=_rename, args=(worklist,),
    )  # fmt: skip


def _choice_button(
    worklist: Worklist, entry: Entry, label: str, value: Choice, shortcut: str
) -> None:
    chosen = worklist.reading.draft(entry.key).choice == value
    st.button(
        f"\u2713 {label}" if chosen else label, key=f"choose-{value}", shortcut=shortcut,
        width="stretch", type="primary" if chosen else "secondary",
        on_click=_choose, args=(worklist, entry.key, value),
    )  # fmt: skip


def _save_buttons(worklist: Worklist, entry: Entry, store: ReviewStore) -> None:
    last = worklist.position == len(worklist) - 1
    chosen = worklist.reading.draft(entry.key).choice
    with st.container(horizontal=True, gap="xsmall", key="save"):
        st.button(
            "Save" if last else "Save and next", key="save-next", shortcut="S", width="stretch",
            type="secondary" if chosen is None else "primary",
            on_click=_save, args=(worklist, entry, store, not last),
        )  # fmt: skip
        if not last:
            st.button(
                "Save", key="save-stay", shortcut="Shift+S",
                on_click=_save, args=(worklist, entry, store, False),
            )  # fmt: skip


def _choose(worklist: Worklist, key: str, value: Choice | None) -> None:
    state.session().obeyed += 1
    if worklist.reading.set_draft(key, choice=value):
        worklist.save_reading()


def _keep_note(worklist: Worklist, key: str, widget: str) -> None:
    if worklist.reading.set_draft(key, note=st.session_state[widget] or ""):
        worklist.save_reading()


def _rename(worklist: Worklist) -> None:
    """Another reader begins with empty notes; a name entered late keeps what was typed."""
    if worklist.reading.reader:
        for key in [key for key in st.session_state if str(key).startswith("note-")]:
            del st.session_state[key]
    reading_mode.rename(worklist)


def _save(worklist: Worklist, entry: Entry, store: ReviewStore, go_on: bool) -> None:  # noqa: FBT001
    report, session = entry.report, state.session()
    session.obeyed += 1
    if report is None:
        return
    now = datetime.now(UTC)
    log, reader = viewing_log(), reading_mode.reader()
    try:
        decision = decide(
            report, worklist.reading.draft(entry.key).choice, reader=reader,
            note=st.session_state.get(f"note-{entry.key}") or "",
            now=now, seconds=log.seconds(entry.key),
            overlay_scales=log.scales(entry.key, reader),
            circumstances=reading_mode.circumstances(worklist, entry),
            findings=reading_form.findings(
                entry, store, ungradable=worklist.reading.draft(entry.key).choice == "ungradable"
            ),
        )  # fmt: skip
        number = store.add(decision)
    except DrcoreError as error:
        session.save_error = str(error)
        return
    entry.decision = decision
    log.decided(entry.key, reader)
    worklist.reading.set_draft(entry.key, choice=None, note="")
    worklist.save_reading()
    session.saved = SavedDecision(
        f"Saved {now.astimezone():%H:%M}", f"{decision.image}, {decision_text(decision)}", number,
        entry.key, decision,
    )  # fmt: skip
    if go_on:
        worklist.step(1)


def undo(worklist: Worklist, store: ReviewStore) -> None:
    """Take back the decision that was saved last; it becomes a draft again, on screen."""
    session = state.session()
    saved, session.saved = session.saved, None
    if saved is None:
        return
    made = saved.decision
    try:
        signed_in.require("arbitrate" if made.mode == "arbitration" else "read")
        store.withdraw(saved.number, made.reader, signed_in.login())
        before = store.latest(made.sha256)
    except DrcoreError as error:
        session.save_error = str(error)
        return
    for entry in worklist.everything:
        if entry.sha256 == made.sha256:
            entry.decision = before
    choice = "ungradable" if made.grade is None else made.grade
    worklist.reading.set_draft(saved.key, choice=choice, note=made.note)
    worklist.save_reading()
    worklist.select(saved.key)
