"""The limit on the C library's pools of memory."""

from __future__ import annotations

import ctypes
import platform

from viewer.server import memory


def test_the_c_library_of_linux_takes_the_limit():
    assert memory.keep_flat() == (platform.libc_ver()[0] == "glibc")


def test_a_c_library_without_pools_is_left_alone(monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    assert not memory.keep_flat()
