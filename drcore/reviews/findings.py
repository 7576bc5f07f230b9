"""The answers of a structured reading, as they are stored with a decision."""

from __future__ import annotations

import json
from typing import Annotated, Any

from pydantic import Field
from pydantic.dataclasses import dataclass

from drcore.errors import ReviewError
from drcore.reviews.validation import STORABLE, STRICT, plain_errors

__all__ = ["FREE_TEXT", "Answer", "Findings", "answer_words"]

Identifier = Annotated[str, Field(pattern="^[a-z][a-z0-9_]{0,39}$")]
Word = Annotated[str, Field(min_length=1, max_length=80, pattern=STORABLE)]
FreeText = Annotated[str, Field(min_length=1, max_length=1000, pattern=STORABLE)]
Number = Annotated[int, Field(ge=-1_000_000, le=1_000_000)]
Answer = Word | Number | tuple[Word, ...]
"""One option, a number, or several options."""

FREE_TEXT = 1000
"""Characters of a free text."""

_SENTENCES = {
    "form": "the name of the form is not a text of 1 to 80 characters. Correct DRCORE_FORM.",
    "answers": "an answer is neither an option, a number nor a list of options. Choose again.",
    "texts": f"a free text holds characters that cannot be stored, or more than {FREE_TEXT}. "
    "Shorten it.",
}


@plain_errors(_SENTENCES, "The findings")
@dataclass(frozen=True, slots=True, config=STRICT)
class Findings:
    """What a reader answered in a form; what was left alone is missing.

    Attributes:
        form: its name and version.
        answers: by the id of the field, in the order of the form.
        texts: free texts, by the id of the field; they may name a patient.

    Raises:
        ReviewError: an answer cannot be stored.
    """

    form: Word
    answers: Annotated[tuple[tuple[Identifier, Answer], ...], Field(max_length=60)] = ()
    texts: Annotated[tuple[tuple[Identifier, FreeText], ...], Field(max_length=60)] = ()

    @property
    def values(self) -> dict[str, Answer]:
        """All answers, free texts among them, by the id of the field."""
        return {**dict(self.answers), **dict(self.texts)}

    @property
    def words(self) -> str:
        """All answers in one line, "macular oedema: none; outcome: rescreen"; untrusted text."""
        told = self.values.items()
        return "; ".join(f"{name.replace('_', ' ')}: {answer_words(said)}" for name, said in told)

    def to_text(self) -> str:
        """Return the JSON text that the record keeps."""
        kept = {"form": self.form, "answers": dict(self.answers), "texts": dict(self.texts)}
        return json.dumps(kept, ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def from_text(cls, text: str) -> Findings:
        """Read the text that the record keeps; `ReviewError` if it was not written by `to_text`."""
        try:
            kept = json.loads(text)
            answers = tuple((name, _tuple(value)) for name, value in kept["answers"].items())
            return cls(kept["form"], answers, tuple(kept["texts"].items()))
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise ReviewError(
                "The findings of a decision are damaged. Run `drcore record verify`, and restore a "
                "backup."
            ) from error


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def answer_words(answer: Answer) -> str:
    """Return an answer as one text."""
    return ", ".join(answer) if isinstance(answer, tuple) else str(answer)
