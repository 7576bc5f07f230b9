"""HTTP of a DICOMweb connection: login, own authority, and the limits that no library sets."""

from __future__ import annotations

import io
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import requests
from requests.auth import AuthBase, HTTPBasicAuth
from urllib3.exceptions import HTTPError, ReadTimeoutError

from drcore.errors import RETRY_LATER, PacsError
from drcore.photographs.photograph import MAX_BYTES

if TYPE_CHECKING:
    from drcore.pacs.servers import WebServer

__all__ = ["MAX_TEXT", "RefusedError", "WebSession"]

MAX_TEXT = 64 << 20
"""Bytes of an answer in JSON at most; an instance may have as many as a photograph."""

CONNECT_SECONDS = 10.0
"""Seconds until a server must have taken a connection, or its timeout where that is shorter."""

SLOWEST = 20_000
"""Bytes a second: an answer that comes more slowly than this, beyond the timeout, is given up."""

_PIECE = 1 << 18
_CONFLICT = 409
_CUT_OFF = f"the server breaks off in the middle of an answer. {RETRY_LATER}"
_DEFLATED = b"1.2.840.10008.1.2.1.99"


class RefusedError(Exception):
    """A server answered with an HTTP status that is no success.

    Attributes:
        status: of HTTP, from 300.
        headers: of the answer, among them Retry-After.
    """

    def __init__(self, status: int, headers: Mapping[str, str]) -> None:
        super().__init__(str(status))
        self.status, self.headers = status, headers


class _Bearer(AuthBase):
    """A bearer token; as an `auth`, so that no entry of ~/.netrc replaces it."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


class WebSession(requests.Session):
    """A session for one server: it follows no redirection and reads no endless answer.

    Args:
        server: whose login and authority are used.

    Raises:
        PacsError: an environment variable of the server is not set.
    """

    def __init__(self, server: WebServer) -> None:
        super().__init__()
        self._seconds = server.timeout
        self._authority = server.ca
        if server.token_env:
            self.auth = _Bearer(server.secret(server.token_env))
        elif server.user_env and server.password_env:
            user, password = server.secret(server.user_env), server.secret(server.password_env)
            self.auth = HTTPBasicAuth(user.encode("utf-8"), password.encode("utf-8"))

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """Follow no redirection: it may lead out of https, and turns a POST into a GET."""
        del resp
        return None

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        """Send a request, and read all of the answer within the limits.

        Raises:
            RefusedError: the answer is no success; one to STOW-RS that says why (409) is returned.
            PacsError: the answer is too large, breaks off, or is not what DICOMweb answers.
        """
        _mend(request)
        if self._authority:  # else REQUESTS_CA_BUNDLE would replace it
            kwargs["verify"] = self._authority
        kwargs["timeout"] = (min(CONNECT_SECONDS, self._seconds), self._seconds)
        kwargs["stream"], kwargs["allow_redirects"] = True, False
        begun = time.monotonic()
        response = super().send(request, **kwargs)
        try:
            # Its body names the instances that failed; the client would drop it.
            told = response.status_code == _CONFLICT and _is_json(response)
            if response.status_code >= 300 and not (told and request.method == "POST"):
                raise RefusedError(response.status_code, response.headers)
            body = self._read(response, begun)
        finally:
            response.close()
        _check(response, body)
        response.status_code = 202 if told else response.status_code
        response.raw = io.BytesIO(body)
        return response

    def _read(self, response: requests.Response, begun: float) -> bytes:
        limit = MAX_TEXT if _is_json(response) else MAX_BYTES + _PIECE
        parts, size = [], 0
        try:
            while part := response.raw.read1(_PIECE, decode_content=True):
                size += len(part)
                if size > limit:
                    raise PacsError(
                        f"the answer has more than {limit >> 20} MiB, which is not read. Narrow "
                        "the search, or leave this instance out."
                    )
                if time.monotonic() - begun > self._seconds + size / SLOWEST:
                    why = f"the server answers too slowly. {RETRY_LATER}"
                    raise PacsError(why, is_outage=True)
                parts.append(part)
        except ReadTimeoutError as error:
            why = f"the server paused for more than {self._seconds:g} seconds. {RETRY_LATER}"
            raise PacsError(why, is_outage=True) from error
        except (HTTPError, OSError) as error:
            raise PacsError(_CUT_OFF, is_outage=True) from error
        return b"".join(parts)


def _media_type(response: requests.Response) -> str:
    return str(response.headers.get("Content-Type", "")).partition(";")[0].strip().lower()


def _is_json(response: requests.Response) -> bool:
    return _media_type(response) in {"application/dicom+json", "application/json"}


def _mend(request: requests.PreparedRequest) -> None:
    """Correct what dicomweb-client sends: a host without its port, JSON not asked for."""
    request.headers.pop("Host", None)
    if request.method == "POST":
        request.headers["Accept"] = "application/dicom+json"
    address, mark, query = (request.url or "").partition("?")
    for encoded, plain in (("+", "%20"), ("%2A", "*"), ("%3F", "?"), ("%2C", ",")):
        query = query.replace(encoded, plain)  # as some servers, Orthanc 1.10 among them, need it
    request.url = f"{address}{mark}{query}"


def _check(response: requests.Response, body: bytes) -> None:
    """Raise `PacsError` for what is not an answer of DICOMweb, or not the whole of one."""
    kind = _media_type(response)
    if _is_json(response):
        response.headers["Content-Type"] = kind  # the client knows it without parameters only
        return
    if kind in {"multipart/related", "application/dicom"}:
        boundary = str(response.headers["Content-Type"]).partition("boundary=")[2]
        ending = f"--{boundary.partition(';')[0].strip().strip(chr(34))}--".encode()
        if boundary and ending not in body[-len(ending) - 256 :]:
            raise PacsError(_CUT_OFF, is_outage=True)
        if _DEFLATED in body[:4096]:  # it would be inflated without a limit
            raise PacsError("an instance is deflated as a whole, which is not read. Leave it out.")
    elif body:
        shown = "a web page" if "html" in kind else f"{kind[:60] or 'an unknown format'}"
        raise PacsError(
            f"the address answers with {shown} instead of DICOMweb. Check url in the servers file."
        )
