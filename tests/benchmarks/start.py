"""How long one waits: for help, for the first row of a batch, and for one photograph.

    python -m tests.benchmarks.start [--json] [--photographs FOLDER]

Medians in seconds. Help and first row begin with the command, a new process each time, its files in
the system's cache. The single photograph is warm: file to report with all scales and the fused map,
on the networks' pixels (`warm`) and on the photograph's own (`warm_full`).
Bars: help 0.3 s, first row 4 s, warm 0.4 s.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from drcore.grading.grader import Grader
from tests.benchmarks.photographs import make_photographs, photographs_in


def help_seconds() -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", "drcore", "--help"], capture_output=True, check=True)
    return time.perf_counter() - began


def first_row_seconds(folder: Path, table: Path) -> float:
    table.unlink(missing_ok=True)
    began = time.perf_counter()
    command = [sys.executable, "-m", "drcore", "grade", str(folder), "--csv", str(table), "--quiet"]
    with subprocess.Popen(command) as process:
        while not table.exists() or table.read_bytes().count(b"\n") < 2:  # the header is a line
            if process.poll() not in (None, 0):
                raise SystemExit(f"drcore grade ended with {process.returncode}.")
            time.sleep(0.005)
        seconds = time.perf_counter() - began
        process.kill()
    return seconds


def single_seconds(grader: Grader, file: Path, *, full: bool) -> float:
    began = time.perf_counter()
    report = grader.grade(file)
    if full:
        report.ram("fused")
    else:
        report.focused("fused")
    return time.perf_counter() - began


def measure(files: list[Path], folder: Path, rounds: int) -> dict[str, object]:
    grader = Grader.bundled("cpu")
    for file in files[:3]:
        single_seconds(grader, file, full=True)
    single, full = (
        [single_seconds(grader, file, full=whole) for file in (files * rounds)[:20]]
        for whole in (False, True)
    )
    return {
        "cores": os.cpu_count(),
        "help": median(help_seconds() for _ in range(rounds)),
        "first_row": median(
            first_row_seconds(files[0].parent, folder / "rows.csv") for _ in range(rounds)
        ),
        "warm": median(single),
        "warm_full": median(full),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.start", description="Seconds that one waits."
    )
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--photographs", type=Path, metavar="FOLDER", help="measure with these")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="drcore-benchmark-") as name:
        folder = Path(name)
        made = folder / "photographs"
        if given.photographs is None:
            made.mkdir()
            make_photographs(made, 8)
        found = measure(photographs_in(given.photographs or made), folder, given.rounds)
    if given.json:
        print(json.dumps(found))
    else:
        for key, value in found.items():
            print(f"{key:12s} {value:.3f}" if isinstance(value, float) else f"{key:12s} {value}")


if __name__ == "__main__":
    main()
