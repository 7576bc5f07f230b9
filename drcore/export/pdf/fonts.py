"""Letters for printed reports: any Unicode text becomes glyphs, never a box and never an error."""

from __future__ import annotations

import importlib
import re
import textwrap
import threading
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from importlib import resources
from itertools import groupby
from pathlib import Path
from xml.sax.saxutils import escape  # nosec B406 - it escapes, and parses nothing

from drcore.errors import SourceError
from drcore.export.pdf.script import (
    JOINERS,
    by_font_and_direction,
    is_complex,
    on_paper,
    runs_leftward,
)

__all__ = ["BOLD", "REGULAR", "marked_up", "register", "scripts_of", "undrawn"]

REGULAR, BOLD = "DejaVuSans", "VeraBd"
"""DejaVu Sans ships with drcore and knows Latin, Greek, Cyrillic, Hebrew, Arabic and more; its
ancestor Vera, for our own bold headings alone, ships with reportlab."""

_SHAPED = tuple(
    f"NotoSans{script}" for script in (
        "Devanagari", "Bengali", "Gurmukhi", "Gujarati", "Oriya", "Tamil", "Telugu", "Kannada",
        "Malayalam", "Sinhala", "Thai", "Lao", "Khmer", "Myanmar", "Ethiopic",
    )
)  # fmt: skip
_SHIPPED = (REGULAR, "DroidSansFallbackFull", *_SHAPED)
"""In the order in which a letter is looked up; the second knows Chinese and Japanese. Letters
that must be shaped are looked up in fonts of their own script first."""
_KOREAN = "HYSMyeongJo-Medium"
"""Not embedded: a font that readers of PDF have or replace."""
_HANGUL = re.compile("[\u1100-\u11ff\u3130-\u318f\uac00-\ud7af]")
_LONGEST = 2000
_LEFTWARD = 40
"""Letters in a line of text that runs to the left: they fit into the narrowest column."""
_lock = threading.Lock()
_known: list[tuple[str, frozenset[int]]] = []
"""Fonts and the letters that they have."""
_missing: ContextVar[set[str] | None] = ContextVar("missing", default=None)


def register() -> None:
    """Make the fonts known to reportlab; a second time does nothing.

    Raises:
        SourceError: reportlab is not installed, or the font is missing.
    """
    with _lock:
        if _known:
            return
        try:
            from reportlab.pdfbase import pdfmetrics
            from reportlab.pdfbase.cidfonts import UnicodeCIDFont
            from reportlab.pdfbase.ttfonts import TTFont, shapeFragWord
            from reportlab.platypus import paragraph

            importlib.import_module("uharfbuzz")  # reportlab shapes with it, where it is there
        except ImportError as error:
            raise SourceError(
                "Reports as PDF need the packages reportlab and uharfbuzz. Install them: "
                "pip install reportlab uharfbuzz"
            ) from error
        folder = Path(str(resources.files("drcore"))) / "fonts"
        try:
            fonts = [TTFont(name, str(folder / f"{name}.ttf")) for name in _SHIPPED]
        except Exception as error:
            raise SourceError(
                "The fonts of the reports are missing or damaged. Install drcore again."
            ) from error
        for font in (*fonts, TTFont(BOLD, "VeraBd.ttf"), UnicodeCIDFont(_KOREAN)):
            pdfmetrics.registerFont(font)
        vars(paragraph)["shapeFragWord"] = by_font_and_direction(shapeFragWord)
        _known.extend((font.fontName, frozenset(font.face.charToGlyph)) for font in fonts)


def marked_up(text: str, longest: int = _LONGEST) -> str:
    """Turn untrusted text into reportlab's markup, each run of letters in a font that has them.

    Args:
        text: any; `register` was called before.
        longest: characters after which it is cut, with an ellipsis.

    Returns:
        Markup for a paragraph; a letter that no font has becomes its number: [U+1F600].
    """
    cut = text if len(text) <= longest else f"{text[: longest - 1]}\u2026"
    visible = "".join(
        " " if unicodedata.category(c) in {"Cc", "Zl", "Zp"} else c
        for c in unicodedata.normalize("NFC", cut)
        if unicodedata.category(c) not in {"Cf", "Cs"} or c in JOINERS
    )
    # reportlab breaks lines from the left: what runs to the left has to come in lines.
    lines = textwrap.wrap(visible, _LEFTWARD) if runs_leftward(visible) else [visible]
    return "<br/>".join(map(_line, lines))


def _line(text: str) -> str:
    # reportlab sets every word to the right of the one before.
    runs = groupby(_with_fonts(on_paper(text)), key=lambda letter: letter[0])
    return "".join(_run(name, "".join(c for _, c in letters)) for name, letters in runs)


@contextmanager
def undrawn() -> Iterator[set[str]]:
    """Collect the letters for which `marked_up` finds no font within the block."""
    found: set[str] = set()
    token = _missing.set(found)
    try:
        yield found
    finally:
        _missing.reset(token)


def scripts_of(letters: set[str]) -> str:
    """Name the scripts of letters, such as "Cherokee, Tibetan": what a log may hold.

    Args:
        letters: any.

    Returns:
        The first words of their names in Unicode, sorted, each once.
    """
    names = {unicodedata.name(letter, "unknown").split()[0].capitalize() for letter in letters}
    return ", ".join(sorted(names))


def _with_fonts(text: str) -> Iterator[tuple[str, str]]:
    """Letters with their fonts; joiners keep to the letter before them, or are left out."""
    before = ("", "")
    for letter in text:
        if letter not in JOINERS:
            before = (_font_of(letter), letter)
            yield before
        elif before[0] and is_complex(before[1]):
            yield before[0], letter


def _font_of(letter: str) -> str:
    if letter.isspace():
        return REGULAR
    fonts = _known
    if is_complex(letter):
        fonts = [known for known in _known if known[0] in _SHAPED] + _known
    found = next((name for name, letters in fonts if ord(letter) in letters), "")
    return found or (_KOREAN if _HANGUL.match(letter) else "")


def _run(font: str, letters: str) -> str:
    if not font:
        missing = _missing.get()
        if missing is not None:
            missing.update(letters)
        return "".join(f"[U+{ord(letter):04X}]" for letter in letters)
    return escape(letters) if font == REGULAR else f'<font name="{font}">{escape(letters)}</font>'
