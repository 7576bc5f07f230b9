"""The servers file: strict, and no password in it."""

from __future__ import annotations

import pytest

from drcore.errors import MissingInputError, PacsError
from drcore.pacs.servers import load_servers, server_named

DICOM = """
[servers.archive]
kind = "dicom"
host = "pacs.example.org"
port = 11112
ae_title = "ARCHIVE"
"""
WEB = """
[servers.web]
kind = "web"
url = "https://pacs.example.org/dicom-web"
"""


def written(folder, text):
    file = folder / "servers.toml"
    file.write_text(text)
    return file


def test_both_kinds_are_read_and_paths_are_beside_the_file(tmp_path, monkeypatch):
    (tmp_path / "ca.pem").write_text("x")
    text = f'{DICOM}tls = {{ ca = "ca.pem" }}\n{WEB}token_env = "WEB_TOKEN"\n'
    monkeypatch.setenv("DRCORE_PACS", str(written(tmp_path, text)))
    found = load_servers()
    assert list(found) == ["archive", "web"]
    assert found["archive"].calling_ae_title == "DRCORE"
    assert found["archive"].tls.ca == str(tmp_path / "ca.pem")
    with pytest.raises(PacsError, match="variable WEB_TOKEN"):
        found["web"].secret("WEB_TOKEN")
    monkeypatch.setenv("WEB_TOKEN", "abc")
    assert found["web"].secret("WEB_TOKEN") == "abc"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (DICOM + 'colour = "red"', "servers.archive.colour"),
        (DICOM + 'password = "secret-of-mine"', "servers.archive.password"),
        (DICOM.replace("11112", "0"), "servers.archive.port"),
        (DICOM.replace("11112", '"11112"'), "servers.archive.port"),
        (DICOM.replace('"ARCHIVE"', '"A\\\\B"'), "servers.archive.ae_title"),
        (DICOM.replace('"ARCHIVE"', '"A TITLE THAT IS TOO LONG"'), "servers.archive.ae_title"),
        (DICOM.replace("pacs.example.org", "pacs example"), "servers.archive.host"),
        (DICOM + "timeout = nan", "servers.archive.timeout"),
        (DICOM + 'tls = { ca = "none.pem" }', "no file none.pem"),
        (DICOM.replace('"dicom"', '"ftp"'), "servers.archive"),
        (WEB.replace("https", "http"), "by https only"),
        (WEB.replace("//", "//user:pw@"), "no user, password"),
        (WEB + 'user_env = "A"', "belong together"),
        (WEB + 'token_env = "no name"', "servers.web.token_env"),
        ("[servers]", "names no server"),
        ('[other.a]\nkind = "web"', "other is not known"),
        ("[servers.'a b']", "letters, digits"),
        ("not TOML", "cannot be read as TOML"),
        ("a = " + "[" * 50_000, "cannot be read as TOML"),
        ("#" * 100_001, "at most 100000"),
    ],
)
def test_what_is_wrong_is_named_by_file_and_key(tmp_path, text, told):
    with pytest.raises(PacsError) as error:
        load_servers(written(tmp_path, text))
    assert told in str(error.value)
    assert "servers.toml" in str(error.value)
    assert "secret-of-mine" not in str(error.value)


def test_what_is_not_there_is_said(tmp_path, monkeypatch):
    monkeypatch.delenv("DRCORE_PACS", raising=False)
    with pytest.raises(MissingInputError, match="No servers are named"):
        server_named("archive")
    with pytest.raises(MissingInputError, match=r"no servers file none\.toml"):
        load_servers(tmp_path / "none.toml")
    with pytest.raises(MissingInputError, match="The servers file has: archive"):
        server_named("x", written(tmp_path, DICOM))
