"""The competition's layout, patient-stratified validation, and which eyes belong together."""

from __future__ import annotations

import csv
import os
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.data import Labelled, LabelsError, read_labels

__all__ = ["eye_of", "pair_eyes", "read_any", "read_kaggle", "split_patients"]

_SUFFIXES = (".jpeg", ".jpg", ".png")
_NAME = re.compile(r"[A-Za-z0-9-]+_(left|right)")


def read_any(path: Path) -> list[Labelled]:
    """Read a labels file, or the competition's folder.

    Args:
        path: a CSV file (see `training.data.read_labels`), or a folder with `trainLabels.csv`.

    Returns:
        The rows.

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
        folder: holds `trainLabels.csv` (image, level) and `train/`, and, where they are there,
            `retinopathy_solution.csv` (image, level, Usage) and `test/`.
        validation: share of patients that become the split "val".
        seed: of that choice.

    Returns:
        Rows of the splits "train" and "val" (dataset "kaggle"), then "test" (dataset "public" or
        "private").

    Raises:
        LabelsError: a column or a photograph is missing, a grade or a usage is unknown, a name
            stands twice, or a patient is in both files. Names the line.
    """
    seen: dict[str, str] = {}
    rows = split_patients(_read(folder, "trainLabels.csv", "train", seen), validation, seed)
    if (folder / "retinopathy_solution.csv").exists():
        mine = {row.patient for row in rows}
        test = _read(folder, "retinopathy_solution.csv", "test", seen)
        for line, row in enumerate(test, start=2):
            if row.patient in mine:
                raise LabelsError(
                    f"retinopathy_solution.csv, line {line}: patient {row.patient!r} is in "
                    "trainLabels.csv too; keep each patient on one side."
                )
        rows += test
    return rows


def _read(folder: Path, table: str, part: str, seen: dict[str, str]) -> list[Labelled]:
    """Read one table, a row a line, so that the k-th row stands on line k + 2."""
    try:
        with (folder / table).open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            lines = list(reader)
            columns = set(reader.fieldnames or ())
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise LabelsError(f"{table}: cannot be read ({error}).") from error
    wanted = {"image", "level"} | ({"Usage"} if part == "test" else set())
    if wanted - columns:
        raise LabelsError(f"{table}: column(s) missing: {', '.join(sorted(wanted - columns))}.")
    if not lines:
        raise LabelsError(f"{table}: there are no rows.")
    files = _photographs(folder / part)
    rows = []
    for number, line in enumerate(lines, start=2):
        where = f"{table}, line {number}"
        name, level = line["image"] or "", line["level"] or ""
        if not _NAME.fullmatch(name):
            raise LabelsError(f"{where}: {name!r} is not a name like 10_left or 10_right.")
        if level not in {"0", "1", "2", "3", "4"}:
            raise LabelsError(f"{where}: grade {level!r} of {name!r} is not an ICDR grade 0-4.")
        if name.lower() in seen:
            raise LabelsError(f"{where}: {name!r} stands already in {seen[name.lower()]}.")
        if name not in files:
            raise LabelsError(f"{where}: there is no photograph of {name!r} in {part}/.")
        dataset = "kaggle"
        if part == "test":
            dataset = (line["Usage"] or "").lower()
            if dataset not in {"public", "private"}:
                raise LabelsError(
                    f"{where}: usage {line['Usage']!r} of {name!r} is not Public or Private."
                )
        seen[name.lower()] = where
        patient = name.rpartition("_")[0]
        rows.append(Labelled(files[name], int(level), dataset, part, patient))
    return rows


def _photographs(folder: Path) -> dict[str, Path]:
    """Find the photographs of a folder by name: listed once, there may be 53,576."""
    try:
        with os.scandir(folder) as entries:
            found = sorted(entry.name for entry in entries if entry.is_file())
    except OSError as error:
        raise LabelsError(f"The folder {folder.name}/ cannot be listed ({error}).") from error
    paths = (folder / name for name in found)
    return {path.stem: path for path in paths if path.suffix.lower() in _SUFFIXES}


def split_patients(rows: Sequence[Labelled], share: float, seed: int) -> list[Labelled]:
    """Put a share of the patients aside for validation, alike many of each grade.

    Args:
        rows: photographs; their splits are replaced by "train" and "val".
        share: of the patients, 0-1.
        seed: of the choice.

    Returns:
        The rows in their order; all photographs of a patient have one split. A patient counts by
        the worse eye.
    """
    worst: dict[tuple[str, str], int] = defaultdict(int)
    for row in rows:
        key = (row.dataset, row.patient)
        worst[key] = max(worst[key], row.grade)
    rng = np.random.default_rng(seed)
    aside: set[tuple[str, str]] = set()
    for grade in range(5):
        patients = sorted(key for key, value in worst.items() if value == grade)
        count = round(share * len(patients))
        aside.update(patients[i] for i in rng.permutation(len(patients))[:count])
    return [
        replace(row, split="val" if (row.dataset, row.patient) in aside else "train")
        for row in rows
    ]


def eye_of(name: str) -> str | None:
    """Return "left" or "right" where a file name like `10_left.jpeg` tells, else None."""
    ending = Path(name).stem.lower().rpartition("_")[2]
    return ending if ending in {"left", "right"} else None


def pair_eyes(rows: Sequence[Labelled]) -> NDArray[np.int64]:
    """Find the other eye of each photograph's patient.

    Args:
        rows: photographs; the file name tells the eye.

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
