"""Eye, patient and date: read where they can be read in one way, never guessed."""

from __future__ import annotations

import unicodedata

import pytest

from drcore.errors import DrcoreError
from drcore.photographs.identity import Identity, NameRules, parse_date, parse_name, read_name


@pytest.mark.parametrize(
    ("name", "laterality", "patient"),
    [
        # Words for eye, side, field and counter are no patient.
        ("Right Eye.jpg", "OD", None),
        ("left_eye_macula_001.jpg", "OS", None),
        ("right eye 2 of 3.png", "OD", None),
        ("Fundus OS (2).jpg", "OS", None),
        ("IMG_0001_OD.jpg", "OD", None),
        ("Field2_left.jpg", "OS", None),
        ("rechtes Auge.jpg", "OD", None),
        ("LeftEye.jpg", "OS", None),
        ("OD2.jpg", "OD", None),
        ("Patient_OS.jpg", "OS", None),
        ("Patient 12 OS.jpg", "OS", "12"),
        # A single letter, or "Le", beside a name tells no eye.
        ("Le_Van_An_0001.jpg", None, None),
        ("R. Schmidt 123.jpg", None, None),
        ("De_La_Cruz_12.jpg", None, None),
        ("12_R.jpg", "OD", "12"),
        # Fields of one eye are one patient.
        ("P7_OD_1.jpg", "OD", "P7"),
        ("P7_OD_2.jpg", "OD", "P7"),
        ("P7-macula-OD.jpg", "OD", "P7"),
        # Other endings, other languages, no separator.
        ("10_left.jfif", "OS", "10"),
        ("10_right.JPE ", "OD", "10"),
        ("P7_OG.jpg", "OS", "P7"),
        ("P7_OE.jpg", "OS", "P7"),
        ("P7_OI.jpg", "OS", "P7"),
        ("P7_RA.jpg", "OD", "P7"),
        ("P7_LA.jpg", "OS", "P7"),
        ("P001OD.jpg", "OD", "P001"),
        ("P7_OD1.jpg", "OD", "P7"),
        ("Dupont_OG.jpg", "OS", "Dupont"),
        ("Oe_Kenzaburo_12.jpg", None, None),
        ("Os_Guinness_12.jpg", None, None),
        ("Os_12.jpg", "OS", None),
        ("oculus dexter 5.jpg", "OD", None),
        ("Dexter Smith OS.jpg", "OS", "Dexter Smith"),
        # A date alone is no patient, nor is what programs and cameras call a picture.
        ("03-01-2024_OD.jpg", "OD", None),
        ("12.05.2023_OD_1.jpg", "OD", None),
        ("05122023_OD.jpg", "OD", None),
        ("19620413_left.jpg", "OS", None),
        ("12 Jan 2024 OD.jpg", "OD", None),
        ("Mai2024_OD.jpg", "OD", None),
        ("Mai Nguyen OD.jpg", "OD", "Mai Nguyen"),
        ("45121390_OD.jpg", "OD", "45121390"),
        ("PXL_20240102_101112_OD.jpg", "OD", None),
        ("Normal_OD 3.jpg", "OD", None),
        ("grade3_left.jpg", "OS", None),
        ("환자좌안.jpg", "OS", None),
        # Names as they are.
        ("O'Brien_OD.jpg", "OD", "O'Brien"),
        ("Meier, Anna OD.jpg", "OD", "Meier, Anna"),
        ("007_OD.jpg", "OD", "007"),
    ],
)
def test_only_what_a_name_says_for_certain(
    name: str, laterality: str | None, patient: str | None
) -> None:
    assert parse_name(name) == (laterality, patient)


@pytest.mark.parametrize(
    ("name", "patient", "day"),
    [
        ("P7_OD_2024-03-01.jpg", "P7", "2024-03-01"),
        ("20240301_P7_OD.jpg", "P7", "2024-03-01"),
        ("P7_20240301_101112_OD.jpg", "P7", "2024-03-01"),
        ("P7_20241301_OD.jpg", "P7_20241301", None),  # there is no 13th month
        ("Mueller_19510203_OD.jpg", "Mueller_19510203", None),  # a date of birth
        ("Mueller_19510203_20240301_OD.jpg", "Mueller_19510203", "2024-03-01"),
        ("P7_20240301_20240401_OD.jpg", "P7_20240301_20240401", None),  # which of the two?
        ("P7_29990101_OD.jpg", "P7_29990101", None),
    ],
)
def test_the_date_of_an_examination(name: str, patient: str, day: str | None) -> None:
    found = read_name(name)
    assert (found.patient, found.exam_date) == (patient, day)
    assert found.source == "eye=name patient=name" + (" date=name" if day else "")


def test_the_date_of_sending_or_saving_is_none_of_an_examination() -> None:
    for name in (
        "IMG-20240101-WA0003.jpg", "WhatsApp Image 2024-01-02 at 10.11.12.jpeg",
        "Screenshot_20240102-101112_OD.png", "P7_OD_export_20240102.jpg",
    ):  # fmt: skip
        assert read_name(name).exam_date is None, name
    assert read_name("PXL_20240102_101112_OD.jpg").exam_date == "2024-01-02"


def test_dates_that_are_read_in_one_way() -> None:
    assert parse_date("20240301101112.000") == parse_date("2024-03-01") == "2024-03-01"
    assert parse_date("1.3.2024") == "2024-03-01"
    assert {parse_date(text) for text in ("", "03/01/2024", "1-3-2024", "20240230", "x")} == {None}


def test_a_pattern_says_what_names_are() -> None:
    rules = NameRules(r"(?P<patient>[^/]+)/(?P<date>\d{8})_(?P<eye>[RL])")
    found = rules.read("Anna B/20240301_R_left.jpg")
    assert found == Identity(
        "OD", "Anna B", "2024-03-01",
        laterality_from="pattern", patient_from="pattern", date_from="pattern",
    )  # fmt: skip
    assert rules.read("P7_OD.jpg") == Identity()  # what does not fit is not guessed
    assert NameRules(r"^(?P<date>\d{8})").read("20240301_P7_OD.jpg").source == (
        "eye=name patient=name date=pattern"
    )


def test_a_folder_is_a_patient_where_the_user_says_so() -> None:
    assert NameRules().read("anna/Right Eye.jpg").patient is None
    rules = NameRules(patient_from_folder=True)
    assert rules.read("clinic/anna/Right Eye.jpg").patient == "clinic/anna"
    assert rules.read("anna.zip/Right Eye.jpg").patient == "anna"
    assert rules.read("anna/10_left.jpg").source == "eye=name patient=folder"


@pytest.mark.parametrize("pattern", ["(", "x", "(?P<name>x)", "(?P<eye>x)(?P<side>y)"])
def test_patterns_that_say_nothing_are_refused(pattern: str) -> None:
    with pytest.raises(DrcoreError, match=r"name pattern.*\.$"):
        NameRules(pattern)


def test_a_header_goes_before_names() -> None:
    header = Identity("OD", None, "2024-03-01", laterality_from="dicom", date_from="dicom")
    found = header.over(read_name("P7_OS_2023-01-01.jpg"))
    assert (found.laterality, found.patient, found.exam_date) == ("OD", "P7", "2024-03-01")
    assert found.source == "eye=dicom patient=name date=dicom"
    back = Identity.read_back(found.laterality, found.patient, found.exam_date, found.source)
    assert back == found
    assert back.from_header == header


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize(
    ("name", "eye", "patient"),
    [
        ("höger öga.jpg", "OD", None), ("vänster öga.jpg", "OS", None),
        ("правый глаз.jpg", "OD", None), ("левый глаз 2.jpg", "OS", None),
        ("右眼.jpg", "OD", None), ("张三左眼底.jpg", "OS", "张三"), ("A12右目.jpg", "OD", "A12"),
        ("rechter oog.jpg", "OD", None), ("linkeroog.jpg", "OS", None),
        ("œil gauche.jpg", "OS", None), ("mắt phải.jpg", "OD", None),
        ("Hans Linker 3.jpg", None, None), ("Anna Lewy 12.jpg", None, None),
        ("Sol 12.jpg", None, None),
        ("paciente OD.jpg", "OD", None), ("Sin nombre OS.jpg", "OS", None),
        ("fondo de ojo OD.jpg", "OD", None), ("fond d'oeil OG.jpg", "OS", None),
        ("Netzhaut links.jpg", "OS", None), ("OD copie.jpg", "OD", None),
        ("De Vries OD.jpg", "OD", "De Vries"), ("de la Cruz OD.jpg", "OD", "de la Cruz"),
    ],
)  # fmt: skip
def test_words_of_other_languages(name, eye, patient, form):
    assert parse_name(unicodedata.normalize(form, name)) == (eye, patient)
