"""Text from outside."""

from __future__ import annotations

from drcore.text import fold


def test_names_differ_but_for_case_and_spaces():
    assert fold(" a  7") == fold("A 7")
    assert fold("10") != fold("100")
    assert fold("STRASSE") == fold("stra\u00dfe")
