"""Sorting, filtering and pairing of the list."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest

from viewer.worklist.ordering import ViewOptions, ordered_entries, patient_studies


@dataclass(eq=False)
class Fake:
    """Stands in for an entry."""

    key: str
    report: object = None
    decision: object = None
    reading: object = None
    laterality: str | None = None
    patient: str | None = None
    exam_date: str | None = None
    patient_shown: str | None = field(init=False)

    def __post_init__(self):
        self.name, self.patient_shown = f"{self.key}.jpg", self.patient


def report(
    grade, score=None, *, scores=None, grade_set=None, margin=0.3, status=None, probabilities=None
):
    score = float(grade or 0) if score is None else score
    return SimpleNamespace(
        grade=grade, score=score, status=status or ("ungradable" if grade is None else "graded"),
        referable=None if grade is None else grade >= 2, grade_set=grade_set, margin=margin,
        scores=scores or {128: score, 512: score}, thresholds=(0.5, 1.5, 2.5, 3.5),
        probabilities=probabilities,
    )  # fmt: skip


FAILED = SimpleNamespace(
    grade=None, score=float("nan"), status="failed", referable=None, grade_set=None, margin=None,
    scores={}, thresholds=(0.5, 1.5, 2.5, 3.5),
)  # fmt: skip


def decided(grade):
    return SimpleNamespace(grade=grade)


def keys(entries):
    return "".join(entry.key for entry in entries)


def test_order_of_arrival_by_default():
    entries = [Fake("b"), Fake("a")]
    assert keys(ordered_entries(entries, ViewOptions())) == "ba"


def test_most_severe_first_and_what_has_no_grade_last():
    entries = [
        Fake("a", report(1)), Fake("b", report(None, 3.9)), Fake("c", report(3)), Fake("d"),
        Fake("e", FAILED), Fake("f", report(3, 3.2)),
    ]  # fmt: skip
    assert keys(ordered_entries(entries, ViewOptions("severity"))) == "fcabde"


def test_the_readers_grade_beats_the_models_in_severity():
    entries = [Fake("a", report(0), decided(4)), Fake("b", report(3))]
    assert keys(ordered_entries(entries, ViewOptions("severity"))) == "ab"


def test_the_most_probably_referable_first():
    entries = [
        Fake("a", report(1, probabilities=(0.2, 0.5, 0.2, 0.1, 0.0))), Fake("b", report(None, 3.9)),
        Fake("c", report(2, probabilities=(0.1, 0.4, 0.5, 0.0, 0.0))), Fake("d"), Fake("e", FAILED),
        Fake("f", report(1, probabilities=(0.1, 0.5, 0.2, 0.2, 0.0)), decided(0)),
    ]  # fmt: skip
    assert keys(ordered_entries(entries, ViewOptions("referable"))) == "cfabde"
    without = [Fake("a", report(1)), Fake("b", report(3))]  # no calibration
    assert keys(ordered_entries(without, ViewOptions("referable"))) == "ba"


def test_least_certain_first_by_size_of_the_set_and_nearness_to_a_threshold():
    entries = [
        Fake("a", report(1, margin=0.4)),
        Fake("b", report(1, margin=0.01)),
        Fake("c", report(1, grade_set=(1, 2, 3), margin=0.4)),
        Fake("d", report(1, grade_set=(1, 2), margin=0.1)),
        Fake("e", report(None)),
    ]
    assert keys(ordered_entries(entries, ViewOptions("uncertainty"))) == "cdbae"


def test_disagreement_of_reader_and_model_comes_before_that_of_the_scales():
    entries = [
        Fake("a", report(1)),
        Fake("b", report(1, scores={128: 0.4, 512: 1.9})),
        Fake("c", report(1), decided(2)),
        Fake("d", report(1), decided(None)),
        Fake("e", report(1, scores={128: 0.9, 512: 1.1})),
        Fake("f", report(None), decided(None)),
    ]
    assert keys(ordered_entries(entries, ViewOptions("disagreement"))) == "dcbeaf"


def test_a_decision_does_not_carry_the_photograph_on_screen_away():
    entries = [Fake("a"), Fake("b"), Fake("c")]
    entries[0].decision = decided(1)
    wanted = ViewOptions("unreviewed")
    assert keys(ordered_entries(entries, wanted, selected="b")) == "bca"
    entries[1].decision = decided(2)  # made while it is on screen
    assert keys(ordered_entries(entries, wanted, selected="b", before=None)) == "bca"
    assert keys(ordered_entries(entries, wanted, selected="c")) == "cab"
    only = ViewOptions(reviewed=False)
    assert keys(ordered_entries(entries, only, selected="b", before=None)) == "bc"
    assert keys(ordered_entries(entries, only, selected="c")) == "c"


def test_the_photograph_on_screen_is_shown_whatever_is_filtered():
    entries = [Fake("a", report(0)), Fake("b", report(3))]
    assert keys(ordered_entries(entries, ViewOptions(kinds=frozenset("3")), selected="a")) == "ab"
    assert keys(ordered_entries(entries, ViewOptions(text="nothing"), selected="a")) == "a"


@pytest.mark.parametrize(
    ("kinds", "shown"),
    [
        ({"0"}, "a"), ({"2"}, "b"), ({"referable"}, "be"), ({"ungradable"}, "c"),
        ({"failed"}, "d"), ({"0", "failed"}, "ad"), (set(), "abcdef"),
    ],
)  # fmt: skip
def test_what_can_be_shown_alone(kinds, shown):
    entries = [
        Fake("a", report(0)), Fake("b", report(2)), Fake("c", report(None)), Fake("d", FAILED),
        Fake("e", report(4)), Fake("f"),
    ]  # fmt: skip
    assert keys(ordered_entries(entries, ViewOptions(kinds=frozenset(kinds)))) == shown


def test_reviewed_or_not_and_text():
    entries = [Fake("a", decision=decided(1), patient="Doe"), Fake("b", patient="doe"), Fake("c")]
    assert keys(ordered_entries(entries, ViewOptions(reviewed=True))) == "a"
    assert keys(ordered_entries(entries, ViewOptions(reviewed=False))) == "bc"
    assert keys(ordered_entries(entries, ViewOptions(text=" DOE "))) == "ab"
    assert keys(ordered_entries(entries, ViewOptions(text="C.jpg"))) == "c"
    entries[0].patient_shown = None
    assert keys(ordered_entries(entries, ViewOptions(text="doe"))) == "b"


def test_patients_stand_together_right_eye_first():
    entries = [
        Fake("a", report(0), patient="1", laterality="OS"), Fake("b", report(4)),
        Fake("c", report(1), patient="2", laterality="OD"),
        Fake("d", report(3), patient=" 1 ", laterality="OD"),
    ]  # fmt: skip
    assert keys(ordered_entries(entries, ViewOptions(by_patient=True))) == "dabc"
    assert keys(ordered_entries(entries, ViewOptions("severity", by_patient=True))) == "bdac"


def test_a_blinded_reader_is_told_nothing_by_order_or_filter():
    entries = [
        Fake("a", report(0), decided(0)), Fake("b", report(4), decided(4)), Fake("c", FAILED),
    ]  # fmt: skip
    blind = {"hidden": frozenset("ab")}
    for order in ("severity", "referable", "uncertainty", "disagreement", "unreviewed"):
        assert keys(ordered_entries(entries, ViewOptions(order), **blind)) == "abc"
    for kind in ("4", "referable", "ungradable"):
        assert (
            keys(ordered_entries(entries, ViewOptions(kinds=frozenset({kind})), **blind)) == "abc"
        )
    assert keys(ordered_entries(entries, ViewOptions(kinds=frozenset({"failed"})), **blind)) == "c"
    assert keys(ordered_entries(entries, ViewOptions(reviewed=True), **blind)) == ""
    one_left = {"hidden": frozenset("b")}  # still there is one whose place would tell
    assert keys(ordered_entries(entries, ViewOptions("severity"), **one_left)) == "abc"


def test_two_visits_of_a_patient_are_two_studies_beside_each_other():
    old = {"patient": "7", "exam_date": "2024-01-02"}
    new = {"patient": "7", "exam_date": "2025-03-04"}
    entries = [
        Fake("a", report(4), laterality="OD", **old), Fake("b", report(1), patient="8"),
        Fake("c", report(0), laterality="OS", **new), Fake("d", report(1), laterality="OD", **new),
        Fake("e", report(2), patient="7"), Fake("f", patient="7"),
    ]  # fmt: skip
    studies = patient_studies(entries)
    assert [(study.exam_date, keys(study.entries)) for study in studies] == [
        ("2024-01-02", "af"), (None, "b"), ("2025-03-04", "dc"), (None, "e"),
    ]  # fmt: skip
    assert [study.grade.grade for study in studies] == [4, 1, 1, 2]
    assert keys(ordered_entries(entries, ViewOptions(by_patient=True))) == "dcafeb"


def test_studies_pair_the_eyes_and_grade_by_the_worse():
    entries = [
        Fake("a", report(1), patient="X 7", laterality="OS"),
        Fake("b", report(0)),
        Fake("c", report(1), decided(3), patient="x 7", laterality="OD"),
    ]
    first, second = patient_studies(entries)
    assert (keys(first.entries), first.patient, first.grade.grade) == ("ca", "X 7", 3)
    assert first.grade.complete
    assert (keys(second.entries), second.patient, second.grade.grade) == ("b", None, 0)
    (hidden, _) = patient_studies(entries, frozenset("ac"))
    assert hidden.grade.grade is None


def test_settings_come_back_without_what_was_searched():
    wanted = ViewOptions("severity", frozenset({"2", "failed"}), reviewed=False, text="Doe")
    assert "Doe" not in wanted.to_json()
    back = ViewOptions.from_json(wanted.to_json())
    assert back == ViewOptions("severity", frozenset({"2", "failed"}), reviewed=False)
    for text in ("", "[]", "{}", '{"order": "x", "kinds": ["9"], "reviewed": 1, "by_patient": 0}'):
        assert ViewOptions.from_json(text) == ViewOptions()
