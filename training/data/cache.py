"""Arrays of prepared photographs on disk: filled once, opened by every later run."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from drcore.errors import DrcoreError, SourceError
from training.data.labels import Labelled, LabelsError

__all__ = ["build_arrays", "cache_key"]

_REPORTED = 10
"""Unreadable photographs named in one error: more are a wrong folder, not bad luck."""


def cache_key(rows: Sequence[Labelled], *settings: float) -> str:
    """Return the name under which arrays of these photographs are kept.

    Args:
        settings: what else decides the pixels.

    Returns:
        16 hexadecimal digits.

    Raises:
        LabelsError: a photograph is not there.
    """
    try:
        named = [(row.path.name, row.path.stat().st_size) for row in rows]
    except OSError as error:
        name = Path(str(error.filename)).name
        raise LabelsError(f"{name} cannot be trained on: {error.strerror}.") from error
    return hashlib.sha256(json.dumps([*settings, *named]).encode()).hexdigest()[:16]


def build_arrays(
    files: Sequence[tuple[Path, tuple[int, ...]]],
    names: Sequence[str],
    make: Callable[[int], Sequence[NDArray[np.uint8]]],
    *,
    workers: int = 1,
    quiet: bool = False,
) -> list[NDArray[np.uint8]]:
    """Open arrays with an entry a photograph, after filling them where they are not there.

    Returns:
        uint8 (N, ...) each, memory-mapped, read-only.

    Raises:
        LabelsError: photographs cannot be read; names the first ten.
        SourceError: the cache cannot be written, or its disk is too full.
    """
    if not all(file.exists() for file, _ in files):
        parts = [file.with_suffix(".part") for file, _ in files]
        shapes = [(len(names), *shape) for _, shape in files]
        arrays = _open(parts, shapes)

        def put(index: int) -> str | None:
            try:
                for array, entry in zip(arrays, make(index), strict=True):
                    array[index] = entry
            except DrcoreError as error:
                return f"{names[index]} cannot be trained on: {error}"
            return None

        wrong = _all_put(put, len(names), workers, quiet=quiet)
        if wrong:
            for part in parts:
                part.unlink()
            raise LabelsError(" ".join(wrong))
        for array, part, (file, _) in zip(arrays, parts, files, strict=True):
            array.flush()
            part.rename(file)  # only when whole: a killed run leaves no half-filled cache behind
    return [np.load(file, mmap_mode="r") for file, _ in files]


def _all_put(
    put: Callable[[int], str | None], count: int, workers: int, *, quiet: bool
) -> list[str]:
    """Prepare every photograph, and return what went wrong with the first of those that failed."""
    # One pass finds all that is wrong: with 88,000 photographs each pass takes hours.
    wrong: list[str] = []
    pool = ThreadPoolExecutor(workers)
    try:
        every = pool.map(put, range(count))
        for problem in tqdm(every, total=count, desc="squares", unit="photograph", disable=quiet):
            if problem is not None:
                wrong.append(problem)
            if len(wrong) == _REPORTED:
                wrong.append("Stopped there: is this the right folder?")
                break
    finally:
        pool.shutdown(cancel_futures=True)  # a killed run must not wait for the whole queue
    return wrong


def _open(
    parts: Sequence[Path], shapes: Sequence[tuple[int, ...]]
) -> list[np.memmap[Any, np.dtype[np.uint8]]]:
    folder = parts[0].parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for part in parts:
            part.unlink(missing_ok=True)  # of a killed run: its space is free again
        # Writing to a mapped file on a full disk kills the process without a word.
        free, needed = shutil.disk_usage(folder).free, sum(math.prod(shape) for shape in shapes)
        if free < needed:
            raise SourceError(
                f"The cache folder {folder.name} needs {needed / 2**30:.1f} GiB and its disk has "
                f"{free / 2**30:.1f} GiB left. Free some, or choose another cache folder."
            )
        return [
            np.lib.format.open_memmap(part, mode="w+", dtype=np.uint8, shape=shape)
            for part, shape in zip(parts, shapes, strict=True)
        ]
    except OSError as error:
        raise SourceError(
            f"The cache folder {folder.name} cannot be used ({error.strerror}). Choose another."
        ) from error
