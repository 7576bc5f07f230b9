"""How fast a folder becomes a table, and how much of that is lost to waiting.

    python -m tests.benchmarks.batch [--json] [--photographs FOLDER] [--fundusprep COMMAND]

Three rates in photographs per second, on the same photographs in the same run, alternating:

* decode: read, field of view, quality, warp to squares; all that comes before the networks;
* network: the networks at all scales with their mirror images, on squares that are ready;
* end to end: file to CSV row, with the fused map computed.

overlap_efficiency is end to end over the rate at which both floors would be met with perfect
overlap. On a CPU both parts want the same cores, and each floor was measured with all of them busy,
so a photograph takes 1 / decode + 1 / network seconds at best:

    perfect = 1 / (1 / decode + 1 / network) = cores / (decode + network CPU seconds)

On a GPU the parts have processors of their own, and perfect = min(decode, network). The fused map
and the row belong to neither floor: they count as loss.

The baseline is the pipeline that one would write from parts today, see `tests.benchmarks.baseline`.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from statistics import median

from drcore.batch.pipeline import BATCH, grade_batch
from drcore.grading.grader import Grader, Prepared
from drcore.results.csv_file import CsvFile
from drcore.sources.source import PhotographSource
from tests.benchmarks import baseline
from tests.benchmarks.photographs import make_photographs, photographs_in

Timed = tuple[float, float]
"""Seconds on the clock, and CPU seconds of this process."""

PASSES = 3
"""Times that each photograph is graded in a round: the last one, at which cores fall idle, weighs
less."""


def timed(work: Callable[[], None]) -> Timed:
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def prepare(grader: Grader, files: list[Path]) -> list[Prepared]:
    attempted = [grader.attempt(file) for file in files]
    prepared = [item for item in attempted if isinstance(item, Prepared)]
    if len(prepared) < len(files):
        raise SystemExit("Among the photographs are files that cannot be read.")
    return prepared


def decode(grader: Grader, files: list[Path], pool: ThreadPoolExecutor) -> None:
    for _ in pool.map(grader.attempt, files):  # not kept: that would cost memory, and so time
        pass


def network(grader: Grader, prepared: list[Prepared], pool: ThreadPoolExecutor) -> None:
    if grader.runner.prefers_single:
        list(pool.map(lambda item: grader.finish([item]), prepared))
        return
    for first in range(0, len(prepared), BATCH):
        grader.finish(prepared[first : first + BATCH])


def end_to_end(grader: Grader, files: list[Path], workers: int, folder: Path) -> None:
    found = [PhotographSource(file, f"{index}/{file.name}") for index, file in enumerate(files)]
    with CsvFile(folder / "rows.csv", overwrite=True) as table:
        for row, report in grade_batch(grader, found, workers=workers):
            report.focused("fused")
            table.append(row)


def measure(
    files: list[Path], *, device: str, workers: int, rounds: int, prep: str | None, folder: Path
) -> dict[str, object]:
    """Measure all rates.

    Args:
        files: photographs.
        device: "cpu" or "cuda".
        workers: threads that read, as `drcore grade --workers`.
        rounds: how often each rate is measured; medians are reported.
        prep: the command `fundusprep`, None where it is not there.
        folder: for temporary files.

    Returns:
        What is printed.
    """
    grader = Grader.bundled(device)
    prepared = prepare(grader, files) * PASSES
    many = files * PASSES
    times: dict[str, list[Timed]] = {"decode": [], "network": [], "end_to_end": []}
    with ThreadPoolExecutor(workers) as pool:
        network(grader, prepared[: 4 * workers], pool)  # warm
        for _ in range(rounds):
            times["decode"].append(timed(partial(decode, grader, many, pool)))
            times["network"].append(timed(partial(network, grader, prepared, pool)))
            times["end_to_end"].append(timed(partial(end_to_end, grader, many, workers, folder)))
    wall = {name: median(w for w, _ in found) / len(many) for name, found in times.items()}
    cpu = {name: median(c for _, c in found) / len(many) for name, found in times.items()}
    floor = wall["decode"] + wall["network"]
    perfect = 1 / (floor if grader.device == "cpu" else max(wall["decode"], wall["network"]))
    rate = 1 / wall["end_to_end"]
    parts, why = baseline.seconds_per_photograph(grader, files, prep, workers, folder)
    return {
        "photographs": len(files),
        "rounds": rounds,
        "device": grader.device,
        "cores": os.cpu_count(),
        "workers": workers,
        "runner": type(grader.runner).__name__,
        "decode_rate": 1 / wall["decode"],
        "network_rate": 1 / wall["network"],
        "end_to_end_rate": rate,
        "perfect_overlap_rate": perfect,
        "overlap_efficiency": rate / perfect,
        "decode_cpu_seconds": cpu["decode"],
        "network_cpu_seconds": cpu["network"],
        "end_to_end_cpu_seconds": cpu["end_to_end"],
        "baseline_rate": None if parts is None else 1 / parts["total"],
        "baseline_seconds": parts,
        "baseline_missing": why,
        "times_the_baseline": None if parts is None else rate * parts["total"],
    }


def table_of(found: dict[str, object]) -> str:
    def shown(value: object) -> str:
        if isinstance(value, dict):
            return ", ".join(f"{key} {part:.3f}" for key, part in value.items())
        return f"{value:.3f}" if isinstance(value, float) else str(value)

    return "\n".join(f"{key:24s} {shown(v)}" for key, v in found.items() if v not in ("", None))


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.batch", description="Rates in photographs per second."
    )
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--photographs", type=Path, metavar="FOLDER", help="measure with these")
    parser.add_argument("--count", type=int, default=32, help="photographs made where none given")
    parser.add_argument("--rounds", type=int, default=5, help="medians are over these")
    parser.add_argument("--workers", type=int, default=min(8, os.cpu_count() or 1))
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--fundusprep", metavar="COMMAND", help="default: as found on the PATH")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="drcore-benchmark-") as name:
        folder = Path(name)
        if given.photographs is None:
            made = folder / "photographs"
            made.mkdir()
            make_photographs(made, given.count)
        files = photographs_in(given.photographs or made)
        found = measure(
            files, device=given.device, workers=given.workers, rounds=given.rounds,
            prep=baseline.find_fundusprep(given.fundusprep), folder=folder,
        )  # fmt: skip
    print(json.dumps(found) if given.json else table_of(found))


if __name__ == "__main__":
    main()
