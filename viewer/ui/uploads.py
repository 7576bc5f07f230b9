"""Files that Streamlit's uploader holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

if TYPE_CHECKING:
    from streamlit.runtime.uploaded_file_manager import UploadedFile


__all__ = ["release", "uploaded"]


def uploaded(key: str) -> list[UploadedFile]:
    """Return the files that an uploader holds, without those that were released already."""
    from streamlit.runtime.uploaded_file_manager import UploadedFile

    return [file for file in st.session_state.get(key) or [] if isinstance(file, UploadedFile)]


def release(files: list[UploadedFile]) -> None:
    """Let Streamlit forget uploads that were taken over: they would stay until the session ends."""
    from streamlit.runtime.scriptrunner import get_script_run_ctx

    context = get_script_run_ctx()
    if context is None:
        return
    for file in files:
        context.uploaded_file_mgr.remove_file(context.session_id, file.file_id)
