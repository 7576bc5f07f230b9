"""The errors that drcore raises. Each message says what was wrong, with which input, what to do."""

from __future__ import annotations

__all__ = [
    "RETRY_LATER", "CheckpointError", "DrcoreError", "MissingInputError", "PacsError",
    "PhotographError", "ReviewError", "SourceError",
]  # fmt: skip

RETRY_LATER = "Try again later."
"""Ends every sentence on what the photograph itself is not to blame for."""


class DrcoreError(Exception):
    """Base of every error that drcore raises on purpose.

    Attributes:
        is_outage: whether a server failed, which may pass by itself.
    """

    is_outage = False


class PhotographError(DrcoreError):
    """A photograph cannot be read: empty, truncated, foreign, or too large."""


class CheckpointError(DrcoreError):
    """Weights or their manifest are missing, damaged, or of a kind that is not understood."""


class SourceError(DrcoreError):
    """A folder or an output cannot be used: missing, outside the allowed root, not writable."""


class MissingInputError(SourceError):
    """An input that was named is not there."""


class ReviewError(DrcoreError):
    """A decision of a reader cannot be stored or read back."""


class PacsError(DrcoreError):
    """A picture archive cannot be reached or refuses, or its settings are wrong.

    Attributes:
        retry_after: seconds that the archive asked to wait, 0 where it did not.
    """

    def __init__(self, message: str, *, is_outage: bool = False, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.is_outage, self.retry_after = is_outage, retry_after
