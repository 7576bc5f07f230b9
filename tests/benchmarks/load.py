"""Readers at once on one server, or on several that share a record.

`python -m tests.benchmarks.load` starts the real app on loopback. Each reader opens the page, drops
photographs of his own, waits for their grades, thinks, decides and goes on. Reading and saving are
timed where the reader would feel them: from the click to the page that says so.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import html
import json
import math
import os
import random
import re
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from drcore.reviews.store import ReviewStore
from tests.benchmarks.session import Session
from tests.support.app_server import AppServer, app_server

REPOSITORY = Path(__file__).resolve().parents[2]
PATIENCE = float(os.environ.get("DRCORE_PATIENCE", "240"))
"""Seconds that a reader waits for anything, before he complains."""


@dataclass
class Figures:
    """What all readers measured, in seconds."""

    opened: list[float] = field(default_factory=list)
    graded: list[float] = field(default_factory=list)
    saved: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    presses: int = 0
    told: set[str] = field(default_factory=set)


def photographs(reader: int, count: int, source: bytes) -> list[tuple[str, bytes]]:
    """Return photographs that no other reader has: a comment in the JPEG makes each one unique."""
    made = []
    for number in range(count):
        comment = f"reader {reader} photograph {number}".encode()
        marker = b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment
        made.append((f"{reader:02d}-{number}_OD.jpg", source[:2] + marker + source[2:]))
    return made


async def read(
    url: str, reader: int, files: list[tuple[str, bytes]], think: float, figures: Figures
) -> None:
    """Be one reader, from the first page to the last decision."""
    chance = random.Random(reader)  # noqa: S311 - spreads the readers, protects nothing
    await asyncio.sleep(chance.uniform(0, think))
    begun = time.monotonic()
    async with Session(url) as page:
        try:
            await page.until(lambda: page.key_like(r"upload-\d+") is not None, PATIENCE)
            figures.opened.append(time.monotonic() - begun)
            await page.upload(page.key_like(r"upload-\d+") or "", files)
            for name, _ in files:
                begun = time.monotonic()
                await page.until(lambda name=name: _ready(page, name), PATIENCE)
                figures.graded.append(time.monotonic() - begun)
                await asyncio.sleep(chance.uniform(0.5, 1.5) * think)
                await _decide(page, reader, name, figures)
        except (asyncio.CancelledError, TimeoutError):
            words = re.sub(r"<style.*?</style>|<[^>]+>", " ", page.html, flags=re.DOTALL)
            figures.errors.append(f"reader {reader} was left with: {' '.join(words.split())}")
            raise
        finally:
            figures.errors += [f"reader {reader}: {problem}" for problem in page.problems]


def _name_on_screen(page: Session) -> str:
    found = re.search(r'<h1 class="name">([^<]*)', page.html)
    return html.unescape(found.group(1)) if found else ""


def _ready(page: Session, name: str) -> bool:
    return (
        _name_on_screen(page) == name
        and 'class="verdict' in page.html
        and page.key_like("choose-ungradable") is not None
    )


async def _decide(page: Session, reader: int, name: str, figures: Figures) -> None:
    await page.until(lambda: page.key_like(r"note-.+") is not None, PATIENCE)
    await page.type("reader", f"reader {reader}")
    await page.type(page.key_like(r"note-.+") or "", name)
    while not page.is_primary("choose-ungradable"):
        figures.presses += 1
        await page.click("choose-ungradable")
        with contextlib.suppress(TimeoutError):  # a press that fell into a change of the page
            await page.until(lambda: page.is_primary("choose-ungradable"), 5)
    begun = time.monotonic()
    await page.click("save-next")
    told = f"{name}, ungradable"
    await page.until(lambda: "Saved " in page.html and told in html.unescape(page.html), PATIENCE)
    figures.saved.append(time.monotonic() - begun)
    figures.told.add(name)


def app(folder: Path, record: str) -> contextlib.AbstractContextManager[AppServer]:
    """Run the app with a record that several servers may share."""
    folder.mkdir()
    log = {"DRCORE_LOG": "debug", "DRCORE_LOG_JSON": "1"}
    return app_server(folder, {"DRCORE_REVIEWS_URL": record, **log})


def memory(pid: int) -> tuple[float, float]:
    """Return resident memory of a process now and at its peak, in MiB; NaN where unknown."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    except OSError:
        return math.nan, math.nan
    now, peak = (re.search(rf"{key}:\s+(\d+) kB", status) for key in ("VmRSS", "VmHWM"))
    return (
        (int(now.group(1)) / 1024, int(peak.group(1)) / 1024) if now and peak else (math.nan,) * 2
    )


def quantile(values: list[float], share: float) -> float:
    """Return the value below which that share lies (nearest rank); NaN of nothing."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else math.nan


def wrong_decisions(
    record: str, owners: dict[str, tuple[int, str]], told: set[str]
) -> tuple[int, list[str]]:
    """Compare the record with who had which photograph.

    Args:
        record: path or URL.
        owners: reader and name by SHA-256.
        told: names of the photographs whose decision was shown as saved.

    Returns:
        How many decisions there are, and a sentence for each that was shown as saved and is not
        there, that is there twice, or that is another reader's.
    """
    with ReviewStore(record) as store:
        decisions = store.decisions()
    found = Counter(decision.sha256 for decision in decisions)
    wrong = [
        f"{name} has {found[key]} decisions"
        for key, (_, name) in owners.items()
        if found[key] > 1 or (name in told and not found[key])
    ]
    for decision in decisions:
        reader, name = owners.get(decision.sha256, (-1, "nobody's"))
        kept = (decision.reader, decision.image, decision.note)
        if kept != (f"reader {reader}", name, name):
            wrong.append(f"the decision on {name} is of {kept}")
    return len(decisions), wrong


async def _crowd(urls: list[str], options: argparse.Namespace, source: bytes) -> dict[str, Any]:
    figures = Figures()
    files = [photographs(n, options.photographs, source) for n in range(options.readers)]
    owners = {
        hashlib.sha256(data).hexdigest(): (n, name)
        for n, mine in enumerate(files) for name, data in mine
    }  # fmt: skip
    started = time.monotonic()
    results = await asyncio.gather(
        *(
            asyncio.wait_for(
                read(urls[n % len(urls)], n, mine, options.think, figures), options.limit
            )
            for n, mine in enumerate(files)
        ),
        return_exceptions=True,
    )
    figures.errors += [f"reader {n}: {r!r}" for n, r in enumerate(results) if r is not None]
    return {"figures": figures, "owners": owners, "seconds": time.monotonic() - started}


def main(argv: list[str] | None = None) -> int:
    """Run the load and print what was measured.

    Args:
        argv: arguments; from the process where left out.

    Returns:
        0 where no decision was lost or mixed up and no page showed an error, else 1.
    """
    parser = argparse.ArgumentParser(prog="tests.benchmarks.load", description=__doc__)
    parser.add_argument("--readers", type=int, default=20)
    parser.add_argument("--photographs", type=int, default=3, help="of each reader")
    parser.add_argument("--think", type=float, default=2.0, help="seconds before a decision")
    parser.add_argument("--servers", type=int, default=1, help="that share the record")
    parser.add_argument("--record", help="path or URL; a new SQLite file where left out")
    parser.add_argument("--photograph", type=Path,
                        default=REPOSITORY / "sample_images/phantom_severe_OS.jpg")  # fmt: skip
    parser.add_argument("--limit", type=float, default=600.0, help="seconds a reader may take")
    parser.add_argument("--keep-logs", type=Path, help="folder for the logs of the servers")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(argv)
    with (
        tempfile.TemporaryDirectory(prefix="drcore-load-") as place,
        contextlib.ExitStack() as stack,
    ):
        folder = Path(place)
        record = options.record or str(folder / "reviews.sqlite3")
        ReviewStore(record).close()
        servers = [
            stack.enter_context(app(folder / str(n), record)) for n in range(options.servers)
        ]
        before = [memory(server.pid)[0] for server in servers]
        run = asyncio.run(
            _crowd([server.url for server in servers], options, options.photograph.read_bytes())
        )
        memories = [memory(server.pid) for server in servers]
        kept, wrong = wrong_decisions(record, run["owners"], run["figures"].told)
        logs = [server.log.read_text(encoding="utf-8") for server in servers]
        if options.keep_logs is not None:
            options.keep_logs.mkdir(parents=True, exist_ok=True)
            for number, log in enumerate(logs):
                (options.keep_logs / f"server-{number}.log").write_text(log, encoding="utf-8")
    figures: Figures = run["figures"]
    report = {
        "readers": options.readers,
        "servers": options.servers,
        "record": "sqlite" if "://" not in record else record.partition(":")[0],
        "decisions": kept,
        "expected": len(run["owners"]),
        "lost_or_mixed_up": wrong,
        "errors": figures.errors,
        "model_loads": [log.count('"event": "model loaded"') for log in logs],
        "accidents": sum(log.count('"event": "accident"') for log in logs),
        "tracebacks": sum(log.count("Traceback") for log in logs),
        "presses_repeated": figures.presses - len(figures.saved),
        "open_p95_s": round(quantile(figures.opened, 0.95), 3),
        "wait_for_grade_p95_s": round(quantile(figures.graded, 0.95), 3),
        "save_p50_s": round(quantile(figures.saved, 0.5), 3),
        "save_p95_s": round(quantile(figures.saved, 0.95), 3),
        "save_max_s": round(max(figures.saved, default=math.nan), 3),
        "memory_start_mib": [round(value) for value in before],
        "memory_end_mib": [round(now) for now, _ in memories],
        "memory_peak_mib": [round(peak) for _, peak in memories],
        "seconds": round(run["seconds"], 1),
    }
    if options.json:
        print(json.dumps(report))
    else:
        print("\n".join(f"{key:>22}: {value}" for key, value in report.items()))
    return int(bool(wrong or figures.errors))


if __name__ == "__main__":
    sys.exit(main())
