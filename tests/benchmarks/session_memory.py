"""Largest memory of a server after 200 uploads of 12 megapixels, graded and paged through.

python -m tests.benchmarks.session_memory            the list alone, as the page uses it
python -m tests.benchmarks.session_memory --app      the real app, driven in headless Chromium
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from tests.support.app_server import ARGUMENTS, CHROMIUM, app_server

REPOSITORY = Path(__file__).resolve().parents[2]
SIDE = 3464
"""Of a square of 12 megapixels."""


def draw(folder: Path, count: int) -> None:
    """Write so many different photographs of 12 megapixels, from the one of scikit-image."""
    import cv2
    import numpy as np
    from skimage.data import retina

    rgb = cv2.resize(retina(), (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    noise = np.random.default_rng(0).integers(0, 24, rgb.shape, np.uint8)
    for number in range(count):
        changed = cv2.add(np.roll(rgb, number, axis=0), np.roll(noise, number, axis=1))
        side = "OD" if number % 2 else "OS"
        file = folder / f"{number // 2:03d}_{side}.jpg"
        cv2.imwrite(str(file), changed[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])


def resident(process: int | str) -> float:
    """Memory of a process now, in MiB."""
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


class Watch:
    """Notes the largest memory of a process, looking twenty times a second."""

    def __init__(self, process: int | str) -> None:
        self.process, self.largest = process, 0.0
        threading.Thread(target=self._look, daemon=True).start()

    def _look(self) -> None:
        while True:
            try:
                self.largest = max(self.largest, resident(self.process))
            except (OSError, IndexError):  # it has ended
                return
            time.sleep(0.05)

    def say(self, what: str, began: float) -> None:
        """Print where one is."""
        print(
            f"{what:<28} now {resident(self.process):6.0f} MiB, "
            f"largest {self.largest:6.0f} MiB, {time.monotonic() - began:6.0f} s",
            flush=True,
        )


def list_alone(folder: Path, kept: Path) -> None:
    """Uploads, grading and paging as the Review page does them, in this process."""
    from drcore.grading.grader import Grader
    from viewer.image_viewer.preloading import SlideCache
    from viewer.worklist.background_grading import do_next
    from viewer.worklist.importing import import_files
    from viewer.worklist.storage import WorklistStore
    from viewer.worklist.worklist import Worklist

    watch, began = Watch("self"), time.monotonic()
    grader = Grader.bundled("cpu")
    watch.say("model loaded", began)
    files = sorted(folder.iterdir())
    # All at once in memory, as Streamlit holds uploads until the last one has come.
    held = [(file.name, file.read_bytes()) for file in files]
    watch.say("uploads in memory", began)

    def one_by_one() -> Iterator[tuple[str, bytes]]:
        while held:
            yield held.pop(0)

    worklist = Worklist(WorklistStore(kept))
    arrival = import_files(worklist, one_by_one())
    assert (arrival.added, arrival.sentences) == (len(files), [])
    watch.say("uploads on the disk", began)
    while do_next(worklist, grader):
        pass
    assert {entry.report.status for entry in worklist.everything} <= {"graded", "ungradable"}
    watch.say("graded", began)
    slides = SlideCache()
    for by, steps in ((1, len(files)), (-1, len(files) // 10)):
        for _ in range(steps):
            entry = worklist.selected
            slides.drop(worklist.entries)
            slides.slide(entry, entry.report)
            worklist.step(by)
    watch.say("paged through, and back", began)
    print(f"largest resident memory: {watch.largest:.0f} MiB")


def real_app(folder: Path, kept: Path) -> None:
    """Uploads, grading and paging in headless Chromium; memory is the server's."""
    from playwright.sync_api import sync_playwright

    with app_server(kept) as server:
        watch, began = Watch(server.pid), time.monotonic()
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
            page = browser.new_page()
            page.set_default_timeout(900_000)
            page.goto(server.url)
            page.get_by_text("Or try a sample image").wait_for()
            files = sorted(folder.iterdir())
            page.locator("input[type=file]").first.set_input_files(files)
            page.locator(".st-key-queue button").nth(len(files) - 1).wait_for(state="attached")
            watch.say("uploaded", began)
            page.wait_for_function(
                "() => { const p = document.querySelector('p.reviewed');"
                " return p && !p.textContent.includes('awaiting model') }",
                timeout=3_600_000,
            )
            watch.say("graded", began)
            while page.locator(".st-key-next button").first.is_enabled():
                page.keyboard.press("ArrowRight")
                time.sleep(0.5)
            for _ in range(len(files) // 10):
                page.keyboard.press("ArrowLeft")
                time.sleep(0.5)
            watch.say("paged through, and back", began)
            page.reload()
            page.locator("h1.name").first.wait_for()
            watch.say("reloaded", began)
            browser.close()
        print(f"largest resident memory of the server: {watch.largest:.0f} MiB")


def main() -> None:
    """Draw the photographs in a process of their own, then measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--app", action="store_true")
    parser.add_argument("--draw", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.draw:
        draw(options.draw, options.count)
        return
    with tempfile.TemporaryDirectory() as work:
        folder, kept = Path(work, "photographs"), Path(work, "kept")
        folder.mkdir()
        kept.mkdir()
        module = [sys.executable, "-m", "tests.benchmarks.session_memory"]
        command = [*module, "--draw", str(folder), "--count", str(options.count)]
        subprocess.run(command, check=True)
        size = sum(file.stat().st_size for file in folder.iterdir()) / 2**20
        print(f"{options.count} photographs of {SIDE} x {SIDE} pixels, {size:.0f} MiB", flush=True)
        (real_app if options.app else list_alone)(folder, kept)


if __name__ == "__main__":
    main()
