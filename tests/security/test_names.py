"""Names and metadata of an enemy are text everywhere: no HTML, no Markdown, no formula."""

from __future__ import annotations

import csv
import io
import re
from datetime import UTC, datetime
from html.parser import HTMLParser

import pytest
from google.protobuf.json_format import MessageToDict

from drcore.reviews.decision import Decision
from drcore.reviews.store import ReviewStore
from drcore.text import csv_safe
from viewer.batch import panel

ENEMY = re.compile(
    r"owned|onerror|javascript:|evil\.example|\*\*bold\*\*|frac\{1\}|7\*7|nnnnnnnnnnnnnnnnnnnn"
)
"""What only an enemy wrote."""

INVISIBLE = re.compile("[\u202a-\u202e\u2066-\u2069\u200b-\u200d\ufeff\x07\x1b\u2028]")

AS_TEXT = {
    # What the browser sets as text: fields to type in, tables, lists of options, our own pieces
    # (tests/browser looks at those), and `st.text`.
    "text", "text_input", "text_area", "dataframe", "arrow_data_frame", "selectbox", "multiselect",
    "bidi_component", "component_instance",
}  # fmt: skip


class Tags(HTMLParser):
    """What a browser would make of a piece of HTML, as far as it could be dangerous."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = f"{tag} {attrs}"
        if tag in {"script", "img", "svg", "iframe", "object", "a", "link"} or re.search(
            r"'on\w+'|javascript:|owned", told
        ):
            self.found.append(told)


def texts(value: object) -> list[str]:
    """All texts in a message."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for inner in value.values() for text in texts(inner)]
    if isinstance(value, list):
        return [text for inner in value for text in texts(inner)]
    return []


def harm(app) -> list[str]:
    """Everything on a page that would take an enemy's words for more than words."""
    found = []
    nodes = [app._tree]
    while nodes:
        node = nodes.pop()
        nodes += list(getattr(node, "children", {}).values())
        proto = getattr(node, "proto", None)
        if proto is None or not hasattr(proto, "DESCRIPTOR"):
            continue
        kind, message = node.type, MessageToDict(proto)
        if kind == "plotly_chart":
            message.pop("alt", None)  # read out, and never drawn
        told = texts(message)
        if any(INVISIBLE.search(text) for text in told) and kind not in {"text_input", "text_area"}:
            found.append(f"{kind} holds invisible characters: {told}"[:300])
        if kind == "html":
            tags = Tags()
            tags.feed("".join(told))
            found += [f"html holds {tag}"[:300] for tag in tags.found]
        elif kind not in AS_TEXT:
            found += [f"{kind} holds {text!r}"[:300] for text in told if ENEMY.search(text)]
    return found


def names(stems, ending="_left.jpg"):
    return [f"{stem}{ending}" for stem in stems]


@pytest.fixture
def record(tmp_path, stems):
    """A record whose readers, notes and patients are enemies; two of them read each photograph."""
    with ReviewStore(tmp_path / "reviews.sqlite3") as store:
        for number, stem in enumerate(stems):
            shown = "".join(filter(str.isprintable, stem))  # the page takes no other
            for reader in (shown[:100], f"other {shown[:90]}"):
                decision = Decision(
                    sha256=f"{number:064x}", image=f"{stem}.jpg", model_version="random 1",
                    machine_status="graded", machine_grade=4, machine_score=4.0,
                    action="change", grade=number % 4, note=stem, reader=reader,
                    decided_at=datetime.now(UTC), laterality="OD", patient=stem,
                )  # fmt: skip
                store.add(decision)


def test_the_walk_finds_harm(app_of):
    """Else the tests below would prove nothing."""
    app = app_of()
    assert harm(app) == []
    from streamlit.testing.v1 import AppTest

    def page():
        import streamlit as st

        st.caption("**bold** owned")
        st.html("<p><img src=x onerror=owned()></p>")
        st.html("<p>&lt;img src=x onerror=owned()&gt;</p>")
        st.text("**bold** owned")
        st.button("[link](javascript:owned())")

    told = harm(AppTest.from_function(page).run())
    assert sorted(text.split()[0] for text in told) == ["button", "caption", "html"]


@pytest.mark.slow
def test_photographs_on_all_pages(app_of, record, stems, pages, phantom, encoded, wait_graded):
    app = app_of()
    good = encoded(phantom(seed=3).rgb, "JPEG")
    files = [(name, good + bytes([n]), "image/jpeg") for n, name in enumerate(names(stems))]
    files += [(f"bad {name}", b"text" + bytes([n]), "image/jpeg")
              for n, (name, _, _) in enumerate(files)]  # fmt: skip
    app.file_uploader[0].set_value(files).run()
    wait_graded(app)
    worklist = app.session_state["worklist"]
    assert len(worklist) == len(files)
    assert harm(app) == []
    app.text_input(key="start-reader").set_value(stems[0])
    app.button(key="start-reading").click().run()
    for entry in worklist.entries[: len(stems)]:
        worklist.select(entry.key)
        app.run()
        assert not app.exception
        assert harm(app) == []
        app.text_area(key=f"note-{entry.key}").set_value(stems[1]).run()
        app.button(key="choose-ungradable").click().run()
        app.button(key="save-next").click().run()
        assert harm(app) == []
    worklist.select(worklist.entries[len(stems)].key)  # one that could not be read
    app.run()
    assert harm(app) == []
    for page in pages:
        app.switch_page(page).run()
        assert not app.exception
        assert "\n".join(harm(app)) == "", page


def test_a_dropped_folder(app_of, stems, phantom, encoded):
    app = app_of("batch/page.py")
    good = encoded(phantom(seed=3).rgb, "JPEG")
    folder = stems[3]
    files = [(f"{folder}/{name}", good + bytes([n]), "image/jpeg")
             for n, name in enumerate(names(stems))]  # fmt: skip
    files.append((f"{folder}/bad<b>.jpg", b"text", "image/jpeg"))
    notes = [(f"{folder}/{name}", b"x", "text/plain") for name in names(stems, ".txt")]
    app.file_uploader[0].set_value(files + notes).run()
    assert harm(app) == []
    job = panel.jobs().get(app.session_state["run"])
    job.join(180)
    app.run()
    assert not app.exception
    assert job.title == folder
    assert len(job.rows) == len(files)
    assert len(job.left_out) == len(notes)
    assert harm(app) == []
    app.text_input(key=f"find-{job.token}").set_value("<img").run()
    assert harm(app) == []
    app.button(key="review-listed").click().run()
    assert harm(app) == []
    rows = list(csv.reader(io.StringIO(panel.csv_of(job))))
    assert_no_formula(rows)


def test_a_folder_of_the_server(app_of, stems, tmp_path, phantom, encoded):
    app = app_of("batch/page.py")
    folder = tmp_path / "root" / stems[0]
    folder.mkdir(parents=True)
    for number, name in enumerate(names(stems)):
        (folder / name).write_bytes(encoded(phantom(seed=3).rgb, "JPEG") + bytes([number]))
    app.segmented_control(key="where").set_value(panel.SERVER).run()
    for wanted in (f"<b>{stems[3]}</b>", stems[0]):
        app.text_input(key="server-path").set_value(wanted)
        next(button for button in app.button if button.label == "Start").click().run()
        assert harm(app) == []
    job = panel.jobs().get(app.session_state["run"])
    job.join(180)
    app.run()
    assert len(job.rows) == len(stems)
    assert harm(app) == []
    assert_no_formula(csv.reader(io.StringIO(panel.csv_of(job))))


def test_the_record_as_csv_starts_no_formula(record, tmp_path):
    with ReviewStore(tmp_path / "reviews.sqlite3") as store:
        assert_no_formula(csv.reader(io.StringIO(store.csv_text())))


def test_reasons_of_bad_files_tell_no_path_of_the_server(app_of, tmp_path, html_of):
    app = app_of("batch/page.py")
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "bad_left.jpg").write_bytes(b"text")
    (tmp_path / "root" / "gone_left.jpg").symlink_to(tmp_path / "root" / "nowhere")
    app.segmented_control(key="where").set_value(panel.SERVER).run()
    next(button for button in app.button if button.label == "Start").click().run()
    job = panel.jobs().get(app.session_state["run"])
    job.join(60)
    app.run()
    assert [row["status"] for row in job.rows] == ["failed"] * 2
    assert str(tmp_path) not in str(job.rows) + html_of(app)


@pytest.fixture
def html_of():
    """Reader of all HTML of a page."""
    return lambda app: "\n".join(element.value for element in app.get("html"))


def assert_no_formula(rows) -> None:
    count = 0
    for row in rows:
        for cell in row:
            number = re.fullmatch(r"[+-]?[0-9.]+(e[+-]?[0-9]+)?", cell)
            assert number or not re.match(r"[\s]*[=+\-@\uff1d\uff0b\uff0d\uff20]", cell), cell
            assert csv_safe(cell) == cell
            count += 1
    assert count > 20
