"""What the card says."""

from __future__ import annotations

from dataclasses import replace

import pytest

from viewer.review import verdict_card
from viewer.ui.palette import chip_of


@pytest.fixture(scope="module")
def report(phantom, encoded, grader):
    graded = grader.grade(encoded(phantom(seed=3).rgb, "JPEG"), name="A-7_OD.jpg")
    return replace(
        graded, thresholds=(0.5, 1.5, 2.5, 3.5), grade=2, score=2.0, status="graded", reason="",
        scores={128: 1.9, 256: 2.0, 512: 2.1},
    )  # fmt: skip


def test_gradability_comes_first_then_the_grade(report):
    card = verdict_card.card(report)
    order = ["Fit for grading", "Moderate non-proliferative", "Referable", "2.00", "Right eye (OD)"]
    places = [card.index(words) for words in order]
    assert places == sorted(places)
    assert "Diabetic macular oedema is not graded." in card


@pytest.mark.parametrize(("grade", "words"), [(0, "Not referable"), (1, "Not referable")])
def test_mild_disease_is_not_referable(report, grade, words):
    assert words in verdict_card.card(replace(report, grade=grade))


def test_without_a_grade_none_is_suggested(report):
    card = verdict_card.card(replace(report, grade=None, status="ungradable", reason="Too <dark>."))
    assert "no grade is given" in card
    assert "Too &lt;dark&gt;." in card
    assert "eferable" not in card
    assert "agree" not in card
    failed = verdict_card.card(
        replace(report, grade=None, status="failed", reason="<b>", score=float("nan"), scores={})
    )
    assert "could not be read" in failed
    assert "<b>" not in failed
    assert "Score" not in failed


def test_the_bar_shows_score_and_thresholds(report):
    card = verdict_card.card(replace(report, thresholds=(0.4, 1.6, 2.4, 3.6), score=3.0))
    assert 'em style="left:75.00%"' in card
    for percent in ("10.00%", "40.00%", "60.00%", "90.00%"):
        assert f's style="left:{percent}"' in card
    assert 'em style="left:100.00%"' in verdict_card.card(replace(report, score=7.3))
    assert 'em style="left:0.00%"' in verdict_card.card(replace(report, score=-1.0))


def test_agreement_of_the_image_sizes(report):
    assert verdict_card.agreement_sentence(report) == "All image sizes agree."
    apart = replace(report, scores={128: 0.2, 256: 2.0, 512: 2.1})
    assert verdict_card.agreement_sentence(apart) == (
        "The image sizes disagree on the grade (128 px: 0, 256 px: 2, 512 px: 2). Look closely."
    )
    next_door = replace(report, scores={128: 1.4, 256: 1.6, 512: 1.6})
    assert "Look closely" not in verdict_card.agreement_sentence(next_door)


@pytest.mark.parametrize(
    ("score", "words"),
    [(2.0, ""), (2.4, "Close to the border between grades 2 and 3."), (0.6, "grades 0 and 1.")],
)
def test_a_score_near_a_threshold_is_called_so(report, score, words):
    sentence = verdict_card.border_sentence(replace(report, score=score))
    assert sentence == words or (words and sentence.endswith(words))


def test_untrusted_text_is_escaped(report):
    card = verdict_card.card(replace(report, patient="<script>x</script>"))
    assert "<script>" not in card
    assert "&lt;script&gt;x" in card
    assert verdict_card.eye_sentence(replace(report, laterality=None)) == ""


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
    assert "Grade 2 or 3 is possible" in card
    assert "Grade 1 to 3 is possible" in verdict_card.set_sentence(
        replace(report, grade_set=(1, 2, 3))
    )
    assert verdict_card.set_sentence(replace(report, grade_set=(2,))) == (
        "Other grades than 2 are unlikely."
    )


def test_without_calibration_no_probability_is_shown(report):
    card = verdict_card.card(replace(report, probabilities=None, grade_set=None))
    assert "chances" not in card
    assert "possible" not in card


@pytest.mark.parametrize(
    ("score", "sensitive", "words"),
    [
        (1.55, True, "A close call."),
        (1.2, True, "A more cautious setting, which misses fewer eyes, would refer it."),
        (0.4, False, ""),
        (2.8, True, ""),
    ],
)
def test_how_close_the_call_was(report, score, sensitive, words):
    grade = 2 if score >= 1.5 else 1
    told = replace(report, score=score, grade=grade, referable_sensitive=sensitive)
    assert verdict_card.referral_sentence(told) == words


def test_a_map_without_places_is_explained(report):
    assert "points at no place" in verdict_card.card(replace(report, placed=0.0))
    assert "drawn faint" in verdict_card.card(replace(report, placed=0.4))
    assert "points at no place" not in verdict_card.card(replace(report, placed=1.0))
