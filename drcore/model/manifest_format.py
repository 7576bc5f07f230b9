"""Name and version of the manifest; apart from it, so that writing one needs no pydantic."""

from __future__ import annotations

__all__ = ["FORMAT", "FORMAT_VERSION", "MANIFEST"]

FORMAT = "drcore-bundle"
FORMAT_VERSION = 4
"""Version that is written. Version 1 has no `certainty`, versions 1 and 2 no `placement`, versions
1 to 3 no `certainty.decision`: they grade by `thresholds`."""

MANIFEST = "manifest.json"
