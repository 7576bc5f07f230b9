"""Text of any script in the order and the shapes in which it stands on paper.

HarfBuzz joins Arabic letters and forms the syllables of the Indic scripts, Thai, Lao, Khmer and
Burmese; the order of words follows the Unicode Bidirectional Algorithm as far as names need it
(no explicit embeddings; a date keeps its order after Arabic words, too).
"""

from __future__ import annotations

import unicodedata
from itertools import groupby
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["JOINERS", "by_font_and_direction", "is_complex", "on_paper", "runs_leftward"]

JOINERS = "\u200c\u200d"
"""Whether letters join: they are invisible, and shaping reads them."""

_MIRRORED = str.maketrans("()[]{}<>\u00ab\u00bb\u2039\u203a", ")(][}{><\u00bb\u00ab\u203a\u2039")

_COMPLEX = (
    (0x0590, 0x08FF), (0x0900, 0x0DFF), (0x0E00, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17FF),
    (0xA8E0, 0xA8FF), (0xA9E0, 0xA9FF), (0xAA60, 0xAA7F), (0xFB1D, 0xFDFF), (0xFE70, 0xFEFC),
)  # fmt: skip
"""Ranges of Unicode that must be shaped: Hebrew to Arabic, Indic, Thai and Lao, Burmese, Khmer."""


def is_complex(letter: str) -> bool:
    """Whether a letter takes its shape or place from its neighbours."""
    code = ord(letter)
    return any(first <= code <= last for first, last in _COMPLEX)


def is_rightward(letter: str) -> bool:
    """Whether a letter belongs to a run that HarfBuzz is to set from right to left."""
    return unicodedata.bidirectional(letter) in {"R", "AL"} or (
        unicodedata.category(letter) == "Mn" and 0x0590 <= ord(letter) <= 0x08FF
    )


def runs_leftward(text: str) -> bool:
    """Whether the first letter of a text belongs to a script that runs from right to left."""
    return next((kind for kind in _kinds(text) if kind in "RL"), "L") == "R"


def on_paper(text: str) -> str:
    """Put the words of a line in the order in which they stand on paper, from left to right.

    Args:
        text: one line in the order in which it is read. Its first letter says which way it runs.

    Returns:
        The same words; the letters within a word stay in the order in which they are read,
        because shaping turns them.
    """
    if not any(map(is_rightward, text)):
        return text
    kinds, base = _kinds(text), int(runs_leftward(text))
    levels = _levels(text, kinds, base)
    tokens = _tokens(text, levels)
    for level in range(max(levels), 0, -1):
        tokens = _turned(tokens, level)
    return "".join(part.translate(_MIRRORED) if odd % 2 else part for part, odd in tokens)


def _turned(tokens: list[tuple[str, int]], level: int) -> list[tuple[str, int]]:
    """Reverse each run of words of at least a level."""
    turned: list[tuple[str, int]] = []
    for high, group in groupby(tokens, key=lambda token: token[1] >= level):
        words = list(group)
        turned += words[::-1] if high else words
    return turned


def _kinds(text: str) -> list[str]:
    """R or L for letters, A or N for Arabic and other digits, a space for all that has no side."""
    names = {"R": "R", "AL": "R", "L": "L", "EN": "N", "AN": "A"}
    kinds: list[str] = []
    for letter in text:
        found = unicodedata.bidirectional(letter)
        marks = kinds[-1] if found in {"NSM", "BN"} and kinds else " "
        kinds.append(names.get(found, marks))
    # A sign between digits belongs to the number: a date, a time.
    for index in range(1, len(text) - 1):
        if kinds[index - 1] == kinds[index + 1] and kinds[index - 1] in "NA":
            belongs = ".,:/-" if kinds[index - 1] == "N" else ".,:/"
            kinds[index] = kinds[index - 1] if text[index] in belongs else kinds[index]
    return kinds


def _levels(text: str, kinds: list[str], base: int) -> list[int]:
    """Level of each letter: even ones run to the right, odd ones to the left."""
    own = "R" if base else "L"
    before, strong = [], own
    for kind in kinds:
        strong = kind if kind in "RL" else strong
        before.append(strong)
    # Numbers count as left-to-right only where such a word goes before them.
    sides = [{"N": before[i], "A": "R"}.get(kind, kind) for i, kind in enumerate(kinds)]
    for opened, closed in _brackets(text):
        inside = set(sides[opened + 1 : closed]) - {" "}
        if inside:
            context = next((s for s in sides[:opened][::-1] if s != " "), own)
            sides[opened] = sides[closed] = own if own in inside else context
    levels = []
    for index, kind in enumerate(kinds):
        side = sides[index]
        if side == " ":
            left = next((s for s in sides[:index][::-1] if s != " "), own)
            right = next((s for s in sides[index:] if s != " "), own)
            side = left if left == right else own
        number = 2 if kind == "A" or (kind == "N" and side == "R") else 1
        levels.append(number if side == "R" else 2 * base)
    return levels


def _brackets(text: str) -> list[tuple[int, int]]:
    """Where brackets open and close, in the order in which they open."""
    pairs, opened = [], []
    for index, letter in enumerate(text):
        if letter in "([{":
            opened.append(index)
        elif letter in ")]}":
            wanted = "([{"[")]}".index(letter)]
            while opened:
                start = opened.pop()
                if text[start] == wanted:
                    pairs.append((start, index))
                    break
    return sorted(pairs)


def _tokens(text: str, levels: list[int]) -> list[tuple[str, int]]:
    """Words with their levels; what runs to the left is taken apart at all that is no letter."""
    tokens: list[tuple[str, int]] = []
    for letter, level in zip(text, levels, strict=True):
        word = level % 2 == 0 or is_rightward(letter) or letter in JOINERS
        joins = tokens and tokens[-1][1] == level and word
        if joins and (level % 2 == 0 or is_rightward(tokens[-1][0][0])):
            tokens[-1] = (tokens[-1][0] + letter, level)
        else:
            tokens.append((letter, level))
    return tokens


def by_font_and_direction(shape: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Make reportlab's shaping of a word safe for words of several fonts or directions.

    reportlab shapes a word as a whole in the font that it begins with; letters of another font
    come out as any glyph of that font.

    Args:
        shape: `reportlab.pdfbase.ttfonts.shapeFragWord`.

    Returns:
        The same for each part of a word that has one font and one direction; what needs no
        shaping stays as it is.
    """
    from reportlab.pdfbase.pdfmetrics import stringWidth
    from reportlab.pdfbase.ttfonts import ShapedFragWord, makeShapedFragWord

    def shaped(word: Any) -> Any:
        texts = [part[1] for part in word[1:] if not hasattr(part[0], "cbDefn")]
        if isinstance(word, ShapedFragWord) or not any(map(is_complex, "".join(texts))):
            return word
        parts: list[Any] = []
        width = 0.0
        for fragment, text, *rest in word[1:]:
            for kind, piece in _runs(text):
                own = stringWidth(piece, fragment.fontName, fragment.fontSize)
                run: list[Any] = [own, (fragment, piece, *rest)]
                run = shape(run) if kind else run
                width += run[0]
                parts += run[1:]
        made = makeShapedFragWord(word)([])
        made += [width, *parts]
        return made

    return shaped


def _runs(text: str) -> list[tuple[int, str]]:
    """Pieces to set as they are (0), to shape from the left (1) and from the right (2)."""
    runs: list[tuple[int, str]] = []
    for letter in text:
        kind = 2 if is_rightward(letter) else 1 if is_complex(letter) else 0
        if runs and (kind == runs[-1][0] or letter in JOINERS):
            runs[-1] = (runs[-1][0], runs[-1][1] + letter)
        else:
            runs.append((kind, letter))
    return runs
