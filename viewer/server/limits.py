"""Limits of one server process: background work."""

from __future__ import annotations

import os
import threading

# With a thread or two for each of twenty readers, their pages would wait for the interpreter, and
# nothing would be done sooner: a few of them keep all cores busy.
BACKGROUND = threading.BoundedSemaphore(max(1, min(4, (os.cpu_count() or 1) - 1)))
"""Held while one piece of work is done that no page waits for: a photograph, or its views."""
