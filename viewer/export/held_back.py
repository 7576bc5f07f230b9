"""Images that a de-identified export held back until a person has checked them for writing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

import streamlit as st

from drcore.errors import DrcoreError

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator

    from drcore.export.case import Case
    from drcore.export.deidentification import Disclosure
    from viewer.export.job import ExportJob
    from viewer.export.pacs_job import SendJob

    Holding = ExportJob | SendJob

MAX_SHOWN = 24
"""Images to check at once; the others follow after these."""

SIDE = 1000
"""Longest side of an image in pixels: burned-in letters can be read."""


J = TypeVar("J", "ExportJob", "SendJob")


def show(job: J, *, on_confirm: Callable[[J, frozenset[str]], None], again: str = "Export") -> None:
    """Show the images; `on_confirm` gets the job and the SHA-256 of those that may go."""
    shown = job.held_back[:MAX_SHOWN]
    st.subheader("Held back: is there writing on the retina?")
    st.write(
        "A frame shows what looks like writing. Check the whole of each image, and omit it if a "
        "name, a number or a date can be read in it."
    )
    columns = st.columns(2)
    confirmed = [
        case.report.sha256
        for index, case in enumerate(shown)
        if _confirmed(job, case, columns[index % 2])
    ]
    if len(job.held_back) > len(shown):
        st.caption(f"{len(job.held_back) - len(shown)} more will be shown after these.")
    images = "this image" if len(confirmed) == 1 else f"these {len(confirmed)} images"
    checked = st.checkbox(
        f"I checked {images}: no writing on the retina identifies a patient",
        # For these images only: with others, it has to be confirmed again.
        key=f"held-back-{job.token}-{len(confirmed)}", disabled=not confirmed,
    )  # fmt: skip
    st.button(
        f"{again} again with {images}",
        key="export-again", disabled=not (checked and confirmed), icon=":material/ios_share:",
        on_click=on_confirm, args=(job, frozenset(confirmed)),
    )  # fmt: skip


def _confirmed(job: Holding, case: Case, column: DeltaGenerator) -> bool:
    """Show one image; return False if the person omits it."""
    sha256 = case.report.sha256
    with column:
        if sha256 not in job.pictures:
            try:
                job.pictures[sha256] = _picture(case, job.privacy)
            except DrcoreError as error:
                st.text(str(error))
                return False
        st.image(job.pictures[sha256])
        return not st.checkbox("Omit this image", key=f"leave-out-{job.token}-{sha256}")


def _picture(case: Case, privacy: Disclosure) -> bytes:
    """The image as it would be exported, with a frame around what looks like writing."""
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
