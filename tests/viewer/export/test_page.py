"""The Export page, driven by AppTest, and what it decides to take."""

from __future__ import annotations

import io
import json
import zipfile
from datetime import UTC, datetime

import numpy as np
import pydicom
import pytest
from PIL import Image, ImageDraw, ImageFont

from drcore.reviews.decision import Decision
from drcore.reviews.mark import Mark
from drcore.reviews.store import ReviewStore
from viewer.export import panel, record_downloads
from viewer.review import downloads
from viewer.session import state
from viewer.worklist.background_grading import grade
from viewer.worklist.cases import entries_of, select_cases
from viewer.worklist.worklist import Worklist

NOW = datetime(2026, 3, 4, 5, 6, tzinfo=UTC)


@pytest.fixture
def listed(open_app, upload, phantom, encoded):
    """The app with both eyes of Jane Doe and one of somebody else; the first is on screen."""
    app = open_app(grade=4)
    upload(
        app,
        ("Jane_Doe_OD.jpg", encoded(phantom(seed=1).rgb, "JPEG")),
        ("Jane_Doe_OS.jpg", encoded(phantom(seed=2).rgb, "JPEG")),
        ("other_OD.jpg", encoded(phantom(seed=3).rgb, "JPEG")),
    )
    return app


def decide(app, index: int, note: str = "") -> Decision:
    entry = app.session_state["worklist"].everything[index]
    report = entry.report
    made = Decision(
        sha256=report.sha256, image=report.name, model_version=report.model_version,
        machine_status=report.status, machine_grade=report.grade, machine_score=report.score,
        action="change", grade=2, note=note, reader="AB", decided_at=NOW,
        laterality=report.laterality, patient=report.patient,
    )  # fmt: skip
    state.store().add(made)
    entry.decision = made
    return made


def ended(app):
    """Wait for the export of the session, and look at the page again."""
    job = panel.jobs().get(app.session_state["export"])
    job.join(120)
    app.run()
    assert not app.exception
    return job


def members(job) -> dict[str, bytes]:
    with zipfile.ZipFile(job.file) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_without_photographs_the_page_says_where_they_come_from(open_app):
    app = open_app(page="export/page.py")
    assert any("worklist is empty" in text.value for text in app.markdown)
    assert not any(button.key == "make-export" for button in app.button)


def test_one_report_is_one_pdf(listed):
    app = listed.switch_page("export/page.py").run()
    app.segmented_control(key="export-scope").set_value("patient").run()
    app.button(key="make-export").click().run()
    job = ended(app)
    assert job.file.read_bytes().startswith(b"%PDF")
    assert job.file_name.endswith(".pdf")
    assert any(button.key == "download-export" for button in app.get("download_button"))
    app.button(key="new-export").click().run()
    assert not job.file.exists()
    assert any(button.key == "make-export" for button in app.button)


def test_everything_of_all_in_one_archive(listed, html):
    decide(listed, 0, "the note")
    app = listed.switch_page("export/page.py").run()
    for kind in ("overlays", "csv", "json", "dicom", "fhir"):
        app.checkbox(key=f"export-{kind}").check().run()
    app.button(key="make-export").click().run()
    found = members(ended(app))
    assert {name.split("/")[0] for name in found} >= {"reports", "overlays", "fhir", "results.csv"}
    assert len([name for name in found if name.startswith("reports/")]) == 2
    assert b"the note" in found["decisions.csv"]
    assert "did not come as DICOM" in html(app)


def test_only_what_was_reviewed(listed):
    decide(listed, 1)
    app = listed.switch_page("export/page.py").run()
    app.segmented_control(key="export-scope").set_value("reviewed").run()
    app.checkbox(key="export-pdf").uncheck().run()
    app.checkbox(key="export-json").check().run()
    app.button(key="make-export").click().run()
    results = json.loads(members(ended(app))["results.json"])
    assert [result["image"] for result in results] == ["Jane_Doe_OS.jpg"]


def test_deidentified_mode_of_the_page(listed):
    decide(listed, 0, "calls herself Jane")
    app = listed.switch_page("export/page.py").run()
    app.radio(key="export-telling").set_value("deidentified").run()
    app.checkbox(key="export-json").check().run()
    app.button(key="make-export").click().run()
    found = members(ended(app))
    everything = b"".join(found.values()) + "".join(found).encode()
    assert b"Jane" not in everything
    # Both eyes of one patient still make one report.
    assert len([name for name in found if name.startswith("reports/")]) == 2


def test_deidentified_list_allows_nothing_else(listed):
    listed.session_state["worklist"].deidentified = True
    app = listed.switch_page("export/page.py").run()
    assert not any(radio.key == "export-telling" for radio in app.radio)
    app.checkbox(key="export-json").check().run()
    app.button(key="make-export").click().run()
    found = members(ended(app))
    assert b"Jane" not in b"".join(found.values()) + "".join(found).encode()


def inscribed(rgb) -> np.ndarray:
    image = Image.fromarray(np.array(rgb))
    font = ImageFont.load_default(22)
    ImageDraw.Draw(image).text((70, 140), "Jane Doe 02.01.60", fill=(255, 255, 0), font=font)
    return np.array(image)


def test_pictures_with_writing_wait_for_a_person(open_app, upload, phantom, encoded, html):
    app = open_app()
    upload(
        app,
        ("Jane_Doe_OD.jpg", encoded(inscribed(phantom(seed=1).rgb), "JPEG")),
        ("Jane_Doe_OS.jpg", encoded(inscribed(phantom(seed=2).rgb), "JPEG")),
        ("other_OD.jpg", encoded(phantom(seed=3).rgb, "JPEG")),
    )
    app.switch_page("export/page.py").run()
    app.radio(key="export-telling").set_value("deidentified").run()
    app.checkbox(key="export-pdf").uncheck().run()
    app.checkbox(key="export-overlays").check().run()
    app.button(key="make-export").click().run()
    job = ended(app)
    assert len([name for name in members(job) if name.endswith("overlay.jpg")]) == 1
    assert html(app).count("there may be writing on the retina") == 2
    assert app.button(key="export-again").disabled
    first = job.held_back[0].report.sha256
    app.checkbox(key=f"leave-out-{job.token}-{first}").check().run()
    looked = next(box for box in app.checkbox if "I checked this image" in box.label)
    looked.check().run()
    app.button(key="export-again").click().run()
    again = ended(app)
    assert again.token != job.token
    assert len([name for name in members(again) if name.endswith("overlay.jpg")]) == 2
    assert [case.report.sha256 for case in again.held_back] == [first]
    # What was looked at once need not be looked at for the next export of the session.
    app.button(key="new-export").click().run()
    app.button(key="make-export").click().run()
    assert len([name for name in members(ended(app)) if name.endswith("overlay.jpg")]) == 2


def test_export_is_found_again_by_its_address_and_not_by_a_guess(listed, open_app):
    app = listed.switch_page("export/page.py").run()
    app.button(key="make-export").click().run()
    job = ended(app)
    again = open_app(page="export/page.py")
    again.query_params["export"] = job.token
    again.run()
    assert any(button.key == "download-export" for button in again.get("download_button"))
    stranger = open_app(page="export/page.py")
    stranger.query_params["export"] = "guess"
    stranger.run()
    assert "export" not in stranger.session_state


def test_what_must_stay_hidden_is_left_out(listed, tmp_path):
    worklist = listed.session_state["worklist"]
    worklist.hidden = frozenset({worklist.everything[0].key})
    with ReviewStore(tmp_path / "other.sqlite3") as store:
        found = select_cases(worklist, "all", store)
    assert [case.report.name for case in found.cases] == ["Jane_Doe_OS.jpg", "other_OD.jpg"]
    assert found.left_out == ("1 omitted: you have not graded it yet.",)


def test_what_is_not_graded_yet_is_told(grader_of, phantom, encoded, tmp_path):
    worklist = Worklist()  # nobody works ahead
    for number in (1, 2):
        worklist.add(f"{number}_OD.jpg", encoded(phantom(seed=number).rgb, "JPEG"))
    grade(worklist, worklist.everything[0], grader_of(4))
    with ReviewStore(tmp_path / "other.sqlite3") as store:
        found = select_cases(worklist, "all", store)
    assert [case.report.name for case in found.cases] == ["1_OD.jpg"]
    assert found.left_out == ("1 omitted: still being graded.",)


def test_patient_on_screen_is_both_eyes(listed):
    worklist = listed.session_state["worklist"]
    worklist.select(worklist.everything[1].key)
    names = [entry.file_name for entry in entries_of(worklist, "patient")]
    assert names == ["Jane_Doe_OD.jpg", "Jane_Doe_OS.jpg"]
    worklist.correct(worklist.everything[2].key, "OD", "jane_doe")
    assert len(entries_of(worklist, "patient")) == 3


def test_other_readers_are_left_out_where_they_must_be(listed):
    made = decide(listed, 0)
    store = state.store()
    worklist = listed.session_state["worklist"]
    mine = select_cases(worklist, "all", store, only_reader="CD")
    assert [case.decisions for case in mine.cases] == [(), (), ()]
    all_readers = select_cases(worklist, "all", store)
    assert [d for _, d in all_readers.cases[0].decisions] == [made]


def test_result_of_one_photograph(listed):
    made = decide(listed, 0, "Jane said so")
    worklist = listed.session_state["worklist"]
    entry = worklist.everything[0]
    state.store().add_mark(
        Mark(entry.sha256, "point", "haemorrhage", 10, 20, 10, 20, "AB", NOW, "faint")
    )
    read = json.loads(downloads.result_bytes(worklist, entry))
    assert (read["image"], read["grade"], read["patient"]) == ("Jane_Doe_OD.jpg", 4, "Jane_Doe")
    assert [d["note"] for d in read["decisions"]] == [made.note]
    assert [m["lesion"] for m in read["marks"]] == ["haemorrhage"]
    worklist.deidentified = True
    assert b"Jane" not in downloads.result_bytes(worklist, entry)


def test_whole_record(listed):
    decide(listed, 0, "Jane said so")
    plain = record_downloads.record_bytes("decisions.csv", deidentified=False)
    assert b"Jane said so" in plain
    for name in ("decisions.csv", "decisions.json", "marks.csv", "marks.json"):
        assert b"Jane" not in record_downloads.record_bytes(name, deidentified=True)
    app = listed.switch_page("export/page.py").run()
    keys = {button.key for button in app.get("download_button")}
    assert {"record-decisions.csv", "record-marks.json"} <= keys


def test_dicom_photograph_leaves_as_dicom(open_app, upload, phantom, dicom_of):
    app = open_app(grade=4)
    upload(app, ("eye.dcm", dicom_of(np.array(phantom(seed=1).rgb), frames=2)))
    app.switch_page("export/page.py").run()
    app.checkbox(key="export-pdf").uncheck().run()
    app.checkbox(key="export-dicom").check().run()
    app.button(key="make-export").click().run()
    found = members(ended(app))
    kinds = [
        pydicom.dcmread(io.BytesIO(data)).Modality
        for name, data in sorted(found.items())
        if name.endswith(".dcm")
    ]
    assert sorted(kinds) == ["OT", "OT", "SR", "SR"]
