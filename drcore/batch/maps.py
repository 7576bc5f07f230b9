"""The maps of a batch, written by threads while the next photographs are graded."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from tqdm import tqdm

from drcore import logs
from drcore.batch.pipeline import BATCH
from drcore.errors import PhotographError, SourceError
from drcore.grading.report import GradeReport
from drcore.results.columns import Row
from drcore.results.map_files import save_map
from drcore.sources.source import PhotographSource

__all__ = ["with_maps"]

_MAP_THREADS = 2
"""Threads that write maps: they read each photograph again."""

Result = tuple[PhotographSource, Row, GradeReport]


def with_maps(
    results: Iterable[Result], missing: set[str], folder: Path, *, log_json: bool
) -> Generator[Result]:
    """Pass results on, in order, each once its map is written by a thread."""
    _make_folder(folder)
    pool = ThreadPoolExecutor(_MAP_THREADS, thread_name_prefix="drcore-map")
    pending: deque[tuple[Result, Future[None] | None]] = deque()

    def first() -> Result:
        result, saving = pending.popleft()
        try:
            if saving is not None:
                saving.result()
        except PhotographError as error:  # it vanished since: the grade stands all the same
            if log_json:
                logs.event("no map", "warning", message=str(error))
            else:
                tqdm.write(f"drcore: no map: {error}", file=sys.stderr)
        return result

    try:
        for result in results:
            item, _, report = result
            wanted = item.image in missing and report.status != "failed"
            pending.append(
                (result, pool.submit(save_map, report, item, folder) if wanted else None)
            )
            if len(pending) > BATCH:  # one group is written while the next is graded
                yield first()
        while pending:
            yield first()
    finally:
        pool.shutdown(cancel_futures=True)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SourceError(
            f"{folder}: the folder for maps cannot be made ({error.strerror}). Give another one."
        ) from error
