"""Reading in headless Chromium: keys, nothing lost, tools of the stage, small screens, touch."""

from __future__ import annotations

import re
import shutil

import pytest

from drcore.reviews.store import ReviewStore
from tests.support.browser import (
    PATIENCE,
    STAGE,
    drag,
    eventually,
    resting_box,
    wait_for_photograph,
    wait_until,
    wait_until_still,
)

pytestmark = [pytest.mark.browser, pytest.mark.timeout(900)]

NAME = "Your name or initials"
OVERFLOW = """() => {
    const main = document.querySelector('[data-testid=stMain]');
    return main.scrollHeight - main.clientHeight;
}"""
SCROLLED = "() => document.querySelector('[data-testid=stMain]').scrollTop"
BAR = (
    """() => document.querySelector('[data-stage]').shadowRoot.querySelector('.bar').offsetHeight"""
)


@pytest.fixture
def pair(tmp_path, sample_images):
    """Both eyes of a patient, and one of another."""
    names = {
        "77_OD.jpg": "phantom_moderate_OD", "77_OS.jpg": "phantom_severe_OS",
        "78_OS.jpg": "phantom_mild_OS",
    }  # fmt: skip
    for name, sample in names.items():
        shutil.copy(sample_images / f"{sample}.jpg", tmp_path / name)
    return [tmp_path / name for name in names]


@pytest.fixture
def opened(browser, server, pair):
    """Opener of a list that is read under a name of its own."""
    contexts = []

    def reading(reader: str, mode: str = "Unmasked", **options):
        size = {"width": 1440, "height": 900}
        contexts.append(browser.new_context(**({"viewport": size} | options)))
        page = contexts[-1].new_page()
        page.set_default_timeout(PATIENCE)
        page.goto(server.url)
        page.locator("input[type=file]").first.set_input_files(pair)
        page.get_by_role("button", name="Start reading").wait_for()
        assert page.locator(".st-key-queue, [data-stage]").count() == 0
        page.get_by_role("textbox", name=NAME).fill(reader)
        page.get_by_text(mode).first.click()
        wait_for_photograph(page, "77_OD")
        return page

    yield reading
    for context in contexts:
        context.close()


def chosen(page, value) -> None:
    """Wait until a grade is chosen, and said to be."""
    from playwright.sync_api import expect

    button = page.locator(f".st-key-choose-{value} button[aria-pressed=true]")
    expect(button).to_have_text(re.compile("^\u2713"), timeout=PATIENCE)


def test_keys_and_that_nothing_is_lost(opened, server):
    page = opened("KN")
    page.keyboard.press("3")
    chosen(page, 3)
    page.locator(".st-key-queue .unsaved").wait_for()
    note = page.get_by_placeholder("Note (optional)")
    page.keyboard.press("n")
    page.keyboard.type("drusen 2s")
    page.keyboard.press("Escape")
    wait_until(page, "() => document.activeElement.tagName", "BODY")
    page.keyboard.press("n")
    page.keyboard.press("End")
    page.keyboard.type("!")
    page.keyboard.press("Control+Enter")
    wait_until(page, "() => document.activeElement.tagName", "BODY")
    chosen(page, 3)  # letters of the note were no keys
    page.keyboard.press("ArrowRight")
    wait_for_photograph(page, "77_OS")
    page.locator(".st-key-queue .unsaved .note", has_text="Grade 3: not saved").wait_for()

    asked = []
    page.on("dialog", lambda dialog: (asked.append(dialog.type), dialog.accept()))
    page.reload()
    wait_for_photograph(page, "77_OS")
    assert asked == ["beforeunload"]
    page.keyboard.press("ArrowLeft")
    wait_for_photograph(page, "77_OD")
    chosen(page, 3)
    assert note.input_value() == "drusen 2s!"
    assert page.get_by_placeholder(NAME).input_value() == "KN"  # asked once

    page.keyboard.press("s")
    page.get_by_text("77_OD.jpg, grade 3").wait_for()
    wait_for_photograph(page, "77_OS")
    page.locator('.st-key-queue .decided[title="77_OD.jpg"]').wait_for()
    page.keyboard.press("j")
    wait_for_photograph(page, "78_OS")
    page.keyboard.press("Control+z")
    wait_for_photograph(page, "77_OD")
    chosen(page, 3)
    with ReviewStore(server.reviews) as record:
        assert not [one for one in record.decisions() if one.reader == "KN"]
    page.keyboard.press("Shift+S")
    page.get_by_text("77_OD.jpg, grade 3").wait_for()
    with ReviewStore(server.reviews) as record:
        (made,) = [one for one in record.decisions() if one.reader == "KN"]
    assert (made.grade, made.note) == (3, "drusen 2s!")
    page.reload()
    wait_for_photograph(page, "77_OD")
    assert asked == ["beforeunload"]  # nothing is unsaved any more


def test_five_saves_in_a_moment_are_five_saves(opened, server):
    page = opened("QK")
    page.evaluate("""async () => {
        const press = (key, code) => { for (const type of ["keydown", "keyup"]) {
            document.dispatchEvent(new KeyboardEvent(type, { key, code, bubbles: true }));
        } };
        for (let grade = 0; grade < 5; grade += 1) {
            press(String(grade), `Digit${grade}`);
            press("s", "KeyS");
            await new Promise((done) => setTimeout(done, 120));
        }
    }""")
    page.get_by_text("78_OS.jpg, grade 4").wait_for()
    with ReviewStore(server.reviews) as record:
        made = [(one.image, one.grade) for one in record.decisions() if one.reader == "QK"]
    assert made == [("77_OD.jpg", 0), ("77_OS.jpg", 1), *(("78_OS.jpg", n) for n in (2, 3, 4))]


def test_a_masked_list_stays_masked_when_it_is_loaded_again(opened):
    page = opened("MR", "Masked first read")
    for _ in range(2):
        page.get_by_text("Masked reading", exact=True).wait_for()
        page.locator(".st-key-queue .chip").nth(2).wait_for(state="attached")
        assert page.locator(".st-key-queue .chip").all_inner_texts() == ["", "", ""]
        assert page.locator(".verdict .digit").count() == 0
        assert page.get_by_role("button", name="Hide heat map").count() == 0
        page.reload()
        wait_for_photograph(page, "77_OD")


def test_tools_of_the_stage(opened, server):
    page = opened("TL")
    page.get_by_role("button", name="Other eye").wait_for()
    page.keyboard.press("y")
    other = page.get_by_role("img", name="Other eye, 77_OS.jpg")
    other.wait_for()
    middle = """() => {
        const canvas = document.querySelector('[data-stage]').shadowRoot
            .querySelector('.other canvas');
        const ink = canvas.getContext('2d');
        const [red] = ink.getImageData(canvas.width / 2, canvas.height / 2, 1, 1).data;
        return red > 20;
    }"""
    wait_until(page, middle, True)
    page.keyboard.press("y")
    other.wait_for(state="detached")

    page.keyboard.press("Shift+Z")
    page.locator("[data-do=actual][aria-pressed=true]").wait_for()
    page.keyboard.press("z")
    wait_until(page, f"() => {STAGE}.zoom", "1.000")

    page.keyboard.press("b")
    panel = page.locator(".panel").first
    drag(page, panel, (58, 0))
    said = page.locator(".ruler text").first.text_content()
    diameters, pixels = float(said.split()[0]), float(said.split()[-2])
    # The field fills the panel but for its margin, and is seven disc diameters wide.
    assert diameters == pytest.approx(58 / (panel.bounding_box()["width"] * 0.985 / 7), rel=0.03)
    assert pixels == pytest.approx(diameters * 1008 / 7, rel=0.05)
    page.keyboard.press("Escape")
    page.locator(".ruler text").first.wait_for(state="detached")

    page.keyboard.press("m")
    page.keyboard.press("Shift+ArrowLeft")
    assert "left, " in page.locator("p.line").inner_text()
    page.keyboard.press("Space")
    page.keyboard.press("Shift+ArrowDown")
    page.keyboard.press("Shift+ArrowLeft")
    page.keyboard.press("Enter")
    page.wait_for_selector(".mark.mine:not(.pending)", state="attached")
    assert page.locator("h1.name").inner_text().startswith("77_OD")  # arrows were the cursor's
    with ReviewStore(server.reviews) as record:
        ((_, mark),) = [one for one in record.marks() if one[1].reader == "TL"]
    assert mark.kind == "box"
    assert mark.x1 - mark.x0 == pytest.approx(mark.y1 - mark.y0, abs=1)
    page.keyboard.press("Delete")
    page.locator(".mark.mine").first.wait_for(state="detached")
    page.keyboard.press("Escape")

    page.reload()
    wait_for_photograph(page, "77_OD")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.locator("nav.skip a:focus", has_text="Skip to grading").wait_for()
    page.keyboard.press("Enter")
    page.locator(".st-key-decide button:focus").first.wait_for()


def test_nothing_is_cut_wrapped_or_covered_on_small_screens(opened):
    page = opened("SC")
    page.get_by_role("button", name="Other eye").wait_for()
    assert page.evaluate(BAR) < 40

    def fits() -> None:
        assert page.evaluate(OVERFLOW) <= 0
        links = page.get_by_test_id("stHeader").get_by_role("link").all()
        notice = page.locator(".notice").bounding_box()
        assert max(_right(link) for link in links) <= notice["x"]
        assert notice["y"] + notice["height"] <= page.locator(".verdict").bounding_box()["y"]

    for width, tall in ((1440, 900), (1366, 768), (1280, 720)):
        page.set_viewport_size({"width": width, "height": tall})
        eventually(page, fits)


def _right(link) -> float:
    box = link.bounding_box()
    return box["x"] + box["width"]


def test_a_tablet_held_upright(opened):
    size = {"width": 820, "height": 1180}
    page = opened("TB", viewport=size, has_touch=True, reduced_motion="reduce")
    save = "document.querySelector('.st-key-save button')"
    assert page.evaluate(f"() => getComputedStyle({save}).transitionDuration") == "0s"
    for button in ("Save and next", "2 Moderate"):
        box = resting_box(page, page.get_by_role("button", name=button))
        assert box["height"] >= 40
        assert box["y"] + box["height"] <= 1180
    notice = page.locator(".notice").bounding_box()
    assert notice["y"] + notice["height"] <= page.locator("h1.name").bounding_box()["y"]

    panel, outside = page.locator(".panel").first, page.locator(".verdict .outcome")
    page.keyboard.press("+")
    page.keyboard.press("+")
    page.wait_for_function(f"() => Number({STAGE}.zoom) > 1.5")
    before = page.evaluate(f"() => {STAGE}.middle")

    def moved() -> None:
        swipe(page, panel, 100)
        assert page.evaluate(f"() => {STAGE}.middle") != before

    def scrolled() -> None:
        swipe(page, outside, 200)
        assert page.evaluate(SCROLLED) > 50

    eventually(page, moved)
    assert page.evaluate(SCROLLED) == 0
    eventually(page, scrolled)

    painted = f"() => {STAGE}.painted"
    wait_until(page, painted, "fused")
    stage = resting_box(page, page.locator(".panels"))
    button = page.get_by_role("button", name="Hold to peek")
    peek = resting_box(page, button)
    assert peek["y"] + peek["height"] <= stage["y"] + stage["height"]
    button.hover()
    page.mouse.down()
    wait_until(page, painted, "")
    # Held, although the page is drawn again meanwhile.
    page.keyboard.press("2")
    chosen(page, 2)
    page.keyboard.press("Shift+S")
    page.get_by_text("77_OD.jpg, grade 2").wait_for()
    wait_until_still(page)
    assert page.evaluate(painted) == ""
    page.mouse.up()
    wait_until(page, painted, "fused")


def swipe(page, locator, up: float) -> None:
    """Move a finger upwards from the middle of an element, and lift it."""
    box = resting_box(page, locator)
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    screen = page.context.new_cdp_session(page)
    touch, steps = "Input.dispatchTouchEvent", 10
    screen.send(touch, {"type": "touchStart", "touchPoints": [{"x": x, "y": y}]})
    for step in range(1, steps + 1):
        point = {"x": x, "y": y - up * step / steps}
        screen.send(touch, {"type": "touchMove", "touchPoints": [point]})
    screen.send(touch, {"type": "touchEnd", "touchPoints": []})
    screen.detach()
    resting_box(page, locator)
