"""Whether a long run stays as small as a short one.

    python -m tests.benchmarks.memory [--count 10000] [--photographs FOLDER] [--json]

`drcore grade` runs in a process of its own over a folder in which the same photographs stand under
thousands of names (hard links: they are read and graded each time). Its resident memory is sampled
ten times a second; the highest value while the first thousand rows were written is held against
the highest while the last thousand were. Bars: below 1.5 GiB, growth below 5 %.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from tests.benchmarks.photographs import make_photographs, photographs_in

LIMIT_MIB = 1536.0
LIMIT_GROWTH = 0.05


def repeat(files: list[Path], count: int, folder: Path) -> None:
    """Put photographs into a folder `count` times, under other names."""
    for index in range(count):
        file = files[index % len(files)]
        name = folder / f"{index // 1000:03d}" / f"eye_{index:06d}{file.suffix}"
        name.parent.mkdir(exist_ok=True)
        try:
            os.link(file, name)
        except OSError:  # another file system
            shutil.copyfile(file, name)


def samples(command: list[str], table: Path) -> list[tuple[int, float]]:
    """Run a command; return rows written and resident MiB, ten times a second."""
    found: list[tuple[int, float]] = []
    with subprocess.Popen(command) as process:
        watched = psutil.Process(process.pid)
        rows, place = -1, 0  # the header is no row
        while process.poll() is None:
            if table.exists():
                with table.open("rb") as file:
                    file.seek(place)
                    new = file.read()
                rows, place = rows + new.count(b"\n"), place + len(new)
            try:
                found.append((rows, watched.memory_info().rss / 2**20))
            except psutil.NoSuchProcess:
                break
            time.sleep(0.1)
    if process.returncode:  # what was seen until then is worth its line all the same
        print(f"drcore grade ended early, with {process.returncode}.", file=sys.stderr)
    return found


def measure(files: list[Path], count: int, workers: int, folder: Path) -> dict[str, object]:
    """Grade `count` photographs and sum up what was seen.

    Args:
        files: photographs to repeat.
        count: how many to grade.
        workers: threads of `drcore grade`.
        folder: for the photographs and the table.

    Returns:
        What is printed.
    """
    (folder / "many").mkdir()
    repeat(files, count, folder / "many")
    table = folder / "rows.csv"
    began = time.monotonic()
    seen = samples(
        [sys.executable, "-m", "drcore", "grade", str(folder / "many"), "--csv", str(table),
         "--workers", str(workers), "--quiet"],
        table,
    )  # fmt: skip
    seconds = time.monotonic() - began
    written = table.read_bytes().count(b"\n") - 1
    part = min(1000, written // 2)
    first = max(mib for rows, mib in seen if rows <= part)
    last = max(mib for rows, mib in seen if rows >= min(written, seen[-1][0]) - part)
    peak = max(mib for _, mib in seen)
    return {
        "photographs": count,
        "different_photographs": len(files),
        "rows": written,
        "workers": workers,
        "seconds": seconds,
        "rate": written / seconds,
        "first_mib": first,
        "last_mib": last,
        "peak_mib": peak,
        "growth": last / first - 1,
        "met": written == count and peak < LIMIT_MIB and last / first - 1 < LIMIT_GROWTH,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.memory", description="Resident memory of a long run."
    )
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--photographs", type=Path, metavar="FOLDER", help="repeat these")
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=min(8, os.cpu_count() or 1))
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="drcore-benchmark-") as name:
        folder = Path(name)
        made = folder / "photographs"
        if given.photographs is None:
            made.mkdir()
            make_photographs(made, 16)
        files = photographs_in(given.photographs or made)
        found = measure(files, given.count, given.workers, folder)
    if given.json:
        print(json.dumps(found))
    else:
        for key, value in found.items():
            print(f"{key:24s} {value:.3f}" if isinstance(value, float) else f"{key:24s} {value}")


if __name__ == "__main__":
    main()
