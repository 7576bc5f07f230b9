"""Evaluation of the gradability check: degraded photographs, false alarms, other pictures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from drcore.agreement.statistics import quadratic_weighted_kappa
from drcore.grading.grader import Grader
from drcore.photographs.reader import read_photograph
from drcore.preprocessing.field_of_view import FieldOfView, find_field_of_view
from drcore.preprocessing.gradability import Quality, assess
from training.data.labels import Labelled
from training.evaluation.degradations import DEGRADATIONS, RGB, Degradation
from training.evaluation.sampling import even_sample
from training.synthetic.non_fundus import not_retinas

__all__ = ["LOST", "judged", "measure", "table"]

LOST = 2 / 3
"""Share of the accuracy whose loss makes a photograph ungradable."""

NOT_RETINA_COUNT = 200


def measure(
    grader: Grader, rows: Sequence[Labelled], *, count: int = 60, seed: int = 0, quiet: bool = False
) -> dict[str, Any]:
    """Measure the gradability check.

    Args:
        rows: labelled photographs; `count` of the split "val" are degraded, all of "val" and "test"
            are judged unchanged.

    Returns:
        By degradation, the levels with kappa and shares caught, and the level that counts; false
        alarms by data set; the share caught of what is no retina.
    """
    chosen = even_sample([row for row in rows if row.split == "val"], count, seed)
    pictures = [read_photograph(row.path).rgb for row in chosen]
    fields = [find_field_of_view(rgb) for rgb in pictures]
    truth = np.array([row.grade for row in chosen])
    untouched = _kappa(grader, pictures, truth)
    result: dict[str, Any] = {
        "model": grader.version,
        "photographs": len(chosen),
        "kappa": untouched,
        "degradations": {},
    }
    with tqdm(total=sum(len(d.levels) for d in DEGRADATIONS.values()), disable=quiet) as bar:
        for name, degradation in DEGRADATIONS.items():
            result["degradations"][name] = _degraded(
                grader, degradation, pictures, fields, truth, untouched, bar
            )
    result["false_alarms"] = _false_alarms(rows)
    result["not_retinas"] = _not_retinas(seed)
    return result


def _degraded(
    grader: Grader,
    degradation: Degradation,
    pictures: Sequence[RGB],
    fields: Sequence[FieldOfView],
    truth: NDArray[np.int64],
    untouched: float,
    bar: tqdm[Any],
) -> dict[str, Any]:
    """Kappa and share caught at each level, and the level that costs two thirds of the kappa."""
    levels, lost_at = [], None
    for level in degradation.levels:
        degraded = [
            degradation.apply(rgb, fov, level) for rgb, fov in zip(pictures, fields, strict=True)
        ]
        verdicts = [judged(rgb) for rgb in degraded]
        entry: dict[str, Any] = {
            "level": level,
            "caught": float(np.mean([not v.gradable for v in verdicts])),
            "by_its_reason": float(np.mean([degradation.word in v.reason for v in verdicts])),
        }
        if lost_at is None:  # beyond that level only the check is of interest
            entry["kappa"] = _kappa(grader, degraded, truth)
            if entry["kappa"] <= (1 - LOST) * untouched:
                lost_at = level
        levels.append(entry)
        bar.update()
    return {"levels": levels, "two_thirds_lost_at": lost_at}


def _not_retinas(seed: int) -> dict[str, Any]:
    """Share caught of pictures that show no retina, and the families that were missed."""
    seen, missed = 0, Counter[str]()
    for family, rgb in not_retinas(NOT_RETINA_COUNT, seed):
        seen += 1
        missed[family] += judged(rgb).gradable
    return {
        "pictures": seen,
        "caught": 1 - missed.total() / seen,
        "missed": {family: number for family, number in missed.items() if number},
    }


def judged(rgb: RGB, reduction: int = 1) -> Quality:
    """Return what the check says of pixels, the way the grader asks it."""
    return assess(rgb, find_field_of_view(rgb), reduction)


def _kappa(grader: Grader, pictures: Sequence[RGB], truth: NDArray[np.int64]) -> float:
    """Kappa by the score alone: what the check would turn away counts too."""
    given = [grader.grade_of(report.score) for report in grader.grade_many(pictures)]
    return quadratic_weighted_kappa(truth, np.array(given))


def _false_alarms(rows: Sequence[Labelled]) -> dict[str, Any]:
    alarms: dict[str, Any] = {}
    for row in rows:
        if row.split == "train":
            continue
        photograph = read_photograph(row.path, for_grading=True)
        verdict = judged(photograph.rgb, photograph.reduction)
        entry = alarms.setdefault(f"{row.dataset}/{row.split}", {"photographs": 0, "reasons": {}})
        entry["photographs"] += 1
        if not verdict.gradable:
            entry["reasons"][verdict.reason] = entry["reasons"].get(verdict.reason, 0) + 1
    for entry in alarms.values():
        entry["share"] = sum(entry["reasons"].values()) / entry["photographs"]
    return alarms


def table(result: dict[str, Any]) -> str:
    """Lay out the result of `measure` as text.

    Args:
        result: what `measure` returned.
    """
    lines = [
        f"{result['model']}: {result['photographs']} photographs, kappa {result['kappa']:.3f} "
        f"untouched; two thirds lost at {(1 - LOST) * result['kappa']:.3f}",
        f"{'degradation':<15}{'level':>7}{'kappa':>8}{'caught':>8}{'by its reason':>15}",
    ]
    for name, entry in result["degradations"].items():
        for line in entry["levels"]:
            kappa = f"{line['kappa']:.3f}" if "kappa" in line else ""
            mark = "  <- two thirds lost" * (line["level"] == entry["two_thirds_lost_at"])
            lines.append(
                f"{name:<15}{line['level']:>7g}{kappa:>8}{line['caught']:>8.3f}"
                f"{line['by_its_reason']:>15.3f}{mark}"
            )
    lines.append("")
    for group, entry in sorted(result["false_alarms"].items()):
        reasons = ", ".join(f"{count} {why}" for why, count in entry["reasons"].items())
        lines.append(
            f"untouched {group}: {entry['share']:.3f} of {entry['photographs']} called ungradable"
            + f" ({reasons})" * bool(reasons)
        )
    other = result["not_retinas"]
    missed = ", ".join(f"{count} {family}" for family, count in other["missed"].items())
    lines.append(
        f"no retina: {other['caught']:.3f} of {other['pictures']} caught"
        + f" (missed: {missed})" * bool(missed)
    )
    return "\n".join(lines)
