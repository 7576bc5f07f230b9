"""The real app in headless Chromium: upload, look, overrule, download."""

from __future__ import annotations

import csv

import pytest

from drcore.reviews.store import ReviewStore
from tests.support.browser import (
    PANELS,
    PATIENCE,
    STAGE,
    drag,
    resting_box,
    wait_for_photograph,
    wait_until,
)

pytestmark = [pytest.mark.browser, pytest.mark.timeout(900)]


@pytest.fixture
def record(server):
    """Where the decisions of this module go."""
    return server.reviews


@pytest.fixture
def app_url(server):
    """Address of the app."""
    return server.url


@pytest.fixture
def page(browser, app_url):
    """A fresh page; the test fails if it looked for anything outside this computer."""
    context = browser.new_context(viewport={"width": 1280, "height": 720})
    outside = []
    context.on(
        "request",
        lambda request: (
            None
            if request.url.startswith((app_url, "data:", "blob:", app_url.replace("http", "ws")))
            else outside.append(request.url)
        ),
    )
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    page.goto(app_url)
    yield page
    context.close()
    assert outside == []


SEEN = ".st-key-viewing [data-seen]"
PAINTED = f"() => {STAGE}.painted"
OPACITY = f"() => {PANELS}.at(-1).querySelector('.map').style.opacity"
# Of the middle of each panel: the colours of the photograph as drawn.
DRAWN = f"""() => {PANELS}.map((panel) => {{
    const canvas = panel.querySelector('.photo');
    const ink = canvas.getContext("2d");
    return [...ink.getImageData(canvas.width / 2, canvas.height / 2, 1, 1).data];
}})"""


def wait_until_seen(page, scales: str) -> None:
    """Wait until the browser reports which maps were seen; with the next key the server knows."""
    page.locator(f"{SEEN}[data-seen='{scales}']").wait_for(state="attached")


def show_map(page) -> None:
    """A healthy eye to this model starts without its map."""
    if page.get_by_role("button", name="Show heat map").count():
        page.keyboard.press("h")
    page.get_by_role("button", name="Hide heat map").wait_for()


def leave_fields(page) -> None:
    page.locator("h1.name").click()


def test_upload_look_overrule_download(page, sample_images, tmp_path):
    page.get_by_text("Research use only. Not a medical device.").wait_for()
    page.locator("input[type=file]").first.set_input_files(
        [sample_images / "phantom_severe_OS.jpg", sample_images / "phantom_moderate_OD.jpg"]
    )
    wait_for_photograph(page, "phantom_severe_OS.jpg")
    graded = page.locator(".verdict .grade").count() == 1
    page.locator(".st-key-queue button").nth(1).wait_for()

    show_map(page)
    wait_until(page, PAINTED, "fused")
    assert page.locator(".st-key-queue button").count() == 2
    assert page.get_by_role("img", name="Fundus image phantom_severe_OS.jpg").count() == 2
    assert page.get_by_role("img", name="Heat map").count() == 1

    # Zoom into the photograph; both panels follow, and nothing below loses the zoom.
    box = resting_box(page, page.locator(".st-key-stage-view"))
    page.mouse.move(box["x"] + box["width"] * 0.25, box["y"] + box["height"] * 0.5)
    page.mouse.wheel(0, -600)
    page.wait_for_function(f"() => Number({STAGE}.zoom) > 1.5")
    zoomed = page.evaluate(f"() => [{STAGE}.zoom, {STAGE}.middle]")
    left, right = page.evaluate(DRAWN)
    assert left == right
    assert max(left[:3]) > 20  # retina, and not black

    for key, name in (("q", "128"), ("w", "256"), ("e", "512"), ("r", "1024"), ("f", "fused")):
        page.keyboard.press(key)
        wait_until(page, PAINTED, name)
    page.get_by_role("button", name="128 px", exact=True).click()
    wait_until(page, PAINTED, "128")
    page.keyboard.press("f")
    page.get_by_role("button", name="Red-free").click()
    wait_until(page, f"() => {STAGE}.view", "green")
    page.keyboard.press("g")
    wait_until(page, f"() => {STAGE}.view", "colour")
    page.keyboard.press("l")
    page.keyboard.press("l")
    wait_until(page, PAINTED, "128 256 512 1024 fused")
    page.keyboard.press("l")
    wait_until(page, PAINTED, "fused")

    full = float(page.evaluate(OPACITY))
    for _ in range(4):
        page.keyboard.press("ArrowDown")
    page.wait_for_function(f"(wanted) => Math.abs(({OPACITY})() - wanted) < 1e-6", arg=0.8 * full)
    slider = page.get_by_role("slider", name="Heat-map opacity")
    slider.focus()
    slider.press("ArrowRight")  # the slider's own key, and not the next photograph
    page.wait_for_function(f"(wanted) => Math.abs(({OPACITY})() - wanted) < 1e-6", arg=0.85 * full)
    assert page.locator("h1.name").inner_text().startswith("phantom_severe_OS.jpg")
    leave_fields(page)
    page.keyboard.down("x")
    wait_until(page, PAINTED, "")
    page.keyboard.up("x")
    wait_until(page, PAINTED, "fused")
    page.keyboard.press("h")
    wait_until(page, PAINTED, "")
    assert page.evaluate(f"() => [{STAGE}.zoom, {STAGE}.middle]") == zoomed
    page.keyboard.press("z")
    wait_until(page, f"() => {STAGE}.zoom", "1.000")

    page.keyboard.press("?")
    page.get_by_role("dialog", name="Keyboard shortcuts").wait_for()
    assert (
        "Peek beneath the heat map"
        in page.get_by_role("dialog", name="Keyboard shortcuts").inner_text()
    )
    page.keyboard.press("Escape")
    page.get_by_role("dialog", name="Keyboard shortcuts").wait_for(state="hidden")

    # Overrule by keyboard, with a note and a name, and go on to the next photograph.
    page.get_by_placeholder("Note (optional)").press_sequentially("hxq4")  # a field has no keys
    wait_until(page, PAINTED, "")
    assert page.locator("[class*=st-key-choose-] button[kind=primary]").count() == 0
    page.get_by_placeholder("Note (optional)").fill('=2+2 "seen"')
    page.get_by_placeholder("Your name or initials").fill("Dr. A")
    page.get_by_placeholder("Your name or initials").press("Enter")
    page.locator("h1.name").click()
    machine = page.locator(".verdict .digit").inner_text() if graded else ""
    mine = "1" if machine != "1" else "3"
    page.keyboard.press(mine)
    page.locator(f".st-key-choose-{mine} button[kind=primary]").wait_for()
    page.keyboard.press("s")
    page.get_by_text("Saved ", exact=False).first.wait_for()
    page.get_by_text(f"phantom_severe_OS.jpg, grade {mine}").wait_for()
    wait_for_photograph(page, "phantom_moderate_OD.jpg")

    with page.expect_download() as downloading:
        page.get_by_role("button", name="Download all grades").click()
    file = tmp_path / "decisions.csv"
    downloading.value.save_as(file)
    with file.open(encoding="utf-8", newline="") as lines:
        (row,) = [row for row in csv.DictReader(lines) if row["reader"] == "Dr. A"]
    assert (row["image"], row["action"], row["grade"]) == ("phantom_severe_OS.jpg", "change", mine)
    assert row["note"] == '\'=2+2 "seen"'
    assert row["machine_grade"] == machine
    assert (row["laterality"], len(row["sha256"])) == ("OS", 64)

    # A click in the list goes back; the decision is there.
    page.locator(".st-key-queue button").first.click()
    wait_for_photograph(page, "phantom_severe_OS.jpg")
    page.get_by_text(f"Grade {mine} (Dr. A, ").wait_for()


def test_the_record_tells_whether_the_map_was_seen(page, phantom, encoded, record):
    first, second = "dark_OD.jpg", "bright_OS.jpg"
    names = {"hidden": first, "shown for a while": first, "shown from the start": second}

    def written() -> list[tuple[str, bool | None, tuple[str, ...] | None]]:
        with ReviewStore(record) as reviews:
            mine = [one for one in reviews.decisions() if one.reader == "Dr. B"]
        assert all(one.seconds is not None and 0 < one.seconds < 600 for one in mine)
        return [(one.note, one.overlay_seen, one.overlay_scales) for one in mine]

    def decide(note: str) -> None:
        page.get_by_placeholder("Note (optional)").fill(note)
        page.get_by_placeholder("Note (optional)").press("Control+Enter")
        page.locator("h1.name").click()
        page.keyboard.press("u")
        page.locator(".st-key-choose-ungradable button[kind=primary]").wait_for()
        before = page.locator(SEEN).get_attribute("data-view")
        page.keyboard.press("Shift+S")  # the second one is the last of the list: the same key
        page.locator(".st-key-choose-ungradable button[kind=secondary]").wait_for()
        page.get_by_text(f"{names[note]}, ungradable").wait_for()
        page.locator(f"{SEEN}:not([data-view='{before}'])").wait_for(state="attached")

    exposures = {first: 0.05, second: 1.0}
    page.locator("input[type=file]").first.set_input_files(
        [
            {
                "name": name,
                "mimeType": "image/jpeg",
                "buffer": encoded(phantom(seed=3, exposure=exposure).rgb, "JPEG"),
            }
            for name, exposure in exposures.items()
        ]
    )
    page.get_by_role("textbox", name="Your name or initials").fill("Dr. B")
    wait_for_photograph(page, first)  # not fit for grading: the map starts hidden
    wait_until(page, PAINTED, "")
    wait_until_seen(page, "")
    decide("hidden")
    page.keyboard.press("h")
    wait_until(page, PAINTED, "fused")
    wait_until_seen(page, "fused")
    page.get_by_role("button", name="128 px", exact=True).click()
    wait_until(page, PAINTED, "128")
    wait_until_seen(page, "fused 128")
    page.locator("h1.name").click()
    page.keyboard.press("h")
    wait_until(page, PAINTED, "")
    decide("shown for a while")

    page.keyboard.press("ArrowRight")
    wait_for_photograph(page, second)
    show_map(page)
    wait_until(page, PAINTED, "128")
    wait_until_seen(page, "128")
    decide("shown from the start")
    assert written() == [
        ("hidden", False, ()),
        ("shown for a while", True, ("128", "fused")),
        ("shown from the start", True, ("128",)),
    ]


def test_keys_of_one_moment_are_all_obeyed(page, sample_images):
    """Streamlit sends both as one message, in the name of the part that the first belongs to."""
    first, second = "phantom_severe_OS.jpg", "phantom_moderate_OD.jpg"
    page.locator("input[type=file]").first.set_input_files(
        [sample_images / first, sample_images / second]
    )
    wait_for_photograph(page, first)
    leave_fields(page)
    page.evaluate("""() => {
        for (const key of ["3", "ArrowRight"]) {
            const code = key === "3" ? "Digit3" : key;
            for (const type of ["keydown", "keyup"]) {
                document.dispatchEvent(new KeyboardEvent(type, { key, code, bubbles: true }));
            }
        }
    }""")
    wait_for_photograph(page, second)
    page.keyboard.press("ArrowLeft")
    wait_for_photograph(page, first)
    page.locator(".st-key-choose-3 button[kind=primary]").wait_for()


def test_the_plain_address_offers_the_last_list_until_it_is_cleared(page, app_url, sample_images):
    link = page.get_by_role("link", name="Continue your last list")
    page.get_by_role("button", name="Mild", exact=True).wait_for()
    assert not link.is_visible()
    # A click on the picture, not on the button below it.
    tile = resting_box(page, page.locator(".st-key-sample-phantom_mild_OS img"))
    page.mouse.click(tile["x"] + tile["width"] / 2, tile["y"] + tile["height"] / 2)
    wait_for_photograph(page, "phantom_mild_OS")
    page.goto(app_url)
    link.click()
    wait_for_photograph(page, "phantom_mild_OS")
    page.locator(".st-key-list-popover button").first.click()
    page.get_by_role("button", name="Clear").click()
    page.get_by_role("button", name="Remove list").click()
    page.get_by_role("button", name="Mild", exact=True).wait_for()
    page.goto(app_url)
    page.get_by_role("button", name="Mild", exact=True).wait_for()
    assert not link.is_visible()


def test_a_hostile_name_is_only_text(page, sample_images):
    page.locator("input[type=file]").first.set_input_files(
        [
            {
                "name": "<img src=x onerror=document.title='owned'>.jpg",
                "mimeType": "image/jpeg",
                "buffer": (sample_images / "phantom_mild_OS.jpg").read_bytes(),
            }
        ]
    )
    wait_for_photograph(page, "<img src=x")
    assert page.locator("img[src=x]").count() == 0
    assert page.locator(".st-key-queue .name").inner_text().startswith("<img src=x")
    assert "owned" not in page.title()


def test_a_mark_is_kept_where_it_was_drawn(page, sample_images, record):
    page.locator("input[type=file]").first.set_input_files(
        [sample_images / "phantom_moderate_OD.jpg"]
    )
    page.get_by_role("textbox", name="Your name or initials").fill("Dr. M")
    wait_for_photograph(page, "phantom_moderate_OD.jpg")
    page.keyboard.press("m")
    page.get_by_role("button", name="haemorrhage", exact=True).click()
    x, y = drag(page, page.locator(".panel").first, (40, 20))
    page.wait_for_selector(".mark.mine:not(.pending)", state="attached")
    with ReviewStore(record) as reviews:
        ((_, mark),) = [one for one in reviews.marks() if one[1].reader == "Dr. M"]
    middle = [float(value) for value in page.evaluate(f"() => {STAGE}.middle").split()]
    assert (mark.kind, mark.lesion) == ("box", "haemorrhage")
    assert (mark.x0, mark.y0) == pytest.approx(middle, abs=3)
    assert (mark.x1 - mark.x0) / (mark.y1 - mark.y0) == pytest.approx(2, rel=0.05)
    assert page.locator(".mark").count() == 2  # in both panels

    page.mouse.click(x + 20, y + 10)  # a click on a mark of one's own takes it back
    page.wait_for_function(f"() => {PANELS}.every((panel) => !panel.querySelector('.mark'))")
    with ReviewStore(record) as reviews:
        assert not [one for one in reviews.marks() if one[1].reader == "Dr. M"]
