"""Forms of the structured reading, and their answers in the record."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from drcore.errors import ReviewError
from drcore.reviews.findings import Findings
from drcore.reviews.form import Form, load_form, shipped_forms
from drcore.reviews.store import ReviewStore
from drcore.reviews.tables import decisions_json, findings_csv
from tests.support.reviews import decision


@pytest.fixture
def form() -> Form:
    found = load_form("default")
    assert found is not None
    return found


def test_the_forms_that_ship_can_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shipped_forms() == ["default", "icdr", "uk-rm"]
    for name in shipped_forms():
        assert load_form(name) is not None
    monkeypatch.delenv("DRCORE_FORM", raising=False)
    assert load_form() == load_form("default")
    monkeypatch.setenv("DRCORE_FORM", "none")
    assert load_form() is None


def test_answers_that_do_not_apply_are_left_out(form: Form) -> None:
    values = {
        "ungradable_cause": "small pupil", "macular_oedema": "present", "outcome": "refer urgent",
        "rescreen_months": 6, "other_findings": ("drusen", "other"), "other_text": "  naevus ",
    }  # fmt: skip
    found = form.findings(values, ungradable=False)
    assert found == Findings(
        "Screening 1",
        (("macular_oedema", "present"), ("other_findings", ("drusen", "other")),
         ("outcome", "refer urgent")),
        (("other_text", "naevus"),),
    )  # fmt: skip
    assert Findings.from_text(found.to_text()) == found
    dark = form.findings(values | {"outcome": "rescreen"}, ungradable=True)
    assert dark is not None
    assert dark.values["ungradable_cause"] == "small pupil"
    assert dark.values["rescreen_months"] == 6
    assert "macular_oedema" not in dark.values
    assert form.findings({"outcome": "rescreen"}, ungradable=False) == Findings(
        "Screening 1", (("outcome", "rescreen"), ("rescreen_months", 12))
    )
    for nothing in ({}, {"other_text": " ", "other_findings": ()}):
        assert form.findings(nothing, ungradable=False) is None


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"macular_oedema": "huge"}, "DMO: choose none, present, referable"),
        ({"other_findings": ["drusen", 3]}, "Other findings: choose"),
        ({"outcome": "rescreen", "rescreen_months": 0}, "whole number from 1 to 60"),
        ({"other_findings": ["other"], "other_text": "a\x00b"}, "free text holds characters"),
    ],
)
def test_an_answer_that_does_not_fit_is_refused(
    form: Form, values: dict[str, object], told: str
) -> None:
    with pytest.raises(ReviewError, match=told):
        form.findings(values, ungradable=False)


FIELD = 'name = "x"\nversion = "1"\n[[fields]]\nid = "a"\nlabel = "A"\n'


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", r"form\.toml: name: "),
        ("name = ", "is no TOML file"),
        (b"\xff\xfe", "is no TOML file"),
        (FIELD, "give options"),
        (FIELD + 'options = ["x", "x"]', "give options, each once"),
        (FIELD + 'options = ["x"]\nkey = "A"', "key A is used by the page"),
        (FIELD + 'options = ["x"]\nwhen = "b=x"', "is not gradable, ungradable or id=option"),
        (FIELD + 'options = ["x"]\ncolour = "red"', r"fields\.0\.colour"),
        (FIELD + 'kind = "number"\nleast = 5', "value is not between"),
        (FIELD + 'kind = "text"\n[[fields]]\nid = "a"\nlabel = "B"\nkind = "text"', "same id"),
        (FIELD + 'kind = "several"\noptions = ["x", "y"]\nkeys = ["B"]', "give keys"),
        ("a = " + "[" * 50_000, "is no TOML file"),
        ("a = " + "9" * 5000, "is no TOML file"),
        ("#" * 100_001, "at most 100000 characters"),
    ],
)
def test_a_form_that_is_none_is_a_sentence(text: str | bytes, told: str, tmp_path: Path) -> None:
    file = tmp_path / "form.toml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ReviewError, match=told):
        load_form(str(file))


def test_a_missing_form_is_a_sentence(tmp_path: Path) -> None:
    for place in (tmp_path / "none.toml", tmp_path):
        with pytest.raises(ReviewError, match="Set DRCORE_FORM to the path of a TOML file, or to"):
            load_form(str(place))


def test_findings_come_back_from_the_record_and_leave_in_tables(form: Form, tmp_path: Path) -> None:
    found = form.findings(
        {"macular_oedema": "none", "other_findings": ("drusen", "other"), "other_text": "=1"},
        ungradable=False,
    )
    made = decision(findings=found)
    with ReviewStore(tmp_path / "reviews.sqlite3") as store:
        store.add(made)
        store.add(decision())
        assert store.decisions() == [made, decision()]
        numbered = store.numbered_decisions()
        first, second = csv.DictReader(io.StringIO(store.csv_text(), newline=""))
    assert first["findings"] == (
        "form: Screening 1; macular_oedema: none; other_findings: drusen, other; other_text: =1"
    )
    assert second["findings"] == ""
    told, untold = json.loads(decisions_json(numbered))
    assert told["findings"]["other_findings"] == ["drusen", "other"]
    assert untold["findings"] is None
    rows = list(csv.DictReader(io.StringIO(findings_csv(numbered), newline="")))
    assert [(row["number"], row["field"], row["answer"]) for row in rows] == [
        ("1", "macular_oedema", "none"), ("1", "other_findings", "drusen"),
        ("1", "other_findings", "other"), ("1", "other_text", "'=1"),
    ]  # fmt: skip
