"""What the record accepts: types of its fields, checked by pydantic, and sentences for refusals."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Annotated, Any, TypeVar

from pydantic import ConfigDict, Field, ValidationError

from drcore.errors import ReviewError
from drcore.text import clean_name, one_line, printable

__all__ = [
    "LONGEST", "STORABLE", "STRICT", "ExamDate", "Grade", "ImageName", "ModelVersion", "Note",
    "Patient", "ReaderName", "Sha256", "plain_errors",
]  # fmt: skip

LONGEST = {"image": 4096, "model_version": 200, "note": 10_000, "reader": 200, "patient": 400}
"""Characters of the free texts."""

STRICT = ConfigDict(strict=True)
"""No value is converted: what is kept is what was given."""

STORABLE = r"^[^\x00]*$"
"""PostgreSQL stores no NUL; half a character (a lone surrogate) is refused by pydantic itself."""

Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Grade = Annotated[int, Field(ge=0, le=4)]
ImageName = Annotated[str, Field(max_length=LONGEST["image"], pattern=STORABLE)]
ModelVersion = Annotated[str, Field(max_length=LONGEST["model_version"], pattern=STORABLE)]
Note = Annotated[str, Field(max_length=LONGEST["note"], pattern=STORABLE)]
ReaderName = Annotated[str, Field(max_length=LONGEST["reader"], pattern=STORABLE)]
Patient = Annotated[str, Field(max_length=LONGEST["patient"], pattern=STORABLE)]
ExamDate = Annotated[str, Field(pattern=r"^(\d{4}-\d{2}-\d{2})?$")]

_SENTENCES = {
    "sha256": "there is no SHA-256 of a photograph. A file that could not be read cannot be "
    "reviewed.",
    "laterality": "laterality is OD, OS or unknown.",
}
T = TypeVar("T")


def plain_errors(
    sentences: Mapping[str, str], label: str | None = None
) -> Callable[[type[T]], type[T]]:
    """Make a pydantic dataclass raise `ReviewError` with one plain sentence.

    Args:
        sentences: by field, what to say of a value that is refused; "{field}" stands for the value
            given to any field.
        label: what messages begin with; the name of the image where left out.

    Returns:
        A decorator of the class.
    """

    def decorate(kind: Any) -> Any:
        names, create = [field.name for field in fields(kind)], kind.__init__

        @functools.wraps(create)
        def init(self: Any, *args: Any, **given: Any) -> None:
            try:
                create(self, *args, **given)
            except ValidationError as error:
                given |= dict(zip(names, args, strict=False))
                said = _sentence(error, names, given, {**_SENTENCES, **sentences})
                start = label or clean_name(str(given.get("image")))
                raise ReviewError(f"{start}: {said}") from error

        kind.__init__ = init
        return kind

    return decorate


def _sentence(
    error: ValidationError, names: list[str], given: dict[str, Any], sentences: Mapping[str, str]
) -> str:
    first = error.errors(include_url=False)[0]
    place = first["loc"][0]
    name = names[place] if isinstance(place, int) else place
    if name in sentences:
        return sentences[name].format_map({key: _shown(value) for key, value in given.items()})
    words = name.replace("_", " ")
    if name in LONGEST and first["type"] in {"string_type", "string_too_long"}:
        return f"the {words} is not a text of at most {LONGEST[name]} characters. Shorten it."
    if name in LONGEST:
        return f"the {words} holds characters that cannot be stored. Type it again."
    return f"{words}: {first['msg']}."


def _shown(value: object) -> str:
    return printable(one_line(value))
