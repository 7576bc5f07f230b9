"""Middleware of a login: who names the reader, and which browser it is."""

from __future__ import annotations

import secrets
from http.cookies import SimpleCookie
from typing import TYPE_CHECKING, Any

from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection

from viewer.server.identity import is_proxy, openid
from viewer.server.settings import reader_header

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

BROWSER_COOKIE = "drcore_browser"
"""Tells a server with a login when another reader signs in in the same browser."""


class ReaderHeader:
    """Removes the header of DRCORE_READER_HEADER unless the proxy sent it, once.

    What a page finds in `st.context.headers` under that name is therefore the proxy's word.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, without a name that the proxy did not give."""
        header = reader_header()
        if header and scope["type"] in {"http", "websocket"}:
            given = [value for name, value in scope["headers"] if _is(name, header)]
            if given and (len(given) > 1 or not is_proxy(_peer(receive))):
                kept = [(n, value) for n, value in scope["headers"] if not _is(n, header)]
                scope = {**scope, "headers": kept}
        await self._app(scope, receive, send)


class BrowserCookie:
    """Gives a browser its cookie with the first page, where the server has a login."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and add the cookie to the page that answers it."""

        async def with_cookie(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                if headers.get("content-type", "").startswith("text/html"):
                    headers.append("set-cookie", _cookie(secure=scope.get("scheme") == "https"))
            await send(message)

        wanted = scope["type"] == "http" and (reader_header() or openid())
        if wanted and BROWSER_COOKIE not in HTTPConnection(scope).cookies:
            send_it = with_cookie
        else:
            send_it = send
        await self._app(scope, receive, send_it)


def _cookie(*, secure: bool) -> str:
    cookie = SimpleCookie({BROWSER_COOKIE: secrets.token_urlsafe(24)})
    cookie[BROWSER_COOKIE].update(
        {"path": "/", "httponly": True, "samesite": "Lax", "secure": secure}
    )
    return cookie[BROWSER_COOKIE].OutputString()


def _is(name: bytes, header: str) -> bool:
    """Whether a header has this name, in any case, or one that a server takes for the same."""
    return name.decode("latin-1").lower().replace("_", "-") == header


def _peer(receive: Any) -> str:
    """Return the address at the other end of the socket; empty where the server does not tell.

    Not `scope["client"]`: uvicorn takes that from X-Forwarded-For, which anybody can write.
    """
    transport = getattr(getattr(receive, "__self__", None), "transport", None)
    name = transport.get_extra_info("peername") if transport is not None else None
    return str(name[0]) if isinstance(name, tuple) and name else ""
