"""Pictures that a de-identified export held back: looked at by a person before they may go."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import streamlit as st

from drcore.errors import DrcoreError

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator

    from drcore.export.case import Case
    from drcore.export.deidentification import Disclosure
    from viewer.export.job import ExportJob

__all__ = ["show"]

MOST = 24
"""Pictures to look at in one go; the next ones follow after these."""

ACROSS = 2

SIDE = 1000
"""Longest side of a picture in pixels: letters that are burnt in can be read."""


def show(job: ExportJob, *, on_confirm: Callable[[ExportJob, frozenset[str]], None]) -> None:
    """Show the pictures, and let a person say which of them may go.

    Args:
        job: a finished export that held pictures back.
        on_confirm: called with the export and the SHA-256 of the pictures that may go.
    """
    shown = job.held_back[:MOST]
    st.subheader("Held back: is there writing on the retina?")
    st.write(
        "A frame shows what looks like writing. Look at each picture as a whole, and leave it out "
        "if a name, a number or a date can be read in it."
    )
    columns = st.columns(ACROSS)
    going = [
        case.report.sha256
        for index, case in enumerate(shown)
        if _may_go(job, case, columns[index % ACROSS])
    ]
    if len(job.held_back) > len(shown):
        st.caption(f"{len(job.held_back) - len(shown)} more will be shown after these.")
    images = "this image" if len(going) == 1 else f"these {len(going)} images"
    looked = st.checkbox(
        f"I looked at {images}; no writing on the retina identifies a patient",
        # Counted for those pictures alone: with others, it has to be said again.
        key=f"held-back-{job.token}-{len(going)}", disabled=not going,
    )  # fmt: skip
    st.button(
        "Export again with these pictures" if len(going) != 1 else "Export again with this picture",
        key="export-again", disabled=not (looked and going), icon=":material/ios_share:",
        on_click=on_confirm, args=(job, frozenset(going)),
    )  # fmt: skip


def _may_go(job: ExportJob, case: Case, column: DeltaGenerator) -> bool:
    """Show one picture; returns whether the person does not leave it out."""
    sha256 = case.report.sha256
    with column:
        if sha256 not in job.pictures:
            try:
                job.pictures[sha256] = _picture(case, job.privacy)
            except DrcoreError as error:
                st.text(str(error))
                return False
        st.image(job.pictures[sha256])
        return not st.checkbox("Leave this picture out", key=f"leave-out-{job.token}-{sha256}")


def _picture(case: Case, privacy: Disclosure) -> bytes:
    """The picture as it would leave, with a frame around what looks like writing."""
    import cv2
    import numpy as np

    from drcore.export.pictures import illustrate, jpeg
    from drcore.export.withheld import known_writing

    case = privacy.apply(case)
    report = case.report
    allowed = replace(privacy, confirmed=privacy.confirmed | {report.sha256})
    picture = np.array(illustrate(case, allowed, SIDE).photograph)
    told = known_writing(report)
    if told is not None:
        factor = picture.shape[1] / report.width
        left, top, right, bottom = (round(side * factor) for side in told.box)
        cv2.rectangle(picture, (left - 12, top - 12), (right + 12, bottom + 12), (0, 255, 255), 2)
    return jpeg(picture)
