"""Where eye, patient and date were read, in words."""

from __future__ import annotations

from collections.abc import Collection

_ORIGINS = {
    "dicom": "from DICOM header", "pattern": "by name pattern", "folder": "from folder",
    "name": "from file name", "hand": "entered by hand",
}  # fmt: skip


def source_words(identity_source: str, known: Collection[str] = ("eye", "patient", "date")) -> str:
    """Return `eye=name patient=name date=dicom` as `eye and patient from file name; date ...`.

    Only of what is `known`; empty where nothing is.
    """
    by_origin: dict[str, list[str]] = {}
    for part in identity_source.split():
        what, _, origin = part.partition("=")
        if what in known and origin in _ORIGINS:
            by_origin.setdefault(origin, []).append(what)
    return "; ".join(f"{_listed(what)} {_ORIGINS[o]}" for o, what in by_origin.items())


def _listed(words: list[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last
