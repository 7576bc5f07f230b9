"""A file that came over the network and lies in memory."""

from __future__ import annotations

from dataclasses import dataclass, field

from drcore.errors import PhotographError
from drcore.photographs.photograph import MAX_BYTES
from drcore.text import clean_name

__all__ = ["Upload"]


@dataclass(frozen=True, slots=True, eq=False)
class Upload:
    """A file in memory.

    Attributes:
        name: last part of its path; untrusted text.
        data: all of it.
    """

    name: str
    data: bytes = field(repr=False)

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.data)

    def read(self, limit: int = MAX_BYTES) -> bytes:
        """Return the file."""
        if len(self.data) > limit:
            raise PhotographError(
                f"{clean_name(self.name)}: the file is too large; at most {limit >> 20} MiB are "
                "accepted. Export it as JPEG."
            )
        return self.data
