"""Readers who are who they say: a proxy's header and its forgeries, OpenID Connect on loopback."""

from __future__ import annotations

import json
import socket
import threading
import time
import urllib.parse
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest

from tests.support.app_server import app_server, chromium
from tests.support.browser import PATIENCE

ROLES = """
read = ["anna@clinic.example", "Bert@clinic.example"]
arbitrate = ["anna@clinic.example"]
"""


@pytest.fixture(scope="module")
def behind_proxy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("header")
    (folder / "roles.toml").write_text(ROLES, encoding="utf-8")
    environment = {
        "DRCORE_READER_HEADER": "X-Reader", "DRCORE_PROXY": "127.0.0.1",
        "DRCORE_ROLES": str(folder / "roles.toml"),
    }  # fmt: skip
    with app_server(folder, environment) as running:
        yield running


def page_of(url: str, *headers: tuple[str, str], source: str = "127.0.0.1") -> bytes:
    """What the server draws for a browser that comes from an address, with these headers."""
    client = pytest.importorskip("websockets.sync.client")
    from streamlit.proto.BackMsg_pb2 import BackMsg
    from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

    place = urlsplit(url)
    plug = socket.create_connection((place.hostname, place.port), 30, (source, 0))
    drawn = b""
    with client.connect(
        f"ws://{place.netloc}/_stcore/stream", sock=plug, subprotocols=["streamlit"], origin=url,
        additional_headers=headers, max_size=None,
    ) as stream:  # fmt: skip
        request = BackMsg()
        request.rerun_script.query_string = ""
        stream.send(request.SerializeToString())
        while True:
            raw = stream.recv(timeout=120)
            drawn += raw
            if ForwardMsg.FromString(raw).WhichOneof("type") == "script_finished":
                return drawn


def test_the_proxy_names_the_reader_and_nobody_else_does(behind_proxy):
    url, anna = behind_proxy.url, ("x-READER", "anna@clinic.example")
    page = page_of(url, anna)
    assert b"Signed in as anna@clinic.example" in page
    assert b"Grade fundus images" in page
    forged = (
        page_of(url),
        page_of(url, anna, source="127.0.0.2"),
        page_of(url, anna, ("X-Forwarded-For", "127.0.0.1"), source="127.0.0.2"),
        page_of(url, anna, ("X-Reader", "bert@clinic.example")),
        page_of(url, anna, ("X_Reader", "bert@clinic.example")),
        page_of(url, ("X-Reader", "bert@clinic.example, anna@clinic.example")),
        page_of(url, ("X-Reader", " ")),
    )
    for page in forged:
        assert b"No login: the proxy of this server must name one reader" in page
        assert b"Signed in as" not in page
        assert b"Grade fundus images" not in page
    # The peer of the socket counts, whatever address a proxy says it speaks for.
    assert b"Signed in as" in page_of(url, anna, ("X-Forwarded-For", "10.0.0.5"))


def test_who_has_no_role_reads_what_to_do(behind_proxy):
    page = page_of(behind_proxy.url, ("X-Reader", "eve@clinic.example"))
    assert b"eve@clinic.example may not read. Ask the person who keeps the roles" in page
    assert b"Grade fundus images" not in page


class Provider(BaseHTTPRequestHandler):
    """A small identity provider: whoever asks is `server.reader`, who signed in `server.ago`."""

    def do_GET(self) -> None:
        place = urlsplit(self.path)
        base = f"http://127.0.0.1:{self.server.server_port}"
        if place.path == "/authorize":
            asked = dict(urllib.parse.parse_qsl(place.query))
            self.server.nonce = asked.get("nonce")
            code = urllib.parse.urlencode({"code": "one", "state": asked["state"]})
            self.send_response(302)
            self.send_header("Location", f"{asked['redirect_uri']}?{code}")
            self.end_headers()
        elif place.path == "/jwks":
            self._say({"keys": [self.server.key.as_dict(private=False)]})
        else:
            self._say({
                "issuer": base, "authorization_endpoint": f"{base}/authorize",
                "token_endpoint": f"{base}/token", "jwks_uri": f"{base}/jwks",
                "id_token_signing_alg_values_supported": ["RS256"],
            })  # fmt: skip

    def do_POST(self) -> None:
        from joserfc import jwt

        self.rfile.read(int(self.headers["Content-Length"]))
        now = int(time.time())
        claims = {
            "iss": f"http://127.0.0.1:{self.server.server_port}", "aud": "drcore", "sub": "1",
            "iat": now - self.server.ago, "exp": now + 600, "nonce": self.server.nonce,
            "email": self.server.reader, "email_verified": True,
        }  # fmt: skip
        token = jwt.encode({"alg": "RS256", "kid": "k"}, claims, self.server.key)
        self._say({"access_token": "a", "token_type": "Bearer", "id_token": token})

    def _say(self, values: dict) -> None:
        body = json.dumps(values).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def provider():
    from joserfc.jwk import RSAKey

    with ThreadingHTTPServer(("127.0.0.1", 0), Provider) as server:
        server.key = RSAKey.generate_key(2048, {"kid": "k"})
        server.reader, server.ago = "anna@clinic.example", 0
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture(scope="module")
def openid(tmp_path_factory):
    """A viewer with a login, and its identity provider."""
    for package in ("authlib", "httpx", "joserfc"):
        pytest.importorskip(package)
    folder = tmp_path_factory.mktemp("openid")
    (folder / "roles.toml").write_text(ROLES, encoding="utf-8")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with provider() as identity:
        (folder / "secrets.toml").write_text(
            f'[auth]\nredirect_uri = "http://127.0.0.1:{port}/oauth2callback"\n'
            'cookie_secret = "a secret of this test that is long"\nclient_id = "drcore"\n'
            'client_secret = "x"\nserver_metadata_url = '
            f'"http://127.0.0.1:{identity.server_port}/.well-known/openid-configuration"\n',
            encoding="utf-8",
        )
        environment = {
            "DRCORE_ROLES": str(folder / "roles.toml"),
            "STREAMLIT_SECRETS_FILES": str(folder / "secrets.toml"),
        }
        with app_server(folder, environment, port=port) as running:
            yield running, identity


@pytest.mark.browser
def test_two_readers_in_one_browser_and_an_expired_login(openid):
    running, identity = openid
    with chromium() as browser:
        context = browser.new_context()
        first = context.new_page()
        first.goto(running.url)
        first.get_by_role("button", name="Sign in").click(timeout=PATIENCE)
        first.get_by_text("Signed in as anna@clinic.example").wait_for(timeout=PATIENCE)
        first.get_by_text("Grade fundus images").wait_for(timeout=PATIENCE)

        second = context.new_page()
        second.goto(running.url)
        second.get_by_text("Signed in as anna@clinic.example").wait_for(timeout=PATIENCE)
        identity.reader = "bert@clinic.example"
        second.get_by_role("button", name="Sign out").click(timeout=PATIENCE)
        second.get_by_role("button", name="Sign in").click(timeout=PATIENCE)
        second.get_by_text("Signed in as bert@clinic.example").wait_for(timeout=PATIENCE)

        # The page of the first reader is no longer hers to use.
        first.get_by_role("link", name="Batch").click(timeout=PATIENCE)
        first.get_by_text("bert@clinic.example has signed in in this browser").wait_for(
            timeout=PATIENCE
        )
        first.reload()
        first.get_by_text("Signed in as bert@clinic.example").wait_for(timeout=PATIENCE)
        context.close()

        identity.ago = 13 * 3600
        late = browser.new_page()
        late.goto(running.url)
        late.get_by_role("button", name="Sign in").click(timeout=PATIENCE)
        late.get_by_text("Your login has expired. Sign in again").wait_for(timeout=PATIENCE)
        assert late.get_by_text("Grade fundus images").count() == 0
