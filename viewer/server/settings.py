"""Every environment variable that the viewer reads."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["root_from_environment"]


def root_from_environment() -> Path | None:
    """Return the folder of DRCORE_BATCH_ROOT, below which the server's folders may be graded."""
    value = os.environ.get("DRCORE_BATCH_ROOT", "").strip()
    return Path(value) if value else None
