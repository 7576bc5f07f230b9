"""What may be written into the record: texts, hashes, moments and grades that come back whole."""

from __future__ import annotations

import re
from datetime import datetime

from drcore.errors import ReviewError

__all__ = ["LONGEST", "check_moment", "check_sha256", "check_text", "is_grade"]

LONGEST = {"image": 4096, "model_version": 200, "note": 10_000, "reader": 200, "patient": 400}
"""Characters of the free texts."""


def check_sha256(label: str, value: object) -> None:
    """Refuse what is not the hash of a file.

    Args:
        label: what messages begin with; clean text.
        value: 64 hex digits in lower case.

    Raises:
        ReviewError: it is not.
    """
    if not isinstance(value, str) or not re.fullmatch(r"[0-9a-f]{64}", value):
        raise ReviewError(
            f"{label}: there is no SHA-256 of a photograph. "
            "A file that could not be read cannot be reviewed."
        )


def check_text(label: str, name: str, value: object) -> None:
    """Refuse a text that a database cuts short or does not store.

    Args:
        label: what messages begin with; clean text.
        name: a key of `LONGEST`.
        value: to be stored.

    Raises:
        ReviewError: it is no text, too long, or holds NUL or half of a character.
    """
    words = name.replace("_", " ")
    if not isinstance(value, str) or len(value) > LONGEST[name]:
        raise ReviewError(
            f"{label}: the {words} is not a text of at most {LONGEST[name]} characters. Shorten it."
        )
    if re.search("[\0\ud800-\udfff]", value):
        raise ReviewError(
            f"{label}: the {words} holds characters that cannot be stored. Type it again."
        )


def check_moment(label: str, what: str, value: object) -> None:
    """Refuse a time without a zone: it could be any of a day's hours.

    Args:
        label: what messages begin with; clean text.
        what: happened then.
        value: to be stored.

    Raises:
        ReviewError: it is no time, or has no zone.
    """
    if not isinstance(value, datetime) or value.utcoffset() is None:
        raise ReviewError(f"{label}: the time of {what} needs a time zone. Give UTC.")


def is_grade(value: object) -> bool:
    """Say whether a value is an ICDR grade, 0 to 4."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 4
