"""What each mode of reading hides, and what a decision says about how it was made."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from drcore.errors import ReviewError
from drcore.reviews.decision import MODES, Decision
from drcore.reviews.store import ReviewStore
from viewer.server import settings
from viewer.session import reading_mode
from viewer.session import state as session_state
from viewer.worklist.worklist import Worklist

SHA = "ab" * 32
BLIND = ("blinded first read", "second reader")


def entry(sha256: str = SHA) -> Any:
    return SimpleNamespace(key=sha256, report=SimpleNamespace(sha256=sha256))


LIST = Worklist()


def decision(**changes: Any) -> Decision:
    values: dict[str, Any] = {
        "sha256": SHA, "image": "a.jpg", "model_version": "m 1", "machine_status": "graded",
        "machine_grade": 2, "machine_score": 2.0, "action": "change", "grade": 1, "note": "",
        "reader": "AR", "decided_at": datetime.now(UTC),
    }  # fmt: skip
    return Decision(**(values | changes))


@pytest.fixture
def session(monkeypatch, tmp_path):
    """The session's state, of a session without a browser; the record is empty."""
    state: dict[str, Any] = {"reader": " AR "}
    monkeypatch.setattr(reading_mode.st, "session_state", state)
    monkeypatch.delenv("DRCORE_STUDY", raising=False)
    store = ReviewStore(tmp_path / "r.sqlite3")
    monkeypatch.setattr(session_state, "store", lambda: store)
    return state


@pytest.mark.parametrize(
    ("setting", "modes"),
    [
        ("", MODES),
        ("open", ("open",)),
        (" Blinded  First read ", ("blinded first read",)),
        ("second reader, blinded first read", ("second reader", "blinded first read")),
        ("arbitration,arbitration,", ("arbitration",)),
        ("masked", ("blinded first read",)),
        ("open, Masked first read", ("open", "blinded first read")),
        ("opne", ("blinded first read",)),
        ("open, blinded", ("blinded first read",)),
    ],
)
def test_the_server_says_which_modes_there_are(setting, modes, monkeypatch):
    assert settings.allowed_modes(setting) == modes
    monkeypatch.setenv("DRCORE_STUDY", setting)
    assert settings.allowed_modes() == modes


def test_a_reader_cannot_choose_what_the_server_does_not_allow(session, monkeypatch):
    assert reading_mode.mode() == "open"
    session["study-mode"] = "arbitration"
    assert reading_mode.mode() == "arbitration"
    monkeypatch.setenv("DRCORE_STUDY", "blinded first read")
    assert reading_mode.mode() == "blinded first read"
    assert reading_mode.hides_machine(entry())


def test_roles_come_from_the_mode(session):
    roles = {"open": None, "blinded first read": "first", "second reader": "second",
             "arbitration": "arbiter"}  # fmt: skip
    for mode, role in roles.items():
        session["study-mode"] = mode
        assert reading_mode.circumstances(LIST, entry())["role"] == role
    assert reading_mode.hides_names()


@pytest.mark.parametrize("mode", ["open", "arbitration"])
def test_open_modes_hide_nothing(session, mode):
    session["study-mode"] = mode
    assert not reading_mode.hides_machine(entry())


@pytest.mark.parametrize("mode", BLIND)
def test_blind_until_the_own_decision_in_this_mode(session, mode):
    session["study-mode"] = mode
    other = next(one for one in MODES if one != mode)
    session_state.store().add(decision(reader="BS", mode=mode))
    session_state.store().add(decision(mode=other))
    session_state.store().add(decision())
    session_state.store().add(decision(mode=mode, sha256="cd" * 32))
    assert reading_mode.hides_machine(entry())
    session_state.store().add(decision(mode=mode))
    assert not reading_mode.hides_machine(entry())
    session["reader"] = "CT"
    assert reading_mode.hides_machine(entry())
    session["reader"] = ""
    assert reading_mode.hides_machine(entry())


def test_blind_where_nothing_is_known(session, monkeypatch):
    session["study-mode"] = "blinded first read"
    assert reading_mode.hides_machine(SimpleNamespace(report=None))

    def broken():
        raise ReviewError("no record")

    monkeypatch.setattr(session_state, "store", broken)
    assert reading_mode.hides_machine(entry())


def test_the_record_is_asked_once_for_a_long_list(session, monkeypatch):
    session["study-mode"] = "second reader"
    asked = []
    real = ReviewStore.read_by
    monkeypatch.setattr(
        ReviewStore, "read_by", lambda self, *a: (asked.append(a), real(self, *a))[1]
    )
    for number in range(50):
        assert reading_mode.hides_machine(entry(f"{number:064x}"))
    assert asked == [("AR", "second reader")]


def test_decisions_of_another_server_are_seen_after_a_while(session, monkeypatch):
    session["study-mode"] = "second reader"
    now = [100.0]
    monkeypatch.setattr(reading_mode.time, "monotonic", lambda: now[0])
    assert reading_mode.hides_machine(entry())
    with ReviewStore(session_state.store()._record._file) as elsewhere:
        elsewhere.add(decision(mode="second reader"))
    now[0] += 10
    assert not reading_mode.hides_machine(entry())


def test_a_change_after_uncovering_is_linked_to_the_blind_decision(session):
    session["study-mode"] = "blinded first read"
    before = reading_mode.circumstances(LIST, entry())
    assert before == {
        "login": "unverified",
        "mode": "blinded first read", "role": "first", "machine_visible": False, "revises": None,
    }  # fmt: skip
    blind = session_state.store().add(decision(**before))
    assert not reading_mode.hides_machine(entry())
    after = reading_mode.circumstances(LIST, entry())
    assert after == {**before, "machine_visible": True, "revises": blind}
    second = session_state.store().add(replace(decision(**after), grade=2, action="agree"))
    assert reading_mode.circumstances(LIST, entry())["revises"] == second


class Shown(Worklist):
    """A list that shows these entries with the model's grades."""

    def __init__(self, *entries: Any) -> None:
        super().__init__()
        self._entries = list(entries)


def test_what_was_seen_in_an_open_mode_is_not_called_blind(session):
    shown = Shown(entry())
    reading_mode.note_machine_seen(shown)
    session["study-mode"] = "blinded first read"
    assert reading_mode.hides_machine(entry())
    assert reading_mode.circumstances(shown, entry())["machine_visible"] is True
    assert reading_mode.circumstances(shown, entry("cd" * 32))["machine_visible"] is False
    session["reader"] = "BS"  # another person at the same desk
    assert reading_mode.circumstances(shown, entry())["machine_visible"] is False


def test_what_the_record_has_seen_is_not_called_blind_in_any_list(session):
    session["study-mode"] = "second reader"
    session_state.store().add(decision(mode="open", machine_visible=True))
    assert reading_mode.circumstances(LIST, entry())["machine_visible"] is True
    session["reader"] = "BS"
    assert reading_mode.circumstances(LIST, entry())["machine_visible"] is False


def test_nothing_is_shown_before_a_mode_is_chosen(session):
    assert not reading_mode.chosen()
    assert reading_mode.hides_machine(entry())
    reading_mode.start(worklist := Worklist(), "open", " AR")
    assert not reading_mode.hides_machine(entry())
    assert (worklist.reading.mode, worklist.reading.reader) == ("open", "AR")
    reading_mode.choose_again(worklist)
    assert reading_mode.hides_machine(entry())


def test_what_nobody_yet_named_has_seen_counts_for_whoever_decides(session):
    session["reader"] = ""
    shown = Shown(entry())
    reading_mode.note_machine_seen(shown)
    session |= {"reader": "AR", "study-mode": "second reader"}
    assert reading_mode.circumstances(shown, entry()) == {
        "login": "unverified",
        "mode": "second reader", "role": "second", "machine_visible": True, "revises": None,
    }  # fmt: skip
