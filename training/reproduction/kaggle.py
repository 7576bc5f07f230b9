"""The competition's layout, patient-stratified validation, and which eyes belong together."""

from __future__ import annotations

import csv
import os
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from training.data.labels import Labelled, LabelsError, read_labels

__all__ = ["eye_of", "pair_eyes", "read_any", "read_kaggle", "split_patients"]

_SUFFIXES = (".jpeg", ".jpg", ".png")
_NAME = re.compile(r"[A-Za-z0-9-]+_(left|right)")


def read_any(path: Path) -> list[Labelled]:
    """Read a labels file, or the competition's folder.

    Args:
        path: a CSV file (see `read_labels`), or a folder with `trainLabels.csv`.

    Raises:
        LabelsError: it is neither, or cannot be trained on; names the line and the reason.
    """
    if path.is_dir():
        if (path / "trainLabels.csv").is_file():
            return read_kaggle(path)
        if (path / "labels.csv").is_file():
            return read_labels(path / "labels.csv")
        raise LabelsError(
            f"The folder {path.name} has neither labels.csv nor the competition's trainLabels.csv."
        )
    if not path.is_file():
        raise LabelsError(f"{path.name} is not there: give a labels.csv, or a folder with one.")
    return read_labels(path)


def read_kaggle(folder: Path, *, validation: float = 0.1, seed: int = 0) -> list[Labelled]:
    """Read the original files of the competition.

    Args:
        folder: holds `trainLabels.csv` (image, level) and `train/`, and, where both are there,
            `retinopathy_solution.csv` (image, level, Usage) and `test/`.
        validation: share of patients that become the split "val".

    Raises:
        LabelsError: a column or a photograph is missing, a grade or a usage is unknown, a name
            stands twice, or a patient is in both files. Names the line.
    """
    seen: dict[str, str] = {}
    train = [row for _, row in _read(folder, "trainLabels.csv", "train", seen)]
    rows = split_patients(train, validation, seed)
    if (folder / "retinopathy_solution.csv").is_file() and (folder / "test").is_dir():
        mine = {row.patient for row in rows}
        for where, row in _read(folder, "retinopathy_solution.csv", "test", seen):
            if row.patient in mine:
                raise LabelsError(
                    f"{where}: patient {row.patient!r} is in trainLabels.csv too; keep each "
                    "patient on one side."
                )
            rows.append(row)
    return rows


def _read(folder: Path, table: str, part: str, seen: dict[str, str]) -> list[tuple[str, Labelled]]:
    """Read one table; each row comes with the place where it stands, for what is found later."""
    lines = _lines(folder / table, {"image", "level"} | ({"Usage"} if part == "test" else set()))
    files = _photographs(folder / part)
    rows = []
    for number, line in lines:
        where = f"{table}, line {number}"
        name, grade = _name_and_grade(line, where)
        if name.lower() in seen:
            raise LabelsError(f"{where}: {name!r} stands already in {seen[name.lower()]}.")
        if name not in files:
            raise LabelsError(f"{where}: there is no photograph of {name!r} in {part}/.")
        seen[name.lower()] = where
        dataset = _usage(line, where) if part == "test" else "kaggle"
        rows.append((where, Labelled(files[name], grade, dataset, part, name.rpartition("_")[0])))
    return rows


def _lines(table: Path, wanted: set[str]) -> list[tuple[int, dict[str, str | None]]]:
    """Read the lines of a table with their numbers, and check its columns."""
    try:
        # A spreadsheet may have put a byte order mark before the first column's name.
        with table.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            columns = set(reader.fieldnames or ())
            # The reader's own count: it passes over blank lines, and a cell may hold a line end.
            lines = [(reader.line_num, line) for line in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise LabelsError(f"{table.name}: cannot be read ({error}).") from error
    if wanted - columns:
        missing = ", ".join(sorted(wanted - columns))
        raise LabelsError(f"{table.name}: column(s) missing: {missing}.")
    if not lines:
        raise LabelsError(f"{table.name}: there are no rows.")
    return lines


def _name_and_grade(line: dict[str, str | None], where: str) -> tuple[str, int]:
    name, level = line["image"] or "", line["level"] or ""
    if not _NAME.fullmatch(name):  # no folders, no dots: it cannot lead out of the folder
        raise LabelsError(f"{where}: {name!r} is not a name like 10_left or 10_right.")
    if level not in {"0", "1", "2", "3", "4"}:
        raise LabelsError(f"{where}: grade {level!r} of {name!r} is not an ICDR grade 0-4.")
    return name, int(level)


def _usage(line: dict[str, str | None], where: str) -> str:
    usage = line["Usage"] or ""
    if usage.lower() not in {"public", "private"}:
        raise LabelsError(
            f"{where}: usage {usage!r} of {line['image']!r} is not Public or Private."
        )
    return usage.lower()


def _photographs(folder: Path) -> dict[str, Path]:
    """Find the photographs of a folder by name: listed once, there may be 53,576."""
    try:
        with os.scandir(folder) as entries:
            found = sorted(entry.name for entry in entries if entry.is_file())
    except OSError as error:
        raise LabelsError(f"The folder {folder.name}/ cannot be listed ({error}).") from error
    paths = (folder / name for name in found)
    names: dict[str, Path] = {}
    for path in paths:
        if path.suffix.lower() in _SUFFIXES:
            twin = names.setdefault(path.stem, path)
            if twin is not path:
                raise LabelsError(
                    f"{folder.name}/ has both {twin.name!r} and {path.name!r}: it is not clear "
                    "which one is meant. Take one out."
                )
    return names


def split_patients(rows: Sequence[Labelled], share: float, seed: int) -> list[Labelled]:
    """Put a share of the patients aside for validation, the same share of each grade.

    Where a grade's share is no whole number, the grades with the largest remainders give one more,
    so that a small file has its validation patients too.

    Args:
        share: of the patients, 0-1.

    Raises:
        LabelsError: the share is not between 0 and 1.
    """
    if not 0 <= share <= 1:
        raise LabelsError(f"The share {share} of validation patients is not between 0 and 1.")
    worst: dict[tuple[str, str], int] = defaultdict(int)
    for row in rows:
        if row.split == "test":  # a test set that somebody else has fixed stays one
            continue
        key = (row.dataset, row.patient)
        worst[key] = max(worst[key], row.grade)
    rng = np.random.default_rng(seed)
    aside: set[tuple[str, str]] = set()
    strata = [sorted(key for key, value in worst.items() if value == grade) for grade in range(5)]
    for patients, count in zip(strata, _shares(strata, share), strict=True):
        aside.update(patients[i] for i in rng.permutation(len(patients))[:count])
    return [
        row
        if row.split == "test"
        else replace(row, split="val" if (row.dataset, row.patient) in aside else "train")
        for row in rows
    ]


def _shares(strata: Sequence[Sequence[tuple[str, str]]], share: float) -> list[int]:
    """Divide the share of all among the strata, by largest remainder."""
    exact = np.array([share * len(patients) for patients in strata])
    # A product such as .1 x 30 may fall a hair short of the whole number that is meant.
    counts = np.floor(exact + 1e-9)
    left = round(share * sum(map(len, strata))) - int(counts.sum())
    counts[np.argsort(counts - exact, kind="stable")[:left]] += 1
    return [int(count) for count in counts]


def eye_of(name: str) -> Literal["left", "right"] | None:
    """Return "left" or "right" where a file name like `10_left.jpeg` tells, else None."""
    ending = Path(name).stem.lower().rpartition("_")[2]
    return "left" if ending == "left" else "right" if ending == "right" else None


def pair_eyes(rows: Sequence[Labelled]) -> NDArray[np.int64]:
    """Find the other eye of each photograph's patient.

    Returns:
        int64 (N,), place of the other eye among the rows; the own place where there is none. The
        k-th photograph of a left eye belongs to the k-th of the right eye.
    """
    eyes: dict[tuple[str, str], dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for index, row in enumerate(rows):
        eye = eye_of(row.path.name)
        if eye is not None:
            # Public and private parts of the competition's test set may share a patient.
            group = "test" if row.dataset in {"public", "private"} else row.dataset
            eyes[group, row.patient][eye].append(index)
    partner = np.arange(len(rows), dtype=np.int64)
    for both in eyes.values():
        for left, right in zip(both["left"], both["right"], strict=False):
            partner[left], partner[right] = right, left
    return partner
