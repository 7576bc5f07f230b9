"""Agreement of readers and model, from records small enough to count by hand."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from drcore.agreement.adjudication import StudyRules, reading_statuses
from drcore.agreement.comparison import (
    AGREEMENT_COLUMNS,
    FEWEST_PATIENTS,
    Pair,
    agreement_csv,
    agreement_of,
    final_against_model,
    model_against_readers,
    reader_against_reader,
)
from drcore.agreement.reading_time import map_groups, times_by_reader, times_of
from drcore.agreement.selection import Selection, reader_names, select_decisions
from drcore.agreement.statistics import quadratic_weighted_kappa
from drcore.reviews.correction import IdentityCorrection
from drcore.reviews.decision import Decision

NOON = datetime(2026, 3, 29, 12, tzinfo=UTC)


def read(photograph: int, grade: int | None, reader: str = "AR", **changes: Any) -> Decision:
    machine = changes.pop("machine", 2)
    same = grade is not None and grade == machine
    values: dict[str, Any] = {
        "sha256": f"{photograph:064x}", "image": "a.jpg", "model_version": "m 1",
        "machine_status": "ungradable" if machine is None else "graded", "machine_grade": machine,
        "machine_score": None,
        "action": "ungradable" if grade is None else "agree" if same else "change",
        "grade": grade, "note": "", "reader": reader, "decided_at": NOON, "mode": "open",
        "role": "first", "seconds": 10.0,
    }  # fmt: skip
    return Decision(**(values | changes))


# --- which decisions count ----------------------------------------------------------------------


def test_of_several_answers_of_a_reader_one_counts():
    record = [read(1, 1), read(2, 2), read(1, 3), read(1, 4, "BS"), read(1, 0, " ar ")]
    assert [one.grade for one in select_decisions(record, Selection())] == [1, 2, 4]
    assert [one.grade for one in select_decisions(record, Selection(answer="last"))] == [2, 4, 0]


def test_another_model_makes_another_answer():
    record = [read(1, 1), read(1, 3, model_version="m 2")]
    assert select_decisions(record, Selection()) == record
    assert select_decisions(record, Selection(models=frozenset({"m 2"}))) == record[1:]


def test_masked_reads_that_saw_the_machine_are_left_out_unless_asked_for():
    masked = "blinded first read"
    record = [
        read(1, 1, mode=masked, machine_visible=False),
        read(1, 3, mode=masked, machine_visible=True),
        read(2, 2, "BS", mode="second reader", machine_visible=True),
        read(3, 2, "ZZ", mode="arbitration", role="arbiter", machine_visible=True),
        read(4, 2, mode="open", machine_visible=True),
    ]
    last = Selection(answer="last")
    assert select_decisions(record, last) == [record[0], *record[3:]]
    assert select_decisions(record, replace(last, saw_machine=True)) == record[1:]


def test_filters():
    record = [
        read(1, 1, mode="blinded first read"),
        read(1, 2, mode="open"),
        read(2, 2, "BS", mode=None, decided_at=NOON + timedelta(days=2)),
    ]
    for wanted, found in (
        (Selection(readers=frozenset({"BS"})), record[2:]),
        (Selection(modes=frozenset({"open"})), record[1:2]),
        (Selection(modes=frozenset({None})), record[2:]),
        (Selection(since=date(2026, 3, 31)), record[2:]),
        (Selection(until=date(2026, 3, 30)), record[:1]),
        (Selection(since=date(2026, 3, 31), until=date(2026, 4, 1)), record[2:]),
        (Selection(readers=frozenset({"CT"})), []),
    ):
        assert select_decisions(record, wanted) == found


def test_readers_are_called_as_they_first_wrote_themselves():
    record = [read(1, 1, "bs"), read(2, 1, "Dr.  Adams"), read(3, 1, "dr. adams"), read(4, 1, " ")]
    assert reader_names(record) == {"bs": "bs", "dr. adams": "Dr. Adams", "": "no name"}


# --- pairs --------------------------------------------------------------------------------------


def test_each_reader_and_model_is_a_pair():
    record = [
        read(1, 1, patient="P"), read(2, None, patient="P"), read(3, 2, "BS"),
        read(4, 0, model_version="m 2", machine=None),
    ]  # fmt: skip
    pairs = model_against_readers(record, {})
    assert list(pairs) == [("AR", "m 1"), ("AR", "m 2"), ("BS", "m 1")]
    assert pairs["AR", "m 1"] == [Pair("patient P", 1, 2), Pair("patient P", None, 2)]
    assert pairs["AR", "m 2"] == [Pair(f"photograph {4:064x}", 0, None)]


def test_a_patient_corrected_by_hand_counts():
    record = [read(1, 1, patient="P"), read(2, 1, patient="P")]
    corrected = IdentityCorrection(f"{1:064x}", None, "Q", "AR", NOON)
    unknown = IdentityCorrection(f"{2:064x}", None, None, "AR", NOON)
    (found,) = model_against_readers(
        record, {one.sha256: one for one in (corrected, unknown)}
    ).values()
    assert [one.patient for one in found] == ["patient Q", f"photograph {2:064x}"]


def test_readers_are_paired_on_the_photographs_that_both_read():
    record = [
        read(1, 1, "bs"), read(1, 2, "AR"), read(1, 3, "CT"), read(2, 0, "AR"), read(3, 4, "bs"),
        read(3, 4, "AR"), read(1, 0, "ZZ", role="arbiter", mode="arbitration"),
    ]  # fmt: skip
    pairs = reader_against_reader(record, {})
    grades = {key: [(p.reference, p.given) for p in found] for key, found in pairs.items()}
    assert grades == {
        ("AR", "bs"): [(2, 1), (4, 4)], ("AR", "CT"): [(2, 3)], ("bs", "CT"): [(1, 3)],
    }  # fmt: skip


def test_the_final_grade_is_that_of_several_readers():
    arbiter = read(3, 4, "ZZ", role="arbiter", mode="arbitration")
    record = [
        read(1, 1), read(1, 1, "BS"),  # agreed
        read(2, 2),  # one reader alone
        read(3, 0), read(3, 3, "BS"), arbiter,
        read(4, 0), read(4, 3, "BS"),  # open
    ]  # fmt: skip
    stands = reading_statuses(record, StudyRules())
    pairs = final_against_model(record, stands, {})
    ((key, found),) = pairs.items()
    assert key == ("Final grade", "m 1")
    assert [(one.reference, one.given) for one in found] == [(1, 2), (4, 2)]
    # Where no second read is asked for, one reader's grade is final but no reference.
    alone = reading_statuses(record, StudyRules(second_read="none"))
    assert len(final_against_model(record, alone, {})["Final grade", "m 1"]) == 2


# --- figures ------------------------------------------------------------------------------------


def test_figures_by_hand():
    grades = [(0, 0), (0, 1), (1, 2), (2, 2), (3, 3), (4, 1), (None, 2), (None, None), (3, None)]
    found = agreement_of("AR", "m 1", [Pair(f"p{n}", *pair) for n, pair in enumerate(grades)])
    assert (found.photographs, found.patients) == (6, 6)
    assert (found.one_ungradable, found.both_ungradable) == (2, 1)
    assert found.exact == pytest.approx(3 / 6)
    assert found.sensitivity == pytest.approx(2 / 3)  # 2, 3 and 4 are referable; 4 was missed
    assert found.specificity == pytest.approx(2 / 3)  # 1 was called 2
    assert found.kappa == pytest.approx(
        quadratic_weighted_kappa([0, 0, 1, 2, 3, 4], [0, 1, 2, 2, 3, 1])
    )
    assert found.sensitivity_interval == pytest.approx((0.2077, 0.9385), abs=1e-4)
    assert found.confusion[4, 1] == found.confusion[0, 1] == 1
    assert found.confusion.sum() == 6


def test_the_interval_of_kappa_needs_patients_and_a_difference():
    pairs = [Pair(f"p{n}", n % 5, n % 5 if n else 1) for n in range(FEWEST_PATIENTS)]
    known = agreement_of("a", "b", pairs)
    assert known.kappa_interval[0] < known.kappa <= known.kappa_interval[1] <= 1
    assert known == replace(agreement_of("a", "b", pairs), confusion=known.confusion)  # seeded
    few = agreement_of("a", "b", [replace(one, patient="p0") for one in pairs])
    assert np.isnan(few.kappa_interval).all()
    perfect = agreement_of("a", "b", [replace(one, given=one.reference) for one in pairs])
    assert perfect.kappa == 1
    assert np.isnan(perfect.kappa_interval).all()
    assert perfect.exact_interval[0] == pytest.approx(0.7225, abs=1e-4)


def test_photographs_of_a_patient_are_drawn_together():
    rng = np.random.default_rng(0)
    reference = rng.integers(0, 5, 20).repeat(6)
    given = np.clip(reference + rng.integers(-1, 2, 20).repeat(6), 0, 4)

    def width(patients: list[str]) -> float:
        pairs = [
            Pair(patient, int(one), int(other))
            for patient, one, other in zip(patients, reference, given, strict=True)
        ]
        low, high = agreement_of("a", "b", pairs).kappa_interval
        return high - low

    assert width([f"p{n // 6}" for n in range(120)]) > 1.8 * width([f"p{n}" for n in range(120)])


def test_nothing_in_common_is_unknown_and_not_zero():
    for pairs in ([], [Pair("p", None, 3)]):
        found = agreement_of("a", "b", pairs)
        figures = (found.kappa, found.exact, found.sensitivity, found.specificity)
        assert all(math.isnan(value) for value in figures)
        assert found.photographs == found.patients == 0


def test_csv():
    one = agreement_of("=AR", "m 1", [Pair("p", 1, 2), Pair("q", 3, 3)])
    rows = list(csv.DictReader(io.StringIO(agreement_csv([one])), strict=True))
    assert tuple(rows[0]) == AGREEMENT_COLUMNS
    assert rows[0]["reference"] == "'=AR"
    assert (rows[0]["photographs"], rows[0]["exact"]) == ("2", "0.5000")
    assert (rows[0]["kappa_low"], rows[0]["n_1_2"], rows[0]["n_0_0"]) == ("", "1", "0")


# --- time and map -------------------------------------------------------------------------------


def test_times_are_those_that_were_recorded():
    record = [read(n, 2, seconds=seconds) for n, seconds in enumerate((1.0, 2.0, 3.0, 4.0, None))]
    found = times_of(record)
    assert (found.decisions, found.timed, found.median) == (5, 4, 2.5)
    assert found.quartiles == pytest.approx((1.75, 3.25))
    assert math.isnan(times_of([]).median)
    assert math.isnan(times_of(record[4:]).median)


def test_times_by_reader_and_mode():
    record = [read(1, 2), read(2, 2, "BS", mode=None), read(3, 2, mode="second reader")]
    assert list(times_by_reader(record)) == [
        ("AR", "open"), ("AR", "second reader"), ("BS", "not recorded"),
    ]  # fmt: skip


def test_the_map_seen_or_not():
    record = [
        read(1, 2, overlay_scales=("fused",), seconds=5.0),
        read(2, 3, overlay_scales=("128",), seconds=7.0),
        read(3, 2, overlay_scales=(), seconds=1.0),
        read(4, 2, overlay_scales=None),  # not recorded
        read(5, 2, overlay_scales=("fused",), machine=None),  # nothing to agree with
        read(6, None, overlay_scales=()),  # ungradable is another answer than the model's
    ]
    seen, unseen = map_groups(record)
    assert (seen.seen, seen.decisions, seen.same, seen.times.median) == (True, 2, 0.5, 6.0)
    assert (unseen.seen, unseen.decisions, unseen.same) == (False, 2, 0.5)
    empty, _ = map_groups([])
    assert math.isnan(empty.same)
