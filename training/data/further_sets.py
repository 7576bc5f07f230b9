"""Photographs beside the table of grades: healthy eyes of other cameras, and microaneurysms."""

from __future__ import annotations

import csv
import hashlib
from pathlib import Path

from training.data.labels import Labelled, LabelsError
from training.data.lesion_masks import Annotated

__all__ = ["read_healthy", "read_microaneurysms", "share_of"]


def read_healthy(table: Path) -> list[Labelled]:
    """Read the table of healthy eyes; the patient's name decides on which side an eye is.

    Args:
        table: CSV with the columns image, grade and patient; the photographs are in the folder
            `healthy` beside it.

    Returns:
        The photographs, of the dataset "healthy"; a third of the patients is "val", the rest
        "train".

    Raises:
        LabelsError: the table cannot be read, or lacks a column.
    """
    return [
        Labelled(
            table.parent / "healthy" / row["image"], int(row["grade"]), "healthy",
            "val" if share_of(row["patient"], 3) else "train", row["patient"],
        )
        for row in _rows(table, ("image", "grade", "patient"))
    ]  # fmt: skip


def read_microaneurysms(table: Path) -> list[Annotated]:
    """Read the photographs of e-ophtha-MA that are trained on.

    Args:
        table: CSV with the columns image and split; the photographs and their masks are in the
            folder `eophtha` beside it.

    Raises:
        LabelsError: the table cannot be read, or lacks a column.
    """
    folder = table.parent / "eophtha"
    return [
        Annotated(
            Path(row["image"]).stem, folder / row["image"],
            folder / f"{Path(row['image']).stem}_mask.png", frozenset({"MA"}), clean=False,
            where=f"{table.name}, {row['image']}",
        )
        for row in _rows(table, ("image", "split"))
        if row["split"] == "train"
    ]  # fmt: skip


def share_of(key: str, parts: int) -> bool:
    """Return whether a patient belongs to the one in `parts` that its name decides."""
    return int(hashlib.sha256(key.encode()).hexdigest(), 16) % parts == 0


def _rows(table: Path, columns: tuple[str, ...]) -> list[dict[str, str]]:
    try:
        with table.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise LabelsError(f"{table.name}: cannot be read ({error}).") from error
    for line, row in enumerate(rows, start=2):
        if (
            any(not row.get(column) for column in columns)
            or Path(row["image"]).name != row["image"]
        ):
            raise LabelsError(f"{table.name}, line {line}: {', '.join(columns)} are needed.")
    return rows
