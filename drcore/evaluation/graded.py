"""Labelled photographs graded, or looked up in a table of results."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from drcore.batch.command import GradeOptions, grade
from drcore.errors import DrcoreError, MissingInputError
from drcore.evaluation.labels import Label, check_labels, match_labels, read_labels
from drcore.evaluation.outcomes import read_results
from drcore.photographs.identity import NameRules
from drcore.results.columns import Row
from drcore.sources.find import find_inputs
from drcore.sources.source import PhotographSource
from drcore.text import cell, one_line

__all__ = ["LabelledInputs", "Stopped", "find_labelled", "graded_rows"]


class Stopped(DrcoreError):  # noqa: N818 - not a fault: the run goes on where it was stopped
    """Grading ended early; what is done is kept.

    Attributes:
        code: exit code of `drcore grade`.
    """

    def __init__(self, code: int) -> None:
        super().__init__("Grading stopped early. Run the same command to go on.")
        self.code = code


@dataclass(frozen=True, slots=True)
class LabelledInputs:
    """What the command line names.

    Attributes:
        labels: CSV of labels.
        paths: photographs, folders, archives, URLs; may be empty where `results` is given.
        results: table that `drcore grade` wrote for them; None to grade them.
        weights: folder of the weights, or name of an installed model; None for the bundled ones.
        device: "cpu" or "cuda"; None for CUDA where there is one.
        workers: threads that read photographs.
        quiet: no progress bar.
        skip_invalid: go on without the rows of the labels that cannot be used.
        rules: how eye, patient and date are read from paths.
    """

    labels: Path
    paths: tuple[str, ...] = ()
    results: Path | None = None
    weights: Path | None = None
    device: str | None = None
    workers: int = 1
    quiet: bool = False
    skip_invalid: bool = False
    rules: NameRules = field(default_factory=NameRules)


def find_labelled(
    given: LabelledInputs,
) -> tuple[dict[str, Label], dict[str, PhotographSource], list[str]]:
    """Match labels with photographs, before any of them is graded.

    Args:
        given: of the command line.

    Returns:
        Labels and photographs by the name in the table of results, and sentences about what is
        left out. There are no photographs where only a table of results was given.

    Raises:
        MissingInputError: a file or folder is not there.
        DrcoreError: labels cannot be used; names each by its line.
    """
    labels, problems = read_labels(given.labels)
    inputs = find_inputs(given.paths, given.rules)
    if inputs.missing:
        raise MissingInputError(
            f"{', '.join(inputs.missing[:3])}: there is no such file or folder. Check the path."
        )
    sources = {cell(item.image): item for item in inputs.photographs}
    names = list(sources)
    if given.results is not None:
        names = [row["image"] for row in read_results(given.results)]
    elif not given.paths:
        raise DrcoreError("Give the photographs, or their results with --results.")
    matched, missing = match_labels(given.labels, labels, names)
    problems = sorted([*problems, *missing], key=_line)
    notes = []
    if given.skip_invalid and problems:
        notes = [f"{len(problems)} rows of the labels could not be used and were left out."]
        if not given.quiet:
            print("\n".join(f"drcore: {p}" for p in problems), file=sys.stderr)
        problems = []
    check_labels(given.labels, matched.values(), problems)
    unlabelled = len(names) - len(matched)
    if unlabelled:
        notes.append(f"{unlabelled} photographs have no label and were left out.")
    return matched, sources, notes


@contextmanager
def graded_rows(
    given: LabelledInputs, labels: dict[str, Label], model: str, folder: Path | None
) -> Generator[list[Row]]:
    """Grade labelled photographs, going on where an earlier run stopped, or look them up.

    Args:
        given: of the command line.
        labels: by image.
        model: name and version of the weights.
        folder: keeps the table of results; a temporary one where left out.

    Yields:
        Rows of results.

    Raises:
        Stopped: grading ended early.
        DrcoreError: the results are of another model.
    """
    with tempfile.TemporaryDirectory(prefix="drcore-") as temporary:
        table = given.results
        if table is None:
            table = (folder or Path(temporary)) / "results.csv"
            _make(table.parent)
            code = grade(
                GradeOptions(
                    given.paths, str(table), workers=given.workers, resume=table.exists(),
                    weights=given.weights, device=given.device, quiet=given.quiet,
                    rules=given.rules, only=frozenset(labels),
                )
            )  # fmt: skip
            if code:
                raise Stopped(code)
        rows = [row for row in read_results(table) if row["image"] in labels]
        others = sorted({row.get("model_version", "") for row in rows} - {model})
        if others:
            raise DrcoreError(
                f"{table.name} was made with {one_line(others[0]) or 'an unknown model'}, and the "
                f"weights are {model}. Give the weights that it was made with, or grade again."
            )
        yield rows


def _line(problem: str) -> int:
    number = problem.partition(", line ")[2].partition(":")[0]
    return int(number) if number.isdigit() else 0


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DrcoreError(
            f"{folder.name}: the folder cannot be made ({error.strerror or error}). Check --out."
        ) from error
