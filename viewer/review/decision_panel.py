"""The reader's decision: agree, another grade, or ungradable; kept in the store."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

import streamlit as st

from drcore.errors import DrcoreError, ReviewError
from viewer.session import reading_mode, viewing_log
from viewer.ui import messages

if TYPE_CHECKING:
    from drcore.grading.report import GradeReport
    from drcore.reviews.decision import Decision
    from drcore.reviews.store import ReviewStore
    from viewer.session.reading_mode import Circumstances
    from viewer.worklist.worklist import Entry, Worklist

__all__ = ["Choice", "choice_of", "decide", "latest_sentence", "panel", "said"]

Choice = Literal["agree", "ungradable"] | int
"""What was chosen and not saved yet; a number is the reader's grade."""


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
) -> Decision:
    """Make the decision that is to be stored.

    Args:
        report: what the model said.
        choice: of the reader; a grade that equals the model's is an agreement.
        note: free text.
        reader: name or initials.
        now: with a time zone.
        seconds: the photograph was looked at; None where that is not known.
        overlay_scales: at which the map was seen; None where that is not known.
        circumstances: of the study; None where they are not known.

    Returns:
        The decision.

    Raises:
        ReviewError: something is missing, or contradicts the report.
    """
    from drcore.reviews.decision import Decision

    if choice is None:
        raise ReviewError("Choose first: agree, another grade, or ungradable.")
    if not reader.strip():
        raise ReviewError("Enter your name or initials: each decision is kept with its reader.")
    if choice == "agree" and report.grade is None:
        raise ReviewError("There is no grade of the model to agree with. Choose a grade.")
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
        **(circumstances or {}),
    )


def said(decision: Decision) -> str:
    """Say what was decided, in a few words."""
    if decision.action == "ungradable":
        return "ungradable"
    return f"{'agreed, ' if decision.action == 'agree' else ''}grade {decision.grade}"


def latest_sentence(decision: Decision) -> str:
    """Say what was decided, by whom and when; the reader's name is untrusted text."""
    when = decision.decided_at.astimezone()
    day = "" if when.date() == datetime.now(UTC).astimezone().date() else f"{when:%d %b %Y} "
    who = f" by {decision.reader}" if decision.reader else ""
    return f"{said(decision).capitalize()}{who}, {day}{when:%H:%M}"


def choice_of(entry: Entry) -> Choice | None:
    """Return what was chosen for an entry and not saved yet."""
    return st.session_state.get("choices", {}).get(entry.key)


def panel(worklist: Worklist, entry: Entry, store: ReviewStore, *, hidden: bool = False) -> None:
    """Show the controls of the decision on an entry.

    Args:
        worklist: of the entry.
        entry: has a report that did not fail.
        store: where decisions go.
        hidden: the reader must not know the model's grade yet.
    """
    report = entry.report
    if report is None or report.status == "failed":
        return
    if hidden and choice_of(entry) == "agree":  # chosen before the grade was hidden
        st.session_state["choices"].pop(entry.key)
    choice = choice_of(entry)

    def button(label: str, value: Choice, shortcut: str, *, disabled: bool = False) -> None:
        st.button(
            label,
            key=f"choose-{value}",
            shortcut=shortcut,
            type="primary" if choice == value else "secondary",
            width="stretch",
            disabled=disabled,
            on_click=_choose,
            args=(entry.key, value),
        )

    if report.grade is not None and not hidden:
        button(f"Agree: grade {report.grade}", "agree", "A")
    with st.container(horizontal=True, gap="xxsmall", key="grades"):
        for grade in range(5):
            button(str(grade), grade, str(grade))
        button("Ungradable", "ungradable", "U")
    st.text_area(
        "Note",
        key=f"note-{entry.key}",
        height=68,
        max_chars=2000,
        placeholder="Note (optional)",
        label_visibility="collapsed",
        persist_state="session",
    )
    st.text_input(
        "Reader",
        key="reader",
        max_chars=100,
        placeholder="Your name or initials",
        label_visibility="collapsed",
        persist_state="session",
    )
    with st.container(horizontal=True, gap="xsmall", key="save"):
        last = worklist.position == len(worklist) - 1
        st.button(
            "Save" if last else "Save and next",
            key="save-next",
            shortcut="S",
            type="primary" if choice is not None else "secondary",
            width="stretch",
            on_click=_save,
            args=(worklist, entry, store, not last),
        )
        if not last:
            st.button(
                "Save",
                key="save-stay",
                shortcut="Shift+S",
                on_click=_save,
                args=(worklist, entry, store, False),
            )
    error = st.session_state.pop("decision-error", "")
    if error:
        messages.problem(error)


def _choose(key: str, value: Choice) -> None:
    choices = st.session_state.setdefault("choices", {})
    choices[key] = value


def _save(worklist: Worklist, entry: Entry, store: ReviewStore, go_on: bool) -> None:  # noqa: FBT001
    report = entry.report
    if report is None:
        return
    now = datetime.now(UTC)
    looks, reader = viewing_log.looks(), reading_mode.reader()
    try:
        decision = decide(
            report,
            choice_of(entry),
            note=st.session_state.get(f"note-{entry.key}") or "",
            reader=reader,
            now=now,
            seconds=looks.seconds(entry.key),
            overlay_scales=looks.scales(entry.key, reader),
            circumstances=reading_mode.circumstances(entry),
        )
        number = store.add(decision)
    except DrcoreError as error:
        st.session_state["decision-error"] = str(error)
        return
    entry.decision = decision
    looks.decided(entry.key, reader)
    st.session_state["choices"].pop(entry.key, None)
    st.session_state["saved"] = (
        f"Saved at {now.astimezone():%H:%M}",
        f"{decision.image}: {said(decision)}",
        number,
    )
    if go_on:
        worklist.step(1)
