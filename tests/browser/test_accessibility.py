"""axe-core finds nothing serious or critical on any page, light and dark (WCAG 2.2 AA)."""

from __future__ import annotations

import shutil

import pytest

from drcore.reviews.store import ReviewStore
from tests.support.browser import PATIENCE, wait_until_still
from tests.support.reviews import decision

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(900)]

LEVELS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
KNOWN: set[tuple[str, str]] = set()
"""Rule and selector of findings in Streamlit's own widgets that cannot be fixed from outside."""


@pytest.fixture
def audit():
    """Runs axe-core on a page and collects what it finds, with the state that the page was in."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    found: list[str] = []

    def run(page, state: str) -> list[str]:
        wait_until_still(page)  # transitions change colours
        result = axe.run(page, options={"runOnly": {"type": "tag", "values": LEVELS}}).response
        for rule in result["violations"]:
            for node in rule["nodes"]:
                serious = rule["impact"] in {"serious", "critical"}
                if serious and (rule["id"], str(node["target"])) not in KNOWN:
                    found.append(f"{state}: {rule['id']} {node['target']} {node['html'][:120]}")
        return found

    return run


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_page_in_every_state(browser, server, batch_root, sample_images, audit, theme):
    with ReviewStore(server.reviews) as record:
        for number in range(16):  # for charts and tables
            record.add(
                decision(
                    sha256=f"{theme}{number}".encode().hex().ljust(64, "0"),
                    patient=f"{number}",
                    reader="AX",
                    grade=2 + number % 2,
                    action="change",
                    seconds=20.0,
                )
            )
    folder = batch_root / "screening"
    folder.mkdir(exist_ok=True)
    shutil.copy(sample_images / "phantom_mild_OS.jpg", folder / "1_OS.jpg")
    context = browser.new_context(viewport={"width": 1440, "height": 900}, color_scheme=theme)
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    page.goto(server.url)
    page.get_by_text("Model ready").wait_for()
    audit(page, "landing")
    page.get_by_role("button", name="From a PACS").click()
    page.get_by_label("Patient ID").wait_for()
    audit(page, "PACS")
    page.get_by_role("button", name="Back").click()
    page.get_by_text("Or try a sample image").wait_for()
    names = ("phantom_severe_OS.jpg", "phantom_none_OD.jpg", "phantom_dark_OD.jpg")
    page.locator("input[type=file]").first.set_input_files([sample_images / n for n in names])
    page.get_by_role("button", name="Start reading").wait_for()
    audit(page, "start")
    page.get_by_role("button", name="Start reading").click()
    page.wait_for_function(
        "() => document.querySelector('[data-stage]')?.dataset.painted === 'fused'"
    )
    page.wait_for_function(
        "() => !/awaiting/.test(document.querySelector('p.reviewed').textContent)"
    )
    audit(page, "review")
    page.get_by_label("Reader").fill("ABC")
    page.locator("h1.name").click()
    page.keyboard.press("a")
    audit(page, "grade chosen")
    page.keyboard.press("s")
    page.get_by_text("Saved ").first.wait_for()
    audit(page, "no retinopathy")
    page.keyboard.press("?")
    audit(page, "shortcuts")
    page.keyboard.press("Escape")
    page.keyboard.press("ArrowRight")
    page.get_by_text("Ungradable: refer").wait_for()
    audit(page, "ungradable")
    for name in ("Sort & filter", "Eye & patient", "List"):
        page.locator(".st-key-list-front").get_by_role("button", name=name).first.click()
        audit(page, name)
        page.keyboard.press("Escape")
    drawn = {
        "Agreement": "table.figures", "Monitor": ".stPlotlyChart .main-svg",
        "Workload": "h2:has-text('Workload')", "Model": ".st-key-model-card",
        "Export": "h2:has-text('Export')",
    }  # fmt: skip
    for name, part in drawn.items():
        page.get_by_role("link", name=name).first.click()
        page.locator(part).first.wait_for()
        audit(page, name)
    page.get_by_role("button", name="Create export").click()
    page.get_by_text("Export ready").wait_for()
    audit(page, "export ready")
    page.get_by_role("link", name="Batch").first.click()
    page.get_by_text("Folder on server").click()
    audit(page, "batch")
    page.get_by_label("Subfolder").fill("screening")
    page.get_by_role("button", name="Start").click()
    page.get_by_text("Download CSV").wait_for()
    found = audit(page, "batch finished")
    assert not found, "\n".join(found)
    context.close()
