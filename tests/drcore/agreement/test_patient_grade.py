"""The patient's grade: the worse eye, and what is missing for it to be certain."""

from __future__ import annotations

from itertools import permutations

import pytest

from drcore.agreement.patient_grade import EyeGrade, Reading, patient_grade


def test_the_worse_eye_is_the_patients_grade():
    result = patient_grade([Reading("OD", 1), Reading("OS", 3)])
    assert result.grade == 3
    assert result.eyes == (EyeGrade("OD", "graded", 1, 1), EyeGrade("OS", "graded", 3, 1))
    assert (result.complete, result.gaps, result.referable) == (True, (), True)


def test_an_eye_is_graded_by_its_worst_photograph():
    result = patient_grade([Reading("OD", 0), Reading("OD", 2), Reading("OS", 1)])
    assert result.eyes[0] == EyeGrade("OD", "graded", 2, 2)
    assert (result.grade, result.complete) == (2, True)


def test_order_of_photographs_does_not_matter():
    readings = [Reading("OD", 0), Reading("OD", None), Reading("OS", 2), Reading(None, 1)]
    assert len({str(patient_grade(order)) for order in permutations(readings)}) == 1


def test_both_eyes_healthy_is_not_referable():
    assert patient_grade([Reading("OD", 0), Reading("OS", 1)]).referable is False


def test_one_eye_alone_cannot_rule_disease_out():
    result = patient_grade([Reading("OS", 0)])
    assert (result.grade, result.complete, result.referable) == (0, False, None)
    assert result.gaps == ("no photograph of the right eye",)


def test_one_eye_alone_can_make_a_patient_referable():
    result = patient_grade([Reading("OS", 2)])
    assert (result.complete, result.referable) == (False, True)


def test_an_ungradable_eye_is_told_and_never_counts_as_healthy():
    result = patient_grade([Reading("OD", None), Reading("OS", 0)])
    assert result.eyes[0].finding == "ungradable"
    assert (result.grade, result.referable) == (0, None)
    assert result.gaps == ("right eye not fit for grading",)


def test_another_photograph_of_the_eye_makes_up_for_an_ungradable_one():
    result = patient_grade([Reading("OD", None), Reading("OD", 1), Reading("OS", 0)])
    assert (result.grade, result.complete, result.referable) == (1, True, False)


def test_no_grade_is_invented_where_neither_eye_is_gradable():
    result = patient_grade([Reading("OD", None), Reading("OS", None)])
    assert (result.grade, result.referable, result.complete) == (None, None, False)


def test_nothing_at_all():
    result = patient_grade([])
    assert (result.grade, result.eyes, result.referable) == (None, (), None)


def test_photographs_of_an_unknown_eye_count_and_leave_doubt():
    result = patient_grade([Reading("OD", 0), Reading("OS", 0), Reading(None, 2)])
    assert (result.grade, result.referable, result.complete) == (2, True, False)
    assert result.gaps == ("laterality not recorded (1 photograph)",)
    assert patient_grade([Reading(None, 0), Reading(None, 0)]).referable is None


def test_what_nobody_has_judged_leaves_doubt():
    result = patient_grade([Reading("OD", 1), Reading("OS", 0), Reading("OS", None, seen=False)])
    assert (result.grade, result.referable) == (1, None)
    assert result.gaps == ("1 photograph not judged",)
    assert patient_grade([Reading("OD", None, seen=False)]).eyes[0].finding == "unread"


@pytest.mark.parametrize(("grade", "seen"), [(5, True), (-1, True), (2, False)])
def test_impossible_readings_are_refused(grade, seen):
    with pytest.raises(ValueError, match="no grade"):
        Reading("OD", grade, seen)
