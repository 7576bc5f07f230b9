"""Scripts and style sheets beside the components that use them, and addresses for media."""

from __future__ import annotations

from functools import cache
from pathlib import Path

_VIEWER = Path(__file__).resolve().parent.parent


def script(*names: str) -> str:
    """Return files below `viewer/` as one script, in order: each may use those before it."""
    return "\n".join((_VIEWER / name).read_text(encoding="utf-8") for name in names)


@cache
def style(name: str) -> str:
    """Return a style sheet below `viewer/` as text."""
    return (_VIEWER / name).read_text(encoding="utf-8")


def style_tag(name: str) -> str:
    """Return a style sheet below `viewer/` as an HTML element."""
    return f"<style>{style(name)}</style>"


def media_url(data: bytes, mimetype: str, slot: str, name: str | None = None) -> str:
    """Give a file to Streamlit, which serves it for as long as this page shows it.

    Args:
        data: content of the file.
        mimetype: of the content.
        slot: place on the page that the file belongs to; a new file there replaces the old one.
        name: file name, part of the address; Streamlit's own hash skips the middle of large files.

    Returns:
        Address relative to the server.
    """
    from streamlit import config
    from streamlit.runtime import get_instance

    url = get_instance().media_file_mgr.add(data, mimetype, slot, name)
    base = str(config.get_option("server.baseUrlPath") or "").strip("/")
    return f"/{base}{url}" if base else url
