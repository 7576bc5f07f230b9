"""How long a reader waits, from the key to the painted frame, with 12-megapixel photographs.

Starts the real app, opens photographs of 4288 x 2848 pixels in headless Chromium, and presses keys
as a reader would. Run as `python -m tests.benchmarks.viewer_latency [--json]`.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from tests.support.app_server import ARGUMENTS, CHROMIUM, app_server

REPOSITORY = Path(__file__).resolve().parents[2]
WIDTH, HEIGHT = 4288, 2848
BARS = {"opacity": 50, "hide": 50, "scale": 50, "view": 50, "zoom": 50, "next": 400}
"""Milliseconds that 95 of 100 inputs must stay below."""

# From the event's own time stamp to the frame after the one in which the change was painted.
WATCH = """([type, changed]) => {
    const is = new Function(`return (${changed})`);
    const stage = () => document.querySelector("[data-stage]");
    window.measured = new Promise((done, lost) => {
        setTimeout(() => lost(new Error(`no answer to ${type}: ${changed}`)), 20000);
        heard.set(type, (event) => {
            heard.delete(type);
            const look = () => {
                if (!is.call(null)) { requestAnimationFrame(look); return; }
                requestAnimationFrame(() => requestAnimationFrame(
                    () => done(performance.now() - event.timeStamp)));
            };
            look();
        });
    });
}"""
# Before the page's own: it may keep a key to itself.
LISTEN = """window.heard = new Map();
for (const type of ["keydown", "wheel"]) {
    addEventListener(type, (event) => heard.get(type)?.(event), true);
}"""
STAGE = 'document.querySelector("[data-stage]").dataset'
MAP = 'document.querySelector("[data-stage]").shadowRoot.querySelector(".panel:last-child .map")'
FRAMES = """() => new Promise((done) => {
    const times = [];
    const next = (now) => {
        times.push(now);
        if (times.length < 90) requestAnimationFrame(next);
        else done(times);
    };
    requestAnimationFrame(next);
})"""


def main() -> None:
    """Measure, and print a table or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print JSON in place of a table")
    parser.add_argument("--photographs", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=3, help="how often each input is repeated")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = photographs(folder, chosen.photographs)
        with app_server(folder) as server:
            samples = measure(server.url, files, chosen.rounds)
    figures = {
        what: {
            "n": len(values),
            "p50": round(float(np.percentile(values, 50)), 1),
            "p95": round(float(np.percentile(values, 95)), 1),
            "bar": BARS.get(what),
        }
        for what, values in samples.items()
    }
    if chosen.json:
        print(json.dumps(figures, indent=1))
        return
    for what, row in figures.items():
        bar = f"bar {row['bar']} ms" if row["bar"] else ""
        print(f"{what:14} n {row['n']:3}  p50 {row['p50']:7} ms  p95 {row['p95']:7} ms  {bar}")


def photographs(folder: Path, count: int) -> list[Path]:
    """Write different photographs of 12 megapixels: a real retina, enlarged, turned and lit.

    Args:
        folder: exists.
        count: of photographs.

    Returns:
        JPEG files.
    """
    from skimage.data import retina

    rng = np.random.default_rng(0)
    small = np.asarray(retina())
    files = []
    for number in range(count):
        eye = cv2.resize(np.rot90(small, number), (HEIGHT, HEIGHT), interpolation=cv2.INTER_CUBIC)
        lit = eye.astype(np.float32) * (0.85 + 0.04 * (number % 5))
        picture = np.zeros((HEIGHT, WIDTH, 3), np.float32)
        picture[:, (WIDTH - HEIGHT) // 2 :][:, :HEIGHT] = lit
        picture += rng.normal(0, 3, (HEIGHT, WIDTH, 1)).astype(np.float32)
        rgb = np.clip(picture, 0, 255).astype(np.uint8)
        files.append(folder / f"{number}_{'left' if number % 2 else 'right'}.jpg")
        bgr = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
        cv2.imwrite(str(files[-1]), bgr, [cv2.IMWRITE_JPEG_QUALITY, 92])
    return files


def measure(url: str, files: list[Path], rounds: int) -> dict[str, list[float]]:
    """Drive the page.

    Args:
        url: of the app.
        files: to open.
        rounds: how often each input is repeated.

    Returns:
        Milliseconds of each input, by what it was.
    """
    from playwright.sync_api import sync_playwright

    samples: dict[str, list[float]] = {}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        page = browser.new_page(viewport={"width": 1920, "height": 1080})
        page.set_default_timeout(120_000)
        page.add_init_script(LISTEN)
        page.goto(url)
        page.locator("input[type=file]").first.set_input_files(files)
        page.get_by_role("button", name="Start reading").click()
        page.wait_for_function(
            f"() => document.querySelector('[data-stage]') && {STAGE}.photograph"
        )
        page.wait_for_function(
            "(count) => document.querySelectorAll('.st-key-queue').length && "
            "![...document.querySelectorAll('p')]"
            ".some((p) => /awaiting model/.test(p.textContent))",
            arg=len(files),
        )
        time.sleep(4)

        press = _presser(page, samples)
        _map_and_views(page, press, rounds)
        _zoom_and_pan(page, samples, rounds)
        page.keyboard.press("z")
        _through_the_list(page, press, len(files), rounds)
        browser.close()
    return samples


def _presser(page: Any, samples: dict[str, list[float]]) -> Callable[..., None]:
    def press(what: str, key: str, changed: str, pause: float = 0.15) -> None:
        page.evaluate(WATCH, ["keydown", changed])
        page.keyboard.press(key)
        samples.setdefault(what, []).append(page.evaluate("() => window.measured"))
        time.sleep(pause)

    return press


def _map_and_views(page: Any, press: Callable[..., None], rounds: int) -> None:
    if not page.evaluate(f"() => {STAGE}.painted"):
        page.keyboard.press("h")  # a healthy eye: the map starts hidden
        page.wait_for_function(f"() => {STAGE}.painted")
    for _ in range(8 * rounds):
        press("nothing (floor)", "F9", "true")
    for _ in range(4 * rounds):
        for key in ("ArrowDown", "ArrowUp"):
            now = page.evaluate(f"() => {MAP}.style.opacity")
            press("opacity", key, f"{MAP}.style.opacity !== '{now}'")
        press("hide", "h", f"{STAGE}.painted === ''")
        press("hide", "h", f"{STAGE}.painted !== ''")
    for _ in range(2 * rounds):
        for key, name in (("q", "128"), ("w", "256"), ("e", "512"), ("f", "fused")):
            press("scale", key, f"{STAGE}.painted === '{name}'")
        for name in ("green", "clahe", "local", "colour"):
            press("view", "v", f"{STAGE}.view === '{name}' && {STAGE}.photograph !== ''")


def _through_the_list(page: Any, press: Callable[..., None], count: int, rounds: int) -> None:
    """Until name, verdict and photograph are the next one's, a second and a half after another."""
    for _ in range(rounds):
        for key in ("ArrowRight", "ArrowLeft"):
            for _ in range(count - 1):
                time.sleep(1.5)  # a reader looks, and the next is made ready
                before = page.evaluate(f"() => {STAGE}.stage")
                name = json.dumps(page.locator("h1.name").inner_text())
                press(
                    "next", key,
                    f"{STAGE}.photograph !== '' && {STAGE}.stage !== '{before}' && "
                    f"document.querySelector('h1.name')?.innerText !== {name}",
                )  # fmt: skip


def _zoom_and_pan(page: Any, samples: dict[str, list[float]], rounds: int) -> None:
    """Time from the wheel to the frame, and between frames while the photograph is dragged."""
    box = page.locator(".st-key-stage-view").bounding_box()
    x, y = box["x"] + box["width"] * 0.25, box["y"] + box["height"] * 0.55
    page.mouse.move(x, y)
    for number in range(6 * rounds):
        before = page.evaluate(f"() => {STAGE}.zoom")
        page.evaluate(WATCH, ["wheel", f"{STAGE}.zoom !== '{before}'"])
        page.mouse.wheel(0, -150 if number % 6 < 4 else 150)
        samples.setdefault("zoom", []).append(page.evaluate("() => window.measured"))
        time.sleep(0.1)
    page.mouse.down()
    page.evaluate(f"() => {{ window.frames_seen = ({FRAMES})(); }}")
    for step in range(60):
        page.mouse.move(x + 3 * step % 120, y + step)
    times = page.evaluate("() => window.frames_seen")
    page.mouse.up()
    samples["pan, a frame"] = np.diff(times).tolist()


if __name__ == "__main__":
    main()
