"""Which weights the viewer grades with."""

from __future__ import annotations

import sys

import pytest

from viewer.server import settings


@pytest.mark.parametrize(
    ("arguments", "environment", "chosen"),
    [
        ([], None, None),
        ([], "", None),
        ([], "site", "site"),
        (["--weights", "other"], "site", "other"),
        (["--weights=other", "--more"], None, "other"),
        (["--weights"], "site", "(none given)"),
    ],
)
def test_the_command_line_goes_before_the_environment(monkeypatch, arguments, environment, chosen):
    monkeypatch.setattr(sys, "argv", ["app.py", *arguments])
    monkeypatch.delenv("DRCORE_WEIGHTS", raising=False)
    if environment is not None:
        monkeypatch.setenv("DRCORE_WEIGHTS", environment)
    assert settings.weights() == chosen
