"""Download buttons."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Literal

import streamlit as st


def csv_download(
    label: str,
    text: Callable[[], str],
    *,
    name: str,
    key: str,
    help: str | None = None,  # noqa: A002 - as Streamlit calls it
    type: Literal["primary", "secondary"] = "secondary",  # noqa: A002
) -> None:
    """Show a button that downloads a CSV, written when it is pressed; time is added to its name."""
    st.download_button(
        label, data=lambda: text().encode("utf-8"),
        file_name=f"drcore-{name}-{datetime.now(UTC).astimezone():%Y%m%d-%H%M}.csv",
        mime="text/csv", on_click="ignore", icon=":material/download:", key=key, help=help,
        type=type, width="stretch",
    )  # fmt: skip
