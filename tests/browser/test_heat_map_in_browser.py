"""Heat map and result card in headless Chromium: what is drawn, said, and can be reached."""

from __future__ import annotations

import re

import pytest

from tests.support.browser import (
    PANELS,
    PATIENCE,
    STAGE,
    drag,
    eventually,
    resting_box,
    wait_for_photograph,
    wait_until,
)

pytestmark = [pytest.mark.browser, pytest.mark.timeout(900)]

# Of the last panel: pixels of outlines, and the largest opacity of the fill, 0-255.
DRAWN = f"""() => {{
    const panel = {PANELS}.at(-1);
    const pixels = (name) => {{
        const canvas = panel.querySelector(name);
        return canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
    }};
    let lines = 0, fill = 0;
    if (panel.querySelector(".map").style.visibility !== "visible") return {{ lines, fill }};
    const drawn = pixels(".outlines"), colours = pixels(".map");
    for (let i = 3; i < drawn.length; i += 4) lines += drawn[i] > 0;
    for (let i = 3; i < colours.length; i += 4) fill = Math.max(fill, colours[i]);
    return {{ lines, fill: fill * panel.querySelector(".map").style.opacity }};
}}"""


@pytest.fixture
def page(browser, server):
    context = browser.new_context(viewport={"width": 1280, "height": 720})
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    page.goto(server.url)
    page.get_by_text("Research use only. Not a medical device.").wait_for()
    yield page
    context.close()


def opened(page, *files) -> None:
    """Upload, start to read, and wait for the first photograph."""
    page.locator("input[type=file]").first.set_input_files(list(files))
    page.get_by_role("button", name="Start reading").wait_for()
    page.get_by_role("textbox", name="Your name or initials").fill("Dr. L")
    wait_for_photograph(page, files[0].name)


def test_a_region_says_what_it_adds_and_the_card_agrees(page, sample_images):
    opened(page, sample_images / "phantom_severe_OS.jpg")
    wait_until(page, f"() => {STAGE}.painted", "fused")
    drawn = page.evaluate(DRAWN)
    assert drawn["lines"] > 500
    assert 0 < drawn["fill"] <= 0.31 * 255  # what lies below is never hidden
    tip, panel = page.locator(".tip"), resting_box(page, page.locator(".panel").last)
    told = ""
    for step in range(400):  # over the retina, until something stands out
        across, down = step % 20 / 20, step // 20 / 20
        page.mouse.move(
            panel["x"] + panel["width"] * (0.1 + 0.8 * across),
            panel["y"] + panel["height"] * (0.2 + 0.6 * down),
        )
        if told := tip.inner_text() if tip.is_visible() else "":
            break
    said = re.fullmatch(
        r"This region \(([\d.]+) disc areas\) adds ([\d.]+) to the score of ([\d.]+),\s"
        r"(< 1|\d+) % of all that raises it",
        told,
    )
    discs, adds, score = (float(said.group(n)) for n in (1, 2, 3))
    assert 0 < discs < 49
    assert 0 < adds < score

    words = page.get_by_role("img", name="Heat map").get_attribute("aria-label")
    shares = [int(share) for share in re.findall(r"\((\d+) %\)", words)]
    assert 20 < sum(shares) <= 100
    (sentence,) = re.findall(r"Heat map: .*", page.locator(".verdict ul").inner_text())
    assert page.locator(".line").inner_text() == sentence
    assert f"to the score of {score:.2f}" in sentence
    legend = page.locator(".key").last.inner_text()
    assert "score added per disc area" in legend
    assert [word in legend for word in ("0.05", "5", "0.1", "0.4")] == [True] * 4

    page.keyboard.press("k")
    page.wait_for_function(f"() => ({DRAWN})().fill > 0.5 * 255")
    page.keyboard.press("k")
    page.keyboard.press("h")
    page.mouse.move(panel["x"] + 5, panel["y"] + 5)
    assert not tip.is_visible()
    assert page.evaluate(DRAWN)["lines"] == 0


def test_a_healthy_eye_is_one_large_image_without_outlines(page, sample_images):
    opened(page, sample_images / "phantom_none_OD.jpg")
    assert page.locator(".verdict .digit").inner_text() == "0"
    assert page.locator(".panel").count() == 1
    assert "hard to tell apart" in page.locator(".verdict").inner_text()
    page.keyboard.press("h")
    wait_until(page, f"() => {STAGE}.painted", "fused")
    assert page.locator(".panel").count() == 2
    assert page.locator(".panel .label").last.inner_text().startswith("Raw heat map")
    assert page.locator(".line").inner_text().startswith("Warning: raw map")
    assert page.evaluate(DRAWN)["lines"] == 0
    page.keyboard.press("h")
    page.wait_for_function(f"() => {PANELS}.length === 1")


def test_every_sentence_of_the_card_can_be_reached(page, sample_images):
    opened(page, sample_images / "phantom_mild_OS.jpg")

    def frame() -> dict[str, float]:
        return page.locator(".st-key-room-right > :first-child").bounding_box()

    def gravest_first() -> None:
        page.locator(".st-key-room-right > :first-child").evaluate("(card) => card.scrollTo(0, 0)")
        card = frame()
        for part in (".verdict .outcome", ".verdict li >> nth=0"):
            box = page.locator(part).bounding_box()
            assert card["y"] <= box["y"] < card["y"] + card["height"] - box["height"]

    def reached(sentence) -> None:
        sentence.scroll_into_view_if_needed()
        box, card = sentence.bounding_box(), frame()
        assert box["y"] >= card["y"] - 1
        assert box["y"] + box["height"] <= card["y"] + card["height"] + 1
        assert page.evaluate(
            "([x, y]) => document.elementFromPoint(x, y)?.closest('.verdict li') != null",
            [box["x"] + box["width"] / 2, box["y"] + box["height"] / 2],
        )

    for width, height in ((1280, 720), (1366, 768)):
        page.set_viewport_size({"width": width, "height": height})
        eventually(page, gravest_first)
        for sentence in page.locator(".verdict li").all():
            eventually(page, lambda one=sentence: reached(one))


def test_laser_scars_that_a_reader_marks_are_told(page, sample_images):
    opened(page, sample_images / "phantom_cut_OS.jpg")
    page.locator("h1.name").click()
    page.keyboard.press("m")
    page.get_by_role("button", name="laser scar", exact=True).click()
    drag(page, page.locator(".panel").first, (40, 20))
    page.locator(".verdict li", has_text="Laser scars (marked by Dr. L)").wait_for()
    page.keyboard.press("m")
    page.locator(".line", has_text="Laser scars are marked").wait_for()
