"""Eye, patient and date of a whole list, corrected together."""

import pytest

from drcore.errors import DrcoreError
from drcore.photographs.identity import NameRules
from drcore.reviews.store import ReviewStore
from viewer.review.identity_table import HIDDEN, corrections, table_of
from viewer.worklist.importing import import_files
from viewer.worklist.worklist import Worklist

FILES = ("anna/20240301 R1.jpg", "anna/20240301 L1.jpg", "ben/7_OD.jpg")


@pytest.fixture
def entries(phantom, encoded):
    data = encoded(phantom(seed=1).rgb, "JPEG")
    worklist = Worklist()
    import_files(worklist, [(f"clinic/{name}", data) for name in FILES])
    return worklist.everything


def test_what_was_understood_and_from_where(entries):
    table = table_of(entries)
    assert table["image"].tolist() == [f"clinic/{name}" for name in FILES]
    assert table["eye"].tolist() == ["Unknown", "Unknown", "Right (OD)"]
    assert table["patient"].tolist() == ["", "", "7"]
    assert table["date"].tolist() == ["2024-03-01", "2024-03-01", ""]
    assert table["source"].tolist()[2] == "eye and patient from file name"
    assert corrections(entries, table.to_dict("records")) == []


def test_a_pattern_fills_the_table(entries):
    rules = NameRules(r"(?P<patient>[^/]+)/\d+ (?P<eye>[RL])")
    table = table_of(entries, rules)
    assert table["patient"].tolist() == ["anna", "anna", "7"]
    assert table["eye"].tolist() == ["Right (OD)", "Left (OS)", "Right (OD)"]
    found = corrections(entries, table.to_dict("records"))
    assert [(c.laterality, c.patient, c.exam_date) for c in found] == [
        ("OD", "anna", "2024-03-01"), ("OS", "anna", "2024-03-01"),
    ]  # fmt: skip


def test_what_is_typed(entries):
    rows = table_of(entries).to_dict("records")
    rows[0] |= {"eye": "Left (OS)", "patient": "  A  7 ", "date": "1.3.2024"}
    rows[2] |= {"patient": None, "date": "2024-02-29"}
    found = corrections(entries, rows)
    assert [(c.laterality, c.patient, c.exam_date) for c in found] == [
        ("OS", "A 7", "2024-03-01"), ("OD", None, "2024-02-29"),
    ]  # fmt: skip
    rows[2]["date"] = "2023-02-29"
    with pytest.raises(DrcoreError, match="2023-02-29 is not a date"):
        corrections(entries, rows)


def test_a_hidden_patient_is_kept(entries, monkeypatch):
    monkeypatch.setattr(type(entries[0]), "patient_shown", None)
    table = table_of(entries)
    assert table["patient"].tolist() == ["", "", HIDDEN]
    assert corrections(entries, table.to_dict("records")) == []


def test_the_list_is_corrected_on_the_page(open_app, upload, phantom, encoded, tmp_path, html):
    data = encoded(phantom(seed=1).rgb, "JPEG")
    app = upload(open_app(grade=4), ("a.jpg", data), ("b.jpg", data + b"b"))
    app.text_input(key="reader").set_value("AR").run()
    app.button(key="edit-identities").click().run()
    app.text_input(key="identity-pattern-text").set_value(r"(?P<patient>[ab])\.")
    next(b for b in app.button if b.label == "Fill the table").click().run()
    assert app.button(key="save-identities").label == "Save 2 changed"
    app.button(key="save-identities").click().run()
    assert not app.exception
    listed = app.session_state["worklist"].everything
    assert [entry.report.patient for entry in listed] == ["a", "b"]
    assert listed[0].report.identity_source == "patient=hand"
    assert "patient entered by hand" in html(app)
    with ReviewStore(tmp_path / "reviews.sqlite3") as store:
        assert {made.patient for made in store.identities().values()} == {"a", "b"}


def test_a_date_is_corrected_and_comes_back(open_app, upload, phantom, encoded, html):
    data = encoded(phantom(seed=1).rgb, "JPEG")
    app = upload(open_app(grade=4), ("7_OD_2024-03-01.jpg", data))
    assert "examined 2024-03-01 (eye, patient and date from file name)" in html(app)
    app.text_input(key="reader").set_value("AR").run()
    app.text_input(key="date-p1").set_value("2024-02-30").run()
    app.button(key="save-identity").click().run()
    assert "2024-02-30 is not a date" in html(app)
    app.text_input(key="date-p1").set_value("2024-03-02").run()
    app.button(key="save-identity").click().run()
    assert "examined 2024-03-02" in html(app)
    again = upload(open_app(grade=4), ("other.jpg", data))
    assert again.session_state["worklist"].everything[0].report.exam_date == "2024-03-02"


def test_a_pattern_of_the_server_that_is_not_valid_is_told_at_once(
    open_app, monkeypatch, html, phantom, encoded
):
    monkeypatch.setenv("DRCORE_NAME_PATTERN", "(?P<patient>[")
    app = open_app()
    assert "The name pattern is not a regular expression" in html(app)
    data = encoded(phantom(seed=1).rgb, "JPEG")
    app.file_uploader[0].set_value([("a.jpg", data, "image/jpeg")]).run()
    assert not app.exception
    assert app.session_state["worklist"].total == 0
