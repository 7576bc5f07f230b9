"""Files that Streamlit's uploader holds in memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import streamlit as st

if TYPE_CHECKING:
    from streamlit.runtime.uploaded_file_manager import UploadedFile


def uploaded(key: str) -> list[UploadedFile]:
    """Return the files of an uploader, without those that were released already."""
    from streamlit.runtime.uploaded_file_manager import UploadedFile

    return [file for file in st.session_state.get(key) or [] if isinstance(file, UploadedFile)]


def one_by_one(files: list[UploadedFile]) -> Iterator[tuple[str, bytes]]:
    """Yield name and bytes of files, and free each one's memory before the next."""
    for file in files:
        yield file.name, file.getvalue()
        release([file])
        file.truncate(0)


def release(files: list[UploadedFile]) -> None:
    """Remove files from Streamlit's memory, where they would stay until the session ends."""
    from streamlit.runtime.scriptrunner import get_script_run_ctx

    context = get_script_run_ctx()
    if context is None:
        return
    for file in files:
        context.uploaded_file_mgr.remove_file(context.session_id, file.file_id)
