"""`drcore pacs` as it is typed: what is printed, and the exit codes."""

from __future__ import annotations

import csv
import io
import sys
import zipfile

import pytest
from pydicom import dcmread

from drcore.cli import main
from drcore.errors import PacsError
from drcore.pacs import connection, reporting
from drcore.pacs.connection import Patience, connect
from tests.support.archives import SERIES, STUDY, Archive, photograph, photographs, running
from tests.support.orthanc import free_port
from tests.support.photographs import dicom_file


@pytest.fixture
def archive(tmp_path, monkeypatch):
    """An archive that DRCORE_PACS describes, beside one that is down."""
    monkeypatch.setattr(connection.time, "sleep", lambda _seconds: None)
    with running(Archive()) as archive:
        servers = tmp_path / "servers.toml"
        table = '[servers.{}]\nkind = "dicom"\nhost = "127.0.0.1"\nport = {}\nae_title = "{}"\n'
        servers.write_text(
            table.format("clinic", archive.port, "ARCHIVE")
            + table.format("down", free_port(), "ARCHIVE")
            + table.format("wrong", archive.port, "OTHER")
        )
        monkeypatch.setenv("DRCORE_PACS", str(servers))
        yield archive


@pytest.mark.parametrize(
    ("server", "code"), [("clinic", 0), ("wrong", 1), ("none", 2), ("down", 3)]
)
def test_echo_has_an_exit_code_for_each_outcome(archive, capsys, server, code):
    assert main(["pacs", "echo", server]) == code
    told = capsys.readouterr()
    assert ("clinic: answers" in told.out) == (code == 0)
    assert (told.err.count("drcore: error: ") == 1) == (code > 0)


def test_find_prints_a_table_that_no_spreadsheet_takes_for_a_formula(archive, capsys):
    archive.hold(photograph(1, PatientID="=1+1", StudyDescription="Both eyes"))
    assert main(["pacs", "find", "clinic", "--modality", "op"]) == 0
    (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert (row["study"], row["patient"], row["modalities"]) == (STUDY, "'=1+1", "OP")
    assert "Müller" not in str(row)
    assert main(["pacs", "find", "clinic", "--modality", "CT"]) == 0
    assert main(["pacs", "find", "clinic"]) == 1
    assert "whole archive is not listed" in capsys.readouterr().err


def test_fetch_says_what_is_missing_and_goes_on(archive, tmp_path, capsys):
    archive.hold(*(photograph(number) for number in range(1, 4)))
    archive.gives = 2
    command = ["pacs", "fetch", "clinic", "--patient", "P-7", "--out", str(tmp_path / "in")]
    assert main(command) == 1
    assert "2 files fetched, 0 there before, 1 missing" in capsys.readouterr().out
    archive.gives = None
    assert main(command) == 0
    assert "1 file fetched, 2 there before, 0 missing" in capsys.readouterr().out
    assert len(list((tmp_path / "in" / STUDY).glob("*.dcm"))) == 3
    archive.objects.clear()
    assert main(command) == 2


def test_send_takes_files_folders_and_exports_and_reports_each(archive, tmp_path, capsys):
    (tmp_path / "folder").mkdir()
    photographs(tmp_path / "folder", 2)
    (tmp_path / "folder" / "notes.txt").write_text("not DICOM")
    (tmp_path / "bad.dcm").write_bytes(b"nothing")
    with zipfile.ZipFile(tmp_path / "export.zip", "w") as export:
        export.writestr("dicom/a-report.dcm", photograph(3))
        export.writestr("results.csv", "image\n")
    given = [str(tmp_path / name) for name in ("folder", "export.zip", "bad.dcm")]
    assert main(["pacs", "send", "clinic", *given]) == 1
    told = capsys.readouterr()
    assert "dicom/a-report.dcm: sent" in told.out
    assert "3 sent, 0 already there, 1 failed" in told.out
    assert "bad.dcm" in told.err
    assert main(["pacs", "send", "clinic", *given[:2], "--quiet"]) == 0
    assert capsys.readouterr().out == "0 sent, 3 already there, 0 failed\n"
    assert sorted(archive.stored) == [f"{SERIES}.{number}" for number in (1, 2, 3)]
    assert main(["pacs", "send", "clinic", str(tmp_path / "none")]) == 2
    assert main(["pacs", "send", "down", given[0]]) == 3


def test_report_writes_documents_that_join_the_study(
    tmp_path, phantom, grader, monkeypatch, capsys
):
    monkeypatch.setattr(reporting, "open_grader", lambda *_: grader)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.dcm").write_bytes(dicom_file(phantom(seed=1).rgb, StudyInstanceUID=STUDY))
    (tmp_path / "a" / "2.png").write_bytes(b"no picture")
    command = ["pacs", "report", str(tmp_path / "a"), "--out", str(tmp_path / "out")]
    assert main(command) == 1
    written = [dcmread(file) for file in sorted((tmp_path / "out").glob("*/*.dcm"))]
    assert [made.Modality for made in written] == ["OT", "SR"]
    assert {made.StudyInstanceUID for made in written} == {STUDY}
    assert {made.PatientID for made in written} == {"P-7"}
    assert main(command) == 1
    assert "0 photographs written, 1 there before" in capsys.readouterr().out


def test_without_the_extra_a_sentence_says_what_to_install(archive, monkeypatch):
    server = archive.server()
    for name in [name for name in sys.modules if name.startswith("drcore.pacs.dimse")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "drcore.pacs.association")
    monkeypatch.setitem(sys.modules, "pynetdicom", None)
    with pytest.raises(PacsError, match=r"drcore\[pacs\]"):
        connect(server, Patience(tries=1))


@pytest.mark.parametrize(
    "arguments",
    [
        ["listen", "--out", "x"],
        ["listen", "--out", "x", "--accept-from", "A\\B"],
        ["listen", "--out", "x", "--accept-from", "A", "--port", "70000"],
        ["listen", "--out", "x", "--accept-from", "A", "--tls-key", "k"],
        ["listen", "--out", "x", "--accept-from", "A", "--tls-ca", "k"],
        ["pacs", "find", "clinic", "--from", "yesterday"],
        ["pacs", "find", "clinic", "--modality", "O;P"],
    ],
)
def test_a_wrong_command_line_ends_with_code_2(arguments):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
