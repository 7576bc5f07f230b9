"""Ending a run early: the first signal gently, a second one at once."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType

__all__ = ["CODE", "handlers_kept", "interruptible"]

CODE = 130
"""Exit code of a run that was interrupted."""

_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")
"""Ctrl-C, the end that a system asks for, and a terminal that was closed."""


@contextmanager
def interruptible() -> Generator[None]:
    """Raise `KeyboardInterrupt` at the first signal to end; at the second one end at once.

    A signal that was set to be ignored (`nohup`) stays so. After a first signal the second one is
    listened for until the process is gone, because threads may still end meanwhile.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came = False

    def handle(_number: int, _frame: FrameType | None) -> None:
        nonlocal came
        if came:  # whoever asks again does not want to wait; tables hold whole lines at any time
            os.write(2, b"\ndrcore: ended at once; go on with --resume.\n")
            os._exit(CODE)
        came = True
        raise KeyboardInterrupt

    usual = (signal.SIG_DFL, signal.default_int_handler)
    before = {number: signal.getsignal(number) for number in _numbers()}
    ours = [number for number, handler in before.items() if handler in usual]
    for number in ours:
        signal.signal(number, handle)
    try:
        yield
    finally:
        if not came:
            for number in ours:
                signal.signal(number, before[number])


@contextmanager
def handlers_kept() -> Generator[None]:
    """Undo what a library sets for the signals to end: it would abort where we end gently."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in _numbers()}
    try:
        yield
    finally:
        for number, handler in before.items():
            if handler is not None:  # None: set by something that is not Python
                signal.signal(number, handler)


def _numbers() -> list[int]:
    return [getattr(signal, name) for name in _SIGNALS if hasattr(signal, name)]
