"""Warnings of the model's result, and the strip that goes with every overlay."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from drcore.export.case import Case
from drcore.export.cautions import cautions, set_sentence
from drcore.export.legend import with_legend


@pytest.fixture(scope="module")
def report(grader, phantom):
    made = grader.grade(np.array(phantom(seed=1).rgb), name="7_right.png")
    return replace(
        made, status="graded", grade=1, score=1.4, reason="", thresholds=(0.5, 1.5, 2.5, 3.5),
        scores={128: 0.2, 256: 1.2, 512: 2.9},
    )  # fmt: skip


def test_borderline_and_disagreement_are_told(report):
    assert cautions(report)[:2] == [
        "Score 0.10 below the referral threshold \u2013 treat as referable until read.",
        "The networks disagree: 128 px \u2192 0, 256 px \u2192 1, 512 px \u2192 3. "
        "Review carefully.",
    ]
    capped = replace(report, scores={128: 2.6, 512: 3.6, 1024: 2.2}, ceilings={1024: 2.3})
    assert cautions(capped)[1] == (
        "The networks disagree: 128 px \u2192 3, 512 px \u2192 4, 1024 px \u2192 2 or more."
    )
    agreed = replace(report, scores={512: 3.6, 1024: 2.2}, ceilings={1024: 2.3})
    assert "Networks: 512 px \u2192 4, 1024 px \u2192 2 or more." in cautions(agreed)
    # The thresholds are of the fused score, which a network that stays below 2.3 keeps low.
    fused = replace(agreed, scores={512: 3.6, 1024: 2.2}, fusion={512: 0.4, 1024: 0.6})
    assert "Networks: 512 px \u2192 3, 1024 px \u2192 2 or more." in cautions(fused)
    near = cautions(replace(report, grade=2, score=2.45, scores={128: 2.4, 512: 2.0}))
    assert near[:2] == [
        "Near the grade 2/3 threshold.",
        "Networks: 128 px \u2192 2, 512 px \u2192 2.",
    ]
    cut = replace(report.field_of_view, note="The field of view is cut off: top.")
    dark = replace(report, status="ungradable", grade=None, field_of_view=cut)
    assert cautions(dark) == ["The field of view is cut off: top."]


def test_probability_of_referable_is_told(report):
    calibrated = replace(report, probabilities=(0.1, 0.5, 0.3, 0.08, 0.02), grade_set=(1, 2))
    assert set_sentence(calibrated) == (
        "Probability of grade \u2265 2: 40 %. 90 % prediction set: grades 1\u20132."
    )
    assert set_sentence(report) == ""


@pytest.mark.parametrize("width", [40, 320, 1600])
def test_legend_stands_below_the_unchanged_overlay(report, width):
    overlay = np.full((width, width, 3), 7, np.uint8)
    made = with_legend(overlay, Case(report, b""))
    assert np.array_equal(made[:width], overlay)
    strip = made[width:]
    assert strip.shape[1] == width
    assert (strip.max(axis=2) > 200).mean() > 0.01  # words
    colours = strip.reshape(-1, 3).astype(int)
    assert ((colours[:, 0] < 20) & (colours[:, 2] > 230)).any()  # the scale's cyan end
