"""What the pages of one browser session share: model, worklist, record of decisions."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from viewer.server.model_loader import Engine

if TYPE_CHECKING:
    from drcore.reviews.store import ReviewStore
    from viewer.worklist.worklist import Worklist

__all__ = ["engine", "reviews_location", "store", "worklist"]


# Not in Streamlit's caches: any browser may ask the server to clear those.
_ENGINE = Engine()
_STORES: dict[str, ReviewStore] = {}
_STORES_LOCK = threading.Lock()


def engine() -> Engine:
    """Return the model of this server, the same for all sessions."""
    return _ENGINE


def worklist() -> Worklist:
    """Return the photographs of this session, as they were left before a reload or a restart."""
    from viewer.session import current_list

    return current_list.own_list()


def reviews_location() -> str:
    """Return where decisions are kept: DRCORE_REVIEWS_URL, or a file below the working folder."""
    return os.environ.get("DRCORE_REVIEWS_URL") or str(Path(".drcore", "reviews.sqlite3").resolve())


def store() -> ReviewStore:
    """Return the record of decisions of this server.

    Raises:
        ReviewError: it cannot be opened.
    """
    location = reviews_location()
    with _STORES_LOCK:
        if location not in _STORES:
            from drcore.reviews.store import ReviewStore

            _STORES[location] = ReviewStore(location)
        return _STORES[location]
