"""The reader's decision: agree, another grade, or ungradable."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import streamlit as st

from drcore.errors import DrcoreError, ReviewError
from viewer.review import reading_form
from viewer.session import reading_mode, state
from viewer.session.state import Choice, SavedDecision
from viewer.session.viewing_log import viewing_log
from viewer.ui import messages

if TYPE_CHECKING:
    from drcore.grading.report import GradeReport
    from drcore.reviews.decision import Decision
    from drcore.reviews.findings import Findings
    from drcore.reviews.store import ReviewStore
    from viewer.session.reading_mode import Circumstances
    from viewer.worklist.worklist import Entry, Worklist


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
    who = f"{decision.reader}, " if decision.reader else ""
    agrees = " \u2013 agrees with model" if decision.action == "agree" else ""
    return f"{decision_text(decision).capitalize()}{agrees} ({who}{day}{when:%H:%M})"


def choice_of(entry: Entry) -> Choice | None:
    """Return what was chosen for an entry and not saved yet."""
    return state.session().choices.get(entry.key)


def panel(worklist: Worklist, entry: Entry, store: ReviewStore, *, hidden: bool = False) -> None:
    """Show the controls of a decision; `hidden` if the model's grade must not be known yet."""
    report = entry.report
    if report is None or report.status == "failed":
        return
    if hidden and choice_of(entry) == "agree":  # chosen before the grade was hidden
        state.session().choices.pop(entry.key)
    if report.grade is not None and not hidden:
        _choice_button(entry, f"Agree (grade {report.grade})", "agree", "A")
    with st.container(horizontal=True, gap="xxsmall", key="grades"):
        for grade in range(5):
            _choice_button(entry, str(grade), grade, str(grade))
        _choice_button(entry, "Ungradable", "ungradable", "U")
    reading_form.panel(entry, store, ungradable=choice_of(entry) == "ungradable")
    st.text_area(
        "Note", key=f"note-{entry.key}", height=68, max_chars=2000, placeholder="Note (optional)",
        label_visibility="collapsed", persist_state="session",
    )  # fmt: skip
    st.text_input(
        "Reader", key="reader", max_chars=100, placeholder="Your name or initials",
        persist_state="session",
    )  # fmt: skip
    _save_buttons(worklist, entry, store)
    session = state.session()
    if session.save_error:
        messages.problem(session.save_error)
        session.save_error = ""


def _choice_button(entry: Entry, label: str, value: Choice, shortcut: str) -> None:
    st.button(
        label, key=f"choose-{value}", shortcut=shortcut, width="stretch",
        type="primary" if choice_of(entry) == value else "secondary",
        on_click=_choose, args=(entry.key, value),
    )  # fmt: skip


def _save_buttons(worklist: Worklist, entry: Entry, store: ReviewStore) -> None:
    last = worklist.position == len(worklist) - 1
    with st.container(horizontal=True, gap="xsmall", key="save"):
        st.button(
            "Save" if last else "Save and next", key="save-next", shortcut="S", width="stretch",
            type="secondary" if choice_of(entry) is None else "primary",
            on_click=_save, args=(worklist, entry, store, not last),
        )  # fmt: skip
        if not last:
            st.button(
                "Save", key="save-stay", shortcut="Shift+S",
                on_click=_save, args=(worklist, entry, store, False),
            )  # fmt: skip


def _choose(key: str, value: Choice) -> None:
    state.session().choices[key] = value


def _save(worklist: Worklist, entry: Entry, store: ReviewStore, go_on: bool) -> None:  # noqa: FBT001
    report, session = entry.report, state.session()
    if report is None:
        return
    now = datetime.now(UTC)
    log, reader = viewing_log(), reading_mode.reader()
    try:
        decision = decide(
            report, choice_of(entry), note=st.session_state.get(f"note-{entry.key}") or "",
            reader=reader, now=now, seconds=log.seconds(entry.key),
            overlay_scales=log.scales(entry.key, reader),
            circumstances=reading_mode.circumstances(entry),
            findings=reading_form.findings(
                entry, store, ungradable=choice_of(entry) == "ungradable"
            ),
        )  # fmt: skip
        number = store.add(decision)
    except DrcoreError as error:
        session.save_error = str(error)
        return
    entry.decision = decision
    log.decided(entry.key, reader)
    session.choices.pop(entry.key, None)
    session.saved = SavedDecision(
        f"Saved {now.astimezone():%H:%M}", f"{decision.image}, {decision_text(decision)}", number
    )
    if go_on:
        worklist.step(1)
