"""`drcore evaluate`: labelled photographs are graded, and the model is measured on them."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from drcore.errors import DrcoreError
from drcore.evaluation.disagreements import add_pictures
from drcore.evaluation.graded import LabelledInputs, Stopped, find_labelled, graded_rows
from drcore.evaluation.outcomes import outcomes_of
from drcore.evaluation.report import Evaluation, evaluate_outcomes, page, text, to_json
from drcore.files import replacing
from drcore.grading.installed import open_grader, version_and_certainty

__all__ = ["evaluate"]


def evaluate(given: LabelledInputs, out: Path | None) -> int:
    """Run `drcore evaluate`.

    Args:
        given: photographs, labels and weights.
        out: folder for `results.csv`, `evaluation.json` and `report.html`; None to print only.

    Returns:
        Exit code: 0 done, 3 some photographs could not be fetched, 130 interrupted.

    Raises:
        MissingInputError: what was named is not there.
        DrcoreError: the labels cannot be used, or the report cannot be written.
    """
    labels, sources, notes = find_labelled(given)
    model, certainty = version_and_certainty(given.weights)
    try:
        with graded_rows(given, labels, model, out) as rows:
            outcomes = outcomes_of(rows, labels, certainty)
    except Stopped as stopped:
        print(f"drcore: {stopped}", file=sys.stderr)
        return stopped.code
    evaluation = evaluate_outcomes(outcomes, model, notes)
    if out is not None:
        if sources and evaluation.worst:
            grader = open_grader(given.weights, given.device)
            worst = add_pictures(evaluation.worst, sources, grader)
            evaluation = replace(evaluation, worst=worst)
        _write(evaluation, out)
    print(text(evaluation))
    return 0


def _write(evaluation: Evaluation, out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, content in (
            ("evaluation.json", to_json(evaluation)),
            ("report.html", page(evaluation)),
        ):
            with replacing(out / name) as part:
                part.write_text(content, encoding="utf-8")
    except OSError as error:
        raise DrcoreError(
            f"{out.name}: the report cannot be written ({error.strerror or error}). Check the "
            "folder and the free space."
        ) from error
