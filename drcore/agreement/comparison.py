"""Agreement of readers with the model and with each other, from the record of decisions."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from drcore.agreement.selection import reader_names
from drcore.agreement.statistics import (
    FEWEST_PATIENTS,
    bootstrap_matrices,
    confusion_matrix,
    kappa_of_matrices,
    percentile_interval,
    wilson_interval,
)
from drcore.icdr import REFERABLE
from drcore.text import csv_text, fold

if TYPE_CHECKING:
    from drcore.agreement.adjudication import ReadingStatus
    from drcore.reviews.correction import IdentityCorrection
    from drcore.reviews.decision import Decision

__all__ = [
    "AGREEMENT_COLUMNS",
    "FEWEST_PATIENTS",
    "Agreement",
    "Pair",
    "agreement_csv",
    "agreement_of",
    "final_against_model",
    "model_against_readers",
    "reader_against_reader",
]

AGREEMENT_COLUMNS = (
    "reference", "compared", "photographs", "patients", "one_ungradable", "both_ungradable",
    "kappa", "kappa_low", "kappa_high", "exact", "exact_low", "exact_high",
    "sensitivity", "sensitivity_low", "sensitivity_high",
    "specificity", "specificity_low", "specificity_high",
    *(f"n_{reference}_{given}" for reference in range(5) for given in range(5)),
)  # fmt: skip
"""Columns of `agreement_csv`; n_2_3 counts photographs of grade 2 to the reference and 3 to what
is compared. Shares have four decimals, and are empty where undefined."""

Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Pair:
    """Two grades of one photograph.

    Attributes:
        patient: a key; photographs of one patient are no independent observations.
        reference: 0-4, or None where it was called ungradable.
        given: the same of what is compared.
    """

    patient: str
    reference: int | None
    given: int | None


@dataclass(frozen=True, slots=True)
class Agreement:
    """Agreement of two graders; what is unknown is NaN.

    Attributes:
        reference: name of the grader in the rows.
        compared: name of the grader in the columns.
        photographs: graded by both.
        patients: of these photographs.
        one_ungradable: photographs that only one of them graded.
        both_ungradable: photographs that neither did.
        kappa: quadratic weighted.
        kappa_interval: 95 %, bootstrap over patients; NaN below `FEWEST_PATIENTS`, and where all
            grades are the same.
        exact: share of photographs with the same grade.
        exact_interval: 95 %, Wilson.
        sensitivity: share of the reference's referable photographs that are referable to the other.
        sensitivity_interval: 95 %, Wilson.
        specificity: share of the reference's others that are not referable to the other either.
        specificity_interval: 95 %, Wilson.
        confusion: int64 (5, 5), row: reference, column: compared.
    """

    reference: str
    compared: str
    photographs: int
    patients: int
    one_ungradable: int
    both_ungradable: int
    kappa: float
    kappa_interval: Interval
    exact: float
    exact_interval: Interval
    sensitivity: float
    sensitivity_interval: Interval
    specificity: float
    specificity_interval: Interval
    confusion: NDArray[np.int64]


def model_against_readers(
    decisions: Iterable[Decision], identities: Mapping[str, IdentityCorrection]
) -> dict[tuple[str, str], list[Pair]]:
    """Pair the model's grades with those of each reader, the reference.

    Args:
        decisions: of `select_decisions`; an arbiter is a reader like others.
        identities: corrected by hand, by SHA-256.

    Returns:
        By name of the reader and version of the model.
    """
    given = list(decisions)
    names = reader_names(given)
    pairs: dict[tuple[str, str], list[Pair]] = {}
    for decision in given:
        key = (names[fold(decision.reader)], decision.model_version)
        pair = Pair(_patient(decision, identities), decision.grade, decision.machine_grade)
        pairs.setdefault(key, []).append(pair)
    return dict(sorted(pairs.items()))


def reader_against_reader(
    decisions: Iterable[Decision], identities: Mapping[str, IdentityCorrection]
) -> dict[tuple[str, str], list[Pair]]:
    """Pair the grades that readers gave to the same photographs.

    Args:
        decisions: selected; those of arbiters are left out, as they have seen the others'.
        identities: corrected by hand, by SHA-256.

    Returns:
        By two readers' names, the first in the alphabet being the reference.
    """
    given = [decision for decision in decisions if decision.role != "arbiter"]
    names = reader_names(given)
    by_photograph: dict[str, dict[str, Decision]] = {}
    for decision in given:
        name = names[fold(decision.reader)]
        # The photograph may have been graded by several models: the reader's first answer to it.
        by_photograph.setdefault(decision.sha256, {}).setdefault(name, decision)
    pairs: dict[tuple[str, str], list[Pair]] = {}
    for readings in by_photograph.values():
        for key in combinations(sorted(readings, key=str.casefold), 2):
            one, other = readings[key[0]], readings[key[1]]
            pair = Pair(_patient(one, identities), one.grade, other.grade)
            pairs.setdefault(key, []).append(pair)
    return dict(sorted(pairs.items()))


def final_against_model(
    decisions: Iterable[Decision],
    reading_statuses: Mapping[str, ReadingStatus],
    identities: Mapping[str, IdentityCorrection],
) -> dict[tuple[str, str], list[Pair]]:
    """Pair the model's grades with the final ones of several readers, the reference.

    Args:
        decisions: selected.
        reading_statuses: of each photograph; what one reader alone settled, or nobody yet, is left
            out.
        identities: corrected by hand, by SHA-256.

    Returns:
        By "Final grade" and version of the model.
    """
    pairs: dict[tuple[str, str], dict[str, Pair]] = {}
    for decision in decisions:
        stands = reading_statuses.get(decision.sha256)
        if stands is None or stands.final is None:
            continue
        if len(stands.readings) < 2 and stands.arbiter is None:
            continue
        pair = Pair(_patient(decision, identities), stands.final.grade, decision.machine_grade)
        of_model = pairs.setdefault(("Final grade", decision.model_version), {})
        of_model.setdefault(decision.sha256, pair)
    return {key: list(found.values()) for key, found in sorted(pairs.items())}


def agreement_of(reference: str, compared: str, pairs: Iterable[Pair]) -> Agreement:
    """Measure how far two graders agree.

    Args:
        reference: name of the first.
        compared: name of the second.
        pairs: their grades.

    Returns:
        Figures over the photographs that both graded.
    """
    given = list(pairs)
    both = [
        (one.reference, one.given, one.patient)
        for one in given
        if one.reference is not None and one.given is not None
    ]
    neither = sum(one.reference is None and one.given is None for one in given)
    rows, columns = [row for row, _, _ in both], [column for _, column, _ in both]
    patients = [patient for _, _, patient in both]
    counts = confusion_matrix(rows, columns)
    same, interval = int(np.trace(counts)), (math.nan, math.nan)
    # Resamples of nothing but agreement all agree: an interval of no width would be a false one.
    if len(set(patients)) >= FEWEST_PATIENTS and same < len(both):
        drawn = bootstrap_matrices(rows, columns, patients)
        interval = percentile_interval(kappa_of_matrices(drawn))
    referable, found = counts[REFERABLE:].sum(), counts[REFERABLE:, REFERABLE:].sum()
    others, passed = counts[:REFERABLE].sum(), counts[:REFERABLE, :REFERABLE].sum()
    return Agreement(
        reference=reference, compared=compared, photographs=len(both), patients=len(set(patients)),
        one_ungradable=len(given) - len(both) - neither, both_ungradable=neither,
        kappa=float(kappa_of_matrices(counts)), kappa_interval=interval,
        exact=_share(same, len(both)), exact_interval=wilson_interval(same, len(both)),
        sensitivity=_share(int(found), int(referable)),
        sensitivity_interval=wilson_interval(int(found), int(referable)),
        specificity=_share(int(passed), int(others)),
        specificity_interval=wilson_interval(int(passed), int(others)),
        confusion=counts,
    )  # fmt: skip


def agreement_csv(agreements: Iterable[Agreement]) -> str:
    """Write one row for each agreement as CSV with `AGREEMENT_COLUMNS`, safe in a spreadsheet."""
    return csv_text([_cells(one) for one in agreements], AGREEMENT_COLUMNS)


def _patient(decision: Decision, identities: Mapping[str, IdentityCorrection]) -> str:
    corrected = identities.get(decision.sha256)
    patient = decision.patient if corrected is None else corrected.patient
    # A photograph without a patient stands for itself; the prefixes keep the two kinds apart.
    return f"patient {patient}" if patient else f"photograph {decision.sha256}"


def _share(hits: int, count: int) -> float:
    return hits / count if count else math.nan


def _cells(one: Agreement) -> dict[str, str]:
    cells = {
        "reference": one.reference, "compared": one.compared,
        "photographs": str(one.photographs), "patients": str(one.patients),
        "one_ungradable": str(one.one_ungradable), "both_ungradable": str(one.both_ungradable),
    }  # fmt: skip
    for name in ("kappa", "exact", "sensitivity", "specificity"):
        low, high = getattr(one, f"{name}_interval")
        for suffix, value in (("", getattr(one, name)), ("_low", low), ("_high", high)):
            cells[name + suffix] = f"{value:.4f}" if math.isfinite(value) else ""
    for (reference, given), count in np.ndenumerate(one.confusion):
        cells[f"n_{reference}_{given}"] = str(count)
    return cells
