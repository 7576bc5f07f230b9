"""The command line: `drcore grade` for folders of photographs, `drcore model` for the weights."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter, deque
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from drcore import __version__
from drcore.errors import DrcoreError, PhotographError, SourceError

# Everything else is imported where it is used: `drcore --help` answers at once.
if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Sequence
    from concurrent.futures import Future

    from tqdm import tqdm

    from drcore.batch import CsvFile, Found, Row
    from drcore.grader import Grader, GradeReport

__all__ = ["main"]

_MAP_THREADS = 2
"""Threads that write maps; each may hold a map of a whole photograph's pixels."""

_GRADE_HELP = """\
Grade photographs and write one CSV row for each.

PATH is a photograph or a folder, which is walked recursively (hidden files, links to folders and
links out of the folder are skipped). What cannot be read becomes a row with the status "failed"
and the reason. An ungradable photograph has a score, but no grade.

The CSV grows by whole lines, so it is valid whenever the run ends. With --resume the rows that it
has are kept and only the missing ones are added.

--maps DIR writes two files for each photograph that could be read, NAME-HASH.drcore-map.jpg (the
fused map over the photograph) and NAME-HASH.drcore-map.npz: ram (float32, grades above a healthy
retina, NaN where there is no retina), x0, y0, step (centre of its first cell and distance of the
cells, in pixels of the photograph), width, height, score. NAME and HASH come from the image
column. Folder walks skip these overlays.
"""
_GRADE_EPILOG = """\
Exit code: 0 when every photograph has its row, failed ones included; 1 when the CSV or the maps
cannot be written or the weights cannot be used; 2 for a wrong command line; 130 when interrupted.

Research use only: decision support, not a medical device.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: arguments without the program's name; from the process where left out.

    Returns:
        Exit code: 0 done, 1 failed with a sentence on stderr, 130 interrupted.

    Raises:
        SystemExit: with 2 for a wrong command line, with 0 after --help and --version.
    """
    options = _parser().parse_args(argv)
    try:
        return int(options.run(options))
    except DrcoreError as error:
        _say(f"drcore: error: {error}")
        return 1
    except KeyboardInterrupt:
        _say("drcore: interrupted.")
        return 130


def _parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="drcore",
        description="Grade diabetic retinopathy in fundus photographs. Research use only.",
    )
    parser.add_argument("--version", action="version", version=f"drcore {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    grade = commands.add_parser(
        "grade",
        help="grade photographs into a CSV",
        description=_GRADE_HELP,
        epilog=_GRADE_EPILOG,
        formatter_class=raw,
    )
    grade.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="photograph or folder")
    grade.add_argument("--csv", type=Path, required=True, metavar="OUT.csv", help="where to")
    grade.add_argument("--maps", type=Path, metavar="DIR", help="write the fused maps there")
    grade.add_argument(
        "--workers",
        type=_count,
        default=min(8, os.cpu_count() or 1),
        metavar="N",
        help="threads that read photographs (default: one a core, at most 8)",
    )
    existing = grade.add_mutually_exclusive_group()
    existing.add_argument("--resume", action="store_true", help="continue an existing CSV")
    existing.add_argument("--overwrite", action="store_true", help="replace an existing CSV")
    grade.add_argument(
        "--weights", type=Path, metavar="FOLDER", help="use these weights, not the bundled ones"
    )
    grade.add_argument("--device", choices=("cpu", "cuda"), help="default: CUDA where there is one")
    grade.add_argument("--quiet", action="store_true", help="no progress bar and no summary")
    grade.set_defaults(run=_grade)

    model = commands.add_parser("model", help="tell what the weights are and how good they are")
    model.add_argument(
        "--weights", type=Path, metavar="FOLDER", help="of these weights, not the bundled ones"
    )
    model.set_defaults(run=_model)
    return parser


def _count(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if not 1 <= number <= 256:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 to 256")
    return number


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


# --- drcore grade -------------------------------------------------------------------------------


def _grade(options: argparse.Namespace) -> int:
    from drcore.batch import CsvFile, find_photographs

    found = find_photographs(options.paths)
    if not found:
        raise SourceError(
            "There is no photograph in the folders given. Check their spelling; JPEG, PNG, TIFF, "
            "BMP and WebP files are found by their ending."
        )
    if options.overwrite:
        _spare_inputs(options.csv, found)
    with CsvFile(options.csv, resume=options.resume, overwrite=options.overwrite) as table:
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
    if not options.quiet:
        _say(_summary(statuses, before, seconds))
    if interrupted:
        _say("drcore: interrupted; the rows so far are kept, go on with --resume.")
        return 130
    return 0


def _spare_inputs(csv: Path, found: Sequence[Found]) -> None:
    for item in found:
        try:
            same = item.path.samefile(csv)
        except OSError:  # one of the two does not exist
            continue
        if same:
            raise SourceError(f"{csv} is one of the inputs and is not replaced. Give another name.")


def _is_missing(item: Found, table: CsvFile, maps: Path | None) -> bool:
    from drcore.batch import map_files

    status = table.status(item.image)
    if status is None:
        return True
    if maps is None or status == "failed":
        return False
    return not all(file.is_file() for file in map_files(maps, item.image))


def _groups_with(found: Sequence[Found], missing: set[str]) -> list[Found]:
    """Return the groups of photographs of which some row or map is missing.

    Whole groups, because the last digits of a score may depend on what went through the networks
    beside it: this way a continued run gives the rows of an uninterrupted one.
    """
    from drcore.batch import BATCH

    groups = (found[start : start + BATCH] for start in range(0, len(found), BATCH))
    return [
        item for group in groups if any(item.image in missing for item in group) for item in group
    ]


def _open_grader(options: argparse.Namespace) -> Grader:
    from drcore.grader import Grader

    if options.device == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise DrcoreError("There is no CUDA device here. Leave --device out, or give cpu.")
    if options.weights is None:
        return Grader.bundled(options.device)
    return Grader.from_folder(options.weights, options.device)


def _refuse_other_model(table: CsvFile, grader: Grader, csv: Path) -> None:
    others = sorted(table.model_versions - {grader.version})
    if others:
        raise SourceError(
            f"{csv} holds rows of {others[0]}, and the weights are {grader.version}: one table, "
            "one model. Give another name, or the weights that it was begun with."
        )


def _grade_into(
    table: CsvFile,
    grader: Grader,
    found: Sequence[Found],
    missing: set[str],
    options: argparse.Namespace,
) -> None:
    """Grade what is missing; append each row that the table lacks, after its map is written."""
    from tqdm import tqdm

    from drcore.batch import BATCH, grade_batch

    todo = _groups_with(found, missing)
    with ExitStack() as stack:
        bar = stack.enter_context(
            tqdm(
                total=len(found),
                initial=len(found) - len(missing),
                unit=" photographs",
                smoothing=0,  # they come in groups: only the average tells the rate
                dynamic_ncols=True,
                disable=options.quiet,
                file=sys.stderr,
            )
        )
        stream = grade_batch(grader, todo, workers=options.workers, batch=BATCH)
        graded = stack.enter_context(closing(stream))
        results = ((item, *result) for item, result in zip(todo, graded, strict=True))
        if options.maps is not None:
            _make_folder(options.maps)
            results = stack.enter_context(closing(_with_maps(results, missing, options.maps, bar)))
        for item, row, _ in results:
            if table.status(item.image) is None:
                table.append(row)
            if item.image in missing:
                bar.update()


Result = tuple["Found", "Row", "GradeReport"]


def _with_maps(
    results: Iterable[Result], missing: set[str], folder: Path, bar: tqdm[NoReturn]
) -> Generator[Result]:
    """Pass results on, in order, each once its map is written by a thread."""
    from concurrent.futures import ThreadPoolExecutor

    from drcore.batch import BATCH, save_map

    pool = ThreadPoolExecutor(_MAP_THREADS, thread_name_prefix="drcore-map")
    pending: deque[tuple[Result, Future[None] | None]] = deque()

    def first() -> Result:
        result, saving = pending.popleft()
        try:
            if saving is not None:
                saving.result()
        except PhotographError as error:  # it vanished since: the grade stands all the same
            bar.write(f"drcore: no map: {error}", file=sys.stderr)
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


def _summary(statuses: Sequence[str | None], before: int, seconds: float) -> str:
    counts = Counter(statuses)
    done = len(statuses) - counts[None]
    earlier = f" ({before} of them in an earlier run)" if before else ""
    parts = ", ".join(f"{counts[status]} {status}" for status in ("graded", "ungradable", "failed"))
    return f"{parts}{earlier}; {(done - before) / max(seconds, 1e-3):.1f} photographs per second."


# --- drcore model -------------------------------------------------------------------------------


def _model(options: argparse.Namespace) -> int:
    from drcore.checkpoint import bundled_folder, read_manifest

    manifest = read_manifest(options.weights or bundled_folder())
    lines = [f"{manifest.get('name')} {manifest.get('version')}"]
    for key in ("created", "intended_use", "licence", "thresholds", "certainty", "metrics"):
        lines += _outline(key, manifest.get(key), "")
    print("\n".join(lines))
    return 0


def _outline(key: str, value: object, indent: str) -> list[str]:
    """Lines of a manifest entry, nested ones indented."""
    label = f"{indent}{key.replace('_', ' ')}:"
    if isinstance(value, dict) and value:
        inner = [_outline(str(k), v, f"{indent}  ") for k, v in value.items()]
        return [label, *(line for lines in inner for line in lines)]
    if isinstance(value, list):
        value = ", ".join(str(part) for part in value)
    return [f"{label} {'not given' if value in ('', None, {}) else value}"]
