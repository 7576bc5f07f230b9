"""Names of any script on paper: words in their order, letters joined, and what cannot be drawn."""

from __future__ import annotations

import logging

import pytest
from reportlab.lib.abag import ABag
from reportlab.pdfbase.pdfmetrics import stringWidth
from reportlab.platypus import paragraph

from drcore.export.pdf.fonts import REGULAR, marked_up, register, scripts_of, undrawn
from drcore.export.pdf.script import on_paper


@pytest.fixture(scope="module", autouse=True)
def fonts():
    register()


def shaped(*parts: tuple[str, str]):
    """The glyphs of a word as reportlab's paragraphs get them: text by text."""
    word = [0.0]
    for font, text in parts:
        word.append((ABag(fontName=font, fontSize=10), text))
        word[0] += stringWidth(text, font, 10)
    return paragraph.shapeFragWord(word)


@pytest.mark.parametrize(
    ("read", "on_the_page"),
    [
        ("Anna Müller 12", "Anna Müller 12"),
        ("דוד כהן", "כהן דוד"),
        ("Dr דוד כהן MD", "Dr כהן דוד MD"),
        ("محمد 12 علي", "علي 12 محمد"),
        ("محمد علي 1975-03-04", "1975-03-04 علي محمد"),
        ("محمد (Ali) علي", "علي (Ali) محمد"),
        ("Ali (محمد)", "Ali (محمد)"),
        ("علی\u200cرضا رضایی", "رضایی علی\u200cرضا"),  # noqa: RUF001
        ("", ""),
    ],
)
def test_words_stand_in_their_order(read, on_the_page):
    assert on_paper(read) == on_the_page


def test_arabic_letters_join_and_run_to_the_left():
    joined = "".join(text for _, text in shaped((REGULAR, "محمد"))[1:])
    apart = [shaped((REGULAR, letter))[1][1] for letter in "محمد"]
    assert len(joined) == 4
    assert joined != "".join(apart)[::-1]  # other shapes than letters by themselves have
    assert joined[0] == shaped((REGULAR, "ـد"))[1][1][0]  # the last letter, joined, is leftmost


def test_indic_and_thai_letters_take_their_places():
    conjunct = shaped(("NotoSansDevanagari", "क्ष"))
    assert len(conjunct[1][1]) == 1  # three letters, one shape
    before = shaped(("NotoSansDevanagari", "कि"))[1][1]
    alone = shaped(("NotoSansDevanagari", "क"))[1][1]
    assert before[1] == alone  # the vowel is read after the consonant and stands before it
    assert "NotoSansThai" in marked_up("สมชาย")


def test_a_word_of_two_fonts_keeps_each_letter_in_its_own():
    word = shaped((REGULAR, "(Dr"), ("NotoSansDevanagari", "कि"), (REGULAR, "):"))
    told = [(fragment.fontName, len(text)) for fragment, text in word[1:]]
    assert told == [(REGULAR, 3), ("NotoSansDevanagari", 2), (REGULAR, 2)]
    assert word[1][1] == "(Dr"
    assert word[0] == pytest.approx(sum(part[0] for part in (
        shaped((REGULAR, "(Dr")), shaped(("NotoSansDevanagari", "कि")), shaped((REGULAR, "):")),
    )))  # fmt: skip


def test_latin_words_are_left_alone():
    word = [30.0, (ABag(fontName=REGULAR, fontSize=10), "AVATAR")]
    assert paragraph.shapeFragWord(word) is word


@pytest.mark.parametrize(
    "name",
    [
        "अनिल", "রহিম", "ਗੁਰਪ੍ਰੀਤ", "રમેશ", "ରମେଶ", "முருகன்", "వెంకట", "ರಾಜೇಶ್", "രാജൻ", "සුනිල්",
        "สมชาย", "ສົມສັກ", "សុខា", "အောင်", "አበበ", "محمد", "דוד", "ნინო", "Անահիտ", "김철수",
    ],
)  # fmt: skip
def test_letters_of_these_scripts_are_drawn(name):
    with undrawn() as missing:
        assert "[U+" not in marked_up(name)
    assert not missing


def test_what_cannot_be_drawn_is_collected_by_script():
    with undrawn() as missing:
        assert marked_up("a ᏣᎳ") == "a [U+13E3][U+13B3]"
    assert missing == {"Ꮳ", "Ꮃ"}  # noqa: RUF001
    assert scripts_of(missing | {"བ"}) == "Cherokee, Tibetan"
    marked_up("Ꮳ")  # outside the block nothing is collected, and nothing fails
    assert len(missing) == 2


def test_long_leftward_text_comes_in_lines_that_are_read_from_the_top():
    first, *_, last = marked_up(" ".join(["דוד"] + ["כהן"] * 20 + ["לוי"])).split("<br/>")
    assert first.endswith("דוד")
    assert last.startswith("לוי")


def test_report_and_log_say_what_could_not_be_drawn(grader, phantom, caplog):
    from datetime import UTC, datetime
    from io import BytesIO

    import numpy as np
    import pypdf

    from drcore.export.case import Case
    from drcore.export.deidentification import Disclosure
    from drcore.export.pdf.report import patient_pdf

    rgb = np.array(phantom(seed=1).rgb)
    case = Case(grader.grade(rgb, name="1_right.png"), rgb)
    made_at, named = datetime(2026, 3, 4, tzinfo=UTC), Disclosure(patient_names=True)

    def text(name: str) -> str:
        data = patient_pdf([case], made_at=made_at, privacy=named, patient_name=name)
        pages = pypdf.PdfReader(BytesIO(data)).pages
        return " ".join(" ".join(page.extract_text().split()) for page in pages)

    with caplog.at_level(logging.WARNING, "drcore"):
        told = text("ᏣᎳᎩ")
        assert "Not drawn: 3 letters for which drcore has no font (Cherokee)" in told
        assert "[U+13E3]" in told
        [line] = [r.getMessage() for r in caplog.records if "not drawn" in r.getMessage()]
        assert "Cherokee" in line
        assert "13E3" not in line  # the log never spells a name
        caplog.clear()
        assert "Not drawn" not in text("अनिल محمد")
        assert not caplog.records
