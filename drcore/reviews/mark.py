"""Regions that a reader marked on a photograph: a point or a box, and the lesion in it."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import AwareDatetime, Field
from pydantic.dataclasses import dataclass

from drcore.errors import ReviewError
from drcore.reviews.decision import LOGIN_SENTENCE, Login
from drcore.reviews.validation import STRICT, Note, ReaderName, Sha256, plain_errors

__all__ = ["LESIONS", "Lesion", "Mark", "MarkKind"]

MarkKind = Literal["point", "box"]
Lesion = Literal[
    "microaneurysm",
    "haemorrhage",
    "hard exudate",
    "cotton-wool spot",
    "neovascularisation",
    "IRMA",
    "venous beading",
    "laser scar",
    "other",
]
"""Signs of diabetic retinopathy and of its treatment; IRMA: intraretinal microvascular
abnormality."""

LESIONS: tuple[Lesion, ...] = get_args(Lesion)

Pixel = Annotated[float, Field(ge=0, le=1_000_000, allow_inf_nan=False)]
"""Of the original; no photograph is wider."""

_SENTENCES = {
    "kind": "a {kind} is not known; choose point or box.",
    "lesion": f"the lesion {{lesion}} is not known; choose {', '.join(LESIONS)}.",
    "login": LOGIN_SENTENCE,
    "created_at": "the time of the mark needs a time zone. Give UTC.",
} | dict.fromkeys(
    ("x0", "y0", "x1", "y1"),
    "({x0}, {y0}, {x1}, {y1}) does not lie on the photograph. Give pixels of the original.",
)


@plain_errors(_SENTENCES, "The mark")
@dataclass(frozen=True, slots=True, config=STRICT)
class Mark:
    """A point or a box on a photograph.

    Attributes:
        sha256: of the file, 64 hex digits in lower case.
        kind: "point", where both corners are the same, or "box".
        lesion: one of `LESIONS`.
        x0, y0: left and upper edge, pixels of the original from its upper left corner.
        x1, y1: right and lower edge.
        reader: who marked it.
        created_at: when, with a time zone.
        note: free text, may be empty.
        login: who says that it was this reader, as for a `Decision`; None: not recorded.

    Raises:
        ReviewError: the fields contradict each other or cannot be stored.
    """

    sha256: Sha256
    kind: MarkKind
    lesion: Lesion
    x0: Pixel
    y0: Pixel
    x1: Pixel
    y1: Pixel
    reader: ReaderName
    created_at: AwareDatetime
    note: Note = ""
    login: Login | None = None

    def __post_init__(self) -> None:
        if self.kind == "point" and (self.x0, self.y0) != (self.x1, self.y1):
            raise ReviewError("The mark: a point has one place. Mark a box instead.")
        if self.kind == "box" and not (self.x0 < self.x1 and self.y0 < self.y1):
            raise ReviewError("The mark: the box is empty. Draw it from corner to corner.")
