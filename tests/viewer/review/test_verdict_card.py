"""What the card says."""

from __future__ import annotations

from dataclasses import replace

import pytest

from drcore.export.cautions import (
    near_threshold_sentence,
    networks_sentence,
    referral_sentence,
)  # fmt: skip
from drcore.grading.statements import outcome_words
from viewer.review import verdict_card
from viewer.ui.palette import chip_of


@pytest.fixture(scope="module")
def report(phantom, encoded, grader):
    graded = grader.grade(encoded(phantom(seed=3).rgb, "JPEG"), name="A-7_OD.jpg")
    return replace(
        graded, thresholds=(0.5, 1.5, 2.5, 3.5), grade=2, score=2.0, status="graded", reason="",
        scores={128: 1.9, 256: 2.0, 512: 2.1},
    )  # fmt: skip


def test_the_outcome_comes_first_then_the_grade(report):
    card = verdict_card.card(report)
    order = ["Referable DR", "Moderate non-proliferative", "Right eye (OD)", "<b>2.00"]
    places = [card.index(words) for words in order]
    assert places == sorted(places)
    assert "DMO not assessed" in card


@pytest.mark.parametrize(("grade", "words"), [(0, "No referable DR"), (1, "No referable DR")])
def test_mild_disease_is_not_referable(report, grade, words):
    card = verdict_card.card(replace(report, grade=grade))
    assert words in card
    assert "Grades 0 and 1 are hard to tell apart" in card


def test_without_a_grade_none_is_suggested(report):
    card = verdict_card.card(replace(report, grade=None, status="ungradable", reason="Too <dark>."))
    assert "Ungradable: refer or repeat" in card
    assert "Too &lt;dark&gt;." in card
    assert "eferable" not in card
    assert "Networks" not in card
    failed = verdict_card.card(
        replace(report, grade=None, status="failed", reason="<b>", score=float("nan"), scores={})
    )
    assert "Image could not be read" in failed
    assert "&lt;b&gt;</p>" in failed
    assert "Score" not in failed


def test_the_bar_shows_score_and_thresholds(report):
    card = verdict_card.card(replace(report, thresholds=(0.4, 1.6, 2.4, 3.6), score=3.0))
    assert 'em style="left:75.00%"' in card
    for percent in ("10.00%", "40.00%", "60.00%", "90.00%"):
        assert f's style="left:{percent}"' in card
    assert 'em style="left:100.00%"' in verdict_card.card(replace(report, score=7.3))
    assert 'em style="left:0.00%"' in verdict_card.card(replace(report, score=-1.0))


def test_agreement_of_the_networks_is_no_comfort(report):
    assert networks_sentence(report)[0] == (
        "Networks: 128 px \u2192 2, 256 px \u2192 2, 512 px \u2192 2."
    )
    apart = replace(report, scores={128: 0.2, 256: 2.0, 512: 2.1})
    assert networks_sentence(apart)[0] == (
        "The networks disagree: 128 px \u2192 0, 256 px \u2192 2, 512 px \u2192 2. "
        "Review carefully."
    )
    next_door = replace(report, scores={128: 1.4, 256: 1.6, 512: 1.6})
    assert "Review carefully" not in networks_sentence(next_door)[0]


@pytest.mark.parametrize(
    ("score", "words"),
    [(2.0, ""), (2.4, "Near the grade 2/3 threshold."), (0.6, "grade 0/1 threshold.")],
)
def test_a_score_near_a_threshold_is_called_so(report, score, words):
    sentence = near_threshold_sentence(replace(report, score=score))
    assert sentence == words or (words and sentence.endswith(words))


def test_untrusted_text_is_escaped(report):
    card = verdict_card.card(replace(report, patient="<script>x</script>"))
    assert "<script>" not in card
    assert "&lt;script&gt;x" in card
    assert verdict_card.eye_sentence(replace(report, laterality=None, patient=None)) == ""


def test_whose_eye_it_is_and_where_that_was_read(report):
    known = replace(
        report, laterality="OD", patient="7", exam_date="2024-03-01",
        identity_source="eye=name patient=hand date=dicom",
    )  # fmt: skip
    assert verdict_card.eye_sentence(known) == (
        "Right eye (OD), patient 7, examined 2024-03-01 (eye from file name; patient entered by "
        "hand; date from DICOM header)."
    )
    assert "patient entered" not in verdict_card.eye_sentence(replace(known, patient=None))


def test_chips_tell_grade_and_state(report):
    assert chip_of(None)[0] == "\u2026"
    assert chip_of(report)[0] == "2"
    assert chip_of(replace(report, grade=None, status="ungradable"))[0] == "U"
    assert chip_of(replace(report, grade=None, status="failed"))[0] == "!"


def test_probabilities_are_bars_and_the_possible_grades_a_sentence(report):
    sure = (0.001, 0.049, 0.6, 0.35, 0.0)
    card = verdict_card.card(replace(report, probabilities=sure, grade_set=(2, 3)))
    assert "60 %" in card
    assert "5 %" in card
    assert card.count("&lt; 1 %") == 2
    assert card.count('class="in"') == 2
    assert "90 % prediction set: grades 2\u20133" in card
    assert "ICDR grade 2\u20133" in card
    assert "Probability of grade \u2265 2: 95 %" in card
    assert verdict_card.set_sentence(replace(report, grade_set=(2,))) == (
        "90 % prediction set: grade 2"
    )


def test_without_calibration_no_probability_is_shown(report):
    card = verdict_card.card(replace(report, probabilities=None, grade_set=None))
    assert "chances" not in card
    assert "robability" not in card
    assert "prediction set" not in card


@pytest.mark.parametrize(
    ("score", "sensitive", "words"),
    [
        (1.55, True, "Score 0.05 above the referral threshold."),
        (1.2, True, "Would be referred at the high-sensitivity setting."),
        (
            1.45,
            True,
            "Score 0.05 below the referral threshold \u2013 treat as referable until read.",
        ),
        (0.4, False, ""),
        (2.8, True, ""),
    ],
)
def test_how_close_the_call_was(report, score, sensitive, words):
    grade = 2 if score >= 1.5 else 1
    told = replace(report, score=score, grade=grade, referable_sensitive=sensitive)
    assert referral_sentence(told) == words


def test_a_map_without_places_is_explained(report):
    assert "no area stands out" in verdict_card.card(replace(report, placed=0.0))
    assert "reduced strength" in verdict_card.card(replace(report, placed=0.4))
    assert "no area stands out" not in verdict_card.card(replace(report, placed=1.0))


def test_sentences_come_before_charts_the_gravest_first(report):
    cut = replace(report.field_of_view, note="The field of view is cut off: top.")
    told = replace(
        report, grade=1, score=1.4, referable_sensitive=True, sensitive_threshold=0.8,
        field_of_view=cut, scores={128: 0.2, 256: 1.2, 512: 2.9},
        probabilities=(0.1, 0.5, 0.3, 0.08, 0.02), grade_set=(0, 1, 2),
    )  # fmt: skip
    card = verdict_card.card(told, "Laser scars (marked by ABC).")
    order = [
        "Borderline: needs a reader", "Probability of grade \u2265 2: 40 %",
        "Score 0.10 below the referral threshold", "ICDR grade 0\u20132", "The networks disagree",
        "cut off: top", "hard to tell apart", "Laser scars", "DMO not assessed", "Heat map:",
        "Operating point: referable from a score of 1.50, borderline from 0.80.",
        'class="score"', 'class="chances"',
    ]  # fmt: skip
    places = [card.index(words) for words in order]
    assert places == sorted(places)


@pytest.mark.parametrize(
    ("grade", "sensitive", "expected"),
    [
        (3, True, "Referable DR"),
        (1, True, "Borderline: needs a reader"),
        (0, False, "No referable DR"),
        (1, None, "No referable DR"),
        (None, None, "Ungradable: refer or repeat the photograph"),
    ],
)
def test_there_are_four_outcomes(report, grade, sensitive, expected):
    status = "ungradable" if grade is None else "graded"
    told = replace(report, grade=grade, status=status, referable_sensitive=sensitive)
    assert outcome_words(told) == expected
    assert f"<b>{expected}</b>" in verdict_card.card(told)


def test_the_card_says_why_a_grade_is_not_the_most_probable_one(report):
    median = replace(report, grade=1, probabilities=(0.42, 0.2, 0.3, 0.05, 0.03))
    assert "Grade 1 is the median of the probabilities; grade 0" in verdict_card.card(median)
    sure = replace(report, grade=2, probabilities=(0.1, 0.2, 0.5, 0.1, 0.1))
    by_thresholds = replace(report, grade=3, probabilities=(0.0, 0.05, 0.5, 0.33, 0.12))
    for other in (sure, by_thresholds):
        assert "median" not in verdict_card.card(other)
