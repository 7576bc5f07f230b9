"""The patient's report: what stands on its pages, in any script, and nothing that must not."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pypdf
import pytest

from drcore.errors import SourceError
from drcore.export.case import Case
from drcore.export.deidentification import Disclosure
from drcore.export.pdf.fonts import marked_up, register
from drcore.export.pdf.report import patient_pdf
from drcore.icdr import NOTICE
from drcore.reviews.decision import Decision
from drcore.reviews.mark import Mark

MADE_AT = datetime(2026, 3, 4, 5, 6, tzinfo=UTC)


@pytest.fixture(scope="module")
def case(grader, phantom):
    rgb = np.array(phantom(seed=1).rgb)
    report = grader.grade(rgb, name="7_right.png")
    report = replace(report, status="graded", grade=2, score=2.31, reason="")
    return Case(report, rgb)


@pytest.fixture(scope="module")
def other_eye(case):
    return replace(case, report=replace(case.report, laterality="OS", name="7_left.png", grade=3))


def decision(case: Case, **values) -> Decision:
    report = case.report
    return Decision(
        **{
            "sha256": report.sha256, "image": report.name, "model_version": report.model_version,
            "machine_status": report.status, "machine_grade": report.grade,
            "machine_score": report.score, "action": "change", "grade": 3, "note": "",
            "reader": "Dr A", "decided_at": MADE_AT, **values,
        }
    )  # fmt: skip


def text_of(pdf: bytes) -> str:
    pages = pypdf.PdfReader(io.BytesIO(pdf)).pages
    text = " ".join(" ".join(page.extract_text().split()) for page in pages)
    return text.replace(" ,", ",").replace(" .", ".")


def test_report_says_who_what_and_how_far_to_trust_it(case, other_eye):
    certain = replace(
        case.report, probabilities=(0.001, 0.1, 0.6, 0.2, 0.099), grade_set=(2, 3)
    )  # fmt: skip
    sha256 = case.report.sha256
    mark = Mark(sha256, "box", "venous beading", 20, 30, 60, 70, "Dr A", MADE_AT)
    told = replace(
        case,
        report=certain,
        decisions=((4, decision(case, note="beading above")),),
        marks=((9, mark),),
    )
    text = text_of(patient_pdf([other_eye, told], made_at=MADE_AT))
    assert text.index("Right eye (OD)") < text.index("Left eye (OS)")
    for said in (
        "Patient ID 7", "2026-03-04 05:06 UTC", "random 1",
        "Grade 3: Severe non-proliferative retinopathy. Referable.",  # of the patient: worse eye
        "Model: Referable DR. Probability of grade \u2265 2: 90 %.",
        "Model: grade 2\u20133 (90 % prediction set), by its score 2 (Moderate", "Score 2.31",
        "Image quality: gradable", "60 %", "< 1 %", "Referable from a score of",
        "Dr A: grade 3 (model 2)", "beading above", "venous beading (Dr A)",
        "score added per disc area", "NOT YET READ BY A CLINICIAN", "7_left.png",
    ):  # fmt: skip
        assert said in text, said


def test_report_says_where_eye_patient_and_date_were_read(case, other_eye):
    read = replace(case.report, exam_date="2026-03-01", identity_source="eye=dicom patient=name")
    told = replace(case, report=replace(read, identity_source=f"{read.identity_source} date=hand"))
    text = text_of(patient_pdf([told, other_eye], made_at=MADE_AT))
    for said in (
        "Patient ID 7 (from file name)", "Examination 2026-03-01 (entered by hand)",
        "Right eye (OD) from DICOM header",
    ):  # fmt: skip
        assert said in text, said
    hidden = text_of(patient_pdf([told], made_at=MADE_AT, privacy=Disclosure(deidentified=True)))
    assert "Right eye (OD) from DICOM header" in hidden
    assert "by hand" not in hidden


@pytest.mark.parametrize("page", ["A4", "Letter"])
def test_notice_and_patient_stand_on_every_page(case, other_eye, page):
    many = [case, other_eye] * 3
    pages = pypdf.PdfReader(io.BytesIO(patient_pdf(many, made_at=MADE_AT, page=page))).pages
    assert len(pages) >= 3
    for number, sheet in enumerate(pages, start=1):
        text = " ".join(sheet.extract_text().split())
        assert NOTICE in text
        assert f"Page {number} of {len(pages)}" in text
        assert "atient ID 7" in text
    width, height = (595, 842) if page == "A4" else (612, 792)
    assert (round(pages[0].mediabox.width), round(pages[0].mediabox.height)) == (width, height)


def test_both_eyes_fit_on_one_page(case, other_eye):
    sure = {"probabilities": (0.01, 0.1, 0.6, 0.2, 0.09), "grade_set": (2, 3)}
    eyes = [replace(one, report=replace(one.report, **sure)) for one in (case, other_eye)]
    for page in ("A4", "Letter"):
        pdf = patient_pdf(eyes, made_at=MADE_AT, page=page)
        assert len(pypdf.PdfReader(io.BytesIO(pdf)).pages) == 1


def test_same_arguments_give_the_same_bytes(case):
    first = patient_pdf([case], made_at=MADE_AT)
    assert first == patient_pdf([case], made_at=MADE_AT)
    assert first != patient_pdf([case], made_at=MADE_AT.replace(year=2027))


@pytest.mark.parametrize(
    "name",
    [
        "Müller Łukasz", "Ωμέγα", "Иван", "張偉", "山田太郎", "김철수", "สมชาย", "अनिल",
        "دكتور", "דוד", "👩‍⚕️", "<b>&amp;</para>", "a\0b\x1b[31m\u202eevil\n\t", "\ud800",
        "x" * 5000, "%s {0} \\n",
    ],
)  # fmt: skip
def test_any_letters_in_names_make_a_report(case, name):
    safe = name.replace("\ud800", "\ufffd").replace("\0", "")
    made = decision(case, reader=safe[:200], note=safe)
    odd = replace(
        case,
        report=replace(case.report, name=name, patient=name, reason=name),
        decisions=((1, made),),
        marks=((1, Mark(made.sha256, "point", "other", 5, 5, 5, 5, safe[:200], MADE_AT, safe)),),
    )
    text = text_of(patient_pdf([odd], made_at=MADE_AT, patient_name=name))
    if name in {"Müller Łukasz", "Ωμέγα", "Иван", "張偉", "山田太郎"}:
        assert name in text


def test_letters_that_no_font_has_become_their_numbers():
    register()
    assert marked_up("a\u13e3b") == "a[U+13E3]b"
    assert marked_up("<b>") == "&lt;b&gt;"
    assert marked_up("12 \u05d0\u05d1 x") == "x \u05d0\u05d1 12"  # as it stands on paper
    assert len(marked_up("y" * 5000, 100)) == 100


def test_name_is_printed_only_when_asked_for(case):
    asked = Disclosure(patient_names=True)
    text = text_of(patient_pdf([case], made_at=MADE_AT, patient_name="Doe, Jane", privacy=asked))
    assert "Doe, Jane" in text
    both = Disclosure(patient_names=True, deidentified=True)
    for privacy in (None, Disclosure(), both):
        pdf = patient_pdf([case], made_at=MADE_AT, patient_name="Doe, Jane", privacy=privacy)
        assert "Doe" not in text_of(pdf)


def test_deidentified_report(case):
    told = replace(case, decisions=((4, decision(case, note="secret note")),))
    text = text_of(patient_pdf([told], made_at=MADE_AT, privacy=Disclosure(deidentified=True)))
    assert case.report.sha256[:16] in text
    assert "7_right" not in text
    assert "Right eye (OD)" in text
    assert "secret" not in text
    kept = Disclosure(deidentified=True, notes=True)
    assert "secret note" in text_of(patient_pdf([told], made_at=MADE_AT, privacy=kept))


def test_ungradable_and_failed_photographs_are_told(case, grader):
    dark = replace(case.report, status="ungradable", grade=None, reason="It is too dark.")
    failed = Case(grader.failed("bad.jpg", "bad.jpg: the file is empty."), b"")
    text = text_of(patient_pdf([replace(case, report=dark), failed], made_at=MADE_AT))
    assert "Model: Ungradable: refer or repeat the photograph." in text
    assert "It is too dark." in text
    assert "the file is empty" in text
    assert "No grade." in text


def test_burnt_in_identity_is_not_printed_unless_asked_for(case):
    burnt = replace(case, report=replace(case.report, burned_in=True))

    def images(privacy):
        pdf = patient_pdf([burnt], made_at=MADE_AT, privacy=privacy)
        reader = pypdf.PdfReader(io.BytesIO(pdf))
        return sum(len(page.images) for page in reader.pages), text_of(pdf)

    count, text = images(Disclosure())
    assert count == 0
    assert "identity is burnt into it" in text
    assert images(Disclosure(burned_in=True))[0] == 2


def test_photograph_that_vanished_leaves_its_words(case, tmp_path):
    gone = replace(case, source=tmp_path / "gone.jpg")
    text = text_of(patient_pdf([gone], made_at=MADE_AT))
    assert "Model: grade 2" in text
    assert "no such file" in text


def test_a_report_of_nothing_is_a_sentence():
    with pytest.raises(SourceError, match="choose at least one"):
        patient_pdf([], made_at=MADE_AT)
