"""How a list is read: mode, reader, drafts, and who has seen the model's results."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

from drcore.reviews.decision import MODES, ReadingMode
from drcore.text import fold

Choice = Literal["agree", "ungradable"] | int
"""Chosen and not saved yet; a number is the reader's grade."""

_DIGITS = 16
"""Of a SHA-256, to note a photograph by."""


@dataclass(frozen=True, slots=True)
class Draft:
    """What a reader has chosen and typed for a photograph, and not saved yet."""

    choice: Choice | None = None
    note: str = ""


@dataclass(slots=True)
class Reading:
    """Mode, reader and drafts of a list; kept with it on the server.

    Attributes:
        mode: of reading; None until the reader has chosen one.
        reader: name as entered, empty if not; untrusted text.
        drafts: by folded name of the reader and key of the entry.
        seen: by folded name, the start of the SHA-256 of photographs whose model result was shown.
    """

    mode: ReadingMode | None = None
    reader: str = ""
    drafts: dict[tuple[str, str], Draft] = field(default_factory=dict)
    seen: dict[str, set[str]] = field(default_factory=dict)

    def draft(self, key: str) -> Draft:
        """Return the reader's draft of an entry; an empty one if there is none."""
        return self.drafts.get((fold(self.reader), key), Draft())

    @property
    def unsaved(self) -> frozenset[str]:
        """Keys of entries for which the reader has chosen a grade and not saved it."""
        mine = fold(self.reader)
        chosen = (place for place, made in self.drafts.items() if made.choice is not None)
        return frozenset(key for who, key in chosen if who == mine)

    def set_draft(self, key: str, **changes: Any) -> bool:
        """Change the reader's draft of an entry; return whether anything changed."""
        before = self.draft(key)
        after = replace(before, **changes)
        if after == Draft():
            self.drafts.pop((fold(self.reader), key), None)
        else:
            self.drafts[fold(self.reader), key] = after
        return after != before

    def rename(self, reader: str) -> None:
        """Set the reader; drafts made before a name was entered become that reader's."""
        if not self.reader:
            nameless = [key for key in self.drafts if not key[0]]
            self.drafts.update({(fold(reader), key[1]): self.drafts.pop(key) for key in nameless})
        self.reader = reader

    def note_seen(self, reader: str, photographs: Iterable[str]) -> bool:
        """Note photographs, by SHA-256, whose model result was shown; return whether any is new."""
        known = self.seen.setdefault(fold(reader), set())
        before = len(known)
        known.update(sha256[:_DIGITS] for sha256 in photographs)
        return len(known) > before

    def saw(self, reader: str, sha256: str) -> bool:
        """Whether the model's result was shown to a reader, or to whoever had entered no name."""
        return any(sha256[:_DIGITS] in self.seen.get(name, ()) for name in (fold(reader), ""))

    def to_json(self) -> dict[str, Any]:
        """Return it as values for JSON."""
        return {
            "mode": self.mode,
            "reader": self.reader,
            "drafts": [[*key, made.choice, made.note] for key, made in self.drafts.items()],
            "seen": {reader: sorted(seen) for reader, seen in self.seen.items()},
        }

    @classmethod
    def from_json(cls, values: Any) -> Reading:
        """Read it from values of JSON; invalid ones become the default."""
        try:
            mode = values["mode"]
            return cls(
                mode=mode if mode in MODES else None,
                reader=str(values["reader"]),
                drafts={
                    (str(reader), str(key)): Draft(_choice(choice), str(note))
                    for reader, key, choice, note in values["drafts"]
                },
                seen={str(name): set(map(str, seen)) for name, seen in values["seen"].items()},
            )
        except (ValueError, KeyError, TypeError, AttributeError):
            return cls()


def _choice(value: object) -> Choice | None:
    if isinstance(value, int) and value in range(5):
        return value
    return value if value in get_args(get_args(Choice)[0]) else None  # type: ignore[return-value]
