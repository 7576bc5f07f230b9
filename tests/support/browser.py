"""Waiting in headless Chromium for what a reader would see before going on."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

PATIENCE = 180_000
"""Milliseconds for what needs the model, on a machine that is busy with other work."""

STAGE = 'document.querySelector("[data-stage]").dataset'
PANELS = '[...document.querySelector("[data-stage]").shadowRoot.querySelectorAll(".panel")]'
_ONCE_STILL = """() => {
    const still = (animation) => animation.playState !== "running"
        || animation.effect.getComputedTiming().endTime === Infinity;
    return Boolean(document.querySelector(".stApp[data-test-script-state=notRunning]"))
        && document.getAnimations().every(still);
}"""
_TWO_FRAMES = (
    "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
)


def wait_until(page: Any, script: str, expected: object) -> None:
    """Wait until a script returns a value."""
    page.wait_for_function(
        f"(expected) => JSON.stringify(({script})()) === JSON.stringify(expected)", arg=expected
    )


def wait_until_still(page: Any) -> None:
    """Wait until the server has drawn the page, and nothing moves or fades."""
    page.wait_for_function(_ONCE_STILL, timeout=PATIENCE)


def wait_for_photograph(page: Any, name: str) -> None:
    """Start to read the list, if that was not done, and wait for a photograph of it."""
    start = page.get_by_role("button", name="Start reading")
    start.or_(page.locator("h1.name")).first.wait_for(timeout=PATIENCE)
    if start.is_visible():
        start.click()
    page.locator("h1.name", has_text=name).wait_for(timeout=PATIENCE)
    page.wait_for_function(
        f"() => document.querySelector('[data-stage]') && {STAGE}.photograph !== '' && "
        f"{STAGE}.photograph === {STAGE}.stage",
        timeout=PATIENCE,
    )
    # Streamlit's own shortcuts are missing for a moment while a page is loaded.
    wait_until_still(page)


def next_frame(page: Any) -> None:
    """Wait until what was just done is painted."""
    page.evaluate(_TWO_FRAMES)


def resting_box(page: Any, locator: Any) -> dict[str, float]:
    """Return the bounding box of an element once it is the same in two frames."""
    locator.wait_for()
    before = None
    while (box := locator.bounding_box()) is None or box != before:
        before = box
        next_frame(page)
    return box


def eventually(page: Any, check: Callable[[], object], seconds: float = PATIENCE / 1000) -> None:
    """Repeat a check, and what leads to it, until it asserts nothing any more."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            check()
        except AssertionError:
            if time.monotonic() > deadline:
                raise
            next_frame(page)
        else:
            return


def drag(page: Any, locator: Any, by: tuple[float, float]) -> tuple[float, float]:
    """Drag with the mouse from the middle of an element at rest; returns where that was."""
    box = resting_box(page, locator)
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + by[0], y + by[1], steps=4)
    page.mouse.up()
    next_frame(page)
    return x, y
