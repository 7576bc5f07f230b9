"""Names of an enemy in the real app in Chromium, and every request that its pages make."""

from __future__ import annotations

import re

import pytest

from drcore.reviews.store import ReviewStore
from tests.support.app_server import chromium
from tests.support.browser import PATIENCE, wait_until_still

TRAP = "window.caught = []; window.owned = () => window.caught.push('ran'); window.alert = owned"
HARM = """() => {
    const found = [...window.caught];
    const look = (root) => {
        for (const node of root.querySelectorAll('*')) {
            for (const { name, value } of node.attributes) {
                const link = /^(src|href|xlink:href|action|formaction)$/.test(name);
                if (/^on/.test(name) && value.includes('owned')) found.push(`${name}=${value}`);
                if (link && (/javascript:|evil/.test(value) || value === 'x')) found.push(value);
            }
            if (node.matches('script') && node.textContent.includes('owned')) found.push('script');
            const made = node.matches('strong, em, code, h1 > b');
            if (made && /^(bold|it|code|b)$/.test(node.textContent))
                found.push(node.outerHTML);
            if (node.shadowRoot) look(node.shadowRoot);
        }
    };
    look(document);
    return found;
}"""

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(1200)]


@pytest.fixture
def watched(server):
    """A page whose requests and complaints are written down."""
    with chromium() as browser:
        page = browser.new_context(viewport={"width": 1280, "height": 720}).new_page()
        page.set_default_timeout(PATIENCE)
        requests, complaints = [], []
        page.on("request", lambda request: requests.append(request.url))
        page.on("websocket", lambda socket: requests.append(socket.url))
        page.on(
            "console",
            lambda message: complaints.append(message.text) if message.type == "error" else None,
        )
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.add_init_script(TRAP)
        page.goto(server[0])
        yield page, requests, complaints


def test_an_enemy_in_the_browser(server, watched, guard, stems, titles, encoded, phantom):
    from playwright.sync_api import expect

    url, folder, terminal = server
    page, requests, complaints = watched
    good = encoded(phantom(seed=3).rgb, "JPEG")
    stems = [*stems[:5], "Smithereens^Ann"]
    files = [
        {"name": f"{stem}_left.jpg", "mimeType": "image/jpeg", "buffer": good + bytes([number])}
        for number, stem in enumerate(stems)
    ]
    files.append({"name": f"bad {stems[0]}.jpg", "mimeType": "image/jpeg", "buffer": b"text"})
    page.locator("input[type=file]").first.set_input_files(files)
    start = page.get_by_role("button", name="Start reading")
    start.wait_for()
    page.get_by_role("textbox", name="Your name or initials").fill(stems[0])
    start.click()
    page.locator("h1.name", has_text=stems[0]).wait_for()
    page.locator(".verdict").first.wait_for()
    for stem in stems[:2]:
        page.locator("h1.name", has_text=stem).wait_for()
        note = page.get_by_placeholder("Note (optional)")
        expect(note).to_have_count(1, timeout=PATIENCE)  # that of the photograph before is gone
        note.fill(stem)
        note.press("Control+Enter")
        page.locator("h1.name").click()
        page.keyboard.press("u")
        page.locator(".st-key-choose-ungradable button[kind=primary]").wait_for()
        page.keyboard.press("s")
        page.get_by_text(f"{stem}_left.jpg, ungradable").wait_for()
        assert page.evaluate(HARM) == []
    for name in titles:
        page.get_by_role("link", name=re.compile(f"{name}$")).first.click()
        page.get_by_text("Research use only. Not a medical device.").wait_for()
        wait_until_still(page)
        assert page.evaluate(HARM) == [], name
    with ReviewStore(folder / "reviews.sqlite3") as store:
        kept = store.decisions()
    assert [decision.note for decision in kept] == list(stems[:2])
    assert {decision.reader for decision in kept} == {stems[0]}

    ours = (url, url.replace("http", "ws"), "data:", "blob:")
    assert [request for request in requests if not request.startswith(ours)] == []
    assert requests
    assert [told for told in complaints if "Content Security Policy" in told] == []
    assert not guard[1].exists()  # the server, too, spoke to nobody
    # At the most talkative, the terminal names nobody.
    told = terminal.read_text()
    assert "debug photograph" in told
    assert "Smithereens" not in told
    assert "owned" not in told
