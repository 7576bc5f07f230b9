"""Grading on a Ray cluster: one worker for each accelerator or group of cores."""

from __future__ import annotations

import logging
import os
import time
from collections import deque
from collections.abc import Generator, Iterable
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from drcore.batch.pipeline import BATCH, grade_batch
from drcore.batch.signals import handlers_kept
from drcore.errors import DrcoreError
from drcore.grading.grader import Grader
from drcore.grading.installed import open_grader
from drcore.grading.report import GradeReport, log_report
from drcore.results.columns import Row, row_of
from drcore.sources.prefetch import read_ahead
from drcore.sources.source import PhotographSource

__all__ = ["grade_on_cluster"]

CHUNK = 4 * BATCH
"""Photographs that a worker gets at once; whole groups, so that rows equal those of one machine."""

CHUNKS_AT_ONCE = 2
"""Chunks that a worker has: one is begun while the other ends."""

CORES_PER_WORKER = 16
"""Cores of a worker without accelerator, at most."""

DEATHS_ALLOWED = 2
"""Workers that may die over a chunk before it is parted, to find the photograph that kills them."""

WAIT_SECONDS = 300.0
"""Seconds without any worker after which a run gives up; rows so far are kept."""

LOOK_SECONDS = 10.0
"""Seconds between two looks at which machines there are."""

STORE_BYTES = 200 * 1024 * 1024
"""Bytes of shared memory of a cluster that is started for one run: rows are small."""

Result = tuple[Row, GradeReport]


def grade_on_cluster(
    grader: Grader,
    found: Iterable[PhotographSource],
    *,
    weights: Path | None = None,
    address: str | None = None,
    maps: bool = False,
) -> Generator[Result]:
    """Grade photographs on a Ray cluster; the rows are those of `grade_batch`.

    Each machine needs this version of drcore, and must reach the photographs and the weights by
    the same paths or URLs. A chunk whose worker or machine dies goes to another. A photograph over
    which workers die again and again gets a row that says so.

    Args:
        grader: of the same weights; only asked for their version and for failed rows.
        found: what to grade.
        weights: folder of the weights; the bundled ones where left out.
        address: of a cluster, as `ray.init` takes it; where left out, RAY_ADDRESS, or else a
            cluster of this machine alone that ends with the run.
        maps: whether the reports come with their maps; without, they are small.

    Yields:
        Row and report of each photograph, in order.

    Raises:
        DrcoreError: Ray is not installed, there is no cluster, no worker can start, or the networks
            cannot run.
    """
    ray, ours = _connect(address)
    pool = WorkerPool(ray, grader, weights, maps=maps)
    try:
        for row, report in pool.grade(found):
            log_report(report)  # what its worker logs, nobody reads
            yield row, report
    finally:
        pool.stop()
        if ours:
            ray.shutdown()


def _connect(address: str | None) -> tuple[Any, bool]:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to anybody
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    # Of a cluster that is started here: workers as urgent as the command, else whatever else runs
    # on this machine starves them.
    os.environ.setdefault("RAY_worker_niceness", "0")
    try:
        import ray
    except ImportError as error:
        raise DrcoreError(
            "Ray is not installed. Install drcore with its extra 'cluster'."
        ) from error
    if ray.is_initialized():
        return ray, False
    address = address or os.environ.get("RAY_ADDRESS")
    alone: dict[str, Any] = {"object_store_memory": STORE_BYTES, "include_dashboard": False}
    try:
        with handlers_kept():
            ray.init(
                address=address or "local", log_to_driver=False, logging_level=logging.ERROR,
                **({} if address else alone),
            )  # fmt: skip
    except Exception as error:  # ray raises a dozen kinds
        where = f"at {address}" if address else "on this machine"
        raise DrcoreError(
            f"There is no Ray cluster {where} ({type(error).__name__}). Check the address."
        ) from error
    return ray, True


# --- in a worker --------------------------------------------------------------------------------


class _Worker:
    """Lives in a process of its own on some machine of the cluster."""

    def __init__(self, weights: Path | None, threads: int, share: tuple[int, int]) -> None:
        self._weights = weights
        self._threads = threads
        index, count = share
        cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
        if count > 1 and len(cores) >= count:  # the workers of a machine part its cores
            each = len(cores) // count
            os.sched_setaffinity(0, cores[index * each : (index + 1) * each])

    def open(self, version: str, field_degrees: float) -> None:
        """Load the networks; an error here is told, one in `__init__` is not."""
        self._grader = open_grader(self._weights)
        if self._grader.version != version:
            raise DrcoreError(
                f"A machine of the cluster has {self._grader.version}, and this one {version}. "
                "Install the same weights on each."
            )
        self._grader.field_degrees = field_degrees

    def grade(self, found: list[PhotographSource], *, maps: bool) -> list[Result]:
        with closing(read_ahead(found)) as ahead:
            results = list(grade_batch(self._grader, ahead, workers=self._threads))
        return results if maps else [(row, _without_maps(report)) for row, report in results]


def _without_maps(report: GradeReport) -> GradeReport:
    return replace(report, _frame=None, _maps={}, _contrast=np.zeros((0, 0), np.uint8))


# --- in the process that was started ------------------------------------------------------------


@dataclass(slots=True, eq=False)
class _Chunk:
    """Photographs that one worker grades."""

    first: int
    found: list[PhotographSource]
    deaths: int = 0
    suspect: bool = False
    """Whether a worker died over it: then it is graded with nothing beside it, to be sure."""


@dataclass(slots=True, eq=False)
class _Member:
    """A worker as it is known here."""

    actor: Any
    place: tuple[str, int]
    opening: Any
    chunks: dict[Any, _Chunk] = field(default_factory=dict)


class WorkerPool:
    """The workers of a run: hired where machines are, given work, and replaced when they die."""

    def __init__(self, ray: Any, grader: Grader, weights: Path | None, *, maps: bool) -> None:
        self._ray = ray
        self._grader = grader
        self._weights = weights
        self._maps = maps
        self._class = ray.remote(_Worker)
        self._opening: list[_Member] = []
        self._ready: list[_Member] = []
        self._looked = float("-inf")
        self._alive = time.monotonic()
        self._again: deque[_Chunk] = deque()
        self._done: dict[int, Result] = {}

    def grade(self, found: Iterable[PhotographSource]) -> Generator[Result]:
        """Yield results in order."""
        waiting = iter(found)
        taken = told = 0
        more = True
        while more or told < taken:
            self.start()
            while more and taken < told + self._window and self._free_for(None) is not None:
                chunk = _Chunk(taken, list(islice(waiting, CHUNK)))
                taken += len(chunk.found)
                more = len(chunk.found) == CHUNK
                if chunk.found:
                    self._again.append(chunk)
                self._give()
            self._give()
            if told not in self._done and (told < taken or not self._ready):
                self._collect()
            while told in self._done:
                yield self._done.pop(told)
                told += 1

    def stop(self) -> None:
        """End all workers."""
        for member in [*self._opening, *self._ready]:
            self._ray.kill(member.actor)

    @property
    def _window(self) -> int:
        """Photographs that may be ahead of the first that is not done."""
        return 2 * CHUNKS_AT_ONCE * CHUNK * max(1, len(self._ready))

    def _free_for(self, chunk: _Chunk | None) -> _Member | None:
        """Return a worker with room for a chunk, or for another one that is not suspect."""
        most = 0 if chunk is not None and chunk.suspect else CHUNKS_AT_ONCE - 1
        free = [
            member
            for member in self._ready
            if len(member.chunks) <= most
            and not any(other.suspect for other in member.chunks.values())
        ]
        return min(free, key=lambda member: len(member.chunks)) if free else None

    def _give(self) -> None:
        for chunk in list(self._again):
            member = self._free_for(chunk)
            if member is not None:
                self._again.remove(chunk)
                task = member.actor.grade.remote(chunk.found, maps=self._maps)
                member.chunks[task] = chunk

    def start(self) -> None:
        """Start a worker on each part of a machine that has none."""
        now = time.monotonic()
        if self._ready:
            self._alive = now
        elif now - self._alive > WAIT_SECONDS:
            raise DrcoreError(
                "No machine of the cluster has room for a worker. Add machines, then go on with "
                "--resume."
            )
        if now - self._looked < LOOK_SECONDS:
            return
        self._looked = now
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        taken = {member.place for member in [*self._opening, *self._ready]}
        for node in self._ray.nodes():
            count, needs, threads = _shares_of(node["Resources"]) if node["Alive"] else (0, {}, 0)
            for index in range(count):
                place = (node["NodeID"], index)
                if place in taken:
                    continue
                actor = self._class.options(
                    max_concurrency=CHUNKS_AT_ONCE, max_restarts=0, max_task_retries=0, **needs,
                    scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False),
                ).remote(self._weights, threads, (index, count))  # fmt: skip
                opening = actor.open.remote(self._grader.version, self._grader.field_degrees)
                self._opening.append(_Member(actor, place, opening))

    def _collect(self) -> None:
        """Wait for something to happen, and take what is done."""
        tasks = {task: member for member in self._ready for task in member.chunks}
        opening = {member.opening: member for member in self._opening}
        if not tasks and not opening:
            time.sleep(0.5)
            self._looked = float("-inf")
            return
        for task in self._ray.wait([*opening, *tasks], timeout=1.0)[0]:
            member = opening.get(task) or tasks[task]
            lost = self._ray.exceptions
            try:
                results = self._ray.get(task)
            except (
                lost.RayActorError,
                lost.ActorUnschedulableError,
                lost.ObjectLostError,
                lost.WorkerCrashedError,
                lost.NodeDiedError,
                lost.OutOfMemoryError,
            ):
                self.replace(member)
                continue
            except lost.RayTaskError as error:
                raise _describe_failure(error) from error
            if task is member.opening:
                self._opening.remove(member)
                self._ready.append(member)
                continue
            chunk = member.chunks.pop(task, None)
            for number, result in enumerate(results if chunk else []):
                self._done[chunk.first + number] = result  # type: ignore[union-attr]

    def replace(self, member: _Member) -> None:
        """Let a worker go that died, and have its chunks graded by others."""
        for pool in (self._opening, self._ready):
            if member in pool:
                pool.remove(member)
        self._ray.kill(member.actor)
        self._looked = float("-inf")
        for chunk in member.chunks.values():
            chunk.deaths += 1
            chunk.suspect = True
            if chunk.deaths < DEATHS_ALLOWED:
                self._again.appendleft(chunk)
            elif len(chunk.found) > 1:
                self._again.extend(_pieces(chunk))
            else:
                item = chunk.found[0]
                report = self._grader.failed(
                    item.image,
                    f"{item.image}: {DEATHS_ALLOWED} workers died while this photograph was read "
                    "or graded. Export it smaller.",
                )
                self._done[chunk.first] = row_of(report, item.image, item), report
        member.chunks.clear()


def _pieces(chunk: _Chunk) -> list[_Chunk]:
    """Part a chunk over which workers died, to find the photograph that kills them."""
    size, deaths = (BATCH, DEATHS_ALLOWED - 1) if len(chunk.found) > BATCH else (1, 0)
    return [
        _Chunk(chunk.first + at, chunk.found[at : at + size], deaths, suspect=True)
        for at in range(0, len(chunk.found), size)
    ]


def _shares_of(resources: dict[str, float]) -> tuple[int, dict[str, float], int]:
    """Workers of a machine, what each of them needs of it, and threads of each."""
    cores, accelerators = int(resources.get("CPU", 0)), int(resources.get("GPU", 0))
    if not cores:
        return 0, {}, 0
    count = accelerators or -(-cores // CORES_PER_WORKER)
    each = max(1, cores // count)
    needs: dict[str, float] = {"num_cpus": min(each, cores / count)}
    if accelerators:
        needs["num_gpus"] = 1
    return count, needs, each


def _describe_failure(error: Any) -> DrcoreError:
    cause = error.cause
    if isinstance(cause, DrcoreError):
        return DrcoreError(str(cause))
    return DrcoreError(
        f"A worker of the cluster failed ({type(cause).__name__}). Each machine needs this "
        "version of drcore, with the same extras."
    )
