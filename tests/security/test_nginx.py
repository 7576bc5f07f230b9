"""The worked example of serving a clinic: the shipped nginx.conf in front of a running viewer."""

from __future__ import annotations

import base64
import contextlib
import os
import shutil
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

import cv2
import numpy as np
import pytest

from tests.support.app_server import chromium

EXAMPLE = Path(__file__).resolve().parents[2] / "viewer" / "server" / "nginx.conf"
HOST = "drcore.clinic.example"
PASSWORD = "correct horse"  # noqa: S105 - of a test

pytestmark = pytest.mark.timeout(600)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def program(name: str) -> str:
    found = shutil.which(name, path=f"{os.environ['PATH']}{os.pathsep}/usr/sbin")
    if found is None:
        pytest.skip(f"there is no {name}")
    return found


@pytest.fixture(scope="module")
def clinic(server, tmp_path_factory):
    """Ports of http and https of nginx with the example, only places and ports changed."""
    nginx, openssl = program("nginx"), program("openssl")
    folder = tmp_path_factory.mktemp("nginx")
    http, https = free_port(), free_port()
    subprocess.run(
        [
            openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
            f"/CN={HOST}", "-addext", f"subjectAltName=DNS:{HOST}",
            "-keyout", folder / "drcore.key", "-out", folder / "drcore.crt",
        ],
        check=True, capture_output=True, timeout=120,
    )  # fmt: skip
    secret = subprocess.run(
        [openssl, "passwd", "-apr1", PASSWORD], check=True, capture_output=True, text=True,
        timeout=60,
    ).stdout  # fmt: skip
    (folder / "drcore.htpasswd").write_text(f"reader:{secret}", encoding="utf-8")
    example = EXAMPLE.read_text(encoding="utf-8")
    for told, here in (
        ("/etc/nginx/drcore.", f"{folder}/drcore."),
        ("listen 80;", f"listen 127.0.0.1:{http};"),
        ("listen 443 ssl;", f"listen 127.0.0.1:{https} ssl;"),
        ("http://127.0.0.1:8501;", f"http://{urlsplit(server[0]).netloc};"),
    ):
        assert told in example
        example = example.replace(told, here)
    places = "".join(
        f"{kind}_temp_path {folder}/{kind};\n"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    # Started as root, its worker would be another user, who cannot read the test's folder.
    user = "user root;\n" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(
        f"{user}daemon off;\nmaster_process off;\npid {folder}/pid;\nerror_log stderr;\n"
        f"events {{}}\nhttp {{\n{places}{example}}}\n",
        encoding="utf-8",
    )
    command = [nginx, "-p", folder, "-c", folder / "nginx.conf", "-e", "stderr"]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 60
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", https), 5):
                break
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.1)
        yield http, https, folder / "drcore.crt"
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture
def ask(clinic, monkeypatch):
    """Asks for a path as a browser in the clinic would: (status, headers, body)."""
    trust = ssl.create_default_context(cafile=str(clinic[2]))
    real = socket.getaddrinfo

    def resolved(host, *rest, **more):
        return real("127.0.0.1" if host == HOST else host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", resolved)

    def asked(path: str, method: str = "GET", body: bytes | None = None, *, login=True, **headers):
        url = f"https://{HOST}:{clinic[1]}{path}"
        request = urllib.request.Request(url, body, method=method)
        for key, value in headers.items():
            request.add_header(key.replace("_", "-"), value)
        if login:
            request.add_header("Authorization", authorization())
        try:
            with urllib.request.urlopen(request, timeout=60, context=trust) as answer:  # noqa: S310
                return answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.headers, error.read()

    return asked


def authorization(password: str = PASSWORD) -> str:
    return "Basic " + base64.b64encode(f"reader:{password}".encode()).decode()


def test_nobody_gets_in_without_the_login(ask, clinic):
    for path in ("/", "/_stcore/health", "/_stcore/stream", "/batch"):
        status, headers, body = ask(path, login=False)
        assert (status, headers["WWW-Authenticate"]) == (401, 'Basic realm="Retinopathy review"')
        assert b"streamlit" not in body.lower()
    assert ask("/", login=False, Authorization=authorization("wrong"))[0] == 401
    with socket.create_connection(("127.0.0.1", clinic[0]), 30) as plain:
        plain.sendall(f"GET /batch HTTP/1.0\r\nHost: {HOST}\r\n\r\n".encode())
        answer = plain.recv(4096).decode()
    assert answer.startswith("HTTP/1.1 301")
    assert f"Location: https://{HOST}/batch" in answer


def test_a_reader_with_the_login_gets_the_viewer(ask):
    status, headers, body = ask("/")
    assert status == 200
    assert b"<!doctype html>" in body.lower()
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Strict-Transport-Security"] == "max-age=31536000"


def test_the_page_talks_to_its_server_and_other_pages_do_not(ask, clinic, guard):
    client = pytest.importorskip("websockets.sync.client")
    from websockets.exceptions import InvalidHandshake

    trust = ssl.create_default_context(cafile=str(clinic[2]))
    origin = f"https://{HOST}:{clinic[1]}"
    url = f"wss://{HOST}:{clinic[1]}/_stcore/stream"
    login = {"Authorization": authorization()}
    options = {"subprotocols": ["streamlit"], "ssl": trust}
    with client.connect(url, origin=origin, additional_headers=login, **options):
        pass
    for foreign, headers in (("https://evil.example", login), (origin, {})):
        with pytest.raises(InvalidHandshake):
            client.connect(url, origin=foreign, additional_headers=headers, **options)
    assert ask("/_stcore/health", Origin="https://evil.example")[0] == 403
    assert ask("/_stcore/health", Origin=origin)[0] == 200
    assert not guard[1].exists()  # nor did the viewer ask another computer whose page that is


def test_an_upload_keeps_its_limits_and_its_guard(ask):
    path = "/_stcore/upload_file/session/file"
    _, headers, _ = ask("/_stcore/health")
    token = headers["Set-Cookie"].partition("_streamlit_xsrf=")[2].partition(";")[0]
    signed = {"Cookie": f"_streamlit_xsrf={token}", "X_Xsrftoken": token}
    status, _, body = ask(path, "PUT", b"x", **signed)
    assert (status, b"Invalid session_id" in body) == (400, True)  # let in, and no such session
    assert ask(path, "PUT", b"x")[0] == 403
    assert ask(path, "PUT", b"", **signed, Content_Length=str(600 << 20))[0] == 413


@pytest.mark.browser
def test_a_reader_uploads_an_image_of_several_megabytes(clinic, tmp_path):
    noise = np.random.default_rng(7).integers(0, 255, (1400, 1400, 3), np.uint8)
    image = tmp_path / "noise.png"
    cv2.imwrite(str(image), noise)
    assert image.stat().st_size > 5 << 20  # nginx by itself takes one
    with chromium(f"--host-resolver-rules=MAP {HOST} 127.0.0.1") as browser:
        context = browser.new_context(
            ignore_https_errors=True,
            http_credentials={"username": "reader", "password": PASSWORD},
        )
        page = context.new_page()
        page.goto(f"https://{HOST}:{clinic[1]}")
        page.locator("input[type=file]").first.set_input_files(image, timeout=120_000)
        arrived = page.get_by_role("button", name="Start reading").or_(page.locator("h1.name"))
        arrived.first.wait_for(timeout=180_000)
