"""Adding photographs to the list: dropped on the page, or a sample."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from drcore.errors import DrcoreError
from viewer.review import pacs_panel
from viewer.server import pacs
from viewer.server.shipped import shipped
from viewer.session import state
from viewer.ui import uploads
from viewer.worklist.importing import import_files

if TYPE_CHECKING:
    from viewer.worklist.worklist import Worklist

SAMPLES = shipped("sample_images")

_TITLES = {
    "phantom_none_OD": "No DR",
    "phantom_mild_OS": "Mild",
    "phantom_moderate_OD": "Moderate",
    "phantom_severe_OS": "Severe",
    "phantom_cut_OS": "Cropped field",
    "phantom_dark_OD": "Ungradable",
    "retina_public_domain": "Normal eye",
}
"""Titles of the samples, in the order shown."""

_KEPT = "Your worklist is kept for 30 days after last use, or until you clear it."


def privacy() -> str:
    """Return where images are kept, and whether they leave."""
    stay = "Images stay on the computer running this viewer"
    if pacs.configured():
        return f"{stay}; only what you send to a PACS leaves it. {_KEPT}"
    return f"{stay} and are not sent anywhere else. {_KEPT}"


def uploader(worklist: Worklist) -> None:
    """Show the uploader; what is dropped on it goes to the list at once."""
    key = f"upload-{state.session().uploads}"
    # No list of extensions: the content decides, and an unreadable file gets its reason.
    st.file_uploader(
        "Drop fundus images or a folder here", accept_multiple_files=True, key=key,
        on_change=_add_uploads, args=(worklist, key),
    )  # fmt: skip


def sample_gallery(worklist: Worklist) -> None:
    """Show the samples with a button each."""
    with st.container(horizontal=True, gap="small", key="gallery"):
        for file in samples():
            with st.container(width=128, gap="xxsmall", key=f"sample-{file.stem}"):
                st.image(str(file), width="stretch", alt=f"Sample: {sample_title(file)}")
                st.button(
                    sample_title(file), key=f"open-{file.stem}", width="stretch",
                    on_click=_open_sample, args=(worklist, file),
                )  # fmt: skip
                st.caption(sample_origin(file))


def add_more(worklist: Worklist) -> None:
    """Show a button that opens the uploader and the samples, and closes after an upload."""
    key = f"add-{state.session().uploads}"
    with st.popover("Add images", icon=":material/add:", width="stretch", key=key):
        uploader(worklist)
        pacs_panel.offer()
        st.caption("Sample images")
        with st.container(gap=None):
            for file in samples():
                st.button(
                    f"{sample_title(file)} \u00b7 {sample_origin(file)}", key=f"open-{file.stem}",
                    type="tertiary", on_click=_open_sample, args=(worklist, file),
                )  # fmt: skip


@cache
def samples() -> list[Path]:
    """Return the sample photographs that come with the project, phantoms first."""
    order = list(_TITLES)
    return sorted(
        SAMPLES.glob("*.jpg"),
        key=lambda f: (order.index(f.stem) if f.stem in order else len(order), f.name),
    )


def sample_title(file: Path) -> str:
    """Return the title of a sample."""
    return _TITLES.get(file.stem, file.stem.replace("_", " "))


def sample_origin(file: Path) -> str:
    """Return the origin of a sample."""
    synthetic = file.stem.startswith("phantom")
    return "synthetic image" if synthetic else "real image, public domain"


def _add_uploads(worklist: Worklist, key: str) -> None:
    files, session = uploads.uploaded(key), state.session()
    if not files:
        return
    try:
        result = import_files(worklist, uploads.one_by_one(files))
    except DrcoreError as error:  # a setting of the server is not valid
        session.notices = [str(error)]
        return
    finally:
        uploads.release(files)
        session.uploads += 1
    if result.first is not None:
        worklist.select(result.first.key)
    session.notices = result.sentences


def _open_sample(worklist: Worklist, file: Path) -> None:
    session = state.session()
    try:
        worklist.select(worklist.add(file.name, file, origin=sample_origin(file)).key)
    except DrcoreError as error:
        session.notices = [str(error)]
    session.uploads += 1
