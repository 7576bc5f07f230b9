"""Files that lie at the top of the repository, and below `viewer` in an installed package."""

from __future__ import annotations

from pathlib import Path

_VIEWER = Path(__file__).parents[1]


def shipped(name: str) -> Path:
    """Return where a file or folder lies, such as "sample_images" or "MODEL_CARD.md"."""
    installed = _VIEWER / name
    return installed if installed.exists() else _VIEWER.parent / name
