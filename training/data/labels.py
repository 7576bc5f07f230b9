"""The table of graded photographs."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from drcore.errors import DrcoreError

__all__ = ["Labelled", "LabelsError", "data_root", "few_of", "read_labels"]


SPLITS = ("train", "val", "test")


class LabelsError(DrcoreError):
    """The labels file cannot be trained on; the message names the line and the reason."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """One row of the labels file: path of the photograph, grade 0-4, dataset, split, patient."""

    path: Path
    grade: int
    dataset: str
    split: str
    patient: str


def data_root() -> Path:
    """Return the folder of the photographs: `DRCORE_DATA`, by default `../shared/data`."""
    return Path(os.environ.get("DRCORE_DATA", "../shared/data"))


def few_of(rows: Sequence[Labelled], train: int, val: int) -> list[int]:
    """Return indices of the first photographs of both splits, to rehearse a training with."""
    return [
        i
        for split, count in (("train", train), ("val", val))
        for i in [k for k, row in enumerate(rows) if row.split == split][:count]
    ]


def read_labels(table: Path, folder: Path | None = None) -> list[Labelled]:
    """Read a labels file and check that it can be trained on.

    Args:
        table: CSV with the columns image, grade, dataset, split, patient (others are ignored).
        folder: where the photographs are; `images` beside the table where left out.

    Raises:
        LabelsError: a column or a photograph is missing, a grade or a split is unknown, a name
            stands twice, or a patient stands on both sides of a split. Names the line.
    """
    folder = folder if folder is not None else table.parent / "images"
    try:
        with table.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            rows = list(reader)
            columns = set(reader.fieldnames or ())
    except (OSError, UnicodeDecodeError) as error:
        raise LabelsError(f"{table.name}: cannot be read ({error}).") from error
    missing = {"image", "grade", "dataset", "split", "patient"} - columns
    if missing:
        raise LabelsError(f"{table.name}: column(s) missing: {', '.join(sorted(missing))}.")
    labelled: list[Labelled] = []
    seen: dict[str, int] = {}
    side: dict[tuple[str, str], tuple[str, int]] = {}
    for line, row in enumerate(rows, start=2):
        where = f"{table.name}, line {line}"
        checked = _checked(row, where, folder, seen)
        key = (checked.dataset, checked.patient)
        first = side.setdefault(key, (checked.split, line))
        if first[0] != checked.split:
            raise LabelsError(
                f"{where}: patient {key[1]!r} is in {checked.split!r} here and in {first[0]!r} on "
                f"line {first[1]}; keep each patient on one side."
            )
        seen[checked.path.name] = line
        labelled.append(checked)
    if not labelled:
        raise LabelsError(f"{table.name}: there are no rows.")
    return labelled


def _checked(row: dict[str, str], where: str, folder: Path, seen: dict[str, int]) -> Labelled:
    """One row of the table, whose grade, split and photograph can be used."""
    name, grade, split = row["image"] or "", row["grade"] or "", row["split"] or ""
    if grade not in {"0", "1", "2", "3", "4"}:
        raise LabelsError(f"{where}: grade {grade!r} of {name!r} is not an ICDR grade 0-4.")
    if split not in SPLITS:
        raise LabelsError(f"{where}: split {split!r} of {name!r} is not train, val or test.")
    if name in seen:
        raise LabelsError(f"{where}: {name!r} stands already on line {seen[name]}.")
    if not name or Path(name).name != name or not (folder / name).is_file():
        raise LabelsError(f"{where}: there is no photograph {name!r} in the image folder.")
    return Labelled(folder / name, int(grade), row["dataset"] or "", split, row["patient"] or name)
