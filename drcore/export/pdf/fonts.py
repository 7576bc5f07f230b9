"""Letters for printed reports: any Unicode text becomes glyphs, never a box and never an error."""

from __future__ import annotations

import re
import threading
import unicodedata
from importlib import resources
from itertools import groupby
from pathlib import Path
from xml.sax.saxutils import escape  # nosec B406 - it escapes, and parses nothing

from drcore.errors import SourceError

__all__ = ["BOLD", "REGULAR", "marked_up", "register"]

REGULAR, BOLD = "DejaVuSans", "VeraBd"
"""DejaVu Sans ships with drcore and knows Latin, Greek, Cyrillic, Hebrew, Arabic and more; its
ancestor Vera, for our own bold headings alone, ships with reportlab."""

_SHIPPED = (REGULAR, "DroidSansFallbackFull")
"""In the order in which a letter is looked up; the second knows Chinese and Japanese."""
_KOREAN = "HYSMyeongJo-Medium"
"""Not embedded: a font that readers of PDF have or replace."""
_HANGUL = re.compile("[\u1100-\u11ff\u3130-\u318f\uac00-\ud7af]")
_RIGHT_TO_LEFT = re.compile(
    "[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]"
    "(?:[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc ]*[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc])?"
)
_LONGEST = 2000
_lock = threading.Lock()
_known: list[tuple[str, frozenset[int]]] = []
"""Fonts and the letters that they have."""


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
            from reportlab.pdfbase.ttfonts import TTFont
        except ImportError as error:
            raise SourceError(
                "Reports as PDF need the package reportlab. Install it: pip install reportlab"
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
        if unicodedata.category(c) not in {"Cf", "Cs"}
    )
    # In the order in which they stand on paper: reportlab sets every letter to the right.
    ordered = _RIGHT_TO_LEFT.sub(lambda found: found[0][::-1], visible)
    runs = groupby(ordered, key=_font_of)
    return "".join(_run(name, "".join(letters)) for name, letters in runs)


def _font_of(letter: str) -> str:
    found = next((name for name, letters in _known if ord(letter) in letters), "")
    return found or (_KOREAN if _HANGUL.match(letter) else "")


def _run(font: str, letters: str) -> str:
    if not font:
        return "".join(f"[U+{ord(letter):04X}]" for letter in letters)
    return escape(letters) if font == REGULAR else f'<font name="{font}">{escape(letters)}</font>'
