"""The real server from outside: headers, forged requests, foreign pages, paths, networks."""

from __future__ import annotations

import http.client
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from viewer.server.middleware import HEADERS

REPOSITORY = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.timeout(600)


def ask(url: str, method: str, path: str, body: bytes | None = None, **headers: str):
    """Status, headers and body of an answer; the path goes out as it is."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    try:
        connection.putrequest(method, path, skip_accept_encoding=True)
        for key, value in headers.items():
            connection.putheader(key.replace("_", "-"), value)
        if body is not None and "Content_Length" not in headers:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        connection.close()


@pytest.mark.parametrize("path", ["/", "/_stcore/health", "/_stcore/host-config", "/nowhere"])
def test_every_answer_has_the_headers(server, path):
    _, headers, _ = ask(server[0], "GET", path)
    lower = {key.lower(): value for key, value in headers.items()}
    assert {key: lower.get(key.lower()) for key in HEADERS} == HEADERS
    assert "unsafe-eval'" not in lower["content-security-policy"].replace("'wasm-unsafe-eval'", "")
    assert "http" not in lower["content-security-policy"]


def cookie(url: str) -> str:
    _, headers, _ = ask(url, "GET", "/_stcore/health")
    found = {key.lower(): value for key, value in headers.items()}["set-cookie"]
    assert "samesite=strict" in found.lower()
    return found.partition("_streamlit_xsrf=")[2].partition(";")[0]


def test_a_forged_upload_is_refused(server):
    url, path = server[0], "/_stcore/upload_file/session/file"
    assert ask(url, "PUT", path, b"x")[0] == 403
    assert ask(url, "DELETE", path)[0] == 403
    token = cookie(url)
    assert ask(url, "PUT", path, b"x", Cookie=f"_streamlit_xsrf={token}")[0] == 403
    headers = {"Cookie": f"_streamlit_xsrf={token}", "X_Xsrftoken": token}
    status, _, body = ask(url, "PUT", path, b"x", **headers)
    assert (status, b"Invalid session_id" in body) == (400, True)  # let in, and no such session


def test_an_upload_that_is_too_large_is_refused_before_it_is_read(server):
    url, path = server[0], "/_stcore/upload_file/session/file"
    status, _, body = ask(url, "PUT", path, b"", Content_Length=str(1 << 40))
    assert (status, body) == (507, b"The server is busy with other uploads. Retry soon.")
    assert ask(url, "PUT", path, Transfer_Encoding="chunked")[0] == 411
    assert ask(url, "PUT", path, b"", Content_Length="-1")[0] in {400, 411}


def test_a_page_of_another_site_gets_nothing(server, guard):
    client = pytest.importorskip("websockets.sync.client")
    from websockets.exceptions import InvalidHandshake

    url = f"{server[0].replace('http', 'ws')}/_stcore/stream"
    with client.connect(url, origin=server[0], subprotocols=["streamlit"]):
        pass
    for origin in ("http://evil.example", "null", server[0].replace("127.0.0.1", "127.0.0.1.evil")):
        with pytest.raises(InvalidHandshake):
            client.connect(url, origin=origin, subprotocols=["streamlit"])
        assert ask(server[0], "GET", "/_stcore/health", Origin=origin)[0] == 403
    assert ask(server[0], "GET", "/_stcore/health", Origin=server[0])[0] == 200
    assert not guard[1].exists()  # nor did the server ask anybody whose page that is


PATHS = [
    "/../../../../etc/passwd", "/%2e%2e/%2e%2e/%2e%2e/etc/passwd", "/static/../../../etc/passwd",
    "/static/%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd", "/media/../../etc/passwd",
    "/app/static/../../../etc/passwd", "/component/x/../../etc/passwd", "//etc/passwd",
    "/_stcore/bidi-components/x/../../../etc/passwd", "/static/..\\..\\..\\etc\\passwd",
    "/C:/Windows/win.ini", "/\\\\server\\share\\x", "/static/%00", "/media/%2e%2e%2fapp.py",
]  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
def test_no_path_leads_to_a_file_of_the_server(server, path):
    status, _, body = ask(server[0], "GET", path)
    assert b"root:" not in body
    assert b"import streamlit" not in body
    assert status in {200, 400, 403, 404}
    if status == 200:  # what is unknown is answered by the page itself
        assert b"<!doctype html>" in body.lower()[:100]


GRADE = """
import sys
from pathlib import Path
from drcore import Grader
report = Grader.bundled("cpu").grade(Path(sys.argv[1]))
report.ram()
print(report.status)
"""


def test_grading_reaches_for_no_network(guard, sample_images):
    environment, log = guard
    done = subprocess.run(
        [sys.executable, "-c", GRADE, sample_images / "phantom_severe_OS.jpg"],
        cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=500, check=False,
    )  # fmt: skip
    assert done.stdout.strip() in {"graded", "ungradable"}, done.stderr
    assert not log.exists()


def test_the_guard_of_the_network_works(guard, tmp_path):
    """Else the test above would prove nothing."""
    environment, _ = guard
    log = tmp_path / "attempts"
    for host in ("192.0.2.1", "drcore.example"):
        code = f"import urllib.request; urllib.request.urlopen('http://{host}/', timeout=5)"
        done = subprocess.run(
            [sys.executable, "-c", code], env={**environment, "NETWORK_LOG": str(log)},
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode != 0
        assert re.search(host, log.read_text())
