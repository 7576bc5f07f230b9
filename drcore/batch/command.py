"""`drcore grade`: what is missing in the table is found, graded and written."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Generator, Iterable, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tqdm import tqdm

from drcore import logs
from drcore.batch.maps import with_maps
from drcore.batch.origins import Origins, gone_from, origins_of, remember_origins
from drcore.batch.pipeline import BATCH, grade_batch
from drcore.batch.resume import match_rows, removed_file, set_aside
from drcore.batch.signals import CODE
from drcore.batch.summary import Summary, left_out_in_words, print_inputs, reasons_of
from drcore.errors import DrcoreError, MissingInputError, SourceError
from drcore.eye import FIELD_DEGREES
from drcore.grading.grader import Grader
from drcore.grading.installed import open_grader
from drcore.grading.report import GradeReport
from drcore.memory import give_back_large_blocks, limit_pools
from drcore.photographs.identity import NameRules
from drcore.results.columns import Row, with_identity
from drcore.results.map_files import map_files
from drcore.results.table import ResultTable, open_table
from drcore.sources.archives import Member
from drcore.sources.find import Inputs, find_inputs
from drcore.sources.prefetch import read_ahead
from drcore.sources.remote import is_url, remote_of
from drcore.sources.remote_client import was_outage
from drcore.sources.source import PhotographSource
from drcore.text import cell, clean_name

__all__ = ["OUTAGE", "GradeOptions", "grade", "refuse_other_model"]

OUTAGE = 3
"""Exit code of a run that could not fetch some photographs."""


@dataclass(frozen=True, slots=True)
class GradeOptions:
    """What `drcore grade` is asked to do; see its help.

    Attributes:
        paths: photographs, folders, archives and URLs.
        csv: where the table goes.
        maps: folder for the maps; None for none.
        workers: threads that read photographs.
        engine: "local" or "ray".
        ray_address: of a cluster; None for that of the environment, or one of this machine.
        resume, overwrite: continue or replace a table that is there.
        keep_failed: when continuing, keep the rows of photographs that failed.
        keep_missing: when continuing, keep the rows of photographs that are gone.
        spreadsheet: write the CSV for spreadsheets.
        weights: folder of the weights, or name of an installed model; None for the bundled ones.
        device: "cpu" or "cuda"; None for CUDA where there is one.
        field_degrees: width of the field of view where the DICOM header does not give it.
        quiet, verbose, log_json: what is said meanwhile.
        list_only: print what would be read, and end.
        rules: how eye, patient and date are read from paths.
        only: names of the photographs to grade, as the table has them; None for all.
    """

    paths: tuple[str, ...]
    csv: str = ""
    maps: Path | None = None
    workers: int = 1
    engine: Literal["local", "ray"] = "local"
    ray_address: str | None = None
    resume: bool = False
    overwrite: bool = False
    keep_failed: bool = False
    keep_missing: bool = False
    spreadsheet: bool = False
    weights: Path | None = None
    device: str | None = None
    field_degrees: float = FIELD_DEGREES
    quiet: bool = False
    verbose: bool = False
    log_json: bool = False
    list_only: bool = False
    rules: NameRules = field(default_factory=NameRules)
    only: frozenset[str] | None = None


def grade(options: GradeOptions) -> int:
    """Run `drcore grade`.

    Args:
        options: of the command line.

    Returns:
        Exit code: 0 done, 3 some photographs could not be fetched, 130 interrupted.

    Raises:
        MissingInputError: what was named is not there.
        DrcoreError: there is nothing to grade, the table or the maps cannot be written, or the
            networks cannot run.
    """
    logs.configure_from_environment()
    if options.verbose or options.log_json:
        logs.configure("debug" if options.verbose else "info", as_json=options.log_json)
    inputs = find_inputs(options.paths, options.rules)
    if inputs.missing:
        raise MissingInputError(
            f"{', '.join(inputs.missing[:3])}: there is no such file or folder. Check the spelling."
        )
    if options.only is not None:
        inputs.photographs = [i for i in inputs.photographs if cell(i.image) in options.only]
    if options.list_only:
        return print_inputs(inputs)
    _check_inputs(inputs, options)
    limit_pools()
    give_back_large_blocks()
    with open_table(
        options.csv, resume=options.resume, overwrite=options.overwrite,
        spreadsheet=options.spreadsheet,
    ) as table:  # fmt: skip
        run = _Run(options, inputs, table)
        run.grade()
    return _end(run, inputs)


def _check_inputs(inputs: Inputs, options: GradeOptions) -> None:
    if not inputs.photographs:
        raise SourceError(
            f"No photographs found{left_out_in_words(inputs.left_out, ' (', ')')}. Check the path. "
            "Supported: JPEG, PNG, TIFF, BMP, WebP, GIF, JPEG 2000, HEIC, AVIF and DICOM, in "
            "folders, ZIP and TAR files."
        )
    if options.overwrite:
        _spare_inputs(options.csv, inputs.photographs)


def _end(run: _Run, inputs: Inputs) -> int:
    """Say what became of the inputs; returns the exit code."""
    options = run.options
    summary = Summary(
        run.counts, inputs.left_out, run.before, run.seconds, len(run.gone), run.reasons
    )
    if options.log_json:
        summary.log()
    elif not options.quiet:
        print(summary.sentence(options.csv, removed_file(options.csv)), file=sys.stderr, flush=True)
    if run.interrupted:
        done = len(run.found) - run.counts[""]
        _say(options, f"interrupted; {done} of {len(run.found)} rows saved, go on with --resume.")
        return CODE
    if run.outages:
        number = "1 image" if run.outages == 1 else f"{run.outages} images"
        _say(
            options,
            f"{number} could not be fetched (see 'reason'){_untried(run)}. Run the same command "
            "with --resume to go on.",
        )
        return OUTAGE
    return 0


def _untried(run: _Run) -> str:
    return f", {run.counts['']} were not tried" if run.counts[""] else ""


_GIVE_UP = 100
"""Images in a row that cannot be fetched until a run ends: the others wait for the server."""

_HELD = 10_000
"""Rows that are held until they replace others, at most."""


class _Run:
    """One run over what was found, into one table."""

    def __init__(self, options: GradeOptions, inputs: Inputs, table: ResultTable) -> None:
        self.options = options
        self.found = inputs.photographs
        self.table = table
        self.interrupted = False
        self.outages = self.outages_in_a_row = 0
        self.again: set[str] = set()
        self.better: dict[str, Row] = {}
        self.gone: set[str] = set()
        self.before = 0
        self.seconds = 0.0
        self.counts: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()

    def grade(self) -> None:
        """Grade what is missing."""
        options, table = self.options, self.table
        origins = Origins()
        renames: dict[str, str] = {}
        if options.resume:
            origins = origins_of(options.csv)
            matched = match_rows(
                table.csv_file, self.found, origins, keep_failed=options.keep_failed,
                workers=options.workers,
            )  # fmt: skip
            self.found, renames, self.again = matched
            if not options.keep_missing:
                is_gone = gone_from(self.found, origins)
                kept = (image for image in table.csv_file.images if image not in renames)
                self.gone = {image for image in kept if is_gone(image)}
        if not options.overwrite:  # an old table goes when the weights are known to work
            table.start()
        there = set(renames.values())
        missing = {item.image for item in self.found if self._is_missing(item, there)}
        has_row = (cell(i.image) in there or table.status(i.image) is not None for i in self.found)
        self.before = sum(has_row) - len(self.again)
        grader = _open_grader(options) if missing else None
        if grader is not None:
            refuse_other_model(table, grader, options.csv)
            table.start()
        table.csv_file.rename(renames)
        set_aside(table.csv_file, self.gone, options.csv)
        remember_origins(options.csv, self.found, origins, table.csv_file.images)
        began = time.monotonic()
        if grader is not None:
            try:
                self._grade_missing(grader, missing)
            except KeyboardInterrupt:
                self.interrupted = True
        self.seconds = time.monotonic() - began
        if options.resume:
            self._refresh()
            table.csv_file.arrange(item.image for item in self.found)
        self.counts = table.csv_file.count(item.image for item in self.found)
        if self.counts["failed"] and not options.quiet:
            self.reasons = reasons_of(table.csv_file.rows())

    def _is_missing(self, item: PhotographSource, there: set[str]) -> bool:
        status = self.table.status(item.image)
        name = cell(item.image)
        if name in self.again or (status is None and name not in there):
            return True
        if self.options.maps is None or status == "failed":
            return False
        return not all(file.is_file() for file in map_files(self.options.maps, item.image))

    def _take(self, item: PhotographSource, row: Row) -> None:
        """Write a row that the table lacks; hold one that replaces another."""
        name = cell(item.image)
        if self.table.status(item.image) is None:
            self.table.append(row)
        elif name in self.again:
            self.again.remove(name)
            self.better[name] = row
            if len(self.better) >= _HELD:
                self._refresh()
        else:
            return
        is_outage = row["status"] == "failed" and was_outage(row["reason"])
        self.outages += is_outage
        self.outages_in_a_row = self.outages_in_a_row + 1 if is_outage else 0

    def _refresh(self) -> None:
        """Bring the table to what an uninterrupted run would have written."""
        by_name = {cell(item.image): item for item in self.found}

        def refreshed(row: Row) -> Row | None:
            item = by_name.get(row["image"])
            if item is None:
                return None if row["image"] in self.gone else row
            return with_identity(self.better.get(row["image"], row), item)

        self.table.csv_file.refresh(refreshed)
        self.better.clear()

    def _grade_missing(self, grader: Grader, missing: set[str]) -> None:
        """Grade what is missing; append each row that the table lacks, after its map is written."""
        options = self.options
        todo = _groups_with(self.found, missing)
        with ExitStack() as stack:
            bar = stack.enter_context(
                tqdm(
                    total=len(self.found),
                    initial=len(self.found) - len(missing),
                    unit=" images",
                    smoothing=0,  # they come in groups: only the average tells the rate
                    dynamic_ncols=True,
                    disable=options.quiet or options.verbose or options.log_json,
                    file=sys.stderr,
                )
            )
            graded = stack.enter_context(_graded(grader, todo, options))
            results = ((item, *result) for item, result in zip(todo, graded, strict=True))
            if options.maps is not None:
                results = stack.enter_context(
                    closing(with_maps(results, missing, options.maps, log_json=options.log_json))
                )
            for item, row, _ in results:
                self._take(item, row)
                if self.outages_in_a_row >= _GIVE_UP:
                    break
                if item.image in missing:
                    bar.update()


def _say(options: GradeOptions, sentence: str) -> None:
    if options.log_json:
        logs.event("told", "info", says=sentence)
    else:
        print(f"drcore: {sentence}", file=sys.stderr, flush=True)


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


def _groups_with(found: Sequence[PhotographSource], missing: set[str]) -> list[PhotographSource]:
    """Return the groups of photographs of which some row or map is missing.

    Whole groups, because the last digits of a score may depend on what went through the networks
    beside it: this way a continued run gives the rows of an uninterrupted one.
    """
    groups = (found[start : start + BATCH] for start in range(0, len(found), BATCH))
    return [
        item for group in groups if any(item.image in missing for item in group) for item in group
    ]


def _open_grader(options: GradeOptions) -> Grader:
    device = options.device
    if options.engine == "ray":
        if device is not None:
            raise DrcoreError("--device cannot be combined with --engine ray. Leave it out.")
        device = "cpu"  # what is opened here is not graded with
    if device == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise DrcoreError("No CUDA device found. Leave --device out, or give cpu.")
    grader = open_grader(options.weights, device)
    grader.field_degrees = options.field_degrees
    return grader


def refuse_other_model(table: ResultTable, grader: Grader, csv: str) -> None:
    """Raise `SourceError` where a table has rows of another model than the grader's."""
    others = sorted(table.model_versions - {grader.version})
    if others:
        raise SourceError(
            f"{clean_name(csv)} was made with model {others[0]}, and the current model is "
            f"{grader.version}. Give another name, or the weights that it was begun with."
        )


@contextmanager
def _graded(
    grader: Grader, todo: Sequence[PhotographSource], options: GradeOptions
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
