"""Every environment variable that the viewer reads, except those of its log (`drcore.logs`).

Where the record and the stored lists lie, `drcore.record.places` says; DRCORE_FORM is read by
`drcore.reviews.form`.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from drcore.errors import DrcoreError
from drcore.eye import FIELD_DEGREES, degrees_of
from drcore.photographs.identity import NameRules
from drcore.record.places import record_location as reviews_location
from drcore.record.places import worklists_folder
from drcore.reviews.decision import MODES, ReadingMode

__all__ = [
    "allowed_modes",
    "batch_root",
    "name_rules",
    "reviews_location",
    "weights",
    "worklists_folder",
]

_MASKED: ReadingMode = "blinded first read"
"""As it is stored. Pages, and DRCORE_STUDY where one likes, call it "masked first read"."""


def batch_root() -> Path | None:
    """Return the folder of DRCORE_BATCH_ROOT, below which the server's folders may be graded."""
    value = os.environ.get("DRCORE_BATCH_ROOT", "").strip()
    return Path(value) if value else None


def weights() -> str | None:
    """Return which weights grade: `--weights` after `--`, or DRCORE_WEIGHTS; None for the bundled.

    A folder, or the name of a model that an installed package brings:
    `streamlit run viewer/app.py -- --weights site-bundle`.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    # Without a value it must fail: other weights than those asked for must never grade.
    parser.add_argument(
        "--weights", nargs="?", const="(none given)", default=os.environ.get("DRCORE_WEIGHTS")
    )
    chosen, _ = parser.parse_known_args()
    return (chosen.weights or "").strip() or None


def name_rules() -> NameRules:
    """Return how eye, patient and date are read from paths, as `drcore grade` is told it.

    DRCORE_NAME_PATTERN is a regular expression with named groups, DRCORE_PATIENT_FROM=folder makes
    each folder a patient. Raises `DrcoreError` if the pattern is not valid.
    """
    folder = os.environ.get("DRCORE_PATIENT_FROM", "").strip().lower() == "folder"
    return NameRules(os.environ.get("DRCORE_NAME_PATTERN", "").strip(), folder)


def field_degrees() -> float:
    """Return the field of view, in degrees, of photographs whose header does not give it.

    It is that of DRCORE_FIELD_DEGREES; 45 if that is empty or not a field of view.
    """
    return degrees_of(os.environ.get("DRCORE_FIELD_DEGREES", "").strip()) or FIELD_DEGREES


def reader_header() -> str:
    """Return the header of DRCORE_READER_HEADER, in lower case, in which a proxy names the reader.

    Empty where there is none.
    """
    return os.environ.get("DRCORE_READER_HEADER", "").strip().lower()


def proxy_addresses() -> str:
    """Return DRCORE_PROXY, the addresses of the proxies that may name the reader."""
    return os.environ.get("DRCORE_PROXY", "")


def roles_file() -> str:
    """Return the path of DRCORE_ROLES, by which readers have roles; empty where there is none."""
    return os.environ.get("DRCORE_ROLES", "").strip()


def pacs_file() -> str:
    """Return the path of DRCORE_PACS, which names picture archives; empty where there is none."""
    return os.environ.get("DRCORE_PACS", "").strip()


def trouble() -> str:
    """Say which setting is not valid, before anybody's photographs meet it; empty if all are."""
    degrees = os.environ.get("DRCORE_FIELD_DEGREES", "").strip()
    if degrees and degrees_of(degrees) is None:
        return (
            f"{degrees[:40]!r} is no field of view: give 10 to 220 degrees (setting "
            "DRCORE_FIELD_DEGREES of this server; no images are added until then)"
        )
    try:
        name_rules()
    except DrcoreError as error:
        return (
            f"{error} (setting DRCORE_NAME_PATTERN of this server; no images are added until then)"
        )
    return ""


def allowed_modes(setting: str | None = None) -> tuple[ReadingMode, ...]:
    """Return the modes that readers may choose, the first being the default.

    They are the comma-separated words of DRCORE_STUDY; all modes if it is empty. If any word is not
    a mode, only the masked first read is allowed: a typing error must not reveal anything.
    """
    text = os.environ.get("DRCORE_STUDY", "") if setting is None else setting
    words = [" ".join(word.lower().split()) for word in text.split(",") if word.strip()]
    names: dict[str, ReadingMode] = {name: name for name in MODES}
    names |= {"masked": _MASKED, "masked first read": _MASKED}
    if not words:
        return MODES
    if not names.keys() >= set(words):
        return (_MASKED,)
    return tuple(dict.fromkeys(names[word] for word in words))
