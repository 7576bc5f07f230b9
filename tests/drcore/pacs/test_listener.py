"""The listener: stored before confirmed, graded once, whatever ends it."""

from __future__ import annotations

import contextlib
import csv
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from drcore.errors import PacsError
from drcore.export.standards.dicom import overlay_capture
from drcore.pacs import listen_command, receiver
from drcore.pacs.connection import Patience, connect
from drcore.pacs.listen_command import Listener, ListenOptions, listen
from drcore.pacs.receiver import Address
from drcore.pacs.servers import DicomServer, Tls
from tests.support.archives import SERIES, STUDY, Archive, certificates, running
from tests.support.photographs import dicom_file

ONCE = Patience(tries=1)
HERE = Address("127.0.0.1", 0, "GRADER", ("DRCORE",))


@pytest.fixture
def files(phantom, tmp_path) -> list[Path]:
    """Three photographs of a study."""
    made = []
    for number in (1, 2, 3):
        file = tmp_path / f"{number}.dcm"
        values = {"StudyInstanceUID": STUDY, "SeriesInstanceUID": SERIES}
        uid = f"{SERIES}.{number}"
        file.write_bytes(dicom_file(phantom(seed=number).rgb, SOPInstanceUID=uid, **values))
        made.append(file)
    return made


@pytest.fixture
def options(tmp_path) -> ListenOptions:
    return ListenOptions(HERE, tmp_path / "out")


@pytest.fixture
def listening(grader):
    """A listener while a block runs."""

    @contextlib.contextmanager
    def run(options: ListenOptions):
        listener = Listener(options, grader)
        try:
            yield listener
        finally:
            listener.close()

    return run


def send(port: int, *files: Path, **other):
    values = {"name": "grader", "kind": "dicom", "host": "127.0.0.1", "port": port,
              "ae_title": "GRADER", "timeout": 20.0}  # fmt: skip
    return connect(DicomServer(**{**values, **other}), ONCE).send(files)


def rows(options: ListenOptions) -> list[tuple[str, str]]:
    with (options.folder / "grades.csv").open(newline="") as table:
        return [(row["image"], row["status"]) for row in csv.DictReader(table)]


def test_photographs_are_stored_graded_and_each_is_one_row(listening, options, files, capsys):
    with listening(options) as listener:
        for _ in range(2):
            sent = send(listener.receiver.port, *files)
            assert [one.outcome for one in sent] == ["sent"] * 3
        stored = sorted(file.name for file in listener.queue.received.iterdir())
        assert stored == [f"{SERIES}.{number}.dcm" for number in (1, 2, 3)]
        assert listener.receiver.counts == {"stored": 3, "received again": 3}
        assert listener.work() == 3
        assert listener.work(patience=0) == 0
    assert rows(options) == [(f"{SERIES}.{number}.dcm", "graded") for number in (1, 2, 3)]
    assert "3 graded since the start" in capsys.readouterr().err
    with (options.folder / "grades.csv").open(newline="") as table:
        assert {row["patient"] for row in csv.DictReader(table)} == {"P-7"}


def test_what_was_stored_by_a_killed_listener_is_graded_by_the_next(listening, options, files):
    code = (
        "import signal, sys; from pathlib import Path; from drcore.pacs.receiver import *\n"
        "here = Address('127.0.0.1', 0, 'GRADER', ('DRCORE',))\n"
        "receiver = Receiver(here, Path(sys.argv[1]), lambda file: None, print)\n"
        "print(receiver.port, flush=True); signal.pause()"
    )
    command = [sys.executable, "-c", code, str(options.folder / "received")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            sent = send(int(process.stdout.readline()), *files)
        finally:
            process.kill()
    assert [one.outcome for one in sent] == ["sent"] * 3
    with listening(options) as listener:
        while listener.work(patience=0):
            pass
    assert sorted(rows(options)) == [(f"{SERIES}.{n}.dcm", "graded") for n in (1, 2, 3)]


def test_a_photograph_that_cannot_be_decoded_has_its_row(listening, options, files):
    files[1].write_bytes(files[1].read_bytes()[:-1000])
    with listening(options) as listener:
        assert [one.outcome for one in send(listener.receiver.port, *files)] == ["sent"] * 3
        listener.work()
    assert [status for _, status in rows(options)] == ["graded", "failed", "graded"]


# --- who and what is refused --------------------------------------------------------------------


def test_callers_that_are_not_named_and_other_kinds_are_refused(listening, options, files, capsys):
    with listening(options) as listener:
        port = listener.receiver.port
        (stranger,) = send(port, files[0], calling_ae_title="STRANGER")
        (wrong,) = send(port, files[0], ae_title="OTHER")
        data = files[1].read_bytes()
        files[1].write_bytes(data.replace(b"1.1.77.1.5.1", b"1.1.77.1.5.4"))  # OCT
        (other,) = send(port, files[1])
        assert list(listener.queue.received.iterdir()) == []
    assert "does not know our AE title STRANGER" in stranger.why
    assert "is not called OTHER" in wrong.why
    assert "takes no SOP class" in other.why
    assert "refused an association with AE title 'STRANGER'" in capsys.readouterr().err


def test_another_object_of_a_known_uid_and_our_own_documents_are_refused(
    listening, options, files, grader, phantom
):
    report = grader.grade(files[2])
    files[2].write_bytes(overlay_capture(report, phantom(seed=3).rgb, files[2]))
    with listening(options) as listener:
        send(listener.receiver.port, files[0])
        before = files[0].read_bytes()
        files[0].write_bytes(before.replace(b"Jane", b"Mary"))
        changed, own = send(listener.receiver.port, files[0], files[2])
        (kept,) = listener.queue.received.iterdir()
        assert b"Jane" in kept.read_bytes()
    assert "stored already" in changed.why
    assert "made by drcore" in own.why
    assert not changed.is_outage


def test_a_full_disk_is_told_before_anything_is_confirmed(listening, options, files, monkeypatch):
    monkeypatch.setattr(receiver, "KEPT_FREE", 1 << 60)
    with listening(options) as listener:
        (sent,) = send(listener.receiver.port, files[0])
        assert list(listener.queue.received.iterdir()) == []
    assert (sent.outcome, sent.is_outage) == ("failed", True)
    assert "no room" in sent.why


def test_a_file_beyond_the_limit_ends_the_association(listening, options, files, phantom):
    large = files[0].with_name("large.dcm")
    large.write_bytes(dicom_file(phantom(seed=1).rgb, frames=8))
    small = ListenOptions(HERE, options.folder, limit=100_000)
    with listening(small) as listener:
        (sent,) = send(listener.receiver.port, large)
        assert sent.outcome == "failed"
        assert [one.outcome for one in send(listener.receiver.port, *files)] == ["sent"] * 3
        assert len(list(listener.queue.received.iterdir())) == 3


def test_a_message_that_claims_to_be_huge_is_not_waited_for(listening, options, files):
    with listening(options) as listener:
        here = ("127.0.0.1", listener.receiver.port)
        with socket.create_connection(here, timeout=5) as hostile:
            hostile.sendall(b"\x01\x00\xff\xff\xff\xff" + b"x" * 100)  # an association of 4 GB
            assert hostile.recv(1) == b""
        assert [one.outcome for one in send(here[1], files[0])] == ["sent"]


def test_encrypted_and_with_certificates_of_both_sides(listening, options, files, tmp_path):
    certificates(tmp_path)
    ours = [str(tmp_path / name) for name in ("server.pem", "server.key", "ca.pem")]
    address = Address("127.0.0.1", 0, "GRADER", ("DRCORE",), *ours)
    tls = Tls(
        ca=ours[2], certificate=str(tmp_path / "client.pem"), key=str(tmp_path / "client.key")
    )
    with listening(ListenOptions(address, options.folder)) as listener:
        (plain,) = send(listener.receiver.port, files[0], timeout=2.0)
        (sent,) = send(listener.receiver.port, files[0], tls=tls)
    assert (plain.outcome, sent.outcome) == ("failed", "sent")


def test_a_port_in_use_and_a_second_listener_are_sentences(listening, options, grader):
    with listening(options) as listener:
        address = Address("127.0.0.1", listener.receiver.port, "GRADER", ("DRCORE",))
        other = ListenOptions(address, options.folder / "other")
        with pytest.raises(PacsError, match="cannot be listened on"):
            Listener(other, grader)


def test_a_signal_ends_it_with_code_0(options, grader, monkeypatch, capsys):
    def interrupted(self: Listener) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(listen_command.Listener, "work", interrupted)
    monkeypatch.setattr(listen_command, "open_grader", lambda *_: grader)
    assert listen(options) == 0
    told = capsys.readouterr().err
    assert "as GRADER, accepts photographs from DRCORE" in told
    assert "0 files stored" in told


# --- documents ----------------------------------------------------------------------------------


@pytest.fixture
def archive():
    with running(Archive()) as archive:
        yield archive


@pytest.fixture
def sending(options, archive, tmp_path) -> ListenOptions:
    servers = tmp_path / "servers.toml"
    servers.write_text(
        f'[servers.clinic]\nkind = "dicom"\nhost = "127.0.0.1"\nport = {archive.port}\n'
        'ae_title = "ARCHIVE"\ntimeout = 20\n'
    )
    return ListenOptions(HERE, options.folder, send_to="clinic", servers=str(servers))


def test_report_and_overlay_reach_the_archive_once(listening, sending, archive, files):
    with listening(sending) as listener:
        send(listener.receiver.port, files[0])
        listener.work()
        assert listener.outbox.waiting == 2
        assert listener.outbox.send_once() == ""
        assert listener.outbox.send_once() == ""
        assert listener.outbox.waiting == 0
    assert len(archive.stored) == 2
    kinds = {data[:2000].count(b"1.1.88.33") > 0 for data in archive.objects.values()}
    assert kinds == {True, False}
    assert all(STUDY.encode() in data for data in archive.objects.values())


def test_documents_wait_while_the_archive_is_down_and_leave_at_the_next_start(
    listening, sending, archive, files
):
    archive.status = 0xA700
    with listening(sending) as listener:
        send(listener.receiver.port, *files[:2])
        listener.work()
        listener.outbox._connection._patience = ONCE
        assert "no room" in listener.outbox.send_once()
    archive.status = 0
    with listening(sending) as listener:
        assert listener.work(patience=0) == 0
        assert listener.outbox.send_once() == ""
    assert len(archive.stored) == len(set(archive.stored)) == 4


def test_documents_of_a_row_that_was_never_written_are_made_anew(
    listening, sending, archive, files, monkeypatch
):
    with listening(sending) as listener:
        send(listener.receiver.port, files[0])
        monkeypatch.setattr(listener.queue._table, "append", lambda _row: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            listener.work()
    with listening(sending) as listener:
        assert listener.outbox.waiting == 0
        assert listener.work() == 1
        listener.outbox.send_once()
    assert len(archive.stored) == 2
    assert len(rows(sending)) == 1


def test_what_the_archive_refuses_is_kept(listening, sending, archive, files, capsys):
    archive.status = 0x0122
    with listening(sending) as listener:
        send(listener.receiver.port, files[0])
        listener.work()
        assert listener.outbox.send_once() == ""
        assert listener.outbox.waiting == 0
    kept = sorted(file.name for file in (sending.folder / "refused").glob("*/*.dcm"))
    assert kept == ["overlay.dcm", "report.dcm"]
    assert "does not take this kind of object" in capsys.readouterr().err
