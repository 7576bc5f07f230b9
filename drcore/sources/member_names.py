"""Names in archives as they were written: ZIP files rarely say in which encoding that was."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence

__all__ = ["decode_names"]

_ENCODINGS = {
    "cp932": (0x81, 0x98), "gbk": (0xB0, 0xD7), "big5": (0xA4, 0xC6), "cp949": (0xB0, 0xC8),
    "cp437": (0x80, 0xA5), "cp866": (0x80, 0xEF), "cp1252": (0xC0, 0xFF), "cp1251": (0xC0, 0xFF),
    "cp737": (0x80, 0xF1), "cp1253": (0xC1, 0xFE), "cp850": (0x80, 0xE9), "cp852": (0x80, 0xFC),
    "cp857": (0x80, 0xA7), "cp874": (0xA1, 0xEE),
}  # fmt: skip
"""Encodings that Windows and macOS put into ZIP files, and first bytes of their usual letters."""

_COMMON = {
    "CYRILLIC": frozenset("оеаинтрслвк"),
    "GREEK": frozenset("αοιετσνηυρπκμλς"),
    "LATIN": frozenset("äöüéèáóíñçãß"),
}
"""Letters that most words hold: they tell encodings of one script apart."""

_RARE = frozenset("\u0390\u03b0\u03ca\u03cb")
"""Greek letters with a diaeresis."""


def decode_names(names: Sequence[bytes]) -> list[str]:
    """Decode the names of an archive, which share one encoding."""
    for encoding in ("utf-8", *sorted(_ENCODINGS, key=lambda e: -_likeness(names, e))):
        try:
            return [_composed(name.decode(encoding)) for name in names]
        except UnicodeDecodeError:
            continue
    return [_composed(name.decode("utf-8", "backslashreplace")) for name in names]


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _likeness(names: Iterable[bytes], encoding: str) -> float:
    """How much names look like words of one script in an encoding."""
    first, last = _ENCODINGS[encoding]
    total = 0.0
    for name in names:
        try:
            text = name.decode(encoding)
        except UnicodeDecodeError:
            return float("-inf")
        for place, letter in enumerate(text):
            if letter.isascii():
                continue
            usual = first <= letter.encode(encoding)[0] <= last
            total += _fit(letter, text[place - 1 : place], text[place + 1 : place + 2], usual=usual)
    return total


def _fit(letter: str, before: str, after: str, *, usual: bool) -> float:
    """Between -2 for what is no letter of a word and 2 for a usual one among its like."""
    script = _script(letter)
    if not unicodedata.category(letter).startswith(("L", "M") if script == "THAI" else "L"):
        return -2.0
    beside = [_script(other) for other in (before, after) if other.isalpha()]
    inner = letter.isupper() and (before.islower() or (before.isupper() and after.islower()))
    # "\u00e2A" and a capital within a word: two bytes of another encoding.
    turned = script == "LATIN" and letter.islower() and before.isupper() and after.isupper()
    if inner or turned or any(other != script for other in beside):
        return -1.0
    accents = script == "LATIN" and any(o.isalpha() and not o.isascii() for o in (before, after))
    if accents or script == "HALFWIDTH":
        return -0.25 if accents else -0.5  # accents are rarely neighbours
    # A letter of two bytes explains more of the name than one of one.
    weights = {"LATIN": 1.0, "CYRILLIC": 1.0, "GREEK": 0.85, "THAI": 1.0}
    weights["HANGUL"] = 2.1 if beside else 2.0
    weight = weights.get(script, 2.0)
    weight = weight if usual and letter not in _RARE else weight / 4
    plain = unicodedata.normalize("NFD", letter.lower())[0] if script == "GREEK" else letter
    return weight + 0.15 * (plain in _COMMON.get(script, ()))


def _script(letter: str) -> str:
    word = unicodedata.name(letter, "").partition(" ")[0]
    return "CJK" if word in {"CJK", "HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA"} else word
