"""Settings of the C library's memory."""

from __future__ import annotations

import ctypes
import platform

from drcore.memory import give_back_large_blocks, limit_pools

GLIBC = platform.libc_ver()[0] == "glibc"


def test_the_c_library_of_linux_takes_the_settings():
    assert limit_pools() == give_back_large_blocks() == GLIBC


def test_a_c_library_without_them_is_left_alone(monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    assert not limit_pools()
    assert not give_back_large_blocks()
