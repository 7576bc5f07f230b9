"""DICOMweb: against a real Orthanc, and against a server that fails in every way."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import generate_uid

from drcore.errors import PacsError
from drcore.pacs import connection, web, web_session
from drcore.pacs.connection import FoundStudy, Patience, Query, connect
from drcore.pacs.servers import WebServer
from tests.support.archives import certificates
from tests.support.orthanc import PASSWORD, USER
from tests.support.photographs import dicom_file

STUDY, SERIES = "1.2.826.0.1.3680043.8.498.1", "1.2.826.0.1.3680043.8.498.2"
LOGIN = {"user_env": "WEB_USER", "password_env": "WEB_PASSWORD"}
TOKEN = {"token_env": "WEB_TOKEN"}
JSON = {"Content-Type": "application/dicom+json; charset=utf-8"}
HTML = {"Content-Type": "text/html"}
Answer = tuple[int, dict[str, str], bytes]


def image(number: int = 1, **attributes: str) -> bytes:
    values = {
        "StudyInstanceUID": STUDY, "SeriesInstanceUID": SERIES,
        "SOPInstanceUID": f"{SERIES}.{number}", "PatientID": "P-7", **attributes,
    }  # fmt: skip
    return dicom_file(np.full((32, 32, 3), number, np.uint8), **values)


@pytest.fixture
def images(tmp_path) -> list[Path]:
    files = [tmp_path / f"{number}.dcm" for number in (1, 2, 3)]
    for number, file in enumerate(files, start=1):
        file.write_bytes(image(number))
    return files


def web_server(url: str, **more: object) -> WebServer:
    return WebServer(name="clinic", kind="web", url=url, timeout=5.0, **more)


@pytest.fixture
def waits(monkeypatch) -> list[float]:
    """The pauses between tries, which take no time."""
    pauses: list[float] = []
    monkeypatch.setattr(connection.time, "sleep", pauses.append)
    return pauses


@contextmanager
def serving(
    answer: Callable[[str, str, bytes], Answer], tls: ssl.SSLContext | None = None
) -> Iterator[tuple[str, list[str]]]:
    """A server on loopback; yields its address and the requests that it had."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            size = int(self.headers.get("Content-Length") or 0)
            asked.append(f"{self.command} {self.path}")
            status, headers, body = answer(self.command, self.path, self.rfile.read(size))
            self.send_response(status)
            for key, value in ({"Content-Length": str(len(body))} | headers).items():
                self.send_header(key, value)
            self.end_headers()
            self.wfile.write(body)
            self.close_connection = True

        do_POST = do_GET  # noqa: N815 - the name is given

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    scheme = "https" if tls else "http"
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"{scheme}://127.0.0.1:{server.server_address[1]}/rs", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def as_json(*items: object) -> Answer:
    return 200, JSON, json.dumps(items).encode()


def entry(**values: str) -> dict[str, object]:
    return {tag.lstrip("x"): {"vr": "UI", "Value": [value]} for tag, value in values.items()}


def instance(uid: str, **more: str) -> dict[str, object]:
    return entry(x00080018=uid, x0020000E=SERIES, **more)


def confirmed(uid: str, **more: object) -> Answer:
    item = {"00081155": {"vr": "UI", "Value": [uid]}, **more}
    return 200, JSON, json.dumps({"00081199": {"vr": "SQ", "Value": [item]}}).encode()


def refused(uid: str, reason: int, status: int = 409) -> Answer:
    item = {
        "00081155": {"vr": "UI", "Value": [uid]}, "00081197": {"vr": "US", "Value": [reason]}
    }  # fmt: skip
    return status, JSON, json.dumps({"00081198": {"vr": "SQ", "Value": [item]}}).encode()


def multipart(*parts: bytes) -> Answer:
    body = b"".join(b"--B\r\nContent-Type: application/dicom\r\n\r\n%b\r\n" % one for one in parts)
    kind = 'multipart/related; type="application/dicom"; boundary=B'
    return 200, {"Content-Type": kind}, body + b"--B--\r\n"


# --- a real archive -----------------------------------------------------------------------------


@pytest.fixture
def archive(orthanc, monkeypatch):
    monkeypatch.setenv("WEB_USER", USER)
    monkeypatch.setenv("WEB_PASSWORD", PASSWORD)
    return connect(web_server(orthanc.web, **LOGIN))


def test_sent_once_found_and_fetched_as_it_was(archive, orthanc, images, tmp_path):
    archive.echo()
    told: list[int] = []
    sent = archive.send([*images, images[0]], progress=told.append)
    assert [one.outcome for one in sent] == ["sent"] * 4
    assert told == [1, 2, 3, 4]
    assert {one.outcome for one in archive.send(images)} == {"already there"}
    assert len(orthanc.sop_instances()) == 3
    (study,) = archive.find(Query(patient_id="P-*", first_date="20260101", last_date="20260131"))
    assert (study.study_uid, study.patient_id, study.instances) == (STUDY, "P-7", 3)
    assert (study.accession, study.date, study.modalities) == ("A-1", "20260101", ("OP",))
    fetched = archive.fetch(study, tmp_path / "got")
    assert (fetched.new, fetched.missing, fetched.problems) == (3, 0, ())
    assert [file.read_bytes() for file in sorted(fetched.files)] == [
        file.read_bytes() for file in images
    ]
    (tmp_path / "got" / f"{SERIES}.2.dcm").unlink()
    assert archive.fetch(study, tmp_path / "got").new == 1
    assert archive.fetch(study, tmp_path / "none", modalities=("CT",)).files == ()


def test_identifiers_of_all_letters_are_found(archive, tmp_path):
    file = tmp_path / "odd.dcm"
    values = {"StudyInstanceUID": generate_uid(), "AccessionNumber": "A/9 +1"}
    file.write_bytes(image(PatientID="Ä B+C", **values))
    archive.send([file])
    for query in (Query(patient_id="Ä B+C"), Query(accession="A/9 +1"), Query(patient_id="*+?")):
        assert [one.patient_id for one in archive.find(query)] == ["Ä B+C"]
    for query in (Query(patient_id="Ä B C"), Query(accession="A/9 +1", modalities=("CT",))):
        assert archive.find(query) == []


def test_a_server_that_dies_half_way_gets_the_rest_later(archive, orthanc, images, waits):
    def die_after_the_first(number: int) -> None:
        if number == 1:
            orthanc.kill()

    sent = archive.send(images, progress=die_after_the_first)
    assert [one.outcome for one in sent] == ["sent", "failed", "failed"]
    assert all(one.is_outage and "Try again later" in one.why for one in sent[1:])
    orthanc.start()
    again = archive.send(images)
    assert [one.outcome for one in again] == ["already there", "sent", "sent"]
    assert len(orthanc.sop_instances()) == 3


def test_a_wrong_password_is_said(orthanc, monkeypatch):
    monkeypatch.setenv("WEB_USER", USER)
    monkeypatch.setenv("WEB_PASSWORD", USER)
    with pytest.raises(PacsError, match=r"WEB_USER and its password holds.*401"):
        connect(web_server(orthanc.web, **LOGIN)).echo()


# --- a server that fails ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        ((401, {}, b""), "clinic: the login is refused. Name a login in the servers file."),
        ((403, HTML, b"<p>no"), "may not do this. Ask the administrator"),
        ((404, HTML, b"<p>nothing"), "there is nothing at this address. Check url"),
        ((302, {"Location": "http://127.0.0.1:9/"}, b""), "refers to another address"),
        ((200, HTML, b"<p>Sign in</p>"), "a web page instead of DICOMweb. Check url"),
        ((200, {"Content-Type": "application/dicom+xml"}, b"<x/>"), r"dicom\+xml instead of"),
        ((200, JSON, b"[" * 100_000), "not understood"),
        ((200, JSON, b'{"a": '), "not understood"),
    ],
)
def test_what_will_not_pass_by_itself_is_told_at_once(answer, sentence, waits):
    with (
        serving(lambda *_: answer) as (url, asked),
        pytest.raises(PacsError, match=sentence) as got,
    ):
        connect(web_server(url)).echo()
    assert len(asked) == 1
    assert not waits
    assert not got.value.is_outage
    assert str(got.value).startswith("clinic: ")


@pytest.mark.parametrize(
    "answer",
    [
        (503, {}, b""), (429, HTML, b"<p>"), (500, JSON, b"{}"),
        (200, JSON | {"Content-Length": "99"}, b"[]"),
        (200, JSON | {"Transfer-Encoding": "chunked", "Content-Length": ""}, b"9\r\n[]"),
    ],
)  # fmt: skip
def test_outages_are_tried_again_and_then_told(answer, waits):
    with serving(lambda *_: answer) as (url, asked), pytest.raises(PacsError) as caught:
        connect(web_server(url), Patience(3)).echo()
    assert (len(asked), waits) == (3, [1.0, 2.0])
    assert caught.value.is_outage
    assert str(caught.value).endswith("Try again later.")


def test_a_server_says_how_long_to_wait_and_is_heard_within_a_bound(waits):
    answers = iter([(503, {"Retry-After": "7"}, b""), (429, {"Retry-After": "900"}, b"")])
    with serving(lambda *_: next(answers, as_json())) as (url, asked):
        connect(web_server(url), Patience(longest=20)).echo()
    assert (len(asked), waits) == (3, [7.0, 20])


def test_nobody_is_there(waits):
    with pytest.raises(PacsError, match=r"cannot be reached.*Try again later") as caught:
        connect(web_server("http://127.0.0.1:1/rs"), Patience(2)).echo()
    assert caught.value.is_outage


def test_endless_answers_are_not_read(monkeypatch, waits):
    monkeypatch.setattr(web_session, "MAX_TEXT", 1000)
    big = json.dumps([entry(x0020000D=STUDY)] * 100).encode()
    with serving(lambda *_: (200, JSON, big)) as (url, _), pytest.raises(PacsError, match="MiB"):
        connect(web_server(url)).find(Query(patient_id="P-7"))


def test_pages_are_joined_and_what_was_not_asked_for_is_left_out(monkeypatch):
    monkeypatch.setattr(web, "PAGE", 2)
    studies = [
        entry(x0020000D=f"{STUDY}.{number}", x00100020="P-7" if number % 2 else "P-8")
        for number in range(1, 8)
    ]

    def paged(_method: str, path: str, _body: bytes) -> Answer:
        offset = int(path.partition("offset=")[2].partition("&")[0])
        return as_json(*studies[offset : offset + 2])

    with serving(paged) as (url, _):
        found = connect(web_server(url)).find(Query(patient_id="p-7"))
        assert [one.study_uid[-1] for one in found] == ["1", "3", "5", "7"]
        assert len(connect(web_server(url)).find(Query(patient_id="P*"), limit=3)) == 3
    with serving(lambda *_: as_json(*studies)) as (url, asked):  # it knows no offset
        assert len(connect(web_server(url)).find(Query(patient_id="P*"))) == 7
    assert len(asked) == 2
    with pytest.raises(PacsError, match="Say which studies"):
        connect(web_server(url)).find(Query())


def test_hostile_values_are_no_paths_and_no_control_characters(tmp_path):
    bad = [
        instance("../../evil"), instance("1.2." + "3" * 80), instance(""), 7, None, {"00080018": 1},
        {"00080018": {"Value": [{"a": 1}]}, "0020000E": {"Value": SERIES}},
    ]  # fmt: skip
    hostile = [
        entry(x0020000D="../x"), [], {"0020000D": []},
        entry(x0020000D=STUDY, x00100020="P\u202e\x1b[31m-7", x00201208="many"),
    ]  # fmt: skip
    with serving(lambda _m, path, _b: as_json(*(bad if "/studies/" in path else hostile))) as (
        url, asked,
    ):  # fmt: skip
        archive = connect(web_server(url))
        (study,) = archive.find(Query(study_uid=STUDY))
        assert (study.patient_id, study.instances) == ("P[31m-7", None)
        assert archive.fetch(study, tmp_path / "got").files == ()
    assert not any("instances/" in one for one in asked)
    assert not (tmp_path / "got").exists()


def test_only_whole_instances_that_were_asked_for_are_kept(tmp_path, waits):
    whole = multipart(image(1))
    answers = {
        "1": whole,
        "2": multipart(image(9)),  # another
        "3": (200, whole[1], whole[2][:-2000]),  # cut off, and its length does not tell
        "4": (200, {"Content-Type": "application/dicom"}, b"nonsense"),
        "5": (404, {}, b""),
        "6": multipart(b"\0" * 128 + b"DICM" + b"1.2.840.10008.1.2.1.99"),
    }

    def answer(_method: str, path: str, _body: bytes) -> Answer:
        if "/instances/" in path:
            return answers[path[-1]]
        return as_json(*(instance(f"{SERIES}.{number}") for number in answers))

    with serving(answer) as (url, _):
        got = connect(web_server(url), Patience(2)).fetch(FoundStudy(STUDY), tmp_path / "got")
    assert [file.name for file in got.files] == [f"{SERIES}.1.dcm"]
    assert [file.name for file in (tmp_path / "got").iterdir()] == [f"{SERIES}.1.dcm"]
    assert (got.new, got.missing, got.is_outage) == (1, 5, True)
    assert len(got.problems) == 5
    assert all(one.startswith("clinic: ") and one.endswith(".") for one in got.problems)


def test_each_file_that_is_sent_has_its_own_outcome(images, waits):
    uids = [str(dcmread(file).SOPInstanceUID) for file in images]

    def answer(method: str, _path: str, body: bytes) -> Answer:
        if method == "GET":
            return as_json()
        warned = {"00081196": {"vr": "US", "Value": [0xB000]}}
        by_uid = {
            uids[0]: confirmed(uids[0], **warned), uids[1]: refused(uids[1], 0x0122),
            uids[2]: refused(uids[2], 0x0111, 200),
        }  # fmt: skip
        return next(reply for uid, reply in by_uid.items() if uid.encode() in body)

    with serving(answer) as (url, _):
        sent = connect(web_server(url)).send([*images, Path(__file__), images[0].parent / "none"])
    outcomes = ["sent", "failed", "already there", "failed", "failed"]
    assert [one.outcome for one in sent] == outcomes
    assert "warning B000" in sent[0].why
    assert "does not take this SOP class" in sent[1].why
    assert "no DICOM file" in sent[3].why


def test_an_answer_that_is_lost_leads_to_no_second_copy(images, waits):
    stored: list[bytes] = []

    def answer(method: str, _path: str, body: bytes) -> Answer:
        if method == "POST":
            stored.append(body)
            return 200, JSON | {"Content-Length": "99"}, b"{"  # dies while it answers
        return as_json(*([instance(f"{SERIES}.1")] if stored else []))

    with serving(answer) as (url, _):
        (sent,) = connect(web_server(url)).send(images[:1])
    assert (sent.outcome, len(stored)) == ("sent", 1)


@pytest.mark.parametrize("searches", [True, False])
def test_a_server_that_confirms_nothing_is_asked(images, searches, waits):
    look = as_json() if searches else (501, {}, b"")
    with serving(lambda method, *_: look if method == "GET" else (200, {}, b"")) as (url, _):
        (sent,) = connect(web_server(url)).send(images[:1])
    assert sent.outcome == "failed"
    assert "did not confirm" in sent.why


def test_a_token_is_sent_and_follows_no_redirection(monkeypatch):
    monkeypatch.setenv("WEB_TOKEN", "secret")
    heard: list[str | None] = []

    def look(session, request, **options):
        heard.append(request.headers.get("Authorization"))
        return sent(session, request, **options)

    sent = web_session.requests.Session.send
    monkeypatch.setattr(web_session.requests.Session, "send", look)
    with (
        serving(lambda *_: (307, {"Location": "/elsewhere"}, b"")) as (url, asked),
        pytest.raises(PacsError, match="another address"),
    ):
        connect(web_server(url, **TOKEN)).echo()
    assert heard == ["Bearer secret"]
    assert len(asked) == 1
    monkeypatch.delenv("WEB_TOKEN")
    with pytest.raises(PacsError, match="WEB_TOKEN"):
        connect(web_server(url, **TOKEN))


def test_only_the_authority_that_is_named_is_trusted(tmp_path, monkeypatch):
    certificates(tmp_path)
    (tmp_path / "other").mkdir()
    certificates(tmp_path / "other")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem", tmp_path / "server.key")
    with serving(lambda *_: as_json(), context) as (url, _):
        connect(web_server(url, ca=str(tmp_path / "ca.pem"))).echo()
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "ca.pem"))
        other = web_server(url, ca=str(tmp_path / "other" / "ca.pem"))
        with pytest.raises(PacsError, match="certificate of the server cannot be verified"):
            connect(other).echo()
