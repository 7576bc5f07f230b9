"""What stands between the browser and the pages: security headers, and who and what is let in."""

from __future__ import annotations

import asyncio
import sys
import webbrowser
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from streamlit import get_option

from viewer.server.memory import keep_flat

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send
    from streamlit import App

__all__ = ["HEADERS", "MIDDLEWARE", "UPLOADS", "opened"]

# Streamlit's page has inline styles and scripts and loads small pieces of its own as blobs; but
# nothing, whatever it is, comes from another computer or goes there, and no other site frames it.
_POLICY = {
    "default-src": "'self'",
    "script-src": "'self' 'unsafe-inline' 'wasm-unsafe-eval' blob:",
    "style-src": "'self' 'unsafe-inline'",
    "img-src": "'self' data: blob:",
    "font-src": "'self' data:",
    "media-src": "'self' data: blob:",
    "connect-src": "'self' blob: data:",
    "worker-src": "'self' blob:",
    "frame-src": "'none'",
    "object-src": "'none'",
    "base-uri": "'self'",
    "form-action": "'self'",
    "frame-ancestors": "'none'",
}

HEADERS = {
    "Content-Security-Policy": "; ".join(f"{key} {value}" for key, value in _POLICY.items()),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # The address of a batch run holds its token.
    "Referrer-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""Of every answer of the server."""

UPLOADS = 4 * 1024**3
"""Bytes of uploads that the server holds at once, of all readers, before a page takes them over."""

_UPLOAD_PATH = "/_stcore/upload_file/"


class _SecurityHeaders:
    """Adds `HEADERS` to every answer.

    Args:
        app: what answers.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        await self._app(scope, receive, with_headers if scope["type"] == "http" else send)


class _SameOrigin:
    """Refuses what the page of another site asks, without a question to anybody.

    Streamlit refuses it too, but asks a computer of Amazon first by which address the world knows
    this one.

    Args:
        app: what answers.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope) if scope["type"] in {"http", "websocket"} else Headers()
        origin = headers.get("origin")
        if origin is None or _is_ours(origin, headers.get("host", "")):
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            refusal = PlainTextResponse("This server answers its own pages only.", 403)
            await refusal(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1008})


def _is_ours(origin: str, host: str) -> bool:
    """Whether an origin is this server, as the browser or the settings call it."""
    if urlsplit(origin).netloc == host:
        return True
    allowed = [str(one).rstrip("/") for one in get_option("server.corsAllowedOrigins")]
    return origin in allowed or urlsplit(origin).hostname == get_option("browser.serverAddress")


class _UploadLimit:
    """Refuses an upload for which the server has no room, before it is read.

    Args:
        app: what answers.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "PUT" and _UPLOAD_PATH in scope["path"]:
            refusal = _refusal(Headers(scope=scope).get("content-length", ""))
            if refusal is not None:
                await refusal(scope, receive, send)
                return
        await self._app(scope, receive, send)


def _refusal(length: str) -> PlainTextResponse | None:
    if not length.isdecimal():  # chunks of unknown number: no browser sends them
        return PlainTextResponse("Say how long the file is.", 411)
    if _held() + int(length) > UPLOADS:
        return PlainTextResponse("The server is busy with other uploads. Try again soon.", 507)
    return None


def _held() -> int:
    """Bytes of the uploads that are in memory."""
    from streamlit.runtime import get_instance

    families = get_instance().uploaded_file_mgr.get_stats()
    return sum(stat.byte_length for stats in families.values() for stat in stats)


MIDDLEWARE = (Middleware(_SecurityHeaders), Middleware(_SameOrigin), Middleware(_UploadLimit))
"""For `streamlit.App`, the outermost first."""


@asynccontextmanager
async def opened(_: App) -> AsyncGenerator[None]:
    """Set the server up; show the page in the reader's browser, unless it is headless.

    Args:
        _: the app that is served.
    """
    # A page lets go of the interpreter hundreds of times, and waits this long for each return while
    # photographs are graded: with Python's own 5 ms it would be seconds.
    sys.setswitchinterval(0.0005)
    keep_flat()
    if not get_option("server.headless"):
        host = get_option("server.address") or get_option("browser.serverAddress")
        address = f"http://{host}:{get_option('server.port')}"
        asyncio.get_running_loop().call_later(0.5, webbrowser.open, address)
    yield
