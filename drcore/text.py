"""Text that comes from outside, made safe to show and to store."""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence

__all__ = [
    "cell", "clean_name", "csv_safe", "csv_text", "fold", "one_line", "printable", "shortened",
]  # fmt: skip


_INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Unicode categories: control, format, surrogate, private, unassigned, line and paragraph ends."""


def clean_name(name: str) -> str:
    """Strip folders, control and invisible formatting characters from an untrusted file name.

    Args:
        name: any text.

    Returns:
        The last path component, at most 200 characters, never empty.
    """
    last = re.split(r"[\\/]", name)[-1]
    kept = "".join(c for c in last if unicodedata.category(c) not in _INVISIBLE).strip()[:200]
    return "unnamed" if kept in {"", ".", ".."} else kept


def shortened(name: str) -> str:
    """Return a name of at most 200 characters that keeps its end, which tells eye and kind.

    Args:
        name: of a file or a folder; untrusted text.

    Returns:
        The name as it is, with an ellipsis where it was cut.
    """
    return name if len(name) <= 200 else f"{name[:140]}\u2026{name[-50:]}"


def one_line(said: object, limit: int = 160) -> str:
    """Return untrusted text, or an error that may quote some, as one short line.

    Args:
        said: text or exception; an exception without a message is told by its class.
        limit: largest number of characters.

    Returns:
        Text without line breaks, shortened with an ellipsis, never empty for an exception.
    """
    text = " ".join(str(said).split())
    if isinstance(said, BaseException) and not text:
        return type(said).__name__
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


def fold(name: str) -> str:
    """Return the key under which spellings of one name meet: "AR", "ar" and "AR " are one.

    Args:
        name: of a reader or a patient.

    Returns:
        The name in lower case, words parted by single spaces.
    """
    return " ".join(name.split()).casefold()


# What a spreadsheet takes for the start of a formula, with the full-width, small and mathematical
# forms that some of them fold to ASCII first.
_TRIGGERS = "=+\\-@\uff1d\uff0b\uff0d\uff20\ufe66\ufe62\ufe63\ufe6b\u2212"
_FORMULA = re.compile(rf"[\t\r\n]|\s*[{_TRIGGERS}]")
# Where semicolons part the columns (German, French, ... settings), a cell may begin inside ours.
_INNER_FORMULA = re.compile(rf"([;\t\r\n]\s*)(?=[{_TRIGGERS}])")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")


def csv_safe(text: str) -> str:
    """Make a cell that no spreadsheet reads as a formula and that UTF-8 can hold.

    Args:
        text: any text.

    Returns:
        The text, with an apostrophe before what would start a formula; plain numbers stay as they
        are. Lone surrogates become escapes. Doing it twice changes nothing.
    """
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    if _NUMBER.fullmatch(text):
        return text
    text = _INNER_FORMULA.sub(r"\1'", text)
    return f"'{text}" if _FORMULA.match(text) else text


def csv_text(rows: Iterable[Mapping[str, str]], columns: Sequence[str]) -> str:
    r"""Write rows as CSV.

    Args:
        rows: values by column; a missing one becomes an empty cell.
        columns: which, in order.

    Returns:
        Header and rows, comma separated, lines ending in "\n", cells made safe.
    """
    file = io.StringIO()
    table = csv.writer(file, lineterminator="\n")
    table.writerow(columns)
    for row in rows:
        # A lone carriage return is a line break to some readers, and is not quoted.
        cells = (csv_safe(row.get(column, "")) for column in columns)
        table.writerow([cell.replace("\r\n", "\n").replace("\r", "\n") for cell in cells])
    return file.getvalue()


def cell(text: str) -> str:
    """Make one printable line that is safe in a spreadsheet.

    Args:
        text: any text.

    Returns:
        The cell; done twice, it changes nothing.
    """
    return csv_safe(printable(text))


def printable(text: str) -> str:
    """Escape control, formatting and undecodable characters, so that a name stays one line.

    Args:
        text: a file name or another untrusted text.

    Returns:
        One line.
    """
    return "".join(
        c.encode("unicode_escape").decode("ascii")
        if unicodedata.category(c) in {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
        else c
        for c in text
    )
