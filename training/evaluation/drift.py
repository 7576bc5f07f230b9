"""Photographs graded as they are and changed, kept as tables of results, for the monitoring."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from drcore.errors import DrcoreError
from drcore.evaluation.outcomes import read_results
from drcore.grading.grader import Grader
from drcore.photographs.photograph import Photograph
from drcore.photographs.reader import read_photograph
from drcore.preprocessing.field_of_view import find_field_of_view
from drcore.results.columns import COLUMNS, Row, row_of
from drcore.text import csv_text
from training.data.labels import Labelled
from training.evaluation.degradations import CAMERA_CHANGES
from training.evaluation.robustness import UNTOUCHED
from training.evaluation.sampling import even_sample

__all__ = ["graded_changes"]

_TOGETHER = 8
"""Photographs that are graded and written together."""


def graded_changes(
    grader: Grader,
    rows: Sequence[Labelled],
    folder: Path,
    *,
    count: int,
    changed: int,
    quiet: bool,
    seed: int = 0,
) -> dict[str, list[Row]]:
    """Grade validation photographs as they are, and some of them under each change as well.

    Args:
        grader: of the bundle.
        rows: labelled photographs; those of the split "val" are used, data sets and grades as even
            as they can be.
        folder: of the tables, one a change; what is there is not graded again.
        count: photographs that are graded as they are.
        changed: of these, those that are graded under each change too.
        quiet: no progress bar.
        seed: of the choice of photographs.

    Returns:
        Rows of results by change, "untouched" first.

    Raises:
        DrcoreError: there is no such photograph, or a table in the folder is of another model.
    """
    chosen = even_sample([row for row in rows if row.split == "val"], count, seed)
    if not chosen:
        raise DrcoreError("No photograph has the split 'val': there is nothing to measure.")
    folder.mkdir(parents=True, exist_ok=True)
    found: dict[str, list[Row]] = {}
    for name in (UNTOUCHED, *CAMERA_CHANGES):
        file = folder / f"{name.replace(', ', ' ').replace(' ', '-')}.csv"
        found[name] = read_results(file) if file.exists() else []
        if any(row["model_version"] != grader.version for row in found[name]):
            raise DrcoreError(f"{file.name} is of another model. Give another folder.")
        known = {row["image"] for row in found[name]}
        wanted = chosen if name == UNTOUCHED else chosen[:changed]
        missing = [row for row in wanted if row.path.name not in known]
        for start in tqdm(
            range(0, len(missing), _TOGETHER), desc=name, disable=quiet or not missing
        ):
            few = missing[start : start + _TOGETHER]
            reports = grader.grade_many(_photograph(row, name) for row in few)
            found[name] += [
                row_of(one, row.path.name) for one, row in zip(reports, few, strict=True)
            ]
            file.write_text(csv_text(found[name], COLUMNS), encoding="utf-8")
    return found


def _photograph(row: Labelled, name: str) -> Photograph:
    photograph = read_photograph(row.path, for_grading=True)
    if name == UNTOUCHED:
        return photograph
    rgb = CAMERA_CHANGES[name](photograph.rgb, find_field_of_view(photograph.rgb))
    if rgb.shape == photograph.rgb.shape:  # of as many pixels as before, perhaps read reduced
        return replace(photograph, rgb=rgb)
    height, width = rgb.shape[:2]
    return replace(photograph, rgb=rgb, width=width, height=height, reduction=1)
