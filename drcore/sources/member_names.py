"""Names in archives as they were written: ZIP files rarely say in which encoding that was."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

__all__ = ["are_names_sure", "decode_names"]

_ENCODINGS = {
    "cp932": (0x81, 0x98), "gbk": (0xB0, 0xD7), "big5": (0xA4, 0xC6), "cp949": (0xB0, 0xC8),
    "cp437": (0x80, 0xA5), "cp866": (0x80, 0xEF), "cp1252": (0xC0, 0xFF), "cp1251": (0xC0, 0xFF),
    "cp737": (0x80, 0xF1), "cp1253": (0xC1, 0xFE), "cp850": (0x80, 0xE9), "cp852": (0x80, 0xFC),
    "cp857": (0x80, 0xA7), "cp874": (0xA1, 0xEE),
}  # fmt: skip
"""Encodings that Windows and macOS put into ZIP files, and first bytes of their usual letters."""

_RIVALS = (
    *_ENCODINGS, "cp720", "cp775", "cp855", "cp860", "cp861", "cp862", "cp863", "cp865", "cp869",
    "cp1250", "cp1254", "cp1255", "cp1256", "cp1257", "cp1258", "koi8-r",
)  # fmt: skip
"""Encodings that a name may be in: it is sure where those that fit read the same letters."""

_FITS = 0.6
"""Share of the likelihood of the best encoding from which another one fits as well."""

_USUAL = 0.7
"""Mean likelihood of letters that are usual in their script, at least."""

_SAMPLE = 2000
"""Names of an archive by which its encoding is judged."""

_COMMON = {
    "CYRILLIC": frozenset("оеаинтрслвк"),
    "GREEK": frozenset("αοιετσνηυρπκμλς"),
    "LATIN": frozenset("äöüéèáóíñçãß"),
}
"""Letters that most words hold: they tell encodings of one script apart."""

_WEIGHTS = {
    "LATIN": 1.0, "CYRILLIC": 1.0, "GREEK": 0.85, "THAI": 1.0, "HEBREW": 1.0, "ARABIC": 1.0,
}  # fmt: skip
"""What a letter of one byte counts; one of two bytes explains more of the name, and counts 2."""

_RARE = frozenset("\u0390\u03b0\u03ca\u03cb")
"""Greek letters with a diaeresis."""


def decode_names(names: Sequence[bytes]) -> list[str]:
    """Decode the names of an archive, which share one encoding."""
    likeliest = () if all(map(_is_utf8, names)) else _ENCODINGS
    for encoding in sorted(likeliest, key=lambda e: -_likeness(names, e)):
        try:
            return [_composed(name.decode(encoding)) for name in names]
        except UnicodeDecodeError:
            continue
    return [_composed(name.decode("utf-8", "backslashreplace")) for name in names]


def are_names_sure(names: Sequence[bytes], decoded: Sequence[str]) -> list[bool]:
    """Tell of each file name (the last part of a path) whether its letters are sure.

    They are in ASCII and UTF-8, and where all encodings that fit names and archive agree on them.
    """
    foreign = list(dict.fromkeys(name for name in names if not name.isascii()))
    if all(_is_utf8(name) for name in foreign):
        return [True] * len(names)
    sample = foreign[:_SAMPLE]
    likely = {encoding: _likeness(sample, encoding) for encoding in _RIVALS}
    least = max(0.01, _FITS * max(likely.values()))
    rivals = [
        encoding for encoding, value in likely.items()
        if value >= least or all(_are_words(name, encoding) for name in sample)
        # Half-width kana are rare, so they count for little there.
        or (encoding == "cp932" and value > float("-inf"))
    ]  # fmt: skip
    files = [name.rpartition(b"/")[2] for name in names]
    return [
        file.isascii() or (not _is_utf8(file) and _is_read_alike(file, text, rivals))
        for file, text in zip(files, (path.rpartition("/")[2] for path in decoded), strict=True)
    ]


def _is_utf8(name: bytes) -> bool:
    try:
        name.decode()
    except UnicodeDecodeError:
        return False
    return True


def _is_read_alike(name: bytes, text: str, rivals: Iterable[str]) -> bool:
    """Whether this text is made of usual letters, and no encoding that fits reads another one."""
    readings = {encoding: _likeness([name], encoding) for encoding in rivals}
    readings = {encoding: value for encoding, value in readings.items() if value > float("-inf")}
    alike = {e for e in readings if _composed(name.decode(e)) == text}
    own = max((readings[encoding] for encoding in alike), default=0.0)
    letters = sum(not letter.isascii() for letter in text)
    return own >= _USUAL * letters and not any(
        value >= _FITS * own or _are_words(name, encoding)
        for encoding, value in readings.items() if encoding not in alike
    )  # fmt: skip


def _are_words(name: bytes, encoding: str) -> bool:
    """Whether a name is of letters of an alphabet that may stand beside each other."""
    try:
        text = name.decode(encoding)
    except UnicodeDecodeError:
        return False
    # Whatever the bytes are, there are Chinese and Korean signs for most of them.
    signs = any(_script(letter) in {"CJK", "HANGUL"} for letter in text)
    return not signs and all(value >= -0.5 for value in _fits(text, encoding))


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _likeness(names: Iterable[bytes], encoding: str) -> float:
    """How much names look like words of one script in an encoding."""
    total = 0.0
    for name in names:
        try:
            text = name.decode(encoding)
        except UnicodeDecodeError:
            return float("-inf")
        total += sum(_fits(text, encoding))
    return total


def _fits(text: str, encoding: str) -> Iterator[float]:
    """Likelihood of each letter beyond ASCII."""
    first, last = _ENCODINGS.get(encoding, (0x80, 0xFF))
    for place, letter in enumerate(text):
        if not letter.isascii():
            usual = first <= letter.encode(encoding)[0] <= last
            yield _fit(letter, text[place - 1 : place], text[place + 1 : place + 2], usual=usual)


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
    weight = _WEIGHTS.get(script, 2.1 if script == "HANGUL" and beside else 2.0)
    weight = weight if usual and letter not in _RARE else weight / 4
    plain = unicodedata.normalize("NFD", letter.lower())[0] if script == "GREEK" else letter
    return weight + 0.15 * (plain in _COMMON.get(script, ()))


@lru_cache(maxsize=1 << 16)
def _script(letter: str) -> str:
    word = unicodedata.name(letter, "").partition(" ")[0]
    return "CJK" if word in {"CJK", "HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA"} else word
