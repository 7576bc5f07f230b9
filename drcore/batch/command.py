"""`drcore grade`: what is missing in the table is found, graded and written."""

from __future__ import annotations

import sys
import time
from argparse import Namespace
from collections import Counter, deque
from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from tqdm import tqdm

from drcore import logs
from drcore.batch.pipeline import BATCH, grade_batch
from drcore.batch.signals import CODE
from drcore.errors import DrcoreError, PhotographError, SourceError
from drcore.grading.grader import Grader
from drcore.grading.report import GradeReport
from drcore.results.columns import Row
from drcore.results.map_files import map_files, save_map
from drcore.results.table import Table, open_table
from drcore.sources.archives import Member
from drcore.sources.find import find_photographs
from drcore.sources.prefetch import read_ahead
from drcore.sources.remote import is_url, remote_of
from drcore.sources.source import PhotographSource
from drcore.text import clean_name

__all__ = ["grade"]

_MAP_THREADS = 2
"""Threads that write maps; each may hold a map of a whole photograph's pixels."""

Result = tuple[PhotographSource, Row, GradeReport]


def grade(options: Namespace) -> int:
    """Grade photographs into a table.

    Args:
        options: of the command line, see `drcore grade --help`.

    Returns:
        Exit code: 0 done, 130 interrupted.

    Raises:
        DrcoreError: there is nothing to grade, the table or the maps cannot be written, or the
            networks cannot run.
    """
    logs.configure_from_environment()
    if options.verbose or options.log_json:
        logs.configure("debug" if options.verbose else "info", as_json=options.log_json)
    found = find_photographs(options.paths)
    if not found:
        raise SourceError(
            "There is no photograph in what was given. Check the spelling; JPEG, PNG, TIFF, BMP, "
            "WebP and DICOM files are found by their ending."
        )
    if options.overwrite:
        _spare_inputs(options.csv, found)
    with open_table(options.csv, resume=options.resume, overwrite=options.overwrite) as table:
        if not options.overwrite:  # an old table goes when the weights are known to work
            table.start()
        missing = {item.image for item in found if _is_missing(item, table, options.maps)}
        before = sum(table.status(item.image) is not None for item in found)
        started, interrupted = time.monotonic(), False
        if missing:
            grader = _open_grader(options)
            _refuse_other_model(table, grader, options.csv)
            table.start()
            started = time.monotonic()
            try:
                _grade_into(table, grader, found, missing, options)
            except KeyboardInterrupt:
                interrupted = True
        seconds = time.monotonic() - started
        statuses = [table.status(item.image) for item in found]
    _summarise(options, statuses, before, seconds)
    if interrupted:
        _tell(options, "interrupted; the rows so far are kept, go on with --resume.")
        return CODE
    return 0


def _tell(options: Namespace, sentence: str) -> None:
    if options.log_json:
        logs.event("told", "info", says=sentence)
    else:
        print(f"drcore: {sentence}", file=sys.stderr, flush=True)


def _summarise(
    options: Namespace, statuses: Sequence[str | None], before: int, seconds: float
) -> None:
    counts = Counter(statuses)
    kinds = ("graded", "ungradable", "failed")
    if options.log_json:
        numbers = {kind: counts[kind] for kind in kinds}
        logs.event("finished", "info", **numbers, earlier=before, seconds=round(seconds, 1))
    elif not options.quiet:
        done = len(statuses) - counts[None]
        earlier = f" ({before} of them in an earlier run)" if before else ""
        parts = ", ".join(f"{counts[kind]} {kind}" for kind in kinds)
        rate = f"{(done - before) / max(seconds, 1e-3):.1f} photographs per second."
        print(f"{parts}{earlier}; {rate}", file=sys.stderr, flush=True)


def _spare_inputs(csv: str, found: Sequence[PhotographSource]) -> None:
    place = remote_of(csv) if is_url(csv) else Path(csv)
    for item in found:
        file = item.path.archive if isinstance(item.path, Member) else item.path
        if isinstance(file, Path) and isinstance(place, Path):
            try:
                same = file.samefile(place)
            except OSError:  # one of the two does not exist
                continue
        else:
            same = file == place
        if same:
            label = clean_name(place.name)
            raise SourceError(
                f"{label} is one of the inputs and is not replaced. Give another name."
            )


def _is_missing(item: PhotographSource, table: Table, maps: Path | None) -> bool:
    status = table.status(item.image)
    if status is None:
        return True
    if maps is None or status == "failed":
        return False
    return not all(file.is_file() for file in map_files(maps, item.image))


def _groups_with(found: Sequence[PhotographSource], missing: set[str]) -> list[PhotographSource]:
    """Return the groups of photographs of which some row or map is missing.

    Whole groups, because the last digits of a score may depend on what went through the networks
    beside it: this way a continued run gives the rows of an uninterrupted one.
    """
    groups = (found[start : start + BATCH] for start in range(0, len(found), BATCH))
    return [
        item for group in groups if any(item.image in missing for item in group) for item in group
    ]


def _open_grader(options: Namespace) -> Grader:
    if options.engine == "ray":
        if options.device is not None:
            raise DrcoreError("Each worker of a cluster finds its device. Leave --device out.")
        options.device = "cpu"  # what is opened here is not graded with
    if options.device == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise DrcoreError("There is no CUDA device here. Leave --device out, or give cpu.")
    if options.weights is None:
        return Grader.bundled(options.device)
    return Grader.from_folder(options.weights, options.device)


def _refuse_other_model(table: Table, grader: Grader, csv: str) -> None:
    others = sorted(table.model_versions - {grader.version})
    if others:
        raise SourceError(
            f"{clean_name(csv)} holds rows of {others[0]}, and the weights are {grader.version}: "
            "one table, one model. Give another name, or the weights that it was begun with."
        )


def _grade_into(
    table: Table,
    grader: Grader,
    found: Sequence[PhotographSource],
    missing: set[str],
    options: Namespace,
) -> None:
    """Grade what is missing; append each row that the table lacks, after its map is written."""
    todo = _groups_with(found, missing)
    with ExitStack() as stack:
        bar = stack.enter_context(
            tqdm(
                total=len(found),
                initial=len(found) - len(missing),
                unit=" photographs",
                smoothing=0,  # they come in groups: only the average tells the rate
                dynamic_ncols=True,
                disable=options.quiet or options.verbose or options.log_json,
                file=sys.stderr,
            )
        )
        graded = stack.enter_context(_graded(grader, todo, options))
        results = ((item, *result) for item, result in zip(todo, graded, strict=True))
        if options.maps is not None:
            _make_folder(options.maps)
            results = stack.enter_context(closing(_with_maps(results, missing, options)))
        for item, row, _ in results:
            if table.status(item.image) is None:
                table.append(row)
            if item.image in missing:
                bar.update()


@contextmanager
def _graded(
    grader: Grader, todo: Sequence[PhotographSource], options: Namespace
) -> Generator[Iterable[tuple[Row, GradeReport]]]:
    """The stream of rows and reports, ended with its threads or its cluster."""
    if options.engine == "ray":
        from drcore.batch.ray_cluster import grade_on_cluster

        with closing(
            grade_on_cluster(
                grader, todo, weights=options.weights, address=options.ray_address,
                maps=options.maps is not None,
            )
        ) as stream:  # fmt: skip
            yield stream
        return
    with (
        closing(read_ahead(todo)) as coming,
        closing(grade_batch(grader, coming, workers=options.workers, batch=BATCH)) as stream,
    ):
        yield stream


def _with_maps(
    results: Iterable[Result], missing: set[str], options: Namespace
) -> Generator[Result]:
    """Pass results on, in order, each once its map is written by a thread."""
    pool = ThreadPoolExecutor(_MAP_THREADS, thread_name_prefix="drcore-map")
    pending: deque[tuple[Result, Future[None] | None]] = deque()

    def first() -> Result:
        result, saving = pending.popleft()
        try:
            if saving is not None:
                saving.result()
        except PhotographError as error:  # it vanished since: the grade stands all the same
            if options.log_json:
                logs.event("no map", "warning", message=str(error))
            else:
                tqdm.write(f"drcore: no map: {error}", file=sys.stderr)
        return result

    try:
        for result in results:
            item, _, report = result
            wanted = item.image in missing and report.status != "failed"
            pending.append(
                (result, pool.submit(save_map, report, item, options.maps) if wanted else None)
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
