"""A reader's session without a browser: speaks to the viewer as Streamlit's page does."""

from __future__ import annotations

import asyncio
import http.client
import re
import uuid
from collections.abc import Callable, Sequence
from typing import Self
from urllib.parse import urlsplit

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.WidgetStates_pb2 import WidgetState
from websockets.asyncio.client import ClientConnection, connect

__all__ = ["Session"]

_XSRF = "_streamlit_xsrf"
_KEY = re.compile(r"\$\$ID-[0-9a-f]+-(.+)")


class Session:
    """One page of the viewer.

    Keeps what is on the page, as far as a reader of text needs it: the HTML elements, and the
    widgets by their keys. Fragments that run by the clock do so here too.

    Args:
        url: of the server, "http://host:port".

    Attributes:
        id: what the server calls the session.
        problems: what the page showed as an error.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.id = ""
        self.problems: list[str] = []
        self._address = urlsplit(url).netloc
        self._elements: dict[tuple[int, ...], tuple[str, str, str]] = {}
        self._ids: dict[str, tuple[str, str]] = {}
        self._states: dict[str, WidgetState] = {}
        self._clocks: dict[str, asyncio.Task[None]] = {}
        self._urls: asyncio.Queue[Sequence[object]] = asyncio.Queue()
        self._changed = asyncio.Event()
        self._page = ""
        self._cookie = ""
        self._socket: ClientConnection | None = None
        self._listener: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._cookie = await asyncio.to_thread(self._fetch_cookie)
        self._socket = await connect(
            f"ws://{self._address}/_stcore/stream",
            subprotocols=["streamlit", self._cookie],  # type: ignore[list-item]
            additional_headers={"Cookie": f"{_XSRF}={self._cookie}"},
            origin=self.url,  # type: ignore[arg-type]
            max_size=None,
            open_timeout=60,
            ping_timeout=120,
        )
        self._listener = asyncio.create_task(self._listen())
        await self._rerun()
        return self

    async def __aexit__(self, *_: object) -> None:
        for clock in self._clocks.values():
            clock.cancel()
        if self._socket is not None:
            await self._socket.close()
        if self._listener is not None:
            await asyncio.wait([self._listener])

    @property
    def html(self) -> str:
        """All HTML on the page, in order."""
        return "\n".join(html for _, (html, key, _) in sorted(self._elements.items()) if not key)

    def key_like(self, pattern: str) -> str | None:
        """Return the key of the widget on the page that fits a regular expression, or None."""
        shown = {key for _, key, _ in self._elements.values()}
        return next((key for key in shown if key and re.fullmatch(pattern, key)), None)

    def is_primary(self, key: str) -> bool:
        """Say whether a button is drawn as the chosen one."""
        return any(k == key and html == "primary" for html, k, _ in self._elements.values())

    async def until(self, what: Callable[[], bool], patience: float) -> None:
        """Wait until something is on the page.

        Args:
            what: asked whenever the page has changed.
            patience: seconds.

        Raises:
            TimeoutError: it did not come.
        """
        async with asyncio.timeout(patience):
            while not what():
                if self._listener is not None and self._listener.done():
                    raise ConnectionError("the server closed the session")
                self._changed.clear()
                await self._changed.wait()

    async def upload(self, key: str, files: Sequence[tuple[str, bytes]]) -> None:
        """Drop files on an uploader.

        Args:
            key: of the uploader.
            files: names and contents.
        """
        names = [name for name, _ in files]
        message = BackMsg()
        message.file_urls_request.request_id = uuid.uuid4().hex
        message.file_urls_request.file_names.extend(names)
        message.file_urls_request.session_id = self.id
        await self._send(message)
        urls = await self._urls.get()
        state = WidgetState(id=self._ids[key][0])
        for (name, data), place in zip(files, urls, strict=True):
            await asyncio.to_thread(self._put, place.upload_url, name, data)  # type: ignore[attr-defined]
            info = state.file_uploader_state_value.uploaded_file_info.add()
            info.name, info.size = name, len(data)
            info.file_id = place.file_id  # type: ignore[attr-defined]
            info.file_urls.CopyFrom(place)  # type: ignore[arg-type]
        await self._set(key, state)

    async def type(self, key: str, text: str) -> None:
        """Fill a text field."""
        await self._set(key, WidgetState(id=self._ids[key][0], string_value=text))

    async def click(self, key: str) -> None:
        """Press a button."""
        widget, fragment = self._ids[key]
        await self._rerun(fragment, WidgetState(id=widget, trigger_value=True))

    async def clear_cache(self) -> None:
        """Ask the server to empty its caches, as any browser may."""
        message = BackMsg()
        message.clear_cache = True
        await self._send(message)

    async def _set(self, key: str, state: WidgetState) -> None:
        self._states[state.id] = state
        await self._rerun(self._ids[key][1])

    async def _rerun(
        self, fragment: str = "", trigger: WidgetState | None = None, *, by_clock: bool = False
    ) -> None:
        message = BackMsg()
        run = message.rerun_script
        run.page_script_hash = self._page
        run.fragment_id = fragment
        run.is_auto_rerun = by_clock
        run.widget_states.widgets.extend(self._states.values())
        if trigger is not None:
            run.widget_states.widgets.append(trigger)
        await self._send(message)

    async def _send(self, message: BackMsg) -> None:
        assert self._socket is not None
        await self._socket.send(message.SerializeToString())

    async def _listen(self) -> None:
        assert self._socket is not None
        try:
            async for data in self._socket:
                message = ForwardMsg()
                message.ParseFromString(data)  # type: ignore[arg-type]
                self._hear(message)
        finally:
            self._changed.set()

    def _hear(self, message: ForwardMsg) -> None:
        kind = message.WhichOneof("type")
        if kind == "new_session":
            self._begin(message)
        elif kind == "delta":
            self._draw(message)
        elif kind == "auto_rerun":
            self._start_clock(message.auto_rerun.fragment_id, message.auto_rerun.interval)
        elif kind == "stop_auto_rerun":
            for fragment in message.stop_auto_rerun.fragment_ids:
                if fragment in self._clocks:
                    self._clocks.pop(fragment).cancel()
        elif kind == "file_urls_response":
            self._urls.put_nowait(message.file_urls_response.file_urls)
        self._changed.set()

    def _begin(self, message: ForwardMsg) -> None:
        session = message.new_session
        self.id, self._page = session.initialize.session_id, session.page_script_hash
        fragments = set(message.metadata.run.fragment_ids)
        if not fragments:
            for clock in self._clocks.values():
                clock.cancel()
        self._elements = {
            path: shown
            for path, shown in self._elements.items()
            if fragments and shown[2] not in fragments
        }

    def _draw(self, message: ForwardMsg) -> None:
        path, delta = tuple(message.metadata.delta_path), message.delta
        if delta.WhichOneof("type") != "new_element":
            return
        kind = delta.new_element.WhichOneof("type")
        element = getattr(delta.new_element, kind) if kind else None
        html = element.body if kind == "html" else element.type if kind == "button" else ""
        widget = getattr(element, "id", "")
        found = _KEY.fullmatch(widget) if isinstance(widget, str) else None
        key = found.group(1) if found else ""
        if key:
            self._ids[key] = (widget, delta.fragment_id)
        self._elements[path] = (html, key, delta.fragment_id)
        if kind == "exception":
            self.problems.append(element.message)
        if 'class="problem"' in html:
            self.problems.append(re.sub("<[^>]+>", "", html))

    def _start_clock(self, fragment: str, interval: float) -> None:
        async def tick() -> None:
            while True:
                await asyncio.sleep(interval)
                await self._rerun(fragment, by_clock=True)

        if fragment in self._clocks:
            self._clocks[fragment].cancel()
        self._clocks[fragment] = asyncio.create_task(tick())

    def _fetch_cookie(self) -> str:
        connection = http.client.HTTPConnection(self._address, timeout=60)
        try:
            connection.request("GET", "/_stcore/health")
            answer = connection.getresponse()
            answer.read()
            header = answer.getheader("set-cookie") or ""
        finally:
            connection.close()
        return header.partition(f"{_XSRF}=")[2].partition(";")[0]

    def _put(self, path: str, name: str, data: bytes) -> None:
        boundary = uuid.uuid4().hex
        head = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"; filename="{name}"\r\n'
            "Content-Type: image/jpeg\r\n\r\n"
        )
        body = head.encode() + data + f"\r\n--{boundary}--\r\n".encode()
        headers = {
            "Content-Type": f"multipart/form-data; boundary={boundary}",
            "Cookie": f"{_XSRF}={self._cookie}",
            "X-Xsrftoken": self._cookie,
        }
        connection = http.client.HTTPConnection(self._address, timeout=120)
        try:
            connection.request("PUT", path, body, headers)
            answer = connection.getresponse()
            answer.read()
        finally:
            connection.close()
        if answer.status != 204:
            raise ConnectionError(f"the upload was answered by {answer.status}")
