"""What is said of a report: the same everywhere, and true to its numbers."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from drcore.export.cautions import laser_sentence, model_remarks
from drcore.grading import statements
from tests.support.reviews import mark


@pytest.fixture(scope="module")
def report(grader, phantom):
    made = grader.grade(np.array(phantom(seed=1).rgb), name="7_right.png")
    return replace(
        made, status="graded", grade=1, score=1.4, reason="", thresholds=(0.5, 1.5, 2.5, 3.5),
        placed=1.0, probabilities=(0.1, 0.5, 0.3, 0.08, 0.02), grade_set=(0, 1, 2),
        referable_sensitive=True, sensitive_threshold=0.7,
        _maps={size: np.maximum(ram, 0) * 30 for size, ram in made._maps.items()},
    )  # fmt: skip


def test_the_map_of_a_report_sums_to_its_score(grader, phantom):
    made = grader.grade(np.array(phantom(seed=2).rgb), name="7_left.png")
    for raw in (False, True):
        for scale in (*made.scales, "fused"):
            evidence = made.evidence(scale, raw=raw)
            fused = scale == "fused"
            bias = sum(made.fusion[s] * made.biases[s] for s in made.scales)
            score, bias = (made.score, bias) if fused else (made.scores[scale], made.biases[scale])
            assert evidence.adds.sum() + bias == pytest.approx(score, abs=1e-4)


def test_referral_comes_with_probability_and_operating_point(report):
    assert statements.outcome_words(report) == "Borderline: needs a reader"
    assert statements.referable_words(report) == "Probability of grade \u2265 2: 40 %"
    point = "Operating point: referable from a score of 1.50, borderline from 0.70."
    assert statements.operating_point(report) == point
    remarks = model_remarks(report)
    assert remarks[0].startswith("Model: Borderline: needs a reader. Probability of grade")
    assert remarks[1] == point
    assert statements.MILD_IS_HARD in remarks
    assert statements.map_sentence(report) in remarks
    plain = replace(report, sensitive_threshold=None)
    assert statements.operating_point(plain).endswith("score of 1.50.")
    assert "by its score 1 (Mild" in statements.model_sentence(report)


def test_the_sentence_of_the_map_is_that_of_its_regions(report):
    regions = report.evidence().regions
    assert regions
    said = statements.map_sentence(report)
    number, areas, adds, share = re.match(
        r"Heat map: (\d+) outlined areas? \(([\d.]+) disc areas\) adds? ([\d.]+) to the score of "
        r"1.40, (?:> )?(\d+) % of all that raises it", said
    ).groups()  # fmt: skip
    assert int(number) == len(regions)
    assert float(areas) == pytest.approx(sum(r.disc_areas for r in regions), abs=0.051)
    assert float(adds) == pytest.approx(sum(r.adds for r in regions), abs=0.0051)
    assert int(share) == pytest.approx(100 * sum(r.share for r in regions), abs=1)
    healthy = replace(report, placed=0.0, grade=0)
    assert healthy.evidence().regions == ()
    assert "no area stands out" in statements.map_sentence(healthy)
    assert "Unreliable" in statements.map_sentence(replace(report, grade=None))


def test_a_wider_field_has_more_disc_areas(report):
    wide = replace(report, field_degrees=90.0)
    ratio = wide.evidence().disc_areas / report.evidence().disc_areas
    assert ratio == pytest.approx(4)
    assert "Field of view 90\u00b0" in statements.map_key_words(wide)
    assert "Field of view taken as 45\u00b0" in statements.map_key_words(report)


def test_laser_scars_say_what_they_add(report):
    assert laser_sentence(report, [mark()]) == ""
    view = report.field_of_view
    whole = replace(
        mark(), lesion="laser scar", kind="box", x0=max(view.x - view.radius, 0.0),
        y0=max(view.y - view.radius, 0.0), x1=view.x + view.radius, y1=view.y + view.radius,
    )  # fmt: skip
    evidence = report.evidence()
    said = laser_sentence(report, [whole, whole])
    assert f"add {evidence.adds.sum():.2f} to the score of 1.40" in said
    assert whole.reader in said
    number, region = 1, evidence.regions[0]
    row, column = np.argwhere(evidence.labels == number)[0]
    cell = evidence.side / len(evidence.labels)
    at = (evidence.left + (column + 0.5) * cell, evidence.top + (row + 0.5) * cell)
    assert evidence.within([(*at, *at)]) == pytest.approx(region.adds)
