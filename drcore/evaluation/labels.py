"""Reference labels from a CSV file, matched with photographs before anything is graded."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from drcore.errors import DrcoreError, MissingInputError
from drcore.icdr import REFERABLE
from drcore.text import one_line

__all__ = ["Label", "check_labels", "match_labels", "read_labels"]

_LARGEST = 64 << 20
_SHOWN = 20
"""Problems that a message names one by one."""

_GRADES = re.compile(r"([0-4])(?:\.0)?(?:\s*(?:-|\u2013|to)\s*([0-4]))?")
_YES = frozenset({"1", "true", "yes", "y", "referable"})
_NO = frozenset({"0", "false", "no", "n", "not referable"})


@dataclass(frozen=True, slots=True)
class Label:
    """The reference of one photograph: a grade, or the grades from `low` to `high`.

    Attributes:
        image: name of the photograph; untrusted text.
        low, high: 0-4, equal where the grade is known; 0-1 is "not referable", 2-4 "referable".
        patient: key of the patient; empty where unknown. Untrusted text.
        line: in the file.
    """

    image: str
    low: int
    high: int
    patient: str = ""
    line: int = 0

    @property
    def grade(self) -> int | None:
        """The grade where the label says exactly one."""
        return self.low if self.low == self.high else None

    @property
    def referable(self) -> bool:
        """Whether it is referable; a label that leaves this open is refused."""
        return self.low >= REFERABLE


def read_labels(table: Path) -> tuple[list[Label], list[str]]:
    """Read reference labels.

    Args:
        table: CSV with a column `image` and a column `grade` (0 to 4, or a range such as 0-1 or
            3-4) or `referable` (true or false), perhaps `patient`; other columns are ignored.

    Returns:
        Labels in the order of the file, and a sentence with its line for each row that cannot be
        used.

    Raises:
        MissingInputError: there is no such file.
        DrcoreError: the file is not a table of labels.
    """
    rows, columns = _rows(table)
    if "image" not in columns or not columns & {"grade", "referable"}:
        given = one_line(", ".join(sorted(columns)))
        raise DrcoreError(
            f"{table.name} {f'has the columns {given}' if given else 'is empty'}. It "
            "needs 'image' and 'grade' (0 to 4) or 'referable' (true or false), and 'patient' "
            "where there is one."
        )
    labels: list[Label] = []
    problems: list[str] = []
    first: dict[str, int] = {}
    for line, row in rows:
        where, image = f"{table.name}, line {line}", (row.get("image") or "").strip()
        span = _span(row)
        if not image:
            problems.append(f"{where}: the image is not named.")
        elif image in first:
            problems.append(f"{where}: {one_line(image)} is on line {first[image]} already.")
        elif isinstance(span, str):
            problems.append(f"{where}: {span}")
        else:
            labels.append(Label(image, *span, (row.get("patient") or "").strip(), line))
        first.setdefault(image, line)
    return labels, problems


def match_labels(
    table: Path, labels: Iterable[Label], images: Sequence[str]
) -> tuple[dict[str, Label], list[str]]:
    """Find the photograph of each label.

    Args:
        table: of the labels, for the sentences.
        labels: of `read_labels`.
        images: names of the photographs, as `drcore grade` writes them: paths below a folder.

    Returns:
        Labels by photograph, and a sentence with its line for each label that has none. A label may
        name the file alone where no other folder has one of that name.
    """
    names = set(images)
    files = Counter(image.rsplit("/", 1)[-1] for image in images)
    by_file = {image.rsplit("/", 1)[-1]: image for image in images}
    matched: dict[str, Label] = {}
    problems: list[str] = []
    for label in labels:
        where, shown = f"{table.name}, line {label.line}", one_line(label.image)
        image = label.image if label.image in names else by_file.get(label.image)
        if image is None:
            problems.append(f"{where}: there is no photograph {shown}.")
        elif image != label.image and files[label.image] > 1:
            problems.append(
                f"{where}: {files[label.image]} photographs are called {shown}. Give the path "
                "below the folder."
            )
        elif image in matched:
            problems.append(
                f"{where}: {shown} is the photograph of line {matched[image].line} already."
            )
        else:
            matched[image] = label
    return matched, problems


def check_labels(table: Path, labels: Iterable[Label], problems: Sequence[str]) -> None:
    """Refuse labels with problems, naming each by its line.

    Raises:
        DrcoreError: there are problems, or no label is left.
    """
    if problems:
        more = len(problems) - _SHOWN
        lines = [*problems[:_SHOWN], *([f"and {more} more."] if more > 0 else [])]
        raise DrcoreError(
            f"{table.name} has {len(problems)} row(s) that cannot be used. Correct them, or leave "
            "them out with --skip-invalid.\n" + "\n".join(f"  {line}" for line in lines)
        )
    if not any(True for _ in labels):
        raise DrcoreError(f"{table.name} has no label that can be used. Check images and grades.")


def _rows(table: Path) -> tuple[list[tuple[int, dict[str, str | None]]], set[str]]:
    """Read the rows with their lines, and the columns in lower case."""
    try:
        if table.stat().st_size > _LARGEST:
            raise DrcoreError(f"{table.name} is too large for a table of labels.")
        text = table.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise MissingInputError(f"{table.name}: there is no such file. Check the path.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise DrcoreError(
            f"{table.name} cannot be read ({one_line(error)}). Save it as CSV, UTF-8."
        ) from error
    head = text.partition("\n")[0]
    delimiter = max(",;\t", key=head.count)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        reader.fieldnames = [name.strip().lower() for name in reader.fieldnames or ()]
        rows = [
            (reader.line_num, {k: v for k, v in row.items() if isinstance(k, str)})
            for row in reader
        ]
    except csv.Error as error:
        raise DrcoreError(f"{table.name} is not a CSV file ({one_line(error)}).") from error
    return rows, set(reader.fieldnames)


def _span(row: dict[str, str | None]) -> tuple[int, int] | str:
    """Return lowest and highest grade of a row, or what is wrong with it."""
    given, referable = ((row.get(key) or "").strip() for key in ("grade", "referable"))
    answer = referable.lower()
    if answer and answer not in _YES | _NO:
        return f"referable is {one_line(referable)!r}; give true or false."
    if not given and not answer:
        return "there is neither a grade nor whether it is referable."
    by_answer = (REFERABLE, 4) if answer in _YES else (0, REFERABLE - 1)
    span = _grades(given) if given else by_answer
    if isinstance(span, str) or not answer or by_answer[0] <= span[0] <= by_answer[1]:
        return span
    return f"grade {one_line(given)!r} and referable {one_line(referable)!r} contradict."


def _grades(given: str) -> tuple[int, int] | str:
    """Return lowest and highest grade of a cell such as "2" or "3-4", or what is wrong with it."""
    match = _GRADES.fullmatch(given)
    if match is None:
        return f"grade {one_line(given)!r} is not an ICDR grade 0 to 4."
    low, high = int(match[1]), int(match[2] or match[1])
    if low > high or low < REFERABLE <= high:
        return (
            f"grade {one_line(given)!r} says neither which grade it is nor whether it is "
            "referable; give one grade, or a range within 0-1 or 2-4."
        )
    return low, high
