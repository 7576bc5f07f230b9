"""What a table that is continued says of the photographs that it has."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Known", "digest"]


class Known(NamedTuple):
    """What is known of a photograph that has a row; kept small, for there may be millions.

    Attributes:
        status: of the row.
        referable: whether it is.
        digest: start of the photograph's SHA-256; empty where it could not be read.
        size: of its file, in bytes; 0 where the row does not tell.
    """

    status: str
    referable: bool
    digest: bytes
    size: int

    def holds(self, sha256: str) -> bool:
        """Tell whether the row is of the content with this hash."""
        return bool(self.digest) and self.digest == digest(sha256)


def digest(text: str) -> bytes:
    """Return the start of a hash in hex as bytes; nothing for what is no hash."""
    try:
        return bytes.fromhex(text[:32])
    except ValueError:
        return b""
