"""Fetching images from a PACS into the list, driven by AppTest."""

from __future__ import annotations

import threading
from datetime import date

import pytest

from viewer.review import pacs_panel


@pytest.fixture
def opened(archive, open_app, phantom, dicom_of):
    """The panel, with two studies in the archive."""
    for seed, patient in ((1, "P-7"), (2, "P-8")):
        data = dicom_of(phantom(seed=seed).rgb, PatientID=patient)
        archive.stored[f"1.2.{seed}"] = data
    app = open_app()
    app.button(key="open-pacs").click().run()
    return app


def searched(app, **fields: str):
    for name, value in fields.items():
        app.text_input(key=f"pacs-{name}").set_value(value)
    app.button(key="pacs-find").click().run()
    assert not app.exception
    return app


def fetched(app):
    app.button(key="pacs-fetch").click().run()
    if "fetch" in app.session_state:  # not ended yet
        pacs_panel.jobs().get(app.session_state["fetch"]).join(120)
        app.run()
    assert not app.exception
    return app


def test_without_a_file_of_servers_there_is_no_button(open_app):
    assert not [one for one in open_app().button if one.key == "open-pacs"]


def test_a_study_is_found_and_comes_into_the_list(opened, archive, html):
    opened.date_input(key="pacs-first").set_value(date(2026, 1, 1))
    searched(opened, patient=" P-7 ")
    (query,) = archive.queries
    assert (query.patient_id, query.first_date, query.last_date) == ("P-7", "20260101", "")
    assert list(opened.dataframe[0].value["Date"]) == ["2026-01-01"]
    fetched(opened)
    (entry,) = opened.session_state["worklist"].everything
    identity = entry.facts.identity
    assert (identity.patient, identity.laterality, identity.exam_date) == (
        "P-7", "OD", "2026-01-01",
    )  # fmt: skip
    assert "P-7" not in entry.file_name
    assert "1 image fetched from clinic." in html(opened)
    assert any(one.key == "start-reading" for one in opened.button)
    # Fetched again, it is known.
    opened.button(key="open-pacs").click().run()
    fetched(searched(opened, patient="P-7"))
    assert opened.session_state["worklist"].total == 1
    assert "Already in the list" in html(opened)


def test_all_studies_at_once_and_what_did_not_come_is_said(opened, archive, html):
    archive.problems = ("clinic: the archive did not send 1 of 2 objects.",)
    opened.date_input(key="pacs-last").set_value(date(2026, 2, 1))
    searched(opened)
    assert opened.button(key="pacs-fetch").label == "Fetch all 2 studies"
    fetched(opened)
    assert opened.session_state["worklist"].total == 2
    assert html(opened).count("did not send 1 of 2") == 2


def test_the_search_stays_while_a_slow_fetch_is_shown(opened, archive, monkeypatch):
    drawn, fetch = threading.Event(), archive.fetch

    def slow(*given, **named):
        drawn.wait(60)
        return fetch(*given, **named)

    monkeypatch.setattr(archive, "fetch", slow)
    opened.date_input(key="pacs-first").set_value(date(2026, 1, 1))
    searched(opened, patient="P-8")
    archive.stored.clear()
    opened.button(key="pacs-fetch").click().run()
    assert not [one for one in opened.text_input if one.key == "pacs-patient"]
    drawn.set()
    pacs_panel.jobs().get(opened.session_state["fetch"]).join(120)
    opened.run()
    assert opened.text_input(key="pacs-patient").value == "P-8"
    assert opened.date_input(key="pacs-first").value == date(2026, 1, 1)


def test_failures_are_sentences_and_the_search_stays(opened, archive, html):
    searched(opened, patient="*")
    assert "Enter a patient ID, an accession number or a date." in html(opened)
    archive.refusals = [("clinic: the login is refused.", False)]
    searched(opened, patient="P-7")
    assert "clinic: the login is refused." in html(opened)
    searched(opened, patient="P-9")
    assert any(one.value == "No study matches." for one in opened.markdown)
    searched(opened, patient="P-8")
    archive.stored.clear()
    fetched(opened)
    assert "clinic: a study of 20260101 has no photographs (OP)." in html(opened)
    assert opened.text_input(key="pacs-patient").value == "P-8"
    opened.button(key="close-pacs").click().run()
    assert any(one.value == "Grade fundus images" for one in opened.header)
