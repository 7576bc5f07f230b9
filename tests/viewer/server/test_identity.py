from __future__ import annotations

import pytest

from drcore.errors import DrcoreError
from viewer.server import identity


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("read = 'anna'", "read is a list of readers"),
        ("arbiter = ['anna']", "'arbiter' is not known; use arbitrate, claim"),
        ("claim = 3", "claim is the name of a claim"),
        ("hours = 0", "hours is a number above 0"),
        ("read = " + "[" * 50_000, "The roles cannot be read"),
        ("read = [", "The roles cannot be read"),
        (None, "The roles cannot be read"),
    ],
)
def test_a_faulty_file_of_roles_is_a_sentence(text, sentence, tmp_path, monkeypatch):
    file = tmp_path / "roles.toml"
    monkeypatch.setenv("DRCORE_ROLES", str(file))
    if text is not None:
        file.write_text(text, encoding="utf-8")
    with pytest.raises(DrcoreError, match=r"Correct the file of DRCORE_ROLES\.") as caught:
        identity.roles()
    assert sentence in str(caught.value)


def test_who_is_not_named_has_no_permission(tmp_path, monkeypatch):
    monkeypatch.delenv("DRCORE_ROLES", raising=False)
    assert identity.roles().permits("eve", "monitor")
    file = tmp_path / "roles.toml"
    file.write_text("read = ['*']\narbitrate = ['Anna@X.example ']", encoding="utf-8")
    monkeypatch.setenv("DRCORE_ROLES", str(file))
    found = identity.roles()
    assert found.permits("eve", "read")
    assert found.permits("anna@x.EXAMPLE", "arbitrate")
    assert not found.permits("eve", "arbitrate")
    assert not found.permits("anna@x.example", "export_identity")


@pytest.mark.parametrize(
    ("header", "proxy", "sentence"),
    [
        ("X-Reader", "127.0.0.1, ::1", ""),
        ("", "nonsense", ""),
        ("X-Reader", "", "No proxy may name the reader"),
        ("X-Reader", "proxy.example", "does not appear to be an IPv4 or IPv6 address"),
        ("X Reader", "127.0.0.1", "is no name of a header"),
    ],
)
def test_a_header_needs_a_proxy_to_set_it(header, proxy, sentence, monkeypatch):
    monkeypatch.setenv("DRCORE_READER_HEADER", header)
    monkeypatch.setenv("DRCORE_PROXY", proxy)
    found = identity.header_trouble()
    assert sentence in found
    assert bool(found) == bool(sentence)


def test_a_proxy_is_told_by_its_address_alone(monkeypatch):
    monkeypatch.setenv("DRCORE_PROXY", "127.0.0.1")
    assert identity.is_proxy("127.0.0.1")
    assert identity.is_proxy("::ffff:127.0.0.1")
    for other in ("127.0.0.2", "::1", "", "localhost"):
        assert not identity.is_proxy(other)
