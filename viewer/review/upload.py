"""How photographs come in: dropped on the page, or one click on a sample."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from drcore.errors import DrcoreError
from viewer.worklist.importing import import_files

if TYPE_CHECKING:
    from collections.abc import Iterator

    from viewer.worklist.worklist import Worklist
from viewer.ui.uploads import release, uploaded

__all__ = ["PRIVACY", "add_more", "sample_gallery", "sample_origin", "samples", "uploader"]


SAMPLES = Path(__file__).parents[2] / "sample_images"

_TITLES = {
    "phantom_none_OD": "No lesions",
    "phantom_mild_OS": "Microaneurysms",
    "phantom_moderate_OD": "Some lesions",
    "phantom_severe_OS": "Many lesions",
    "phantom_cut_OS": "Field cut off",
    "phantom_dark_OD": "Dark and blurred",
    "retina_public_domain": "A normal eye",
}
"""What the page calls the samples, in the order in which it shows them."""

PRIVACY = (
    "Photographs stay on the computer that runs this viewer and are sent nowhere. It keeps the "
    "list for 30 days after its last use, or until you clear it."
)


def uploader(worklist: Worklist, label: str = "Drop fundus photographs or a folder here") -> None:
    """Show the place to drop photographs; what is dropped goes to the list at once.

    Args:
        worklist: takes the photographs.
        label: above the place.
    """
    generation = st.session_state.setdefault("upload-generation", 0)
    key = f"upload-{generation}"
    # No list of endings: what a file is, its content decides, and a bad one gets its reason.
    st.file_uploader(
        label, accept_multiple_files=True, key=key, on_change=_take, args=(worklist, key)
    )


def sample_gallery(worklist: Worklist) -> None:
    """Show the samples with a button each.

    Args:
        worklist: takes the sample.
    """
    with st.container(horizontal=True, gap="small", key="gallery"):
        for file in samples():
            with st.container(width=128, gap="xxsmall", key=f"sample-{file.stem}"):
                st.image(str(file), width="stretch", alt=f"Sample: {sample_title(file)}")
                st.button(
                    sample_title(file),
                    key=f"open-{file.stem}",
                    width="stretch",
                    on_click=_open_sample,
                    args=(worklist, file),
                )
                st.caption(sample_origin(file))


def add_more(worklist: Worklist) -> None:
    """Show a button that opens the uploader and the samples; it closes when one was taken.

    Args:
        worklist: takes the photographs.
    """
    generation = st.session_state.setdefault("upload-generation", 0)
    with st.popover(
        "Add photographs", icon=":material/add:", width="stretch", key=f"add-{generation}"
    ):
        uploader(worklist)
        st.caption("Samples")
        with st.container(gap=None):
            for file in samples():
                st.button(
                    f"{sample_title(file)} \u00b7 {sample_origin(file)}",
                    key=f"open-{file.stem}",
                    type="tertiary",
                    on_click=_open_sample,
                    args=(worklist, file),
                )


@cache
def samples() -> list[Path]:
    """Return the sample photographs that come with the project, phantoms first."""
    order = list(_TITLES)
    return sorted(
        SAMPLES.glob("*.jpg"),
        key=lambda f: (order.index(f.stem) if f.stem in order else len(order), f.name),
    )


def sample_title(file: Path) -> str:
    """Return what the page calls a sample."""
    return _TITLES.get(file.stem, file.stem.replace("_", " "))


def sample_origin(file: Path) -> str:
    """Return where a sample comes from: synthetic, or in the public domain."""
    return "synthetic" if file.stem.startswith("phantom") else "public domain"


def _take(worklist: Worklist, key: str) -> None:
    files = uploaded(key)
    if not files:
        return

    def one_by_one() -> Iterator[tuple[str, bytes]]:
        for file in files:
            yield file.name, file.getvalue()
            release([file])  # on the disk now: memory has room for the next
            file.truncate(0)

    try:
        arrival = import_files(worklist, one_by_one())
    finally:
        release(files)
        st.session_state["upload-generation"] += 1  # a new, empty place to drop
    if arrival.first is not None:
        worklist.select(arrival.first.key)
    st.session_state["arrivals"] = arrival.sentences


def _open_sample(worklist: Worklist, file: Path) -> None:
    try:
        worklist.select(worklist.add(file.name, file, origin=sample_origin(file)).key)
    except DrcoreError as error:
        st.session_state["arrivals"] = [str(error)]
    st.session_state["upload-generation"] += 1
