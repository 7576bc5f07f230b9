"""Loading the model once, in the background."""

from __future__ import annotations

import subprocess
import sys
import threading

import streamlit as st

from drcore import logs
from drcore.errors import CheckpointError
from viewer.batch import panel
from viewer.server.model_loader import Engine
from viewer.session import state


def test_many_threads_load_once():
    begun = []
    gate = threading.Event()

    def load():
        begun.append(threading.current_thread())
        gate.wait(10)
        return "grader"

    engine = Engine(load)
    assert (engine.state, engine.grader) == ("waiting", None)
    found = []
    threads = [threading.Thread(target=lambda: found.append(engine.wait(10))) for _ in range(8)]
    for thread in threads:
        thread.start()
    assert engine.wait(0.05) is None
    assert engine.state == "loading"
    gate.set()
    for thread in threads:
        thread.join()
    assert found == ["grader"] * 8
    assert len(begun) == 1
    assert begun[0] is not threading.main_thread()
    assert engine.state == "ready"


def test_a_failure_is_a_sentence_and_can_be_tried_again():
    answers = [CheckpointError("The weights are missing. Get them again."), KeyError("x"), None]

    def load():
        answer = answers.pop(0)
        if answer is not None:
            raise answer
        return "grader"

    engine = Engine(load)
    assert engine.wait(10) is None
    assert (engine.state, engine.error) == ("failed", "The weights are missing. Get them again.")
    assert engine.wait(10) is None
    assert engine.state == "failed"
    assert engine.error.endswith(".")
    assert "KeyError" not in engine.error
    assert engine.wait(10) == "grader"
    assert (engine.state, engine.error) == ("ready", "")


def test_the_first_page_needs_nothing_heavy():
    code = (
        "import sys; from viewer.session import page; "
        "from viewer.review import list_component, upload, workspace; "
        "print(*(sys.modules.keys() & {'torch', 'cv2', 'drcore.grading.grader', 'sqlalchemy'}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=240, check=True
    )
    assert done.stdout.split() == []


def test_no_browser_can_make_the_server_forget():
    engine, jobs = state.engine(), panel.jobs()
    st.cache_data.clear()  # as a message of any browser does
    st.cache_resource.clear()
    assert state.engine() is engine
    assert panel.jobs() is jobs


def test_what_a_broken_model_says_goes_to_the_terminal_only(capsys):
    def load():
        raise RuntimeError("/srv/weights: bad magic")

    logs.configure("warning")
    engine = Engine(load)
    engine.wait(10)
    assert "/srv" not in engine.error
    assert "/srv/weights: bad magic" in capsys.readouterr().err
