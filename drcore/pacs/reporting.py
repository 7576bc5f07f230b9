"""What `drcore pacs report` does: documents of photographs, to be sent."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from drcore.batch.pipeline import grade_batch
from drcore.errors import MissingInputError, SourceError
from drcore.export.archive import safe_stem
from drcore.grading.installed import open_grader
from drcore.pacs.grading_queue import write_documents
from drcore.sources.find import find_inputs
from drcore.sources.source import PhotographSource

__all__ = ["report"]


def report(paths: Sequence[str], folder: Path, weights: Path | None, device: str | None) -> int:
    """Grade DICOM photographs and write their documents; returns the exit code."""
    inputs = find_inputs(paths)
    if inputs.missing:
        raise MissingInputError(
            f"{', '.join(inputs.missing[:3])}: there is no such file or folder. Check the spelling."
        )
    todo = [item for item in inputs.photographs if not (folder / _name(item)).is_dir()]
    if not inputs.photographs:
        raise SourceError("No photographs found. Check the path.")
    written = 0
    problems: list[str] = []
    grader = open_grader(weights, device)
    rows = grade_batch(grader, todo, workers=min(8, os.cpu_count() or 1))
    with contextlib.closing(rows):
        for item, (row, graded) in zip(todo, rows, strict=True):
            if graded.status == "failed":
                problems.append(f"{item.image}: {row['reason']}")
                continue
            place = folder / _name(item)
            draft = place.with_name(f".{place.name}.part")
            try:
                problems += write_documents(item, graded, draft)
                if any(draft.iterdir()):
                    draft.rename(place)
                    written += 1
                else:
                    draft.rmdir()
            except OSError as error:
                raise SourceError(
                    f"{place.name} cannot be written ({error.strerror or error}). Free some space, "
                    "or give another --out."
                ) from error
    for problem in problems:
        print(f"drcore: error: {problem}", file=sys.stderr)
    there = len(inputs.photographs) - len(todo)
    print(f"Documents of {written} photographs written, {there} there before.")
    return 1 if problems else 0


def _name(item: PhotographSource) -> str:
    """A folder's name for a photograph, as unique as its name in a table."""
    digest = hashlib.sha256(item.image.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{safe_stem(item.file_name)}-{digest[:12]}"
