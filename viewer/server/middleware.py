"""Middleware of the server: security headers, same-origin check, upload limit; start-up."""

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

from drcore.memory import limit_pools
from viewer.server.reader_header import BrowserCookie, ReaderHeader

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send
    from streamlit import App

# Streamlit's page has inline styles and scripts and loads pieces of its own as blobs. Nothing is
# loaded from or sent to another computer, and no other site may frame the page.
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
"""Headers of every response."""

MAX_UPLOADS = 4 * 1024**3
"""Bytes of uploads of all readers that may be in memory at once."""

_UPLOAD_PATH = "/_stcore/upload_file/"


class _SecurityHeaders:
    """Adds `HEADERS` to every response."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        await self._app(scope, receive, with_headers if scope["type"] == "http" else send)


class _SameOrigin:
    """Rejects cross-origin requests.

    Streamlit rejects them too, but first asks a server of Amazon for its own public address.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope) if scope["type"] in {"http", "websocket"} else Headers()
        origin = headers.get("origin")
        if origin is None or _is_ours(origin, headers.get("host", "")):
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            refusal = PlainTextResponse("Cross-origin requests are not allowed.", 403)
            await refusal(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1008})


def _is_ours(origin: str, host: str) -> bool:
    """Whether an origin is this server, by the Host header or the settings."""
    if urlsplit(origin).netloc == host:
        return True
    allowed = [str(one).rstrip("/") for one in get_option("server.corsAllowedOrigins")]
    return origin in allowed or urlsplit(origin).hostname == get_option("browser.serverAddress")


class _UploadLimit:
    """Rejects an upload for which the server has no memory, before it is read."""

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
        return PlainTextResponse("Content-Length required.", 411)
    if _held() + int(length) > MAX_UPLOADS:
        return PlainTextResponse("The server is busy with other uploads. Retry soon.", 507)
    return None


def _held() -> int:
    """Bytes of the uploads that are in memory."""
    from streamlit.runtime import get_instance

    families = get_instance().uploaded_file_mgr.get_stats()
    return sum(stat.byte_length for stats in families.values() for stat in stats)


MIDDLEWARE = (
    Middleware(_SecurityHeaders),
    Middleware(ReaderHeader),
    Middleware(BrowserCookie),
    Middleware(_SameOrigin),
    Middleware(_UploadLimit),
)
"""For `streamlit.App`, the outermost first."""


@asynccontextmanager
async def lifespan(_: App) -> AsyncGenerator[None]:
    """Set up the server, and open the page in a browser unless it is headless."""
    # A page releases the interpreter hundreds of times, and waits this long for each return while
    # photographs are graded: Python's default of 5 ms would add up to seconds.
    sys.setswitchinterval(0.0005)
    limit_pools()  # twice the memory after an hour of paging, else
    if not get_option("server.headless"):
        host = get_option("server.address") or get_option("browser.serverAddress")
        address = f"http://{host}:{get_option('server.port')}"
        asyncio.get_running_loop().call_later(0.5, webbrowser.open, address)
    yield
