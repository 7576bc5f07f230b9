"""Name and version of the manifest; apart from it, so that writing one needs no pydantic."""

from __future__ import annotations

__all__ = ["FORMAT", "FORMAT_VERSION", "MANIFEST"]

FORMAT = "drcore-bundle"
FORMAT_VERSION = 5
"""Version that is written. Version 1 has no `certainty`, versions 1 and 2 no `placement`. Up to
version 3 there is no `certainty.decision` and no `reference`: `thresholds` tell the grade; every
map is linear, and every network runs in float32, also over the mirror image. Up to version 4 a
linear map has no link."""

MANIFEST = "manifest.json"
