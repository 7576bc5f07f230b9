"""Middleware: the header that names the reader is believed from the proxy alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from viewer.server.identity import is_proxy, reader_header

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send


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
