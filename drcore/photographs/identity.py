"""Which eye of which patient a photograph shows, and when it was taken: read, never guessed.

A wrong patient is worse than none. What a file name says counts only where it can be read in one
way; everything else takes a pattern that the user gives.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any, Literal

from drcore.errors import DrcoreError
from drcore.eye import Laterality
from drcore.photographs.name_words import (
    CAPITALS,
    COUNTED,
    EYES,
    MONTHS,
    NO_PATIENT,
    PARTICLES,
    SENT,
    WEAK_EYES,
)
from drcore.text import clean_name

__all__ = ["Identity", "NameRules", "Origin", "parse_date", "parse_name", "read_name"]

Origin = Literal["dicom", "pattern", "folder", "name", "hand", "unsure", ""]
"""Where a value was read, or that a reader entered it; empty where there is none, "unsure" where
none is read from a name whose encoding is not known."""

_ENDING = re.compile(
    r"\.(jpe?g|jpe|jfif|mpo|png|apng|tiff?|bmp|webp|gif|hei[cf]|avif|jp2|j2k|dcm|dicom)\s*$",
    re.IGNORECASE,
)
_ARCHIVE = re.compile(r"\.(zip|tar|tar\.gz|tgz)$", re.IGNORECASE)
_SEPARATORS = re.compile(r"([\s_.\-()\[\],]+)")
_GLUED = re.compile(
    r"(?P<code>.*\d)?(?P<eye>OD|OS|left|right)(?P<rest>eye|fundus|retina|macula|\d{1,3})?",
    re.IGNORECASE,
)
_GLUED_SIGNS = re.compile(r"(.*?)(右眼|左眼|右目|左目|우안|좌안)(.*)")
_DATES = re.compile(r"(?<!\d)(\d{4})([-_.]?)(\d{2})\2(\d{2})(?!\d)")
_FIRST_YEAR = 1990  # of digital fundus photographs: what is earlier in a name is a date of birth
_EUROPEAN = re.compile(r"(\d{1,2})\.(\d{1,2})\.(\d{4})")
_GROUPS = frozenset({"patient", "eye", "date"})
_SHORT_NUMBER = 4
"""Digits up to which a number that follows the eye may be a counter, and is no patient."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose eye a photograph shows and when it was taken, each with where that was read.

    Attributes:
        laterality: "OD", "OS", or None where unknown.
        patient: untrusted text; None where unknown.
        exam_date: of the examination, `YYYY-MM-DD`; None where unknown. Never a file's time stamp.
        laterality_from, patient_from, date_from: where each was read.
    """

    laterality: Laterality | None = None
    patient: str | None = None
    exam_date: str | None = None
    laterality_from: Origin = ""
    patient_from: Origin = ""
    date_from: Origin = ""

    @classmethod
    def read_back(
        cls, laterality: Laterality | None, patient: str | None, exam_date: str | None, source: str
    ) -> Identity:
        """Return what a report or a row holds.

        Args:
            laterality, patient, exam_date: as there; None where unknown.
            source: of `Identity.source`.

        Returns:
            The identity.
        """
        origins: dict[str, Any] = dict(
            part.split("=", 1) for part in source.split() if part.count("=") == 1
        )
        return cls(
            laterality, patient, exam_date, laterality_from=origins.get("eye", ""),
            patient_from=origins.get("patient", ""), date_from=origins.get("date", ""),
        )  # fmt: skip

    @property
    def from_header(self) -> Identity:
        """What of it a DICOM header says, which goes before names and patterns."""
        result = self
        if self.laterality_from != "dicom":
            result = replace(result, laterality=None, laterality_from="")
        if self.patient_from != "dicom":
            result = replace(result, patient=None, patient_from="")
        if self.date_from != "dicom":
            result = replace(result, exam_date=None, date_from="")
        return result

    @property
    def source(self) -> str:
        """Where the values were read, for people and scripts: `eye=name patient=dicom`."""
        origins = (
            ("eye", self.laterality_from),
            ("patient", self.patient_from),
            ("date", self.date_from),
        )
        return " ".join(f"{what}={origin}" for what, origin in origins if origin)

    @property
    def is_name_unsure(self) -> bool:
        """Whether the name was not read as its encoding is uncertain."""
        return "unsure" in {self.laterality_from, self.patient_from, self.date_from}

    def over(self, other: Identity) -> Identity:
        """Return these values, completed by those of another identity.

        Args:
            other: less certain.

        Returns:
            Each value with where it was read.
        """
        result = self
        if self.laterality is None:
            result = replace(
                result, laterality=other.laterality, laterality_from=other.laterality_from
            )
        if self.patient is None:
            result = replace(result, patient=other.patient, patient_from=other.patient_from)
        if self.exam_date is None:
            result = replace(result, exam_date=other.exam_date, date_from=other.date_from)
        return result


def read_name(name: str) -> Identity:
    """Read what a file name such as `10_left.jpeg` or `A-7_OD_2024-03-01.jpg` says for certain.

    Args:
        name: of the file, without folders; untrusted text.

    Returns:
        Eye, patient and date; each None where the name can be read in more than one way. The
        patient is what stands before the eye, or after it where nothing does and it is no counter;
        None in a name without an eye.
    """
    name = clean_name(name)  # direction marks and the like are no part of a patient
    stem = _ENDING.sub("", unicodedata.normalize("NFC", name))
    exam_date, stem = _take_date(stem)
    parts = _SEPARATORS.split(_glued_apart(stem))  # words at even places
    hits = _eye_places(parts)
    sides = {EYES.get(parts[i].lower()) or WEAK_EYES[parts[i].lower()] for i in hits}
    side = sides.pop() if len(sides) == 1 else None
    patient = None if side is None else _patient(parts, hits)
    return Identity(
        laterality=side, patient=patient, exam_date=exam_date,
        laterality_from="name" if side else "", patient_from="name" if patient else "",
        date_from="name" if exam_date else "",
    )  # fmt: skip


def _read_unsure(name: str) -> Identity:
    """What the ASCII letters of a name say whose other letters are guessed: never the patient."""
    found, plain = read_name(name), read_name(re.sub(r"[^\x00-\x7f]+", "\u0242", name))
    side = found.laterality if found.laterality == plain.laterality else None
    day = found.exam_date if found.exam_date == plain.exam_date else None
    return Identity(
        laterality=side, exam_date=day, laterality_from="name" if side else "unsure",
        patient_from="unsure", date_from="name" if day else "",
    )  # fmt: skip


def parse_name(name: str) -> tuple[Laterality | None, str | None]:
    """Read laterality and patient from a file name; see `read_name`.

    Args:
        name: file name.

    Returns:
        Laterality and patient, None where the name does not tell for certain.
    """
    found = read_name(name)
    return found.laterality, found.patient


def parse_date(text: str) -> str | None:
    """Read a date that can be read in one way only.

    Args:
        text: `20240301`, `2024-03-01` or `1.3.2024`, perhaps with a time after it.

    Returns:
        `YYYY-MM-DD`; None for anything else, and for a day that does not exist.
    """
    text = text.strip()
    found = re.match(r"(\d{4})([-_./]?)(\d{2})\2(\d{2})(?![-_./]?\d{1,2}$)", text)
    if found:
        return _day(found[1], found[3], found[4])
    found = _EUROPEAN.match(text)
    return _day(found[3], found[2], found[1]) if found else None


@dataclass(frozen=True, slots=True)
class NameRules:
    """How the paths of photographs are read.

    Attributes:
        pattern: regular expression with some of the named groups `patient`, `eye` and `date`,
            searched for in the path below the folder given. What its groups stand for is never
            read from elsewhere but from DICOM. Empty for none.
        patient_from_folder: whether each folder holds the photographs of one patient.

    Raises:
        DrcoreError: the pattern is no regular expression, or has none of the groups.
    """

    pattern: str = ""
    patient_from_folder: bool = False

    def __post_init__(self) -> None:
        if not self.pattern:
            return
        try:
            groups = set(re.compile(self.pattern).groupindex)
        except re.error as error:
            raise DrcoreError(
                f"The name pattern is not a regular expression ({error}). Correct it."
            ) from error
        if not groups or not groups <= _GROUPS:
            raise DrcoreError(
                "The name pattern needs named groups patient, eye or date and no others, for "
                r"example (?P<patient>\d+)_(?P<eye>OD|OS)."
            )

    def read(self, path: str, *, is_sure: bool = True) -> Identity:
        """Read the path of a photograph.

        Args:
            path: below the folder given, with slashes; untrusted text.
            is_sure: False where letters of the name beyond ASCII are guessed, see `member_names`:
                then only a pattern or a folder tells the patient.

        Returns:
            What pattern, folder and name say, in this order.
        """
        folder, _, name = path.rpartition("/")
        found = read_name(name) if is_sure else _read_unsure(name)
        if self.pattern:
            found = self._by_pattern(path).over(self._left_to_names(found))
        if self.patient_from_folder and found.patient_from != "pattern":
            patient = clean_path(folder)
            found = replace(found, patient=patient, patient_from="folder" if patient else "")
        return found

    def _by_pattern(self, path: str) -> Identity:
        match = re.search(self.pattern, path)
        groups = {} if match is None else match.groupdict()
        eye = (groups.get("eye") or "").lower()
        side = EYES.get(eye) or WEAK_EYES.get(eye)
        patient = clean_name(groups["patient"])[:64] if groups.get("patient") else None
        day = parse_date(groups.get("date") or "")
        return Identity(
            laterality=side, patient=patient, exam_date=day,
            laterality_from="pattern" if side else "", patient_from="pattern" if patient else "",
            date_from="pattern" if day else "",
        )  # fmt: skip

    def _left_to_names(self, found: Identity) -> Identity:
        """What the name may still say beside the pattern."""
        groups = set(re.compile(self.pattern).groupindex)
        if "eye" in groups:
            found = replace(found, laterality=None, laterality_from="")
        if "patient" in groups:
            found = replace(found, patient=None, patient_from="")
        if "date" in groups:
            found = replace(found, exam_date=None, date_from="")
        return found


def clean_path(folder: str) -> str | None:
    """Return the path of a folder as the name of a patient.

    Args:
        folder: below the folder given, with slashes; untrusted text.

    Returns:
        One printable line, folders separated by slashes; None where there is no folder.
    """
    parts = [_ARCHIVE.sub("", clean_name(part)) for part in folder.split("/") if part]
    return "/".join(parts)[-64:] or None


def _take_date(stem: str) -> tuple[str | None, str]:
    """Take the one date that can be that of an examination out of a name."""
    if SENT.search(stem):
        return None, stem
    latest = (date.today() + timedelta(days=1)).isoformat()  # noqa: DTZ011 - the camera's day
    found = [
        (day, match)
        for match in _DATES.finditer(stem)
        if (day := _day(match[1], match[3], match[4])) and f"{_FIRST_YEAR}" <= day <= latest
    ]
    if len({day for day, _ in found}) != 1:
        return None, stem
    day, match = found[0]
    time = re.match(r"[-_T ]?\d{6}(?!\d)", stem[match.end() :])  # the time of day goes with it
    return day, stem[: match.start()] + " " + stem[match.end() + (time.end() if time else 0) :]


def _day(year: str, month: str, day: str) -> str | None:
    try:
        return date(int(year), int(month), int(day)).isoformat()
    except ValueError:
        return None


def _glued_apart(stem: str) -> str:
    """`P001OD` as `P001_OD`, `OD2` as `OD_2`, `LeftEye` as `Left_Eye`, `A7右眼` as `A7_右眼`."""
    return "".join(
        "_".join(filter(None, found.groups()))
        if (found := _GLUED.fullmatch(word) or _GLUED_SIGNS.fullmatch(word))
        else word
        for word in _SEPARATORS.split(stem)
    )


def _eye_places(parts: list[str]) -> list[int]:
    """Places of the words that name an eye."""
    words = [(i, parts[i].lower()) for i in range(0, len(parts), 2)]
    sure = [
        i for i, word in words
        # "Od" and "Os" are names, too.
        if (word in EYES and not (len(word) == 2 and parts[i].istitle())) or parts[i] in CAPITALS
    ]  # fmt: skip
    if sure:
        return sure
    weak = [i for i, word in words if word in WEAK_EYES or word in EYES]
    names = [
        word for i, word in words
        if i not in weak and word not in NO_PATIENT and re.fullmatch(r"[^\W\d]+", word)
    ]  # fmt: skip
    return [] if names else weak


def _patient(parts: list[str], hits: list[int]) -> str | None:
    """What stands before the eye, or behind it where that is no counter."""
    found = _code(parts[: hits[0]])
    if found:
        return found
    found = _code(parts[hits[-1] + 1 :])
    counts = rf"\d{{1,{_SHORT_NUMBER}}}([\W_]+\d{{1,{_SHORT_NUMBER}}})*"
    return None if not found or re.fullmatch(counts, found) else found


def _code(parts: list[str]) -> str:
    """Words without those that are no patient, with the hyphens and dots between them."""
    kept: list[str] = []
    counting = False
    for place, part in enumerate(parts):
        word = part.lower()
        counts = word in NO_PATIENT or word.rstrip("0123456789") in COUNTED
        compound = parts[place - 1 : place] == ["-"] and "".join(kept[-2:-1]).isalpha()
        if compound or (not counts and not (counting and word.isdigit())):
            kept.append(part)
        if word.strip(" _.-()[],"):
            counting = word in COUNTED
    if all(part.lower() in PARTICLES or not part.strip(" _.-()[],\t") for part in kept):
        return ""
    text = "".join(kept).strip(" _.-()[],\t")
    if _is_date(kept, text):
        return ""
    return re.sub(r"\s*[_(\[]\s*[_)\]]\s*|\s{2,}|__+", "_", text)


def _is_date(parts: list[str], text: str) -> bool:
    """Whether words are nothing but a date: that of a visit or a birth, which many share."""
    words = [part.lower() for part in parts if part.strip(" _.-()[],\t")]
    months = [word for word in words if word.strip("0123456789") in MONTHS]
    if months and all(word.isdigit() or word in months for word in words):
        return True
    if not re.fullmatch(r"\d{8}|\d{4}([-._ ]\d{1,2}){1,2}|\d{1,2}([-._ ]\d{1,2}){2}(\d\d)?", text):
        return False
    numbers = re.findall(r"\d+", text)
    if len(numbers) > 1:
        return all(int(number) <= 31 or 1900 <= int(number) < 2100 for number in numbers[1:-1])
    orders = (
        (text[:4], text[4:6], text[6:]),
        (text[4:], text[2:4], text[:2]),
        (text[4:], text[:2], text[2:4]),
    )
    return any("1900" <= order[0] < "2100" and _day(*order) for order in orders)
