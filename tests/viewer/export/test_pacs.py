"""Sending to a PACS from the Export page, driven by AppTest."""

from __future__ import annotations

import numpy as np
import pytest
import streamlit as st
from PIL import Image, ImageDraw, ImageFont

from tests.support.memory_archive import parsed
from viewer.export import pacs_panel


@pytest.fixture
def listed(archive, open_app, upload, phantom, encoded, dicom_of):
    """The page, over one eye that came as DICOM and one that did not."""
    app = upload(
        open_app(grade=4),
        ("one.dcm", dicom_of(phantom(seed=1).rgb)),
        ("other_OS.jpg", encoded(phantom(seed=2).rgb, "JPEG")),
    )
    return app.switch_page("export/page.py").run()


def sent(app, key: str = "send"):
    """Press a button that sends, wait for the end, and look at the page again."""
    app.button(key=key).click().run()
    job = pacs_panel.jobs().get(app.session_state["send"])
    job.join(120)
    app.run()
    assert not app.exception
    return job


def outcomes(app) -> list[str]:
    return list(app.dataframe[0].value["Outcome"])


def test_without_a_file_of_servers_nothing_is_there(open_app, upload, phantom, encoded):
    app = upload(open_app(), ("a.jpg", encoded(phantom(seed=1).rgb, "JPEG")))
    app.switch_page("export/page.py").run()
    assert [one.value for one in app.header] == ["Export"]
    assert not [one for one in app.button if one.key == "send"]


def test_report_and_overlay_join_the_study_and_are_sent_once(listed, archive, html, dicom_of):
    job = sent(listed)
    assert outcomes(listed) == ["Sent", "Sent"]
    assert "1 omitted: did not come as DICOM" in html(listed)
    assert listed.text[0].value.startswith("2 of 2 documents in clinic, ")
    report, overlay = map(parsed, archive.stored.values())
    assert {str(report.Modality), str(overlay.Modality)} == {"SR", "OT"}
    for one in (report, overlay):
        assert (one.PatientID, one.PatientName, one.StudyID) == ("P-7", "M\u00fcller^Jane", "31")
    listed.button(key="send-new").click().run()
    assert pacs_panel.jobs().get(job.token) is None
    sent(listed)
    assert outcomes(listed) == ["Already there", "Already there"]
    assert len(archive.stored) == 2


def test_a_second_click_sends_what_is_missing(listed, archive, html):
    archive.refusals = [("clinic: the archive <b>refused</b> it. Look in its log.", False)]
    job = sent(listed)
    assert outcomes(listed) == ["Failed", "Sent"]
    assert "the archive &lt;b&gt;refused&lt;/b&gt; it" in html(listed)
    assert listed.button(key="send-again").label == "Send what is missing (1)"
    assert sent(listed, "send-again") is job
    assert outcomes(listed) == ["Sent", "Sent"]
    assert len(archive.stored) == 2
    assert not [one for one in listed.button if one.key == "send-again"]


def test_an_outage_ends_it_and_nothing_is_lost(listed, archive):
    archive.refusals = [("clinic: the server does not answer. Try again later.", True)]
    sent(listed)
    assert outcomes(listed) == ["Failed", "Failed"]
    assert not archive.stored
    sent(listed, "send-again")
    assert outcomes(listed) == ["Sent", "Sent"]


def test_deidentified_overlays_with_writing_wait_for_a_person(
    archive, open_app, upload, phantom, dicom_of
):
    picture = Image.fromarray(np.array(phantom(seed=1).rgb))
    font = ImageFont.load_default(22)
    ImageDraw.Draw(picture).text((70, 140), "Jane Doe 02.01.60", fill=(255, 255, 0), font=font)
    app = upload(open_app(), ("one.dcm", dicom_of(np.array(picture))))
    app.switch_page("export/page.py").run()
    app.radio(key="send-telling").set_value("deidentified").run()
    app.segmented_control(key="send-scope").set_value("image").run()
    sent(app)
    assert outcomes(app) == ["Sent", "Failed"]
    assert list(app.dataframe[0].value["Image"]) != ["one.dcm"] * 2
    next(box for box in app.checkbox if "I checked this image" in box.label).check().run()
    sent(app, "export-again")
    assert outcomes(app) == ["Sent", "Sent"]
    everything = b"".join(archive.stored.values())
    assert not [text for text in (b"Jane", b"P-7", b"A-1", b"one.dcm") if text in everything]


def test_roles_say_who_sends_and_who_sends_identity(
    archive, open_app, upload, phantom, dicom_of, tmp_path, monkeypatch
):
    (tmp_path / "roles.toml").write_text("read = ['*']\npacs = ['anna']", encoding="utf-8")
    monkeypatch.setenv("DRCORE_READER_HEADER", "X-Reader")
    monkeypatch.setenv("DRCORE_PROXY", "127.0.0.1")
    monkeypatch.setenv("DRCORE_ROLES", str(tmp_path / "roles.toml"))
    monkeypatch.setattr(type(st.context), "cookies", {})
    monkeypatch.setattr(type(st.context), "headers", {"X-Reader": "anna"})
    app = upload(open_app(), ("one.dcm", dicom_of(phantom(seed=1).rgb)))
    app.switch_page("export/page.py").run()
    assert not [one for one in app.radio if one.key == "send-telling"]
    assert any("You may not send patient identifiers" in one.value for one in app.markdown)
    job = sent(app)
    assert not [data for data in archive.stored.values() if b"Jane" in data]
    monkeypatch.setattr(type(st.context), "headers", {"X-Reader": "bert"})
    app.query_params["send"] = job.token
    app.run()
    assert not app.dataframe
    assert not [one for one in app.button if one.key in {"send", "send-again"}]


def test_a_faulty_file_of_servers_is_a_sentence(listed, tmp_path, html):
    (tmp_path / "pacs.toml").write_text("[servers.clinic]\nkind = 'fax'")
    listed.run()
    assert not listed.exception
    assert "pacs.toml: servers.clinic" in html(listed)
    assert not [one for one in listed.button if one.key == "send"]
